"""What the documents say of commands and options, checked against what `--help` says; both ways."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from commanding import COMMANDS
from mounting import ROOT

from cli.main import main

USING = (ROOT / "docs/using.md").read_text()
SECTIONS = {found[1]: found[2] for found in re.finditer(r"^### `mediapool ([^`]*)`\n(.*?)(?=^##)", USING, re.S | re.M)}
# Said once for all commands, above them.
FOR_ALL = set(re.findall(r"`(--[a-z-]+)", USING.partition("\n## Commands\n")[2].partition("\n### ")[0])) | {"--help"}
# Where commands are shown; fenced and indented code as well as code in lines.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "scripts/service").iterdir())]

GROUPS = {name.rpartition(" ")[0] for name in COMMANDS}


def help_of(name: str) -> str:
    return CliRunner().invoke(main, [*name.split(), "--help"]).output


def options_of(name: str) -> set[str]:
    """Those that `--help` lists."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_of(name).partition("\nOptions:\n")[2]))


def section(name: str) -> tuple[str, str]:
    """Heading and text of the one section of a command."""
    found = [heading for heading in SECTIONS if heading == name or heading.startswith(f"{name} ")]
    assert len(found) == 1, f"docs/using.md has {len(found)} sections of mediapool {name}"
    return found[0], SECTIONS[found[0]]


def named(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "".join(re.findall(r"`[^`]*`", text))))


def family(name: str) -> list[str]:
    """The commands of the same group, of which a section may speak too."""
    group = name.rpartition(" ")[0]
    return [other for other in COMMANDS if group and other.startswith(f"{group} ")] or [name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_a_section(name: str) -> None:
    help_text = help_of(name)
    assert "Example:" in help_text and f"  mediapool {name}" in help_text
    heading, _text = section(name)
    # The arguments as the usage line has them; an option that must be given may stand there, too.
    usage = " ".join(help_text.partition("\n\n")[0].split()).partition("[OPTIONS]")[2]
    said = re.sub(r" --[a-z-]+ [A-Z]+", "", heading.removeprefix(name)).strip()
    assert said == re.sub(r"\[(\S+)\]\.\.\.", r"[\1...]", usage.strip())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_is_documented(name: str) -> None:
    mine = {option: parameter.help for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)
            for option in (*parameter.opts, *parameter.secondary_opts)}  # fmt: skip
    assert all(mine.values()), mine
    documented = FOR_ALL | named(f"`{name}`".join(section(name)))
    for option in options_of(name) - documented:
        # An option that several commands share may stand in one of their sections, or in the text above them.
        shared = [other for other in COMMANDS if mine[option] in [each.help for each in COMMANDS[other].params
                  if isinstance(each, click.Option)]]  # fmt: skip
        assert any(option in named(section(other)[1]) for other in shared) or f"`{option} " in USING, option


def test_no_section_speaks_of_what_does_not_exist() -> None:
    assert [heading for heading in SECTIONS if not any(f"{heading} ".startswith(f"{name} ") for name in COMMANDS)] == []
    for name in COMMANDS:
        heading, text = section(name)
        known = FOR_ALL.union(*map(options_of, family(name)))
        # What stands behind a command's name is looked at below.
        alone = "".join(re.findall(r"`--[^`]*`", text))
        assert named(f"`{heading}`{alone}") - known == set(), name


def shown(text: str) -> Iterator[str]:
    """Each `mediapool ...` that a text shows as code, up to the end of its line or span."""
    spans = re.findall(r"`([^`\n]+)`", text)
    yield from (span for span in spans if span.rpartition(" --")[0] in COMMANDS)
    for each in spans + re.findall(r"^(?: {4}|\$ |\.venv/bin/|Exec\w+=).*$", text, re.M):
        yield from re.findall(
            r"(?:^|[ /])mediapool (?!mediapool |command|mount of)([a-z][^;|&#>]*)", each.partition("  # ")[0]
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_exists(page: object) -> None:
    for line in shown(page.read_text()):  # type: ignore[attr-defined]
        words = line.split()
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
        if name is None:
            # A group, or several of its commands written as one|other.
            parts = words[1].split("|") if len(words) > 1 and "|" in words[1] else []
            group = words[0].split("|")
            assert all(each in {*GROUPS, *COMMANDS} for each in group), line
            assert all(f"{words[0]} {part}" in COMMANDS for part in parts), line
            continue
        wanted = set(re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", line))
        assert wanted <= options_of(name) | FOR_ALL, line
