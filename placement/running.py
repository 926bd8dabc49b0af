"""Jobs of moves, done by one thread, one file after the other: begun, paused, gone on with, undone.

What a job has done is seen on the drives, so after a kill at any moment the next start goes on where it was: a file
that has left its drive is not moved again. A file that cannot be moved now, since the kernel uses it or somebody writes
to it, waits, and the job goes on with the others.

Lock order: `_working`, held while one file is dealt with; `_lock` is a leaf.
"""

import errno
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from placement import inventory
from placement.drive import Drive
from placement.jobs import Item, Job, Jobs
from placement.linkgroup import lstat
from placement.moving import Moving
from placement.progress import Progress, Watched, write_down
from placement.purposes import Pool, Regular, checked, drained, plan, targets
from placement.relocation import Moved

log = logging.getLogger(__name__)

# Seconds: between looks whether a file that waits can be moved, at first and at most; for the thread to end.
AGAIN = 1.0
_LONGEST = 300.0
_END = 15.0
# Errors that another drive may not have.
_TRY_NEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EEXIST)


class MoveJobs:
    """The jobs of one pool. `start` once, then `close`."""

    def __init__(
        self, jobs: Jobs, pool: Pool, moving: Moving, again: float = AGAIN, regular: Sequence[Regular] = ()
    ) -> None:
        self._jobs, self._pool, self._moving, self._again = jobs, pool, moving, again
        self._regular = [(one, time.monotonic() + one.every) for one in regular]
        # Takes away what else lies on a drained drive, and says in words what stays.
        self.empty: Callable[[Drive, threading.Event], str] = lambda drive, cancel: ""
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._cancel = threading.Event()
        self._wake = threading.Event()
        self._busy: int | None = None
        self._end = False
        # (job, number of the file) -> (when to look again, seconds to wait after that).
        self._later: dict[tuple[int, int], tuple[float, float]] = {}
        # What is due of each job, read from the database only when this is used up.
        self._queued: dict[int, deque[Item]] = {}
        self._progress: dict[int, Progress] = {}
        self._thread = threading.Thread(target=self._run, name="moves", daemon=True)
        self.retire()

    def retire(self) -> None:
        """Have drives that are or were drained take nothing new, as long as nobody takes that back."""
        reasons: dict[str, str] = {}
        for job in self._jobs.all():
            if job.kind == "drain":
                kept = job.state not in ("cancelled", "undone")
                reasons[job.spec["id"]] = f"it is drained (job {job.id})" if kept else ""
        for drive in self._pool.drives():
            drive.retiring = reasons.get(drive.id, "")

    def start(self) -> None:
        """Go on with what was begun in earlier runs."""
        self._thread.start()

    def close(self) -> None:
        """Give up the move under way; the next start goes on."""
        self._end = True
        self._cancel.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_END)
        self._jobs.close()

    # What is asked.

    def planned(self, kind: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """What a job would do now, as plain values. ValueError, OSError."""
        checked(self._pool, kind, spec)
        job = Job(0, kind, spec, "planning", 0.0, None, "")
        names = {drive.id: drive.name for drive in self._pool.drives()}
        return [
            {
                "path": item.names[0],
                "names": list(item.names),
                "size": item.size,
                "source": names[item.source],
                "target": names.get(item.target, ""),
                "problem": item.problem,
            }
            for item in plan(self._pool, None, job, threading.Event())
        ]

    def begin(self, kind: str, spec: dict[str, Any]) -> int:
        """A new job; its number. ValueError."""
        checked(self._pool, kind, spec)
        if kind == "drain":
            spec = {**spec, "id": self._pool.named(spec["drive"]).id}
            for job in self._jobs.all():
                if job.kind == "drain" and job.spec["id"] == spec["id"] and job.state in _UNDER_WAY:
                    raise ValueError(f"job {job.id} drains this drive already")
        number = self._jobs.add(kind, spec)
        self.retire()
        self._wake.set()
        return number

    def pause(self, number: int) -> None:
        """ValueError if the job has ended; LookupError."""
        self._must_be(number, ("planning", "running"), "has ended, or is paused")
        self._jobs.set_state(number, "paused")
        self._interrupt(number)

    def resume(self, number: int) -> None:
        """ValueError if the job is not paused; LookupError."""
        self._must_be(number, ("paused",), "is not paused")
        # It may have been paused before it was planned.
        self._jobs.set_state(number, "running" if self._has_items(number) else "planning")
        self._wake.set()

    def undo(self, number: int) -> int:
        """Begin a job that moves back what this one has moved, which ends; its number. LookupError, ValueError."""
        self._must_be(number, (*_UNDER_WAY, "done", "cancelled"), "is undone already")
        self._jobs.set_state(number, "undone")
        self._interrupt(number)
        # First, or what is moved back would be refused.
        self.retire()
        other = self._jobs.add("undo", {"of": number})
        self._wake.set()
        return other

    def keep(self, name: str) -> list[int]:
        """End the draining of this drive, which takes new files again; the numbers of its jobs. ValueError."""
        drive = self._pool.named(name)
        found = [
            job.id
            for job in self._jobs.all()
            if job.kind == "drain" and job.spec["id"] == drive.id and job.state not in ("cancelled", "undone")
        ]
        for number in found:
            self._jobs.set_state(number, "cancelled")
            self._interrupt(number)
        self.retire()
        return found

    def list(self) -> list[dict[str, Any]]:
        """All jobs, with the progress of those under way."""
        return [{**job, **self._live(job)} for job in self._jobs.shown()]

    def _live(self, job: dict[str, Any]) -> dict[str, Any]:
        progress = self._progress.get(job["id"])
        if progress is None or job["state"] != "running":
            return {}
        rate = progress.rate(time.monotonic())
        left = max(0, job["bytes"].get("waiting", 0) - progress.part())
        return {
            "path": progress.path,
            "phase": progress.phase,
            "part": progress.part(),
            "rate": rate,
            "left_seconds": left / rate if rate else None,
        }

    def _must_be(self, number: int, states: Sequence[str], problem: str) -> None:
        if self._jobs.get(number).state not in states:
            raise ValueError(f"job {number} {problem}")

    def _has_items(self, number: int) -> bool:
        return any(job["files"] for job in self._jobs.shown() if job["id"] == number)

    def _interrupt(self, number: int) -> None:
        with self._lock:
            if self._busy == number:
                self._cancel.set()
        self._wake.set()

    # What is done.

    def _run(self) -> None:
        while not self._end:
            self._wake.clear()
            try:
                while not self._end and self._turn():
                    pass
                self._begin_regular()
            except (OSError, sqlite3.Error) as cause:
                log.warning("moves: %s", cause)
            except Exception:
                log.exception("a job of moves failed, which is a bug in mediapool")
            if not self._end:
                self._wake.wait(self._again)

    def _begin_regular(self) -> None:
        """Begin those jobs whose time has come, unless the last one of the kind is still under way."""
        now = time.monotonic()
        for index, (one, due) in enumerate(self._regular):
            if now < due or self._end:
                continue
            self._regular[index] = (one, now + one.every)
            under_way = any(job.spec == one.spec and job.state in _UNDER_WAY for job in self._jobs.all())
            try:
                if not under_way and self.planned("tier", one.spec):
                    self.begin("tier", one.spec)
            except (OSError, ValueError) as cause:
                log.warning("nothing was moved from tier %s: %s", one.spec["source"], cause)

    def _turn(self) -> bool:
        """Do one thing for the first job for which there is one; False if there is nothing to do now."""
        return any(self._work(job) for job in self._jobs.all() if job.state in ("planning", "running"))

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Give up the move under way and begin no other meanwhile; afterwards all goes on."""
        self._cancel.set()
        with self._working:
            yield

    def _work(self, job: Job) -> bool:
        with self._working:
            return self._work_on(job)

    def _work_on(self, job: Job) -> bool:
        with self._lock:
            self._busy = job.id
            self._cancel.clear()
        try:
            if self._end or self._jobs.get(job.id).state != job.state:
                return True
            if job.state == "planning":
                self._plan(job)
                return True
            if not self._queued.get(job.id):
                waiting = self._jobs.items(job.id, "waiting")
                if not waiting:
                    return self._finished(job)
                now = time.monotonic()
                due = [item for item in waiting if self._later.get((job.id, item.number), (0.0, 0.0))[0] <= now]
                self._queued[job.id] = deque(due)
            queue = self._queued[job.id]
            # What is put off does not keep the rest from being looked at now.
            return bool(queue) and (self._do(job, queue.popleft()) or bool(queue))
        finally:
            with self._lock:
                self._busy = None

    def _plan(self, job: Job) -> None:
        try:
            items = plan(self._pool, self._jobs, job, self._cancel)
        except (OSError, ValueError) as cause:
            self._jobs.set_state(job.id, "done", f"it could not be planned: {cause}")
            return
        if not self._cancel.is_set():
            self._jobs.append(job.id, items)
            log.info("job %d (%s): %d files to move", job.id, job.kind, len(items))

    def _finished(self, job: Job) -> bool:
        try:
            return self._finish(job)
        except (OSError, ValueError) as cause:
            if not self._cancel.is_set():
                self._jobs.set_state(job.id, "done", f"it ended early: {cause}")
            return True

    def _finish(self, job: Job) -> bool:
        """All its files are dealt with: end the job, unless a drained drive has others by now."""
        failed = self._jobs.items(job.id, "failed")
        problems = [f"{len(failed)} files could not be moved"] if failed else []
        if job.kind == "drain":
            drive = drained(self._pool, job.spec)
            known = {item.names for item in failed}
            more = [item for item in plan(self._pool, None, job, self._cancel) if item.names not in known]
            if self._cancel.is_set():
                return True
            if more:
                self._jobs.append(job.id, more)
                return True
            self._moving.keep_folders(drive, inventory.take(drive, self._cancel).folders)
            problems += filter(None, [self.empty(drive, self._cancel)])
        problem = "; ".join(problems)
        self._jobs.set_state(job.id, "done", problem)
        self._progress.pop(job.id, None)
        self._queued.pop(job.id, None)
        log.info("job %d (%s) is done%s", job.id, job.kind, f", but {problem}" if problem else "")
        return True

    def _do(self, job: Job, item: Item) -> bool:
        """Move one file, or put it off; whether anything was moved or is settled."""
        source = self._pool.by_id(item.source)
        if source is None or not source.present:
            return self._put_off(job, item, "its drive is missing")
        try:
            path = self._still_there(source, item)
            if path is None:
                self._jobs.note(job.id, item.number, "moved" if self._arrived(item) else "gone")
                return True
            if reason := self._moving.busy(source, path):
                return self._put_off(job, item, reason)
            return self._move(job, item, source, path)
        except OSError as cause:
            return self._failed(job, item, source, cause)

    def _still_there(self, source: Drive, item: Item) -> str | None:
        """A name that the file still has on its drive."""
        return next((name for name in item.names if lstat(source.require(), name) is not None), None)

    def _arrived(self, item: Item) -> bool:
        target = self._pool.by_id(item.target)
        return target is not None and target.present and lstat(target.require(), item.names[0]) is not None

    def _move(self, job: Job, item: Item, source: Drive, path: str) -> bool:
        names = (path, *(name for name in item.names if name != path))
        refusal: OSError = OSError(errno.ENODEV, "the drive it should go to is no part of the pool")
        for attempt, target in enumerate(targets(self._pool, job, item), 1):
            with Watched(self._progress.setdefault(job.id, Progress()), path) as progress:
                try:
                    # Before the move, so that the next start knows where to look for it.
                    self._jobs.note(job.id, item.number, "waiting", target=target.id)
                    moved = self._moving.move_file(
                        source, names, target, cancel=self._cancel, rate=job.spec.get("rate"), attempt=attempt,
                        progress=progress.tell,
                    )  # fmt: skip
                except OSError as cause:
                    if cause.errno not in _TRY_NEXT:
                        raise
                    refusal = cause
                    continue
                progress.done(item.size)
            self._note_moved(job, item, source, target, moved)
            return True
        raise refusal

    def _note_moved(self, job: Job, item: Item, source: Drive, target: Drive, moved: Moved) -> None:
        if job.spec.get("log"):
            try:
                write_down(Path(job.spec["log"]), source, target, moved)
            except OSError as cause:
                log.error("a move could not be noted in %s: %s", job.spec["log"], cause)
        self._jobs.note(job.id, item.number, "moved", moved.waiting, target.id)
        self._later.pop((job.id, item.number), None)

    def _failed(self, job: Job, item: Item, source: Drive, cause: OSError) -> bool:
        reason = cause.strerror or str(cause)
        if cause.errno == errno.ECANCELED:
            # The job was paused, or a writer whose drive is full must move the file itself.
            return self._put_off(job, item, "")
        if cause.errno == errno.EBUSY or not source.present:
            return self._put_off(job, item, reason)
        if cause.errno == errno.ENOENT:
            self._jobs.note(job.id, item.number, "gone")
            return True
        log.warning("job %d: %s: %s", job.id, item.names[0], reason)
        self._jobs.note(job.id, item.number, "failed", reason)
        return True

    def _put_off(self, job: Job, item: Item, reason: str) -> bool:
        """Look at the file again later, ever more rarely if each look costs a copy."""
        key = (job.id, item.number)
        wait = self._later.get(key, (0.0, self._again))[1]
        self._later[key] = (time.monotonic() + wait, min(2 * wait, _LONGEST if item.problem == reason else self._again))
        if reason != item.problem:
            self._jobs.note(job.id, item.number, "waiting", reason)
        return False


_UNDER_WAY = ("planning", "running", "paused")
