"""What commands print, with and without a terminal."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from cli import output
from cli.exitcodes import ENDS_WITH, WORDS, Exit

USING = Path(__file__).parents[2] / "docs" / "using.md"
HOSTILE = "[red]x[/red]\x1b[2J\n\udcff"
ESCAPED = "[red]x[/red]\\x1b[2J\\n\\udcff"
ROWS = [("films", "/mnt/" + "x" * 100, "1.0 TiB"), ("日本", "/mnt/b", "2 B")]


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


MakeTerminal = Callable[[], Terminal]


@pytest.fixture
def make_terminal(monkeypatch: pytest.MonkeyPatch) -> MakeTerminal:
    """Put a terminal of 80 columns in place of the streams. Call it in the test: pytest swaps them before."""

    def make() -> Terminal:
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm")
        screen = Terminal()
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, screen)
        return screen

    return make


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1234567890, "1.1 GiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**4, "1.0 TiB"),
        (2**63, "8.0 EiB"),
        (2**74, "16384.0 EiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert output.human_size(size) == text


def test_a_table_without_a_terminal_is_plain_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME", "PATH", "FREE"], ROWS, right={2})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "x" * 100 in lines[1]
    assert len({cell_len(line) for line in lines}) == 1
    assert not any(line.endswith(" ") for line in lines)


def test_a_table_on_a_terminal_fits_and_loses_nothing(
    make_terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = make_terminal()
    output.print_table(["NAME", "PATH", "FREE"], ROWS, right={2})
    text = plain(terminal.getvalue())
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert text.count("x") == 100
    assert "\x1b[1m" in terminal.getvalue()


def test_sizes_and_dates_are_not_folded_for_the_sake_of_a_path(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    output.print_table(
        ["State", "Done", "Size", "Since", "Path"],
        [("downloading", "100 %", "1023.9 GiB", "2026-11-21 16:56", "/mnt/" + "x" * 200)],
        right={1, 2},
    )
    first = plain(terminal.getvalue()).splitlines()[1]
    assert first.startswith("downloading  100 %  1023.9 GiB  2026-11-21 16:56  /mnt/x")
    assert plain(terminal.getvalue()).count("x") == 200


def test_many_short_columns_leave_room_for_a_path(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    output.print_table([""] * 6, [("0123456789abcde",) * 5 + ("x" * 100,)])
    text = plain(terminal.getvalue())
    assert max(cell_len(line) for line in text.splitlines()) <= 80 and text.count("x") == 100
    assert text.count("e") == 5, "folded, as nothing else fits"


def test_progress_is_one_line_of_a_terminal(make_terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal()
    with output.busy("looking at 映画" + "画" * 100):
        shown = terminal.getvalue()
    assert shown.startswith("\r\x1b[Klooking at 映画") and cell_len(shown.removeprefix("\r\x1b[K")) <= 79
    assert terminal.getvalue().endswith("\r\x1b[K")
    dumb = make_terminal()
    monkeypatch.setenv("TERM", "dumb")
    output.progress("50 %")
    assert dumb.getvalue() == ""


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.busy("working"):
        output.progress("50 %")
    assert capsys.readouterr() == ("", "")


def test_paragraphs_break_between_words_on_a_terminal(
    make_terminal: MakeTerminal, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "give it " + "ext4 or xfs " * 20 + "/mnt/" + "x" * 100
    output.advise(text)
    assert capsys.readouterr().out == f"{text}\n"
    terminal = make_terminal()
    output.advise(text)
    lines = terminal.getvalue().splitlines()
    assert " ".join(lines) == text and all(cell_len(line) <= 80 for line in lines[:-1]) and len(lines) > 3


@pytest.mark.parametrize("off", [False, True])
def test_colour(off: bool, make_terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1") if off else monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = make_terminal()
    output.warn("careful")
    assert bool(re.search(r"\x1b\[[0-9;]*3\dm", terminal.getvalue())) is not off
    assert "warning: careful" in plain(terminal.getvalue())


def test_hostile_names_stay_text(make_terminal: MakeTerminal, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME"], [(HOSTILE,)])
    assert ESCAPED in capsys.readouterr().out
    terminal = make_terminal()
    output.print_table(["NAME"], [(HOSTILE,)])
    output.warn(HOSTILE.replace("\n", ""))
    assert ESCAPED in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_empty_tables(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME"], [])
    output.print_table((), [])
    output.print_fields([])
    assert capsys.readouterr().out == "NAME\n"


def test_an_empty_table_on_a_terminal(make_terminal: MakeTerminal) -> None:
    terminal = make_terminal()
    output.print_table((), [])
    assert not terminal.getvalue().strip()


def test_fields(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_fields([("mount", Path("/data")), ("files", 3)])
    assert capsys.readouterr().out == "mount  /data\nfiles  3\n"


def test_json_survives_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name": "\udcff é", "path": Path("/x")}
    output.print_json(data)
    assert json.loads(capsys.readouterr().out) == {"name": "\udcff é", "path": "/x"}


def test_say(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("one\n[b]two\x07")
    assert capsys.readouterr().out == "one\n[b]two\\x07\n"


def test_a_failure_goes_to_stderr_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        output.fail("/data is not mounted: " + "x" * 100, "Run: mediapool mount", Exit.NOT_MOUNTED)
    assert caught.value.code == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: /data is not mounted: {'x' * 100}\nRun: mediapool mount\n"


def test_yes_needs_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.confirm("Delete it?", yes=True)
    assert capsys.readouterr().err == ""


def test_without_a_terminal_nobody_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(SystemExit) as caught:
        output.confirm("Delete it?", yes=False)
    assert caught.value.code == Exit.USAGE
    assert "Delete it?" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_people_are_asked(
    answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if agreed:
        output.confirm("Delete it?", yes=False)
    else:
        with pytest.raises(SystemExit) as caught:
            output.confirm("Delete it?", yes=False)
        assert caught.value.code == Exit.FAILED
    out, err = capsys.readouterr()
    assert (out, "Delete it?" in err, "Nothing was done." in err) == ("", True, not agreed)


def test_the_exit_codes_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| .+ \|$", USING.read_text(), re.MULTILINE)
    assert {(int(code), name) for code, name in rows} == {(code.value, code.name) for code in Exit}
    listed = re.findall(r"^\| (\d+) \| (`[a-z].+) \|$", USING.read_text(), re.MULTILINE)
    named = {Exit(int(code)): tuple(re.findall(r"`([a-z ]+)`", commands)) for code, commands in listed}
    assert named == ENDS_WITH and set(WORDS) == set(Exit)
