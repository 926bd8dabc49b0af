"""All commands on a real terminal of 80 columns and in pipes: what fits, what is whole, what shows how far it is."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from pulling import status
from rich.cells import cell_len
from terminals import Said, in_pipes, on_terminal, plain

from cli.exitcodes import Exit
from cli.main import main
from debrid.simulator import Simulator

FILM = "A.Film.With.A.Very.Long.Name.That.Goes.On.And.On.2024.2160p.UHD.REMUX.HEVC-映画"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[349][0-7]m")
# How far something is, written over what stood there before; or a bar.
PROGRESS = re.compile(r"\r\x1b\[K[^\r\x1b\s]|━")

Words = list[str]


def every_command() -> Iterator[str]:
    def walk(name: str, command: click.Command) -> Iterator[str]:
        yield name
        for part, child in command.commands.items() if isinstance(command, click.Group) else ():
            yield from walk(f"{name} {part}", child)

    yield from walk("", main)


def test_help_fits_a_terminal() -> None:
    commands = [[*name.split(), "--help"] for name in every_command()]
    assert len(commands) > 50
    for words, (code, text) in zip(commands, on_terminal(commands), strict=True):
        assert code == 0 and "Usage: mediapool" in text
        assert [line for line in plain(text).split("\n") if cell_len(line) > 80] == [], words


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        for number in range(3):
            running.add_torrent(f"{FILM}.{number}", {f"/{FILM}.{number}.mkv": b"x" * 200_000, "/b.mkv": b"y" * 1000})
        yield running


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    """A mounted pool with long names, duplicates, and the account of the simulator."""
    tree = make_mount()
    tree.write_config(
        debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = "1s"',
        placement='policy = "ff"',
    )
    tree.config.write_text(tree.config.read_text().replace('policy = "rand"\n', ""))
    tree.start()
    wait_for(lambda: status(tree)["remote"]["files"] >= 6, "the account")
    films = tree.path / "media/films"
    films.mkdir(parents=True)
    for number in range(4):
        (films / f"{FILM}.{number}.mkv").write_bytes(bytes([number // 2]) * 300_000)
    (tree.base / "inbox").mkdir()
    (tree.base / "inbox/IMG_20240531_235958.jpg").write_bytes(b"no picture" * 1000)
    os.utime(tree.base / "inbox/IMG_20240531_235958.jpg", (0, 1_717_000_000))
    shutil.copytree(tree.base / "inbox", tree.base / "sources")
    (tree.base / "library").mkdir()
    return tree


def looking(tree: Mounted) -> list[Words]:
    """Commands that show something, mostly tables, and change nothing."""
    remote = f"torrents/complete/{FILM}.1"
    drives = [str(path) for path in tree.drive_paths]
    return [
        ["status"], ["pool", "status"], ["doctor"], ["explain", f"media/films/{FILM}.1.mkv", "--size", "1GiB"],
        ["debrid", "status"], ["debrid", "list"], ["cache", "status"], ["index", "status"], ["jobs", "list"],
        ["pin", remote, "--dry-run"], ["pool", "balance", "--dry-run"], ["pool", "drain", "drive1", "--dry-run"],
        ["archive", "plan", drives[2], "--media", "4.7GB"], ["archive", "status"], ["archive", "find", "film"],
        ["debrid", "prune", "--dry-run"], ["cache", "clear", "--dry-run"],
    ]  # fmt: skip


def long_ones(tree: Mounted) -> list[Words]:
    """Commands that take long on a large pool, and need it mounted, or at least not unmounted."""
    drives = [str(path) for path in tree.drive_paths]
    base = str(tree.base)
    return [
        ["index", "crawl", *drives],
        ["index", "duplicates", *drives],
        ["archive", "build", drives[0], "--media", "4.7GB", "--archive", f"{base}/Archive", "--yes"],
        ["archive", "image", "0001", "--to", f"{base}/0001.iso"],
        ["archive", "verify", f"{base}/0001.iso"],
        ["jobs", "undo", "a1", "--yes"],
        ["index", "sort", *drives, "--to", f"{base}/aside", "--yes"],
        ["ingest", f"{base}/inbox", "--to", f"{base}/photos", "--yes"],
        ["cache", "warm", "torrents"],
        ["debrid", "check"],
        ["debrid", "repair"],
        ["debrid", "prune", "--yes"],
        ["pool", "check"],
        ["pin", f"torrents/complete/{FILM}.0", "--yes"],
        ["download", f"torrents/complete/{FILM}.1", "--yes"],
        ["pool", "drain", "drive1", "--yes", "--wait"],
        ["pool", "balance", "--yes", "--wait"],
        ["archive", "build", drives[1], "--media", "4.7GB", "--yes"],
    ]


def unmounted(tree: Mounted) -> list[Words]:
    """Commands that want nothing mounted, and those that change that."""
    base = str(tree.base)
    return [
        ["distribute", f"{base}/sources", "--library", f"{base}/library", "--unchanged-for", "0s", "--yes"],
        ["pool", "restore-names", "--yes"],
        ["mount", "--background"],
        ["unmount"],
    ]


def configured(commands: Sequence[Words], tree: Mounted) -> list[Words]:
    return [[*words, "--config", str(tree.config)] for words in commands]


def fits(words: Words, text: str) -> None:
    """Nothing but sentences, and lists that are no tables, is wider than the terminal; sentences are for wrapping."""
    wide = [line for line in plain(text).split("\n") if cell_len(line) > 80]
    # Columns are two blanks apart; a line of a list begins with them.
    assert [line for line in wide if "   " in line.strip()] == [], words


def went_well(commands: Sequence[Words], said: Said) -> None:
    wrong = [(words[:-2], code, text) for words, (code, text) in zip(commands, said, strict=True) if code != Exit.OK]
    # On the machine of a test the doctor may find anything.
    assert [one for one in wrong if one[0] != ["doctor"]] == []


@pytest.mark.mount
def test_every_command_on_a_terminal_and_without(tree: Mounted) -> None:
    commands = configured(long_ones(tree), tree)
    said = on_terminal(commands)
    went_well(commands, said)
    for words, (_, text) in zip(commands, said, strict=True):
        assert PROGRESS.search(text), f"{words} shows not how far it is:\n{text!r}"
        fits(words, text)

    commands = configured(looking(tree), tree)
    shown, colourless = on_terminal(commands), on_terminal(commands, NO_COLOR="1")
    piped, told = in_pipes(commands)
    went_well(commands, shown)
    for words, (_, seen), (_, grey), (_, text) in zip(commands, shown, colourless, piped, strict=True):
        fits(words, seen)
        assert not COLOUR.search(grey), words
        assert "\x1b" not in text and "\r" not in text, words
        # Folded on the terminal, but nothing is lost there; whole in a pipe.
        if FILM in text:
            assert FILM in re.sub(r"\s", "", plain(seen)), words
            assert any(FILM in line for line in text.split("\n")), words
    assert "\x1b" not in told and "\r" not in told

    tree.stop()
    commands = configured(unmounted(tree), tree)
    said = on_terminal(commands)
    went_well(commands, said)
    for words, (_, text) in zip(commands, said, strict=True):
        assert PROGRESS.search(text), f"{words} shows not how far it is:\n{text!r}"


def test_a_dumb_terminal_gets_no_codes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    command = ["doctor", "--paths", str(tmp_path / "a"), str(tmp_path / "b")]
    (code, text), *_ = on_terminal([command], TERM="dumb")
    assert code == Exit.OK and "\x1b" not in text and "link and rename work" in re.sub(r"\s+", " ", text)
    wrong = ["status", "--config", str(tmp_path / "none.toml")]
    (code, text), *_ = on_terminal([wrong])
    assert code == Exit.USAGE and COLOUR.search(text), "an error is red where colour is wanted"
    (code, text), *_ = on_terminal([wrong], NO_COLOR="1")
    assert code == Exit.USAGE and not COLOUR.search(text) and "error:" in plain(text)
