"""A check of the pool as a job: begun, watched, stopped, and what it found mended; mounted or not."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from cli import pool
from cli.config import Config
from cli.distributed import copies_under_way
from cli.keeping import open_names
from cli.options import call
from cli.routes import Post
from cli.state import Contact, StateFolder
from placement.drive import Drive
from placement.identity import DriveError
from placement.rules import NothingKnown
from vfs.cache import ChunkCache
from vfs.checking import REMARKS, Check, Finding, Progress
from vfs.hearing import Heard, unheard
from vfs.inodes import Inodes
from vfs.journal import Journal
from vfs.local import LocalBranch
from vfs.lookup import parent_of
from vfs.mending import Mending
from vfs.names import Names
from vfs.pins import Pins
from vfs.reader import Reader
from vfs.relocating import Relocating
from vfs.remote import NoLibrary, RemoteBranch
from vfs.union import Union

log = logging.getLogger(__name__)

CHECK = "/api/pool/check"
_END = 10.0  # seconds that an interrupted check may take to notice


class Checking(Protocol):
    """A check as the command sees it, in this process or in the daemon."""

    def start(self, whole: bool) -> int:
        """Begin a check, in place of one that runs; its number."""
        ...

    def state(self) -> dict[str, Any]:
        """How far the last one is, and what it found once it has ended."""
        ...

    def stop(self) -> None:
        """End the one that runs."""
        ...

    def mend(self, number: int, chosen: Sequence[int]) -> list[dict[str, Any]]:
        """Mend these findings of that check; what became of each."""
        ...


class PoolCheck:
    """Checks of one pool, one at a time, each in a thread."""

    def __init__(
        self,
        union: Union,
        drives: Sequence[LocalBranch],
        names: Names,
        pins: Pins,
        relocating: Relocating,
        mount: str,
    ) -> None:
        self._union = union
        self._drives = drives
        self._names = names
        self._pins = pins
        self._relocating = relocating
        self._mount = mount
        # What is begun and not ended: in a mounted tree it may well be under way.
        self.standing = False
        self.problems: list[Finding] = []
        self._lock = threading.Lock()
        self._number = 0
        self._progress = Progress()
        self._findings: list[Finding] = []
        self._error = ""
        self._thread: threading.Thread | None = None
        self.heard: Heard = unheard

    def start(self, whole: bool) -> int:
        self.stop()
        with self._lock:
            self._number += 1
            self._progress, self._findings, self._error = Progress(), [], ""
            self._thread = threading.Thread(target=self._run, args=(whole,), name="pool-check", daemon=True)
            self._thread.start()
            return self._number

    def _run(self, whole: bool) -> None:
        try:
            check = Check(self._drives, self._names, self._mount, self._progress)
            strays = [(drive.name, token) for drive, token in self._relocating.mover.strays()]
            self._findings += [*self.problems, *check.run(strays, self._waiting(), whole)]
            self._findings += self._pins.findings(self._drives)
        except OSError as cause:
            self._error = f"The check ended early: {cause.strerror or cause}."
        except Exception:
            log.exception("the check of the pool failed")
            self._error = "The check failed; the log says why."

    def _waiting(self) -> list[tuple[str, str]]:
        if self.standing:
            begun = [*self._union.intents.begun(), *self._relocating.mover.begun()]
            return [(path, "a change of it was interrupted; the next mount finishes it") for path in begun]
        waiting = [*self._union.intents.waiting(), *self._relocating.waiting()]
        return [(path, "an interrupted change of it waits for a drive") for path in waiting]

    def state(self) -> dict[str, Any]:
        running = self._thread is not None and self._thread.is_alive()
        progress = self._progress
        return {
            "check": self._number,
            "running": running,
            "folders": progress.folders,
            "names": progress.names,
            "compared": progress.compared,
            "path": progress.path,
            "error": self._error,
            "findings": [] if running else [finding.plain() for finding in self._findings],
        }

    def stop(self) -> None:
        self._progress.cancel.set()
        thread = self._thread
        if thread is not None:
            thread.join(_END)

    def mend(self, number: int, chosen: Sequence[int]) -> list[dict[str, Any]]:
        if number != self._number or self.state()["running"]:
            raise ValueError("another check was begun since")
        if any(not 0 <= index < len(self._findings) for index in chosen):
            raise ValueError("there is no such finding")
        mending = Mending(self._union, self._recover)
        return [self._mended(mending, self._findings[index]) for index in chosen]

    def _mended(self, mending: Mending, finding: Finding) -> dict[str, Any]:
        done = problem = ""
        try:
            done = mending.mend(finding)
            self.heard(parent_of(finding.path), unseen=True)
            log.info("pool check: %s: %s", finding.path, done)
        except OSError as cause:
            problem = cause.strerror or str(cause)
        return {"path": finding.path, "done": done, "problem": problem}

    def _recover(self) -> None:
        self._relocating.recover()
        self._union.intents.recover()

    def close(self) -> None:
        """End what runs."""
        self.stop()


class MountedCheck:
    """The check of a running mount, asked over its HTTP side."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact

    def start(self, whole: bool) -> int:
        return int(call(self._contact, f"{CHECK}/start", {"whole": whole})["check"])

    def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = call(self._contact, CHECK)
        return answer

    def stop(self) -> None:
        call(self._contact, f"{CHECK}/stop", {})

    def mend(self, number: int, chosen: Sequence[int]) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = call(self._contact, f"{CHECK}/mend", {"check": number, "findings": list(chosen)})
        return answer


def check_posts(check: PoolCheck) -> Mapping[str, Post]:
    """The routes that `MountedCheck` asks."""

    def start(body: object) -> dict[str, int]:
        if not isinstance(body, dict) or set(body) != {"whole"} or not isinstance(body["whole"], bool):
            raise ValueError('the body must be a JSON object of "whole", true or false')
        return {"check": check.start(body["whole"])}

    def stop(body: object) -> dict[str, Any]:
        check.stop()
        return {}

    def mend(body: object) -> list[dict[str, Any]]:
        if not isinstance(body, dict) or set(body) != {"check", "findings"}:
            raise ValueError('the body must be a JSON object of "check" and "findings"')
        number, chosen = body["check"], body["findings"]
        if not isinstance(chosen, list) or any(type(one) is not int for one in (number, *chosen)):
            raise ValueError('"check" must be a number and "findings" a list of numbers')
        return check.mend(number, chosen)

    return {f"{CHECK}/start": start, f"{CHECK}/stop": stop, f"{CHECK}/mend": mend}


@contextmanager
def standing(config: Config, state: StateFolder) -> Iterator[PoolCheck]:
    """The pool while nothing is mounted, which nothing can mount meanwhile.

    StateInUse, NamesDamaged, OSError. Drives that cannot be opened are findings; no folder becomes a drive.
    """
    with ExitStack() as closing:
        state.acquire()
        closing.callback(state.release)
        db, names = open_names(config, state)
        closing.callback(names.close)
        found = pool.look_at(config, pool.known_drives(db.db))
        closing.callback(pool.close, found)
        drives = [one for one in found if isinstance(one, Drive)]
        inodes, free = Inodes(db), config.placement.min_free
        branches = [LocalBranch(drive, inodes, free) for drive in drives]
        # Nobody reads: no bytes are fetched, and none are kept.
        reader = Reader(NoLibrary(), ChunkCache("", 0))
        closing.callback(reader.close)
        placement = pool.placing(config, drives, NothingKnown())
        union = Union(branches, RemoteBranch(names, reader), placement, Journal(names, "union"))
        relocating = Relocating(union, branches, placement, Journal(names, "move"), free, copies_under_way(state))
        check = PoolCheck(union, branches, names, Pins(db, names, branches), relocating, str(config.mount.path))
        check.standing = True
        check.problems = [Finding("missing", "", str(one), one.name) for one in found if isinstance(one, DriveError)]
        closing.callback(check.close)
        yield check


def left_over(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that are more than a remark."""
    return [finding for finding in findings if finding["kind"] not in REMARKS]
