"""Pinning as jobs of the daemon: one file after the other, recorded before they begin, going on after a restart."""

import errno
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.routes import Post
from vfs.becoming import Becoming
from vfs.branch import error
from vfs.names import Names
from vfs.nodes import Directory, Node, RemoteFile
from vfs.pinning import Pinning, Progress
from vfs.pins import Goal, Pins
from vfs.union import Union

log = logging.getLogger(__name__)

PINS = "/api/pins"
_GOALS: Mapping[str, Goal] = {"pin": "pin", "unpin": "unpin", "download": "download"}
_LOOK = 60.0  # seconds between looks for what waits for a drive
_END = 15.0  # seconds that a job may take to notice that all ends
_REMEMBERED = 1000  # jobs that have ended


@dataclass
class Job:
    """What is done with one file. `state`: waiting, looking, fetching, comparing, ..., done or failed."""

    node: RemoteFile
    goal: Goal
    path: str
    progress: Progress = field(default_factory=Progress)
    problem: str = ""

    @property
    def ended(self) -> bool:
        return self.progress.phase in ("done", "failed")

    def plain(self) -> dict[str, Any]:
        """As plain values; sizes in bytes."""
        return {
            "file": self.node.ino,
            "path": self.path,
            "goal": self.goal,
            "size": self.node.size,
            "state": self.progress.phase,
            "done": self.progress.done,
            "fetched": self.progress.fetched,
            "problem": self.problem,
        }


class PinJobs:
    """The jobs of one pool, done by one thread. Lock order: `_lock` is a leaf, but for the progress of jobs."""

    def __init__(self, union: Union, names: Names, pins: Pins, pinning: Pinning, becoming: Becoming) -> None:
        self._union, self._names, self._pins = union, names, pins
        self._pinning, self._becoming = pinning, becoming
        self._lock = threading.Lock()
        self._jobs: OrderedDict[int, Job] = OrderedDict()  # by inode number
        self._waiting: OrderedDict[int, Job] = OrderedDict()
        self._busy: Job | None = None
        self._end = False
        self._thread = threading.Thread(target=self._run, name="pins", daemon=True)

    def start(self) -> None:
        """Go on with what was begun in earlier runs."""
        for pin in self._pins.all():
            node = self._pins.node_of(pin)
            if node is not None and (pin.goal == "download" or (pin.goal == "pin" and pin.digest is None)):
                self._add(Job(node, pin.goal, next(iter(self._names.paths_of([node])), "")))
        self._thread.start()

    def close(self) -> None:
        """Stop the job that runs; the next start goes on with it."""
        self._end = True
        with self._lock:
            if self._busy is not None:
                self._busy.progress.cancel.set()
        self._pins.wake.set()
        if self._thread.ident is not None:
            self._thread.join(_END)

    # What is asked.

    def ask(self, goal: Goal, paths: Sequence[str], dry_run: bool) -> list[dict[str, Any]]:
        """Plan `goal` for the remote files at these paths and below them, and begin it unless `dry_run`.

        One answer for each file: the job, or why nothing will be done. OSError of names.db.
        """
        answers: list[dict[str, Any]] = []
        seen: set[int] = set()
        for path in paths:
            try:
                found = list(self._files(path))
            except OSError as cause:
                answers.append(_answer(path, goal, state="failed", problem=cause.strerror or str(cause)))
                continue
            for inner, node in found:
                if node is None:
                    answers.append(_answer(inner, goal, state="local"))
                elif node.ino not in seen:
                    seen.add(node.ino)
                    answers.append(self._asked(goal, inner, node, dry_run))
        return answers

    def _files(self, path: str) -> Iterator[tuple[str, RemoteFile | None]]:
        """The remote files at a path and below it; None for a local file that is named itself."""
        if not self._union.stat(path).is_dir:
            node = self._names.find(path)
            yield path, node if isinstance(node, RemoteFile) and self._is_shown(path, node) else None
            return
        folder = self._names.find(path)
        if isinstance(folder, Directory):
            for inner, one in _below(path, folder):
                if self._is_shown(inner, one):
                    yield inner, one

    def _is_shown(self, path: str, node: Node) -> bool:
        return self._union.stat(path).ino == node.ino

    def _asked(self, goal: Goal, path: str, node: RemoteFile, dry_run: bool) -> dict[str, Any]:
        pin = self._pins.get(node.ino)
        if (goal == "unpin" and pin is None) or (goal == "pin" and pin is not None and self._is_whole(node)):
            return _answer(path, goal, node.ino, node.size, state="unpinned" if goal == "unpin" else "pinned")
        job = Job(node, goal, path)
        if not dry_run:
            self._pinning.want(node, goal)
            self._add(job)
        return job.plain()

    def _is_whole(self, node: RemoteFile) -> bool:
        copy = self._pins.open(node)
        if copy is not None:
            copy.close()
        pin = self._pins.get(node.ino)
        return copy is not None and pin is not None and pin.goal == "pin"

    def _add(self, job: Job) -> None:
        """In place of another job of the same file, which ends."""
        with self._lock:
            ino = job.node.ino
            old = self._jobs.pop(ino, None)
            if old is not None and not old.ended:
                if old.goal == job.goal and not old.progress.cancel.is_set():
                    self._jobs[ino] = old
                    return
                old.progress.cancel.set()
            self._jobs[ino] = self._waiting[ino] = job
            for done in [number for number, one in self._jobs.items() if one.ended][:-_REMEMBERED]:
                del self._jobs[done]
        self._pins.wake.set()

    def state(self) -> dict[str, Any]:
        """The jobs, and how many copies there are."""
        with self._lock:
            jobs = [job.plain() for job in self._jobs.values()]
        whole = [pin for pin in self._pins.all() if pin.digest is not None and pin.goal == "pin"]
        sizes = [node.size for pin in whole if (node := self._pins.node_of(pin)) is not None]
        return {"jobs": jobs, "pinned": len(sizes), "bytes": sum(sizes)}

    # What is done.

    def _run(self) -> None:
        while not self._end:
            self._pins.wake.clear()
            self._guarded(self._pinning.sweep)
            self._guarded(self._becoming.recover)
            while not self._end and (job := self._next()) is not None:
                self._guarded(lambda job=job: self._do(job))  # type: ignore[misc]
            if not self._end:
                self._pins.wake.wait(_LOOK)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as cause:
            log.warning("pinning: %s", cause)
        except Exception:
            log.exception("pinning failed, which is a bug in mediapool")

    def _next(self) -> Job | None:
        with self._lock:
            self._busy = self._waiting.popitem(last=False)[1] if self._waiting and not self._end else None
            return self._busy

    def _do(self, job: Job) -> None:
        failed = True
        try:
            self._work(job)
            failed = False
        except OSError as cause:
            job.problem = "it was interrupted" if cause.errno == errno.ECANCELED else cause.strerror or str(cause)
            if cause.errno != errno.ECANCELED:
                log.warning("%s of %s failed: %s", job.goal, job.path, job.problem)
        except Exception:
            job.problem = "it failed; the log says why"
            raise
        finally:
            job.progress.phase = "failed" if failed else "done"
            with self._lock:
                self._busy = None

    def _work(self, job: Job) -> None:
        node, progress = job.node, job.progress
        if progress.cancel.is_set() or not node.nlink:
            raise error(errno.ECANCELED if progress.cancel.is_set() else errno.ENOENT, job.path)
        if job.goal == "unpin":
            self._pinning.unpin(node, progress)
            return
        # It may have been removed since it was asked for.
        self._pinning.want(node, job.goal)
        pin = self._pins.get(node.ino)
        # What shall be all that is left of the file is read once more.
        self._pinning.fetch(node, progress, anew=job.goal == "download" and pin is not None and pin.digest is not None)
        if job.goal == "download":
            progress.phase = "changing over"
            self._becoming.run(node)


def _below(path: str, folder: Directory) -> Iterator[tuple[str, RemoteFile]]:
    for name, node in sorted(folder.children.items()):
        inner = f"{path}/{name}" if path else name
        if isinstance(node, Directory):
            yield from _below(inner, node)
        elif isinstance(node, RemoteFile):
            yield inner, node


def _answer(path: str, goal: Goal, ino: int = 0, size: int = 0, *, state: str, problem: str = "") -> dict[str, Any]:
    return {
        "file": ino, "path": path, "goal": goal, "size": size, "state": state, "done": 0, "fetched": 0,
        "problem": problem,
    }  # fmt: skip


def pin_posts(jobs: PinJobs) -> Mapping[str, Post]:
    """The route by which commands ask for a goal."""

    def ask(body: object) -> list[dict[str, Any]]:
        if not isinstance(body, dict) or set(body) != {"goal", "paths", "dry_run"}:
            raise ValueError('the body must be a JSON object of "goal", "paths" and "dry_run"')
        goal, paths, dry_run = body["goal"], body["paths"], body["dry_run"]
        if goal not in _GOALS or not isinstance(dry_run, bool):
            raise ValueError('"goal" must be pin, unpin or download, and "dry_run" true or false')
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ValueError('"paths" must be a list of texts')
        if any(part in ("..", ".", "") for path in paths if path for part in path.split("/")):
            raise ValueError('"paths" must be relative to the root of the tree, without "." and ".."')
        return jobs.ask(_GOALS[goal], paths, dry_run)

    return {f"{PINS}/ask": ask}
