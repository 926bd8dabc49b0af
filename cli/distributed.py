"""Symlink distribution as the commands use it: the pool taken for it, its jobs, the services told afterwards."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli import pool
from cli.config import Config
from cli.config_arr import services
from cli.keeping import open_names
from cli.knowing import PoolKnowledge
from cli.output import busy, fail, human_size, progress, warn
from cli.state import StateFolder, StateInUse
from placement.distribute import QUIET, Distribution, Report
from placement.distributions import Distributions, Job, JobsDamaged
from placement.drive import Drive
from placement.identity import DriveError
from placement.library import Library, below
from placement.services.calls import ServiceError
from placement.sources import Folder, overlap
from vfs.journal import Journal
from vfs.namesdb import NamesDamaged

log = logging.getLogger(__name__)

# Distribute jobs are called d1, d2, ...; plain numbers are jobs of the mount.
PREFIX = "d"
_LOOK = 0.2  # seconds between two updates of what a terminal shows


def copies_under_way(state: StateFolder) -> Callable[[], Collection[str] | None]:
    """What a `Mover` with another journal must know: the tokens of copies that an interrupted distribution made.

    None if the journal of distribute cannot be read.
    """

    def tokens() -> Collection[str] | None:
        if not state.distribute.exists():
            return ()
        try:
            journal = Distributions(state.distribute)
        except (JobsDamaged, OSError) as cause:
            log.warning("copies of interrupted moves are left on the drives: %s", cause)
            return None
        try:
            return {str(record.get("token")) for _, record in journal.pending()}
        finally:
            journal.close()

    return tokens


class Distributing:
    """A distribution with all it needs, and how its jobs look to people."""

    def __init__(self, made: Distribution, journal: Distributions, sources: Sequence[Folder], library: str) -> None:
        self._made = made
        self._journal = journal
        self._sources = sources
        self._library = library

    def recover(self) -> None:
        """Finish or undo what was interrupted; what waits is told."""
        with busy("looking for interrupted moves"):
            found = list(self._made.recover(self._sources))
        for waiting in found:
            warn(f"An interrupted move waits: {waiting}")

    def plan(self, retry: bool) -> Report:
        """As `Distribution.plan`; `retry`: only of files that failed before."""
        with busy("looking for files"):
            return self._made.plan(self._sources, self._failed() if retry else None)

    def run(self, retry: bool) -> Report:
        """As `Distribution.run`."""
        with busy("looking for files"):
            return self._made.run(self._sources, self._failed() if retry else None)

    def _failed(self) -> set[tuple[str, str]]:
        return {(failure.source, failure.path) for failure in self._journal.failures(self._library)}

    def undo(self, job: int) -> Report:
        """As `Distribution.undo`."""
        return self._made.undo(job)


@contextmanager
def distributing(
    config: Config,
    library: str,
    sources: Sequence[str],
    *,
    change: bool,
    quiet: float = QUIET,
    rate: int | None = None,
) -> Iterator[Distributing]:
    """Take the pool, which nothing can mount meanwhile, for a distribution; ends the command where that cannot be.

    `change`: False for a dry run, for which no folder becomes a drive. Ctrl-C and `kill` end it after the step
    it is at, with everything whole.
    """
    _refuse_overlaps(config, library, sources)
    state = StateFolder(config.state.path)
    try:
        with ExitStack() as closing:
            state.acquire()
            closing.callback(state.release)
            db, names = open_names(config, state)
            closing.callback(names.close)
            drives = pool.open_drives(config, db) if change else _there(config, pool.known_drives(db.db))
            closing.callback(pool.close, drives)
            journal = Distributions(state.distribute)
            closing.callback(journal.close)
            links = Library(library, lambda: drives)
            closing.callback(links.close)
            folders = [_opened(path, closing) for path in sources]
            made = Distribution(
                pool.placing(config, drives, PoolKnowledge(drives, names)),
                journal,
                links,
                quiet=quiet,
                rate=rate,
                cancel=closing.enter_context(_ending()),
                progress=_shown(lambda: made.position),
                others=lambda: {str(record.get("token")) for _, record in Journal(names, "move").pending()},
            )
            yield Distributing(made, journal, folders, library)
    except StateInUse as error:
        fail(str(error), "Files of a mounted pool are placed by the mount itself: copy them into the tree.")
    except (DriveError, JobsDamaged, NamesDamaged) as error:
        fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")
    finally:
        progress("")


def _there(config: Config, known: Mapping[str, Any]) -> list[Drive]:
    """The drives as they are, and folders that are going to be drives."""
    found = pool.look_at(config, dict(known))
    for at, problem in enumerate(found):
        if isinstance(problem, DriveError):
            try:
                found[at] = Folder(problem.path, pool.drive_config(config.drive[at]), -1 - at)
            except DriveError:
                warn(str(problem))
    return [one for one in found if isinstance(one, Drive)]


def _opened(path: str, closing: ExitStack) -> Folder:
    folder = Folder(path)
    closing.callback(folder.close)
    return folder


def _refuse_overlaps(config: Config, library: str, sources: Sequence[str]) -> None:
    if not config.drive:
        fail("The configuration names no drive.", "Add one: mediapool pool add FOLDER")
    places = [*(str(drive.path) for drive in config.drive), str(config.mount.path)]
    pairs: list[tuple[Sequence[str], Sequence[str]]] = [([library, *sources], places), (sources, [library])]
    pairs += [([one], sources[number + 1 :]) for number, one in enumerate(sources)]
    for ones, others in pairs:
        if clash := overlap(ones, others):
            remedy = "Sources, library, drives and mount point must lie side by side."
            fail(f"{clash[0]} and {clash[1]} are the same folder, or one lies in the other.", remedy)


@contextmanager
def _ending() -> Iterator[threading.Event]:
    """An event that Ctrl-C, `kill` and a closed terminal set, for as long as the block lasts."""
    cancel = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: cancel.set()) for number in numbers}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown(position: Callable[[], tuple[int, int]]) -> Callable[[str, str, int, int], None]:
    last = 0.0

    def tell(path: str, phase: str, done: int, size: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOOK:
            last = time.monotonic()
            number, count = position()
            progress(f"file {number} of {count}: {phase} {human_size(done)} of {human_size(size)}: {path}")

    return tell


# Jobs.


def number_of(ident: str) -> int | None:
    """The number of the distribute job with this id; None if it is no such id."""
    digits = ident.removeprefix(PREFIX)
    return int(digits) if ident.startswith(PREFIX) and digits.isascii() and digits.isdigit() else None


def jobs(config: Config) -> list[dict[str, Any]]:
    """All distribute jobs as plain values, oldest first; sizes in bytes, times in seconds since 1970."""
    unfinished = "running" if StateFolder(config.state.path).in_use() else "interrupted"
    return [_plain(job, unfinished) for job in _jobs(config)]


def _plain(job: Job, unfinished: str) -> dict[str, Any]:
    state = "undone" if job.undone and not job.moved else "done" if job.finished else unfinished
    return {**asdict(job), "id": f"{PREFIX}{job.id}", "kind": "distribute", "state": state}


def job(config: Config, number: int) -> Job | None:
    """One of them."""
    return next((one for one in _jobs(config) if one.id == number), None)


def _jobs(config: Config) -> list[Job]:
    state = StateFolder(config.state.path)
    if not state.distribute.exists():
        return []
    try:
        journal = Distributions(state.distribute)
    except (JobsDamaged, OSError) as error:
        fail(str(error))
    try:
        return journal.jobs()
    finally:
        journal.close()


# What Sonarr and Radarr are told.


def tell_services(config: Config, library: str, sources: Sequence[str]) -> list[str]:
    """Have them look for what was in the sources in the library; what was told or failed, in words.

    A folder counts as moved once no file is left in it.
    """
    told, mapped = [], _mapping(library, sources)
    for service in services(config.arr):
        try:
            told += [f"{service.name}: {one.title} is at {one.path} now" for one in service.relocated(mapped)]
        except ServiceError as error:
            warn(f"Not told of the new folders: {error}")
    return told


def _mapping(library: str, sources: Sequence[str]) -> Callable[[str], str]:
    def mapped(path: str) -> str:
        for source in sources:
            inner = below(source, path.rstrip("/"))
            new = os.path.join(library, inner)
            if inner and os.path.isdir(new) and not _has_files(path):
                return new
        return path

    return mapped


def _has_files(folder: str) -> bool:
    with suppress(OSError):
        return any(files for _, _, files in os.walk(folder))
    return True


def absolute(paths: Sequence[Path]) -> list[str]:
    """Folders as they are noted: absolute, links in them resolved, so that a job means the same tomorrow."""
    return [os.path.realpath(path) for path in paths]
