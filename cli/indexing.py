"""What the commands of the index share: where its files are, how far they are, and how they are interrupted.

Imports little: looking for duplicates a second time takes less time than reading a configuration does.
"""

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exitcodes import Exit
from cli.options import load
from cli.output import fail, human_size, printable, progress, warn
from cli.state import StateFolder
from indexer.contents import Contents
from indexer.contentsdb import ContentsError
from indexer.finding import TreeError, is_below, roots

if TYPE_CHECKING:
    from indexer.duplicates import Progress
    from indexer.finding import Found, Unreadable

# Seconds between two looks at how far it is; and how many names of a list are shown to people.
_LOOK = 0.2
_SHOWN = 20

INTERRUPTED = "Interrupted; repeat the command to go on where it was."

min_size_option = click.option("--min-size", default="1", metavar="SIZE", help="Leave out files that are smaller (1).")
exclude_option = click.option(
    "--exclude", "patterns", multiple=True, metavar="PATTERN",
    help="Leave out files and folders of this name, as in '*.nfo', or path below TREE; repeatable.",
)  # fmt: skip
state_option = click.option(
    "--state",
    "state_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the catalog and the journals lie; default: the state folder of the configuration, which is then read.",
)


def state_of(config_file: Path | None, state_folder: Path | None) -> StateFolder:
    """The state folder, made if need be. Raises ConfigError."""
    state = StateFolder(state_folder or load(config_file).state.path)
    try:
        state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(f"The state folder {state.path} cannot be made: {error.strerror}.")
    return state


@contextlib.contextmanager
def contents_of(state: StateFolder) -> Iterator[Contents]:
    """The catalog of contents; ends the command with a message where it, a tree or a run cannot be used."""
    try:
        with Contents(state.contents) as contents:
            yield contents
    except Exception as error:
        from indexer.runs import RunError

        if not isinstance(error, ContentsError | TreeError | RunError):
            raise
        progress("")
        fail(str(error))


def trees_of(trees: Sequence[str]) -> list[bytes]:
    """Their real paths. Ends the command where one is no folder."""
    try:
        return roots(trees)
    except TreeError as error:
        fail(str(error), code=Exit.USAGE)


def excluded_by(patterns: Sequence[str], trees: Sequence[bytes]) -> "Callable[[bytes], bool] | None":
    """What --exclude leaves out, for `indexer.finding.find`; None where nothing is."""
    if not patterns:
        return None
    from indexer.excluding import Excluded

    return Excluded(patterns, trees).itself


def refuse_mount(config_file: Path | None, trees: Sequence[bytes]) -> None:
    """End the command for a tree inside the mount: contents are read on the drives."""
    mount = os.fsencode(os.path.realpath(load(config_file).mount.path))
    for tree in trees:
        if is_below(tree, mount):
            fail(
                f"{shown(tree)} lies in the mounted tree, through which every remote file would be fetched.",
                "Name folders on the drives, or none for all drives.",
                Exit.USAGE,
            )


def shown(path: bytes) -> str:
    """A path for people, in one line whatever it holds."""
    return printable(os.fsdecode(path))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage in the block, which makes many small objects, all of them in use."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; what is under way then ends by itself. A second Ctrl-C ends at once."""
    stop = threading.Event()

    def interrupted(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shown_progress() -> "Callable[[Progress], None]":
    """Shows how far something is, its rate and the time left, to people, some times a second."""
    last, what, began = 0.0, "", time.monotonic()

    def tell(done: "Progress") -> None:
        nonlocal last, what, began
        now = time.monotonic()
        if done.what != what:
            what, began = done.what, now
        if now - last >= _LOOK:
            last = now
            progress(described(done, now - began))

    return tell


def described(done: "Progress", seconds: float) -> str:
    """How far it is, for people: files, bytes, bytes a second, time left."""
    of = f" of {done.files_total}" if done.files_total else ""
    text = f"{done.what}: {done.files}{of} files"
    if done.bytes_total and seconds > 0:
        rate = done.bytes / seconds
        text += f", {human_size(done.bytes)} of {human_size(done.bytes_total)}, {human_size(int(rate))}/s"
        if rate:
            left = max(0, done.bytes_total - done.bytes) / rate
            text += f", {_time(left)} left"
    return text


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell_problems(problems: "Sequence[Unreadable]") -> None:
    """Warn of what could not be read."""
    for one in problems[:_SHOWN]:
        warn(f"{shown(one.path)}: {one.reason}")
    if len(problems) > _SHOWN:
        warn(f"and {len(problems) - _SHOWN} more that could not be read")


def noting(contents: Contents) -> "Callable[[bytes, Found, bytes], None]":
    """Tells the catalog of each file that was moved: its old path, what it is now, its hash."""
    from indexer.contents import Entry, now_ns

    def moved(old: bytes, now: "Found", digest: bytes) -> None:
        contents.moved(old, Entry.of(now, None, digest, now_ns()))

    return moved


def bytes_of(min_size: str) -> int:
    """What --min-size says, in bytes; ends the command where it is no size."""
    if min_size.isdecimal():
        return int(min_size)
    from cli.sizes import parse_size

    try:
        return parse_size(min_size)
    except ValueError as error:
        fail(f"--min-size {min_size}: {error}", code=Exit.USAGE)
