"""Sending the body of a CDN answer: at a given speed, as far as faults allow, by sendfile where possible."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from io import FileIO

from debrid.simulator.content import Content, FileSpan, Span, read
from debrid.simulator.faults import Faults

_SLICE = 4 << 20
# A throttled body is sent in pieces of this many seconds, so that its speed is even.
_BEAT = 0.02
# But its first bytes come at once, as those of a real server do.
_FIRST_SLICE = 64 << 10
_POLL = 0.02


class End(Enum):
    """How a body ended."""

    WHOLE = auto()
    SHORT = auto()  # to be closed in order
    RESET = auto()  # to be cut with RST


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is wrong with one body; counts are bytes of the body, `corrupt_at` is an offset in the file."""

    reset_after: int | None = None
    short_after: int | None = None
    stall_after: int | None = None
    drip: float | None = None
    corrupt_at: int | None = None

    @classmethod
    def taken(cls, faults: Faults, first: int, length: int) -> "Flaws":
        """Flaws of bytes [first, first + length) of a file; a counted fault is spent only where it shows."""

        def cut(name: str) -> int | None:
            value: int | None = getattr(faults, name)
            return None if value is None or value >= length else faults.take(name)

        spot = faults.cdn_corrupt_at
        hit = spot is not None and first <= spot < first + length
        return cls(
            cut("cdn_reset_after"),
            cut("cdn_short_after"),
            cut("cdn_stall_after"),
            faults.take("cdn_drip"),
            faults.take("cdn_corrupt_at") if hit else None,
        )

    def limit(self, length: int) -> int:
        """How many bytes are sent at all."""
        cuts = (self.reset_after, self.short_after, self.stall_after)
        return min([length, *(cut for cut in cuts if cut is not None)])


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes per second for one body, and for all bodies together; None is no limit."""

    own: float | None = None
    total: float | None = None


class Pacer:
    """A shared line of `rate` bytes per second: each sender is told how long to wait before its piece."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._lock = threading.Lock()

    def delay(self, count: int, rate: float | None) -> float:
        if not rate:
            return 0.0
        now = time.monotonic()
        with self._lock:
            start = max(now, self._free_at)
            self._free_at = start + count / rate
            return self._free_at - now


class Delivery:
    """One body on one connection.

    `speed` is asked again for each piece. `counted` is told of bytes before they leave, so that a client that
    has them finds them counted, and is corrected if they did not leave.
    """

    def __init__(
        self,
        connection: socket.socket,
        speed: Callable[[], Speed],
        total: Pacer,
        stopping: threading.Event,
        counted: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._speed = speed
        self._total = total
        self._own = Pacer()
        self._stopping = stopping
        self._counted = counted
        self._begun = False

    def send(self, content: Content, offset: int, length: int, flaws: Flaws) -> End:
        """Send bytes [offset, offset + length) of `content`. OSError when the client is gone."""
        limit = flaws.limit(length)
        for first, count in _without(offset, limit, flaws.corrupt_at):
            if count == 1 and first == flaws.corrupt_at:
                self._send_bytes(memoryview(bytes([read(content, first, 1)[0] ^ 0xFF])), flaws.drip)
                continue
            for span in content.spans(first, count):
                if not self._send_span(span, flaws.drip):
                    return End.SHORT
        if limit == length:
            return End.WHOLE
        if limit == flaws.reset_after:
            return End.RESET
        if limit == flaws.stall_after:
            self._stall()
        return End.SHORT

    def _send_span(self, span: Span, drip: float | None) -> bool:
        """False if the file has become shorter than it was."""
        if isinstance(span, memoryview):
            self._send_bytes(span, drip)
            return True
        with span.path.open("rb", buffering=0) as file:
            if drip is not None or sys.platform == "win32":
                return self._send_read(file, span, drip)
            return self._send_file(file.fileno(), span)

    def _send_read(self, file: FileIO, span: FileSpan, drip: float | None) -> bool:
        file.seek(span.offset)
        left = span.length
        while left and (data := file.read(min(left, _SLICE))):
            self._send_bytes(memoryview(data), drip)
            left -= len(data)
        return not left

    def _send_bytes(self, data: memoryview, drip: float | None) -> None:
        while data:
            count = 1 if drip is not None else min(len(data), self._slice())
            self._wait(drip or 0.0)
            self._pace(count)
            self._counted(count)
            self._connection.sendall(data[:count])
            data = data[count:]

    def _send_file(self, descriptor: int, span: FileSpan) -> bool:
        offset, end = span.offset, span.offset + span.length
        while offset < end:
            count = min(end - offset, self._slice())
            self._pace(count)
            self._counted(count)
            sent = 0
            try:
                sent = os.sendfile(self._connection.fileno(), descriptor, offset, count)
            finally:
                self._counted(sent - count)
            if not sent:
                return False
            offset += sent
        return True

    def _slice(self) -> int:
        speed = self._speed()
        rates = [rate for rate in (speed.own, speed.total) if rate]
        if not rates:
            return _SLICE
        first, self._begun = not self._begun, True
        return max(1, min(_FIRST_SLICE if first else _SLICE, int(min(rates) * _BEAT)))

    def _pace(self, count: int) -> None:
        speed = self._speed()
        own = self._own.delay(count, speed.own)
        self._wait(max(own, self._total.delay(count, speed.total)))

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self._stopping.wait(seconds):
            raise ConnectionAbortedError

    def _stall(self) -> None:
        """Nothing more, with the connection open, until the client or the simulator ends it."""
        self._connection.settimeout(_POLL)
        while not self._stopping.wait(_POLL):
            try:
                if not self._connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue


def _without(offset: int, length: int, spot: int | None) -> list[tuple[int, int]]:
    """The range as (first, count), with the byte at `spot` as a range of its own."""
    if spot is None or not offset <= spot < offset + length:
        return [(offset, length)] if length else []
    parts = [(offset, spot - offset), (spot, 1), (spot + 1, offset + length - spot - 1)]
    return [part for part in parts if part[1]]
