"""`debrid check` and `debrid repair`: a byte of each file is read, and what is dead is repaired if that is wanted.

One job at a time, in a thread; it can be watched and ended at any moment. A repair that was begun goes on in its own
thread even if the job ends.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from debrid import errors
from debrid.budget import Allowance, BudgetSpent
from debrid.errors import DebridError, Reaction
from debrid.healing import Repairs
from debrid.leaving import Key
from debrid.library import Library
from debrid.repairlog import State
from debrid.transport import Budget, Interrupt

log = logging.getLogger(__name__)

_CHECK_SECONDS = 60.0
_REPAIR_SECONDS = 300.0
_END = 10.0
# After these nobody else can be asked either.
_STOPS = frozenset({Reaction.REST, Reaction.MIDNIGHT, Reaction.TELL, Reaction.SLOW_DOWN})
_DEAD = frozenset({Reaction.REPAIR, Reaction.RESYNC, Reaction.REFUSED, Reaction.RENEW})

OK, DEAD, REPAIRED, WAITING, UNKNOWN = "ok", "dead", "repaired", "waiting", "unknown"


class FilesBelow(Protocol):
    """The remote names of the tree."""

    def files_below(self, path: str) -> list[tuple[str, Key]]:
        """The remote files at or below a path; FileNotFoundError if there are none of that name."""
        ...


@dataclass(slots=True)
class Result:
    """One file: `state` is one of the five above, `detail` says why."""

    path: str
    state: str
    detail: str = ""


@dataclass(slots=True)
class _Job:
    number: int
    total: int = 0
    done: int = 0
    path: str = ""
    error: str = ""
    results: list[Result] = field(default_factory=list)
    interrupt: Interrupt = field(default_factory=Interrupt)


class Checkup:
    """Thread-safe."""

    def __init__(self, library: Library, repairs: Repairs, tree: FilesBelow, allowance: Allowance) -> None:
        self._library, self._repairs, self._tree, self._allowance = library, repairs, tree, allowance
        self._lock = threading.Lock()
        self._job = _Job(0)
        self._thread: threading.Thread | None = None

    def start(self, paths: Sequence[str], *, repair: bool) -> int:
        """Begin, in place of a job that runs; its number. FileNotFoundError: no remote file has that path."""
        names = [each for path in paths for each in self._tree.files_below(path)]
        self.stop()
        with self._lock:
            self._job = job = _Job(self._job.number + 1, total=len(names))
            self._thread = threading.Thread(target=self._run, args=(job, names, repair), name="checkup", daemon=True)
            self._thread.start()
            return job.number

    def plan(self, paths: Sequence[str]) -> list[str]:
        """The names that a job over these paths would look at; FileNotFoundError as `start`."""
        return [name for path in paths for name, _ in self._tree.files_below(path)]

    def state(self) -> dict[str, Any]:
        """How far the last job is, and what it found so far."""
        with self._lock:
            job, thread = self._job, self._thread
        return {
            "job": job.number,
            "running": thread is not None and thread.is_alive(),
            "total": job.total,
            "done": job.done,
            "path": job.path,
            "error": job.error,
            "files": [{"path": each.path, "state": each.state, "detail": each.detail} for each in list(job.results)],
        }

    def stop(self) -> None:
        """End the job that runs."""
        self._job.interrupt.set()
        thread = self._thread
        if thread is not None:
            thread.join(_END)

    def _run(self, job: _Job, names: Sequence[tuple[str, Key]], repair: bool) -> None:
        seen: dict[Key, Result] = {}
        try:
            for path, key in names:
                job.interrupt.check()
                job.path = path
                self._allowance.give_way(job.interrupt)
                # A second name of a file costs no second look.
                known = seen.get(key)
                seen[key] = result = Result(path, known.state, known.detail) if known else self._look(job, path, key)
                job.results.append(result)
                job.done += 1
            if repair:
                self._mend(job, names)
        except errors.Interrupted:
            job.error = "it was interrupted"
        except DebridError as error:
            job.error = str(error)
        except Exception:
            log.exception("checking failed")
            job.error = "it failed; the log says why"

    def _look(self, job: _Job, path: str, key: Key) -> Result:
        try:
            self._library.check(key, self._allowance, Budget.of(_CHECK_SECONDS, interrupt=job.interrupt))
        except errors.Interrupted:
            raise
        except DebridError as error:
            if error.reaction in _STOPS or isinstance(error, BudgetSpent):
                raise
            return Result(path, DEAD if error.reaction in _DEAD else UNKNOWN, str(error))
        return Result(path, OK)

    def _mend(self, job: _Job, names: Sequence[tuple[str, Key]]) -> None:
        dead = [(result, key) for result, (_, key) in zip(job.results, names, strict=True) if result.state == DEAD]
        for info_hash in dict.fromkeys(key[1] for _, key in dead):
            of_this = [(result, key) for result, key in dead if key[1] == info_hash]
            job.path = of_this[0][0].path
            self._repairs.force(info_hash)
            repair = self._repairs.wait(info_hash, Budget.of(_REPAIR_SECONDS, interrupt=job.interrupt))
            for result, key in of_this:
                again = self._look(job, result.path, key)
                result.state, result.detail = REPAIRED if again.state == OK else again.state, again.detail
                if repair is not None and result.state != REPAIRED:
                    result.detail = repair.problem or result.detail
                    moving = repair.state not in (State.DONE, State.GIVEN_UP)
                    result.state = WAITING if moving else result.state
