"""Remote bytes of today: by reading program, with limits, and by work in the background, which shares one budget.

A program is charged for each response that was opened because of its reads, read-ahead included. Bytes from the cache
cost nothing. The sums stand in a small file, at most some seconds old, so they outlive a restart; they begin anew at
midnight, local time.
"""

import contextlib
import errno
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from vfs.library import ByteStream, Key, RemoteLibrary

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""Reads that the kernel did on nobody's behalf, and those of programs in another container."""
_SAVED = 5.0  # seconds between two writes of the file
_KNOWN = 10.0  # seconds for which a process number is believed to mean the same program
_COMM = 15  # letters of a program's name that Linux keeps
_MOST_KEYS = 10_000
_MOST_PROCESSES = 1000
PROBE = "probe"  # the kind of work that looks at what was downloaded

Account = tuple[dict[str, int], str]
"""The sums to which bytes are added, and under which name."""


class DailyBudget:
    """The sums of one day. Thread-safe; `_lock` is a leaf.

    `pid` answers for which process the present thread works, 0 if it is not known; `busy`, whether somebody waits for
    remote bytes right now, so that work in the background gives way. Both are to be set by whoever knows.
    """

    def __init__(
        self,
        file: Path | None = None,
        limits: Mapping[str, int] | None = None,
        background: int | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`limits`: bytes a day by program; `background`: bytes a day for all work in the background, None for any."""
        self.pid: Callable[[], int] = lambda: 0
        self.busy: Callable[[], bool] = lambda: False
        self._file, self._clock = file, clock
        self._limits = {program[:_COMM]: limit for program, limit in (limits or {}).items()}
        self._background_limit = background
        self._lock = threading.Lock()
        self._day = self._today()
        self._programs: dict[str, int] = {}
        self._background: dict[str, int] = {}
        self._load()
        self._saved = time.monotonic()
        self._told: set[str] = set()
        self._processes: dict[int, tuple[str, float]] = {}
        self._readers: dict[Key, Account] = {}
        self._children: dict[int, tuple[bool, float]] = {}
        self._here = threading.local()  # .kind: of the work that this thread does

    # Programs.

    def reading(self, key: Key) -> None:
        """The process of this thread reads remote content; EIO if its program has read all it may today.

        What this thread does as work (`as_work`), or a program started by ourselves, is charged to the background.
        """
        kind = getattr(self._here, "kind", "")
        if not kind and self.is_ours(self.pid()):
            kind = PROBE
        if kind:
            return self._charge_to(key, (self._background, kind))
        program = self._program(self.pid())
        self._charge_to(key, (self._programs, program))
        limit = self._limits.get(program)
        if limit is None:
            return
        with self._lock:
            self._turn()
            if self._programs.get(program, 0) < limit:
                return
            told = program in self._told
            self._told.add(program)
        if not told:
            log.warning("%s has read its %d bytes of today ([debrid.program_limits]); more give EIO", program, limit)
        raise OSError(errno.EIO, f"{program} has read all it may today")

    @contextlib.contextmanager
    def as_work(self, kind: str) -> Iterator[None]:
        """What this thread reads through the tree inside the block is work of this kind."""
        self._here.kind = kind
        try:
            yield
        finally:
            self._here.kind = ""

    def is_ours(self, pid: int) -> bool:
        """Whether a process was started by this one, as ffprobe is to look at what was downloaded."""
        now = time.monotonic()
        ours, until = self._children.get(pid, (False, 0.0))
        if now >= until:
            if len(self._children) > _MOST_PROCESSES:
                self._children.clear()
            ours = parent_of(pid) == os.getpid()
            self._children[pid] = (ours, now + _KNOWN)
        return ours

    def _program(self, pid: int) -> str:
        now = time.monotonic()
        program, until = self._processes.get(pid, ("", 0.0))
        if now < until:
            return program
        if len(self._processes) > _MOST_PROCESSES:
            self._processes.clear()
        program = program_of(pid)
        self._processes[pid] = (program, now + _KNOWN)
        return program

    def _charge_to(self, key: Key, account: Account) -> None:
        if len(self._readers) > _MOST_KEYS:
            self._readers.clear()
        self._readers[key] = account

    def account_of(self, key: Key) -> Account:
        """Of the program, or the kind of work, that read this content last."""
        return self._readers.get(key, (self._programs, UNKNOWN))

    def charge(self, account: Account, count: int) -> None:
        """Bytes came for this account."""
        self._add(*account, count)

    def charge_program(self, program: str, count: int) -> None:
        """Bytes came for a program that does not read them through the tree."""
        self._add(self._programs, program, count)

    # Work in the background.

    def working(self, key: Key, kind: str) -> None:
        """What is read of this content from now on, until a program reads it, is work of this kind."""
        self._charge_to(key, (self._background, kind))

    def allows(self, count: int = 1) -> bool:
        """Whether work in the background may fetch so many bytes more today."""
        with self._lock:
            self._turn()
            left = self._background_limit is None or sum(self._background.values()) + count <= self._background_limit
            if not left and "" not in self._told:
                self._told.add("")
                log.warning("work in the background has fetched its %s bytes of today", self._background_limit)
            return left

    def spend(self, kind: str, count: int) -> None:
        """Work of this kind ("probe", "warm", "repair", "check") fetched so many bytes."""
        self._add(self._background, kind, count)

    def ends_in(self) -> float:
        """Seconds until the sums begin anew."""
        now = datetime.fromtimestamp(self._clock())
        tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time())
        return max(1.0, tomorrow.timestamp() - self._clock())

    # The sums.

    def status(self) -> dict[str, Any]:
        """Bytes of today, by program and by kind of work, as plain values."""
        with self._lock:
            self._turn()
            programs = {
                name: {"bytes": self._programs.get(name, 0), "limit": self._limits.get(name)}
                for name in sorted({*self._programs, *self._limits})
            }
            return {"programs": programs, "background": dict(self._background), "limit": self._background_limit}

    def _add(self, sums: dict[str, int], name: str, count: int) -> None:
        with self._lock:
            self._turn()
            sums[name] = sums.get(name, 0) + count
            if time.monotonic() - self._saved > _SAVED:
                self._save()

    def _turn(self) -> None:
        """Locked. Begin anew if it is another day."""
        today = self._today()
        if today != self._day:
            self._day = today
            self._programs.clear()
            self._background.clear()
            self._told.clear()

    def _today(self) -> str:
        return date.fromtimestamp(self._clock()).isoformat()

    def _load(self) -> None:
        if self._file is None:
            return
        try:
            found = json.loads(self._file.read_bytes())
            if found["day"] == self._day:
                self._programs.update({str(name): int(count) for name, count in found["programs"].items()})
                self._background.update({str(name): int(count) for name, count in found["background"].items()})
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as cause:
            log.warning("%s cannot be read, so the bytes of today are counted anew: %s", self._file, cause)

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        try:
            sums = {"day": self._day, "programs": self._programs, "background": self._background}
            draft.write_text(json.dumps(sums))
            os.replace(draft, self._file)
        except OSError as cause:
            log.debug("the bytes of today are not written: %s", cause)

    def close(self) -> None:
        """Write the sums a last time."""
        with self._lock:
            self._save()


class Metered:
    """A `RemoteLibrary` whose bytes are charged to the program, or the work, that read the file last."""

    def __init__(self, library: RemoteLibrary, budget: DailyBudget) -> None:
        self._library, self._budget = library, budget

    def stream(self, key: Key, offset: int, length: int) -> ByteStream:
        """As `RemoteLibrary.stream`."""
        account = self._budget.account_of(key)
        return _Charged(self._library.stream(key, offset, length), lambda count: self._budget.charge(account, count))


class _Charged:
    """A stream that tells how many bytes come."""

    def __init__(self, stream: ByteStream, tell: Callable[[int], None]) -> None:
        self._stream, self._tell = stream, tell

    def readinto(self, buffer: memoryview) -> int:
        count = self._stream.readinto(buffer)
        self._tell(count)
        return count

    def close(self) -> None:
        self._stream.close()


def program_of(pid: int) -> str:
    """The name of the program of this process or thread; UNKNOWN if it cannot be known."""
    with contextlib.suppress(OSError):
        # FUSE tells the thread, and threads have names of their own.
        group = _status(pid).get("Tgid", "")
        return Path(f"/proc/{group}/comm").read_text(errors="replace").strip() if group else UNKNOWN
    return UNKNOWN


def parent_of(pid: int) -> int:
    """The process that started this process or thread; 0 if it cannot be known."""
    with contextlib.suppress(OSError, ValueError):
        return int(_status(pid).get("PPid", "0"))
    return 0


def _status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(errors="replace") if pid > 0 else ""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
