"""What commands print: tables, fields, JSON, warnings, questions and failures.

Results go to stdout; warnings, questions and failures to stderr. On a terminal tables fit its width and carry
colour (`NO_COLOR` turns it off); elsewhere each row is one plain line that nothing cuts, for grep and awk. A
name from a filesystem or a provider may hold anything, so all texts pass `printable`.
"""

import json
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TextIO

import click

from cli.exitcodes import Exit

# rich is imported where something is drawn: importing it takes longer than some commands do, and JSON needs none.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

# Columns no wider than a date with its time are never folded.
_SHORT = 16
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

# One definition for all commands, so that these mean the same everywhere.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


def human_size(size: int) -> str:
    """`size` for people, as in "1.2 GiB"."""
    value, unit = float(size), 0
    # 1023.95 would be printed as 1024.0.
    while value >= 1023.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


def human_time(seconds: float) -> str:
    """A moment, in seconds since 1970, for people: local time to the minute."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def human_duration(seconds: float) -> str:
    """`seconds` for people, as in "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def printable(value: object) -> str:
    """`value` as text in which control characters and undecodable bytes are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))


def say(text: str = "") -> None:
    """Print a line of the result, or several."""
    for line in text.split("\n"):
        print(printable(line))


def advise(text: str) -> None:
    """Print a paragraph: on a terminal broken between words, elsewhere one line."""
    console = _console(sys.stdout)
    # Typed again or copied, so nothing is put between its words but a new line.
    lines = textwrap.wrap(printable(text), console.width, break_long_words=False, break_on_hyphens=False)
    say("\n".join(lines) if console.is_terminal else text)


def print_json(data: Any) -> None:
    """Print `data` as JSON, indented, in ASCII, so that names of any bytes survive; paths become texts."""
    print(json.dumps(data, indent=2, default=str))


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names with their values below one another."""
    print_table((), fields)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Collection[int] = ()) -> None:
    """Print rows in columns, those numbered in `right` aligned to the right; no headers if there are none."""
    texts = [[printable(cell) for cell in row] for row in rows]
    console = _console(sys.stdout)
    if console.is_terminal:
        console.print(_drawn(headers, texts, right, console.width))
    else:
        _plain([list(headers), *texts] if headers else texts, right)


def progress(text: str) -> None:
    """Show how far something is, in place of what was shown before; only to people. "" takes it away."""
    if not sys.stderr.isatty():
        return
    console = _console(sys.stderr)
    if not console.is_dumb_terminal:
        print(f"\r\x1b[K{_cropped(printable(text), console.width - 1)}", end="", file=sys.stderr, flush=True)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show what is being done until the block ends, where nobody can tell how far it is; only to people."""
    progress(f"{text} ...")
    try:
        yield
    finally:
        progress("")


def _cropped(text: str, width: int) -> str:
    """The part of `text` that fits; some letters take two columns."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width)


def transfer_bar(quiet: bool) -> "Progress":
    """A bar for bytes on their way, with speed and time left, that goes away at the end; only to people."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.table import Column

    console = Console(file=sys.stderr, markup=False, highlight=False)

    def whole() -> Column:
        return Column(no_wrap=True)

    # Name and bar share what the figures leave, so that all of it is one line.
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=3, no_wrap=True, overflow="ellipsis")),
        BarColumn(None, table_column=Column(ratio=2)),
        DownloadColumn(True, table_column=whole()),
        TransferSpeedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
    )
    return Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True, expand=True)


def short_name(path: str) -> str:
    """The last name of `path` for a bar; brackets, which the names of torrents hold, are no styles there."""
    return printable(path.rpartition("/")[2])[:40].replace("[", "\\[")


def warn(text: str) -> None:
    """Tell people something that does not stop the command."""
    _prefixed("warning", "yellow", text)


def fail(message: str, remedy: str = "", code: Exit = Exit.FAILED) -> NoReturn:
    """Say what went wrong and what to do about it, and end the command with this exit code."""
    _prefixed("error", "red", "\n".join(part for part in (message, remedy) if part))
    sys.exit(int(code))


def confirm(question: str, yes: bool) -> None:
    """Return if people agree, or agreed beforehand with `--yes`; else end the command with nothing done.

    Without a terminal nobody can be asked: that ends with the exit code for wrong use.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        fail(printable(question), "There is no terminal to ask on: repeat the command with --yes.", Exit.USAGE)
    if not click.confirm(printable(question), err=True):
        fail("Nothing was done.")


def _prefixed(word: str, style: str, text: str) -> None:
    from rich.text import Text

    console = _console(sys.stderr)
    first, *others = text.split("\n")
    line = Text.assemble((f"{word}:", f"bold {style}"), f" {printable(first)}")
    console.print(line, soft_wrap=True)
    for other in others:
        print(printable(other), file=sys.stderr)


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    # Made for each use: NO_COLOR, the width and the stream itself (in tests) are those of the moment.
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _drawn(headers: Sequence[str], rows: list[list[str]], right: Collection[int], width: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=bool(headers), pad_edge=False, padding=(0, 2, 0, 0))
    widths = _widths([list(headers), *rows])
    whole = _kept_whole(widths, width)
    for number in range(len(widths)):
        title = Text(headers[number] if headers else "", style="bold")
        justify: Literal["left", "right"] = "right" if number in right else "left"
        # Folded, not cut: the end of a path is what tells one from another.
        table.add_column(title, justify=justify, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _kept_whole(widths: Sequence[int], width: int) -> set[int]:
    """The columns whose cells are not folded: sizes, dates and words are no use in pieces. None, if little were left
    to the others."""
    short = {number for number, one in enumerate(widths) if one <= _SHORT}
    others = len(widths) - len(short)
    left = width - sum(widths[number] + 2 for number in short)
    return short if left >= others * _SHORT else set()


def _widths(rows: list[list[str]]) -> list[int]:
    """Of each column, as a terminal shows it."""
    from rich.cells import cell_len

    columns = max(map(len, rows), default=0)
    return [max((cell_len(row[at]) for row in rows if at < len(row)), default=0) for at in range(columns)]


def _plain(rows: list[list[str]], right: Collection[int]) -> None:
    widths = _widths(rows)
    for row in rows:
        cells = [_padded(cell, widths[at], at in right) for at, cell in enumerate(row)]
        print("  ".join(cells).rstrip())


def _padded(cell: str, width: int, right: bool) -> str:
    from rich.cells import cell_len

    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space
