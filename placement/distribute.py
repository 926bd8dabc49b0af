"""Symlink distribution: files of some folders go to the drives, and a library of links leads to them.

Each file is moved by the engine of `moves.py`, which takes the source folder for a drive: copied, synced, read
back and compared, named, and only then removed from the source. The links to it are made after its names and
before that commit, so the library has it at each moment from then on; until then the source has it. A run that
is killed is finished or undone by the next one, from the journal.
"""

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from placement import system as os
from placement.distributions import Distributions, Item
from placement.drive import Drive
from placement.expected import Expected, expecting
from placement.identity import FOLDER
from placement.library import Finding, Library
from placement.librarytree import LibraryTree, place_on
from placement.linkgroup import STAGING, lstat
from placement.moves import Mover, OnStep, Progress
from placement.rules import Placement
from placement.sources import Folder, Found, Writers, look, writers

log = logging.getLogger(__name__)

# A file that changed this short a time ago, in seconds, may change again.
QUIET = 60.0
# How long, in seconds, a look at who writes is taken as true.
_FRESH = 5.0
_TICK = 0.2  # seconds between two looks at whether it is to end
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Report:
    """What a run did. `moved` and `undone`: path and drive; `failed` and `waiting`: path and reason.

    `unseen`: processes of which it is not known what they write. `job`: its number, 0 if nothing was done.
    """

    job: int = 0
    moved: list[tuple[Found, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unseen: int = 0
    interrupted: bool = False


class Distribution:
    """Distributes files to the drives of `placement`, and puts them back. For one thread."""

    def __init__(
        self,
        placement: Placement,
        journal: Distributions,
        library: Library,
        *,
        quiet: float = QUIET,
        rate: int | None = None,
        cancel: threading.Event | None = None,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
        others: Callable[[], Collection[str] | None] = tuple,
    ) -> None:
        """`quiet`: seconds that a file must have been unchanged. The rest is as for `Mover`."""
        self._placement = placement
        self._journal = journal
        self._library = library
        self._quiet = quiet
        self._rate = rate
        self._cancel = cancel or threading.Event()
        self._folders: dict[str, Folder] = {}
        self._files: list[Found] = []
        self._writers = Writers()
        self._looked = 0.0
        # Which file of how many is under way.
        self.position = (0, 0)
        self._mover = Mover(
            lambda: [*placement.drives(), *self._folders.values()],
            journal,
            LibraryTree(library, self._is_written),
            progress=progress,
            on_step=on_step,
            min_free=placement.min_free,
            others=others,
        )

    # What was interrupted.

    def recover(self, sources: Iterable[Folder] = ()) -> list[str]:
        """Finish or undo what a killed run left; why some of it has to wait. OSError."""
        with ExitStack() as closing:
            self._take(sources, closing)
            waiting = [f"{one.paths[0]}: {one.cause}" for one in self._mover.recover() if one.result == "waiting"]
            self._settle()
            self._library.remove_drafts()
        return waiting

    def _take(self, sources: Iterable[Folder], closing: ExitStack) -> None:
        """Have the engine know these folders, and those that interrupted moves are about."""
        self._folders = {folder.path: folder for folder in sources}
        for _, record in self._journal.pending():
            for ident in (str(record.get("source")), str(record.get("target"))):
                path = ident.split(":", 2)[2] if ident.startswith("folder:") else ""
                if path and path not in self._folders and os.path.isdir(path):
                    folder = self._folders[path] = Folder(path)
                    closing.callback(folder.close)
                    closing.callback(self._folders.pop, path)

    def _settle(self) -> None:
        """Find out of files whose move was interrupted whether they were moved."""
        drives = {drive.id: drive for drive in self._placement.drives()}
        busy = set(self._mover.begun())
        for item in self._journal.items("moving"):
            drive = drives.get(item.drive)
            if item.path in busy or drive is None or not drive.present:
                continue
            there = lstat(drive.require(), item.path) is not None
            gone = not os.path.lexists(os.path.join(item.source, item.path))
            self._journal.set_state([item.id], "moved" if there and gone else None)
        self._journal.forget_empty_jobs()

    # A run.

    def ready(self, sources: Sequence[Folder], report: Report, only: Collection[tuple[str, str]] | None = None) -> None:
        """Look for what can be moved now; fills in the rest of `report`. `only`: (source, path) of those wanted."""
        self._folders = {folder.path: folder for folder in sources}
        self._count()
        files: list[Found] = []
        for source in sources:
            seen = look(source)
            files += [one for one in seen.files if only is None or (source.path, one.path) in only]
            report.passed += [(os.path.join(source.path, path), reason) for path, reason in seen.passed]
        self._files = files
        self._look_for_writers()
        report.unseen = self._writers.unseen
        now = time.time()
        self._files = []
        for one in files:
            reason = self._unready(one, now)
            if reason:
                report.waiting.append((_shown(one), reason))
            else:
                self._files.append(one)

    def _count(self) -> None:
        """Wait until it is known how much lies on drives with a capacity: else they would seem to be empty."""
        for drive in self._placement.drives():
            while drive.usage is not None and drive.present and not self._cancel.is_set():
                if drive.usage.is_known(_TICK):
                    break

    def _look_for_writers(self) -> None:
        self._writers = writers(self._files)
        self._looked = time.monotonic()

    def _unready(self, one: Found, now: float) -> str:
        if (one.device, one.ino) in self._writers.files:
            return "it is open for writing"
        age = now - one.changed
        if age < self._quiet:
            return f"it changed {max(0, age):.0f} seconds ago"
        return ""

    def _is_written(self, folder: Folder, ino: int) -> bool:
        if time.monotonic() - self._looked > _FRESH:
            self._look_for_writers()
        return (folder.require().key[0], ino) in self._writers.files

    def plan(self, sources: Sequence[Folder], only: Collection[tuple[str, str]] | None = None) -> Report:
        """What `run` would do, as far as it can be told: policies that draw lots draw again."""
        report = Report()
        self.ready(sources, report, only)
        expected = [Expected(drive) for drive in self._placement.drives()]
        placement = expecting(self._placement, expected)
        for one in self._files:
            try:
                self._refuse(one, expected)
                chosen = placement.place(one.path, one.size)[0]
            except OSError as error:
                report.failed.append((_shown(one), _cause(error)))
                continue
            next(drive for drive in expected if drive.id == chosen.id).expect(one)
            report.moved.append((one, chosen.name))
        report.findings = self._library.check(self._distributed, dry_run=True)
        return report

    def run(self, sources: Sequence[Folder], only: Collection[tuple[str, str]] | None = None) -> Report:
        """Distribute what is ready, and mend the links; what fails is noted. OSError of the journal."""
        report = Report()
        self.ready(sources, report, only)
        report.job = self._journal.open_job(self._library.path)
        try:
            for number, one in enumerate(self._files, 1):
                self.position = (number, len(self._files))
                if self._cancel.is_set():
                    report.interrupted = True
                    break
                self._distribute(one, report)
            if not report.interrupted:
                self._mend(report)
        finally:
            self._journal.close_job(report.job)
        if not report.moved and not any(finding.kind == "removed" for finding in report.findings):
            report.job = 0
        return report

    def _distribute(self, one: Found, report: Report) -> None:
        try:
            report.moved.append((one, self._move(one, report.job)))
        except OSError as error:
            if error.errno == errno.ECANCELED:
                report.interrupted = True
                return
            reason = _cause(error)
            log.info("%s is not distributed: %s", _shown(one), reason)
            report.failed.append((_shown(one), reason))
            self._journal.failed(self._library.path, one.source.path, one.path, reason)
            return
        self._journal.forget_failure(self._library.path, one.source.path, one.path)

    def _move(self, one: Found, job: int) -> str:
        """Move it to the first drive that takes it; that drive's name. OSError."""
        drives = self._placement.drives()
        self._refuse(one, drives)
        tried = None
        for drive in self._placement.place(one.path, one.size):
            items = [
                self._journal.add(job, one.source.path, path, drive.id, place_on(drive, path), size, "moving")
                for path, size in zip(one.paths, (one.size, *[0] * len(one.paths)), strict=False)
            ]
            try:
                self._mover.move(one.source, one.path, drive, rate=self._rate, cancel=self._cancel)
            except OSError as error:
                # What cannot be undone yet is found out later.
                if set(one.paths).isdisjoint(self._mover.begun()):
                    self._journal.set_state(items, None)
                if error.errno not in _FULL:
                    raise
                tried = error
                continue
            self._journal.set_state(items, "moved")
            log.info("%s went to drive %s", _shown(one), drive.name)
            return drive.name
        raise tried or OSError(errno.ENOSPC, "no drive takes it")

    def _refuse(self, one: Found, drives: Sequence[Drive]) -> None:
        """What is known not to work, so that nothing is copied in vain."""
        if one.links > len(one.paths):
            raise OSError(errno.EBUSY, "it has other names outside this source, which would keep the old copy")
        for path in one.paths:
            for drive in drives:
                if drive.present and lstat(drive.require(), path) is not None:
                    raise FileExistsError(errno.EEXIST, f"drive {drive.name} has something of that path already")
            self._library.refuse_occupied(path, "")

    # Links.

    def _mend(self, report: Report) -> None:
        """Check the links of the library; those that are removed can be put back by undoing the job."""
        report.findings = self._library.check(self._distributed, dry_run=True)
        for finding in report.findings:
            if finding.kind == "removed":
                self._journal.add(report.job, self._library.path, finding.path, "", finding.target, 0, "unlinked")
        if any(finding.kind in ("healed", "removed") for finding in report.findings):
            report.findings = self._library.check(self._distributed, dry_run=False)

    def _distributed(self, target: str) -> str | None:
        """Where a file of a source was distributed to."""
        for folder in self._folders:
            path = os.path.relpath(target, folder)
            if not path.startswith("../") and (new := self._journal.moved_from(folder, path)) is not None:
                return new if os.path.lexists(new) else None
        return None

    # Undoing.

    def undo(self, job: int) -> Report:
        """Put the files of this job back to where they were, newest first; links that it removed, too.

        What fails stays as it is, with the reason in the report. OSError of the journal.
        """
        report = Report(job=job)
        drives = {drive.id: drive for drive in self._placement.drives()}
        items = list(reversed(self._journal.items("moved", job)))
        with ExitStack() as closing:
            self._open(items, closing)
            for number, item in enumerate(items, 1):
                self.position = (number, len(items))
                if self._cancel.is_set():
                    report.interrupted = True
                    return report
                self._put_back(item, drives.get(item.drive), report)
            for item in self._journal.items("unlinked", job):
                self._link_again(item, report)
        return report

    def _open(self, items: Sequence[Item], closing: ExitStack) -> None:
        self._folders = {}
        for path in dict.fromkeys(item.source for item in items):
            if os.path.isdir(path):
                folder = self._folders[path] = Folder(path)
                closing.callback(folder.close)
                os.makedirs(os.path.join(path, FOLDER), 0o700, exist_ok=True)
                closing.callback(_tidy, path)

    def _put_back(self, item: Item, drive: Drive | None, report: Report) -> None:
        folder = self._folders.get(item.source)
        shown = os.path.join(item.source, item.path)
        try:
            if drive is None or folder is None:
                what = f"the folder {item.source}" if drive else "its drive"
                raise OSError(errno.ENOENT, f"{what} is not there")
            if lstat(drive.require(), item.path) is None and lstat(folder.require(), item.path) is not None:
                # Another name of a file that was put back with all its names.
                self._journal.set_state([item.id], "undone")
                return
            self._journal.set_state([item.id], "moving")
            moved = self._mover.move(drive, item.path, folder, rate=self._rate, cancel=self._cancel)
        except OSError as error:
            if item.path not in self._mover.begun():
                self._journal.set_state([item.id], "moved")
            if error.errno == errno.ECANCELED:
                report.interrupted = True
                return
            report.failed.append((shown, _cause(error)))
            return
        self._journal.set_state([item.id], "undone")
        found = Found(folder, moved.paths, 0, moved.new_ino, moved.size, len(moved.paths), 0.0)
        report.moved.append((found, drive.name))

    def _link_again(self, item: Item, report: Report) -> None:
        try:
            self._library.link(item.path, item.target)
        except OSError as error:
            report.failed.append((os.path.join(item.source, item.path), _cause(error)))
            return
        self._journal.set_state([item.id], "undone")


def _tidy(path: str) -> None:
    """Remove the folder for copies that putting files back has made."""
    for folder in (STAGING, FOLDER):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(path, folder))


def _shown(one: Found) -> str:
    return os.path.join(one.source.path, one.path)


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
