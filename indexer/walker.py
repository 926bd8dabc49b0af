"""`Walker`: keeps the catalog true while the pool is mounted, one thread for each drive.

It looks again at directories that changed, some quiet seconds after, and walks each whole drive after the mount,
when a missing one came back, and every so often, because what others change on a drive is noticed by nothing else.
Drives that are missing are passed over, and what is recorded of them stays.

It takes a share of the time only, and rests after each moment of work in proportion: the system calls of a look let
the other threads of this process run, what is between them does not. A thread of its own for each drive, because a
disk that does not answer must not keep the others from being looked at.
"""

import logging
import threading
import time
from collections.abc import Sequence

from indexer.catalog import Catalog, CatalogError
from indexer.known import KnownFiles
from indexer.look import WantsBirth, wide
from indexer.scan import Crawl, Progress
from placement.drive import Drive

log = logging.getLogger(__name__)

# Seconds: between whole walks; to wait after the catalog or something else failed; between two looks whether there is
# something to do; to wait for the thread at the end.
DAY = 86_400.0
_AFTER_FAILURE = 60.0
_POLL = 1.0
_JOIN = 5.0
# Part of the time that the walker works.
SHARE = 0.25
# Seconds: of work between two rests; the longest rest.
_MOMENT = 0.01
_LONGEST_REST = 2.0


class _Task:
    """What is to be done for one drive. `due`: monotonic seconds of the next whole walk; `anew`: it is due now, and
    must not go on with a broken-off one."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.due = 0.0
        self.anew = False
        self.present = True
        self.gone = False
        self.crawl: Crawl | None = None
        self.progress: Progress | None = None
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None


class Walker:
    """Keeps what `known` knows of these drives up to date. `start` once, then `stop`."""

    def __init__(
        self,
        drives: Sequence[Drive],
        catalog: Catalog,
        known: KnownFiles,
        *,
        every: float = DAY,
        share: float = SHARE,
        wants_birth: WantsBirth = wide,
    ) -> None:
        """`every`: seconds between whole walks of a drive; `share`: part of the time to work in, up to 1, which whole
        walks of several drives divide among them."""
        self._catalog = catalog
        self._known = known
        self._every = every
        self._share = share
        self._wants_birth = wants_birth
        self._tasks = [_Task(drive) for drive in drives]
        self._stop = threading.Event()
        self._poll = min(_POLL, max(known.marks.quiet / 4, 0.01))

    def start(self) -> None:
        """Take note which drives these are, and begin in the background. CatalogError."""
        for task in self._tasks:
            self._known.adopt(task.drive.number, task.drive.id)
        for task in self._tasks:
            self._begin(task)

    def _begin(self, task: _Task) -> None:
        name = f"walker {task.drive.name}"
        task.thread = threading.Thread(target=self._run, args=(task,), name=name, daemon=True)
        task.thread.start()

    def add(self, drive: Drive) -> None:
        """One more drive, after `start`. CatalogError."""
        self._known.adopt(drive.number, drive.id)
        task = _Task(drive)
        self._tasks = [*self._tasks, task]
        self._begin(task)

    def remove(self, number: int) -> None:
        """Leave the drive of this number alone from now on; what is known of it stays."""
        for task in self._tasks:
            if task.drive.number == number:
                task.gone = True
                task.wake.set()
        self._tasks = [task for task in self._tasks if not task.gone]

    def stop(self) -> None:
        """End within milliseconds, or, where a disk does not answer, leave its thread behind after some seconds."""
        self._stop.set()
        for task in self._tasks:
            task.wake.set()
        until = time.monotonic() + _JOIN
        for task in self._tasks:
            if task.thread is not None:
                task.thread.join(max(0.0, until - time.monotonic()))
                if task.thread.is_alive():
                    log.warning("drive %r does not answer: its walk is left behind", task.drive.name)

    def walk(self, number: int | None = None) -> None:
        """Walk this drive, or all, from the beginning, as soon as possible."""
        for task in self._tasks:
            if number is None or task.drive.number == number:
                task.anew = True
                task.wake.set()

    def progress(self) -> dict[int, Progress]:
        """How far the walk under way, or else the last one of this run, is for each drive by number."""
        return {task.drive.number: task.progress for task in self._tasks if task.progress is not None}

    def idle(self) -> bool:
        """Whether no whole walk is under way or due on any drive that is present."""
        now = time.monotonic()
        return not any(task.present and (task.crawl or task.anew or task.due <= now) for task in self._tasks)

    def _run(self, task: _Task) -> None:
        while True:
            task.wake.clear()
            # In this order: `stop` sets the two the other way round.
            if self._stop.is_set() or task.gone:
                break
            task.wake.wait(self._turn(task))
        self._drop(task)

    def _turn(self, task: _Task) -> float:
        """Do what is due and go on with the whole walk for a moment; answers how many seconds to rest."""
        try:
            if not self._is_present(task):
                return self._poll
            self._look_again(task)
            began = time.monotonic()
            return self._rest(began, len(self._tasks)) if self._go_on(task) else self._poll
        except OSError as error:
            log.info("the walk of drive %r is interrupted: %s", task.drive.name, error)
            rest = self._poll
        except CatalogError as error:
            log.error("%s The next try is in %d seconds.", error, _AFTER_FAILURE)
            rest = _AFTER_FAILURE
        except Exception:
            log.exception("the walk of drive %r failed; the next try is in %d seconds", task.drive.name, _AFTER_FAILURE)
            rest = _AFTER_FAILURE
        self._drop(task)
        return rest

    def _rest(self, began: float, among: int = 1) -> float:
        return min((time.monotonic() - began) * (among / self._share - 1), _LONGEST_REST)

    def _is_present(self, task: _Task) -> bool:
        was, task.present = task.present, task.drive.present
        if task.present and not was:
            # It may have been elsewhere, and changed.
            task.anew = True
        if was and not task.present:
            self._drop(task)
        return task.present

    def _look_again(self, task: _Task) -> None:
        """Look at the directories that changed and have been quiet since."""
        due = self._known.marks.due(task.drive.number)
        if not due:
            return
        if task.crawl is not None:
            # What it looked at before must not be recorded after what is looked at now.
            task.crawl.flush()
        again = Crawl.again(self._catalog, task.drive, due, self._known.marks, wants_birth=self._wants_birth)
        try:
            began = time.monotonic()
            while not self._stop.is_set() and again.step(self._stop):
                self._stop.wait(self._rest(began))
                began = time.monotonic()
        finally:
            again.flush()

    def _go_on(self, task: _Task) -> bool:
        """Go on with the whole walk for a moment, or begin it; False if none is due."""
        if task.anew:
            self._drop(task)
        if task.crawl is None:
            if not task.anew and task.due > time.monotonic():
                return False
            resumable = 0.0 if task.anew else self._every
            task.anew = False
            task.crawl = Crawl.whole(
                self._catalog, task.drive, self._known.marks, wants_birth=self._wants_birth, resumable=resumable
            )
        began = time.monotonic()
        going = True
        while going and not self._stop.is_set() and time.monotonic() - began < _MOMENT:
            going = task.crawl.step(self._stop)
        task.progress = task.crawl.progress
        if not going:
            seen = task.progress
            log.info("drive %r is walked: %d directories, %d other names", task.drive.name, *seen[:2])
            task.crawl, task.due = None, time.monotonic() + self._every
        return True

    def _drop(self, task: _Task) -> None:
        """End the walk under way; what it has looked at is recorded if that is possible."""
        crawl, task.crawl = task.crawl, None
        if crawl is not None:
            try:
                crawl.flush()
            except CatalogError as error:
                log.info("%s", error)
