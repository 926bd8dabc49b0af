"""What the page shows, as plain values, and how it is gathered from the running mount.

Everything is asked at most once in a while, however many people look: `Lately`. What costs more is asked less often.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cli import crawls
from cli.mediawords import described
from cli.web.recent import Recent, Warned
from cli.web.throughput import Rates, Sampler, Sums
from indexer.manifest import NAME as INDEX
from vfs.budget import UNKNOWN, program_of
from vfs.traffic import OpenNow, Source

if TYPE_CHECKING:
    from cli.app import App

T = TypeVar("T")

_OFTEN, _SELDOM, _RARELY = 1.0, 10.0, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Playing:
    """A file that a program has open. `rate` in bytes a second, None where the kernel reads by itself.

    `kept`: which share of what was read of a remote file the disk cache had, 0 to 1; None if nothing was. `media`: its
    media facts in words, "" where none are known.
    """

    path: str
    program: str
    source: Source
    drive: str
    rate: float | None
    came: int
    writes: bool
    kept: float | None
    media: str = ""


@dataclass(frozen=True, slots=True)
class Disc:
    """A volume of the archive; `size` in bytes, `since` in UTC."""

    name: str
    state: str
    files: int
    size: int
    medium: str
    label: str
    since: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything at one moment. `status` as /api/status has it, and the jobs as their own addresses do."""

    status: Mapping[str, Any]
    retiring: Mapping[str, str] = field(default_factory=dict)  # why a drive takes nothing new
    playing: Sequence[Playing] = ()
    rates: Sequence[Rates] = ()
    moves: Sequence[Mapping[str, Any]] = ()
    pins: Sequence[Mapping[str, Any]] = ()
    checkup: Mapping[str, Any] | None = None
    check: Mapping[str, Any] | None = None
    warming: int = 0
    crawl: Mapping[str, Any] | None = None
    runs: Sequence[str] = ()
    downloads: Sequence[Mapping[str, Any]] = ()
    torrents: Sequence[Mapping[str, Any]] = ()
    discs: Sequence[Disc] = ()
    warnings: Sequence[Warned] = ()


class Lately(Generic[T]):
    """What `make` said within the last `seconds`. Thread-safe: those who ask meanwhile wait for the same answer.

    Not for ever: if `make` hangs, as it does where a disk does not answer, one thread of the daemon hangs and no other.
    """

    def __init__(self, seconds: float, make: Callable[[], T], patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another thread's answer."""
        self._seconds, self._make, self._patience = seconds, make, patience
        self._lock = threading.Lock()
        self._made: T | None = None
        self._until = 0.0

    def __call__(self) -> T:
        """The answer. TimeoutError if another thread is long in finding it; whatever `make` raises."""
        if not self._lock.acquire(timeout=self._patience):
            raise TimeoutError("a part of mediapool does not answer: a drive that hangs?")
        try:
            if self._made is None or time.monotonic() >= self._until:
                self._made = self._make()
                self._until = time.monotonic() + self._seconds
            return self._made
        finally:
            self._lock.release()


class Gatherer:
    """Asks the parts of a mounted tree."""

    def __init__(self, app: "App", recent: Recent) -> None:
        self._app, self._recent = app, recent
        self.sampler = Sampler(self._sums, lambda: [(each.fh, each.came + each.went) for each in self._open()])
        self.facts = Lately(_OFTEN, self._facts)
        self._torrents = Lately(_SELDOM, app.answers.listing)
        self._discs = Lately(_RARELY, _Discs(lambda: app.state.archive))
        self._programs: dict[int, str] = {}

    def _open(self) -> list[OpenNow]:
        return self._app.filesystem.traffic.now()

    def _sums(self) -> Sums:
        traffic, reader = self._app.filesystem.traffic.totals(), self._app.reader.stats()
        # Threads of a program end, and a pid then says nothing: so whose a file is, is asked while it is new.
        self._learn_programs(self._open())
        return Sums(traffic.drives + traffic.copies, reader.from_cache, reader.fetched)

    def _learn_programs(self, found: Sequence[OpenNow]) -> None:
        known = self._programs
        self._programs = {each.fh: known.get(each.fh) or program_of(each.pid) for each in found}

    def _facts(self) -> Facts:
        app, state = self._app, self._app.state
        return Facts(
            status=app.answers.status(),
            retiring={drive.name: drive.retiring for drive in app.drives if drive.retiring},
            playing=self._playing(),
            rates=self.sampler.rates(),
            moves=app.moves.list(),
            pins=app.pinning.state()["jobs"],
            checkup=None if app.library is None else app.healing.state(),
            check=app.check.state(),
            warming=app.warmer.status().queued,
            crawl=crawls.under_way(state.crawl),
            runs=_runs(state.runs),
            downloads=[] if app.client is None else app.client.listing(),
            torrents=self._torrents(),
            discs=self._discs(),
            warnings=self._recent.latest(),
        )

    def _playing(self) -> list[Playing]:
        found = self._open()
        self._learn_programs(found)
        return [self._played(each) for each in found]

    def _played(self, one: OpenNow) -> Playing:
        program = self._programs.get(one.fh, UNKNOWN)
        if one.content is not None and program == UNKNOWN:
            program = self._app.budget.account_of(one.content)[1]
        read = one.cached + one.fetched
        return Playing(
            one.path,
            program,
            one.source,
            one.drive,
            None if one.passed else self.sampler.rate(one.fh, one.came + one.went, one.since),
            one.came + one.went,
            one.went > 0,
            one.cached / read if read and one.source == "remote" else None,
            self._media(one.path),
        )

    def _media(self, path: str) -> str:
        try:
            media = self._app.about.media_of(path)
        except OSError:  # it has no name any more
            return ""
        return described(media["facts"]) if media is not None and media["facts"] else ""


class _Discs:
    """The volumes of the archive that was used last; none where it cannot be read. Read anew when its index changed."""

    def __init__(self, memory: Callable[[], Path]) -> None:
        """`memory`: the file that names the archive."""
        self._memory = memory
        self._mark: object = None
        self._found: list[Disc] = []

    def __call__(self) -> list[Disc]:
        # Late: most mounts have no archive, and these take longer to import than a mount to begin.
        from cli.archives import last_used

        folder = last_used(memory) if (memory := self._memory()).exists() else None
        if folder is None:
            return []
        try:
            mark = (folder, os.stat(folder / INDEX).st_mtime_ns)
        except OSError:
            return []
        if mark != self._mark:
            self._found = _volumes(folder)
            self._mark = mark
        return self._found


def _volumes(folder: Path) -> list[Disc]:
    from indexer.volumes import Archive, ArchiveError

    try:
        made = Archive(folder)
    except (ArchiveError, OSError):
        return []
    made.root.close()
    return [
        Disc(
            one.name, one.state.word, len(one.manifest.files), one.manifest.size, one.manifest.medium, one.state.disc,
            one.state.verified or one.state.burned or "",
        )
        for one in made.volumes.values()
    ]  # fmt: skip


def _runs(folder: Path) -> list[str]:
    """What the commands of the index that move files are about, by the ids of their runs."""
    if sys.platform == "win32":  # which has none of them
        return []
    from indexer import runs

    return runs.under_way(folder)
