"""Telling media servers which folders of the tree have changed: in the background, debounced, for as long as it takes.

What is published by the provider's side gives no inotify event on a FUSE mount, so a server would not look. Each has a
thread of its own, so that one that is down holds up no other. Noting a change is one entry in a dict: no look at any
file, no network, no waiting.

While the tree is incomplete, nothing is told: a server that looks then may take what it does not see for removed. So
it is, too, while a server is down: the folders wait, merged when they are many, also over a restart.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from stat import S_ISDIR
from typing import Any

from placement.services.calls import Refused, ServiceError
from placement.services.kept import Kept
from placement.services.mediaserver import MediaServer
from placement.services.paths import above
from placement.services.waiting import Waiting

log = logging.getLogger(__name__)

# Seconds before each next try.
PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0)
# Seconds between two looks at what was noted, and at whether the tree is whole again.
_LULL = 1.0
_PATIENCE = 20.0
# So many folders are shown by `status`, of all that wait.
_SHOWN = 20

# The mode of a path of the tree as lstat(2) gives it; OSError.
ModeOf = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Tempo:
    """`quiet` seconds without a change, at most `longest` after the first; `unseen_only`: see `Announcer.note`."""

    quiet: float = 30.0
    longest: float = 600.0
    unseen_only: bool = False


class Announcer:
    """Tells one server. Thread-safe; `note` never waits."""

    def __init__(
        self,
        server: MediaServer,
        tempo: Tempo,
        mode_of: ModeOf,
        incomplete: Callable[[], str],
        *,
        kept: Callable[[], object] = lambda: None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """`incomplete`: why the tree lacks something now, "" if it is whole; `kept`: called when what waits changed."""
        self.server = server
        self._tempo, self._mode_of, self._incomplete, self._kept = tempo, mode_of, incomplete, kept
        self._pauses = tuple(pauses)
        self._lull = min(_LULL, max(tempo.quiet / 2, 0.01))
        self._noted: dict[str, None] = {}
        # Guards what is noted, what waits and the words for people; nothing slow is done under it.
        self._lock = threading.Lock()
        self._waiting = Waiting(tempo.quiet, tempo.longest, server.paths.holding)
        self._changed = False  # what waits, since it was kept
        self._wake, self._stop = threading.Event(), threading.Event()
        self._failures, self._retry_at = 0, 0.0
        self._trouble = self._held = ""
        self._refused = False
        self._told_at: float | None = None
        self._told: list[str] = []
        self._thread = threading.Thread(target=self._run, name=f"announcing-{server.name}", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def note(self, folders: Iterable[str], unseen: bool) -> None:
        """Names in these folders of the tree, or the folders themselves, came or went.

        `unseen`: not through the mount, so that nobody who watches it was told of it.
        """
        if self._tempo.unseen_only and not unseen:
            return
        for folder in folders:
            # What is in the dict now has yet to be collected, so it is for this change as well.
            if folder not in self._noted:
                with self._lock:
                    self._noted[folder] = None
                self._wake.set()

    def everything(self) -> None:
        """Anything may have changed anywhere."""
        self.note(self.server.paths.folders, unseen=True)

    def waiting(self) -> list[str]:
        """Folders of the tree that are not told yet."""
        self._collect()
        with self._lock:
            return self._waiting.folders

    def status(self) -> dict[str, Any]:
        """For people: times in seconds since 1970, paths as the server calls them; `held`: why it is not told now."""
        waiting = self.waiting()
        with self._lock:
            return {
                "name": self.server.name,
                "kind": self.server.kind,
                "told_at": self._told_at,
                "told": self._told[:_SHOWN],
                "waiting": len(waiting),
                "folders": waiting[:_SHOWN],
                "held": (self._trouble or self._held) if waiting or self._refused else "",
            }

    def close(self) -> None:
        """Stop; a call under way is waited for, a disk that hangs is not."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self._collect()
                if self._changed:
                    self._changed = False
                    self._kept()
                self._tell_due()
            except Exception as problem:  # the thread must outlive a bug; it shows in the log and the status
                log.exception("telling %s failed", self.server.name)
                self._put_off(f"internal error: {problem!r}")
            self._stop.wait(self._lull)

    def _pause(self) -> float | None:
        """Seconds until there is something to do, unless something is noted; None: nothing until then."""
        with self._lock:
            due = self._waiting.due_at()
        if due is None or self._refused:
            return None
        return max(due - time.monotonic(), self._retry_at - time.monotonic(), self._lull)

    def _collect(self) -> None:
        """What was noted waits from now on, as far as this server is to hear of it."""
        with self._lock:
            noted, self._noted = self._noted, {}
            before = self._waiting.folders if noted else []
            for folder in noted:
                self._waiting.add(folder, time.monotonic())
            if noted and before != self._waiting.folders:
                self._changed = True

    def _tell_due(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = [] if self._refused or now < self._retry_at else self._waiting.due(now)
        if not due:
            return
        self._hold(self._incomplete())
        if self._held:
            return
        places = {folder: place for folder in due if (place := self._place(folder)) is not None}
        # Asked again: a drive that went while we looked makes folders look removed.
        self._hold(self._incomplete() or ("" if places else f"{due[0]} cannot be found in the tree"))
        if not self._held and not self._stop.is_set():
            self._tell(places)

    def _place(self, folder: str) -> str | None:
        """What the server calls it, or the nearest folder above that is still there; None if none of it is."""
        root = self.server.paths.holding(folder)
        while True:
            try:
                place = self.server.paths.told(folder) if S_ISDIR(self._mode_of(folder)) else None
            except (FileNotFoundError, NotADirectoryError):
                place = None
            except OSError:
                # Not known now.
                return None
            if place is not None and _is_text(place):
                return place
            if folder == root or not folder:
                return None
            folder = above(folder)

    def _hold(self, why: str) -> None:
        if why and not self._held:
            log.info("%s is not told of changes for now: %s", self.server.name, why)
        self._held = why

    def _tell(self, places: dict[str, str]) -> None:
        told = sorted(set(places.values()))
        try:
            self.server.look_at(told)
        except Refused as error:
            log.error("%s. It is told nothing until the tree is mounted anew.", error)
            self._refused, self._trouble = True, str(error)
        except ServiceError as error:
            if not self._failures:
                log.warning("%s; %d changed folders are told later", error, len(told))
            self._put_off(str(error))
        else:
            log.info("told %s to look at %s", self.server.name, ", ".join(map(repr, told)))
            self._failures, self._trouble = 0, ""
            with self._lock:
                self._waiting.told(places)
                self._told_at, self._told = time.time(), told
            self._kept()

    def _put_off(self, trouble: str) -> None:
        self._failures += 1
        self._retry_at = time.monotonic() + self._pauses[min(self._failures, len(self._pauses)) - 1]
        self._trouble = trouble


class Announcers:
    """All servers that are told. Thread-safe; `note` never waits."""

    def __init__(self, kept: Kept) -> None:
        """`kept`: where the folders that wait outlast a restart."""
        self._kept = kept
        self._keeping = threading.Lock()
        self._all: list[Announcer] = []

    def add(self, announcer: Announcer) -> None:
        """One more; before `start`."""
        self._all.append(announcer)

    def start(self) -> None:
        """Begin to tell, first what the last run left."""
        left = self._kept.read() if self._all else None
        for one in self._all:
            folders = left.get(one.server.url) if isinstance(left, dict) else None
            if isinstance(folders, list):
                one.note([each for each in folders if isinstance(each, str)], unseen=True)
            one.start()

    def note(self, *folders: str, unseen: bool = False) -> None:
        """As `Announcer.note`."""
        for one in self._all:
            one.note(folders, unseen)

    def everything(self) -> None:
        """Anything may have changed anywhere."""
        for one in self._all:
            one.everything()

    def keep(self) -> None:
        """Have the file say what waits."""
        with self._keeping:
            self._kept.write({one.server.url: one.waiting() for one in self._all})

    def status(self) -> list[dict[str, Any]]:
        """As `Announcer.status`, of each."""
        return [one.status() for one in self._all]

    def close(self) -> None:
        """Stop; what waits is told after the next start."""
        for one in self._all:
            one.close()
        if self._all:
            self.keep()


def _is_text(path: str) -> bool:
    """Whether it can be said in JSON and in an address; a name that is not UTF-8 cannot."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_words(status: dict[str, Any]) -> str:
    """The status of one server in a line for people."""
    at = status["told_at"]
    parts = ["nothing told yet" if at is None else f"told {datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"]
    if status["waiting"]:
        parts.append(f"{status['waiting']} changed folders wait")
    if status["held"]:
        parts.append(f"held back: {status['held']}")
    return ", ".join(parts)
