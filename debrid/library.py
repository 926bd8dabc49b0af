"""The bytes of the account's files: from a key to a download URL to a stream that survives what the CDN does.

Satisfies the interface that the filesystem declares for remote content: `stream(key, offset, length)`,
which raises OSError and nothing else. A key is (kind, id, part): ("torrent", info hash, file id as text), or
("link", digest of a hoster's link, "1").

    key ──Store──> restricted link ──unrestrict──> download URL ──Range──> bytes
          info call if unknown       once for all readers,       resumed from the current offset after resets,
                                     kept for `url_seconds`      short bodies and stalls

What the provider says about one file (gone, refused, other content) is remembered with a time before which
it is not asked again. What it says about the account (quota, fair use, pace, token) pauses everything, in
`Limits`, and is never held against a file. A read that meets dead content waits for its repair, if one is due,
as long as its deadline allows.

Lock order: `RemoteStream._reading`, then `Flights._lock` or the store's; none is held during a call except
`_reading`.
"""

import errno
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import requests

from debrid import errors
from debrid.budget import Allowance
from debrid.client import Client
from debrid.errors import DebridError, Interrupted, Reaction, TimedOut
from debrid.holds import ANY, CDN, UNRESTRICT
from debrid.joined import JoinedStream, cut
from debrid.leaving import Key, Leaving
from debrid.linking import prove_url
from debrid.store import Segment, Store, StoredFile
from debrid.transport import Budget, Interrupt, exchange
from debrid.urls import REFUSED_SECONDS, URL_SECONDS, Healer, Urls

_TRIES = 6  # without a single byte
_PIECE = 1 << 17
_AT_ONCE = 0.05  # s after which a reader that asked for much gets what has come so far


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """Why reads may fail at the moment.

    `reason`: '' if nothing is wrong; `paused_until`: seconds since 1970.
    """

    reason: str = ""
    paused_until: float | None = None


class Library:
    """Thread-safe. `deadline`: seconds within which a stream is open, or has brought bytes, or fails."""

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        deadline: float = 30.0,
        url_seconds: float = URL_SECONDS,
        leaving: Leaving | None = None,
        healer: Healer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._deadline, self._leaving = deadline, leaving
        self._urls = Urls(client, store, url_seconds, healer, clock)

    def stream(self, key: Key, offset: int, length: int) -> "RemoteStream | JoinedStream":
        """Open bytes [offset, offset + length) of a file, which may lie inside others.

        Raises OSError and nothing else: EIO with the reason as its text, or ETIMEDOUT at the deadline.
        """
        try:
            pieces = self._pieces(key, offset, length)
        except DebridError as error:
            raise _os_error(error, "/".join(key)) from None
        first = self._open(key, pieces[0])
        if len(pieces) == 1:
            return first
        return JoinedStream(first, [partial(self._open, key, each) for each in pieces[1:]])

    def _pieces(self, key: Key, offset: int, length: int) -> list[Segment]:
        kind, info_hash, part = key
        if kind == "torrent" and (segments := self._store.parts(info_hash, part)):
            found = cut(segments, offset, length)
            return found or [segments[0]._replace(length=0)]
        return [Segment(_file_of(key)[1], offset, length)]

    def _open(self, key: Key, piece: Segment) -> "RemoteStream":
        budget = Budget.of(self._deadline, urgent=True)
        try:
            file = self._file(key[1], piece.file, budget)
        except DebridError as error:
            raise _os_error(error, "/".join(key)) from None
        stream = RemoteStream(self._client, self._urls, file, (piece.start, piece.length), self._deadline)
        stream.open(budget)
        return stream

    def check(self, key: Key, allowance: Allowance, budget: Budget) -> None:
        """Read one byte of a file from the provider, whatever is known of it. Raises DebridError."""
        for file_id in dict.fromkeys(each.file for each in self._pieces(key, 0, 1 << 62)):
            self._check_file(key[1], file_id, allowance, budget)

    def _check_file(self, info_hash: str, file_id: int, allowance: Allowance, budget: Budget) -> None:
        file = self._store.file(info_hash, file_id)
        if file is None or file.link is None:
            file = self._urls.learn(info_hash, file_id, budget)
        if file.link is None:
            raise errors.ContentGone(file.problem)
        url = self._urls.get(file, None, budget)
        try:
            prove_url(self._client, url, file, allowance, budget)
        except errors.StaleUrl:
            url = self._urls.get(file, url, budget)
            try:
                prove_url(self._client, url, file, allowance, budget)
            except errors.StaleUrl as error:
                self._urls.fail(file, str(error), REFUSED_SECONDS)
                raise

    def release(self, key: Key) -> None:
        """The last name of this file is gone and its last handle closed: as `Leaving.release`."""
        if self._leaving is not None:
            self._leaving.release(key)

    @property
    def failures(self) -> Mapping[str, int]:
        """How many calls of the provider failed since the start, by the name of the error."""
        return self._client.failures

    def status(self) -> LibraryStatus:
        """Whether the account pauses, why and until when."""
        limits = self._client.limits
        for kind in (ANY, CDN, UNRESTRICT):
            if error := limits.holds.of(kind):
                return LibraryStatus(str(error), self._clock() + (error.retry_after or 0.0))
        if pause := limits.paused_for():
            return LibraryStatus("too many requests", self._clock() + pause)
        return LibraryStatus()

    def _file(self, info_hash: str, file_id: int, budget: Budget) -> StoredFile:
        file = self._store.file(info_hash, file_id)
        if file is None or (file.link is None and not self._urls.is_failing(file)):
            file = self._urls.learn(info_hash, file_id, budget)
        if self._urls.is_failing(file) and self._urls.heal(file, budget):
            file = self._store.file(info_hash, file_id) or file
        if self._urls.is_failing(file):
            raise errors.ContentGone(f"{file.problem}; asked again later")
        return file


class RemoteStream:
    """Bytes of one file in order; one thread reads at a time, any thread may close."""

    def __init__(self, client: Client, urls: Urls, file: StoredFile, span: tuple[int, int], deadline: float) -> None:
        self._client, self._urls, self._file = client, urls, file
        self._at, self._end = span[0], sum(span)
        self._deadline = deadline
        self._stall = max(deadline / 3, 0.5)  # seconds without a packet before another connection is tried
        self._reading = threading.Lock()
        self._interrupt = Interrupt()
        self._response: requests.Response | None = None
        self._url: str | None = None
        self._stale: str | None = None  # a URL that must not be used again
        self._renewed = False  # since the last byte that came
        self._healed = False

    def open(self, budget: Budget) -> None:
        """Connect, so that what cannot be had fails here. Raises OSError."""
        if self._at < self._end:
            with self._reading:
                self._persist(Budget(budget.deadline, self._interrupt, urgent=True), self._connect)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` and return how many bytes came; fewer when the connection broke off after them.

        0 only at the end of the range. Raises OSError: EIO, ETIMEDOUT.
        """
        try:
            with self._reading:
                view = memoryview(buffer).cast("B")[: self._end - self._at]
                if not view:
                    return 0
                before = self._at
                self._persist(
                    Budget.of(self._deadline, urgent=True, interrupt=self._interrupt),
                    lambda budget: self._fill(view, budget),
                )
                return self._at - before
        finally:
            if self._interrupt.is_set:  # close() came meanwhile and left this to us
                self._drop()

    def close(self) -> None:
        """End the stream and a readinto that waits in another thread. May be repeated."""
        self._interrupt.set()
        if self._reading.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._reading.release()

    def _persist(self, budget: Budget, act: Callable[[Budget], None]) -> None:
        """Repeat `act` over the passing faults of the way, as long as tries and time last."""
        for attempt in itertools.count(1):
            try:
                budget.interrupt.check()
                return act(budget)
            except DebridError as error:
                self._drop()
                if not (self._may_go_on(error, attempt, budget) and _rested(attempt, budget)):
                    raise _os_error(error, self._file.path) from None

    def _may_go_on(self, error: DebridError, attempt: int, budget: Budget) -> bool:
        renew = error.reaction is Reaction.RENEW
        if renew and self._renewed:
            self._urls.fail(self._file, str(error), REFUSED_SECONDS)
            return self._heal(budget)
        if error.reaction in (Reaction.REPAIR, Reaction.RESYNC):
            return self._heal(budget)
        passing = error.reaction is Reaction.REPEAT and attempt < _TRIES
        if renew or (attempt == 3 and not self._renewed):
            self._stale, self._renewed = self._url, True
        return passing or renew

    def _heal(self, budget: Budget) -> bool:
        """Wait for a repair, once; True if it brought the content back."""
        if self._healed or not self._urls.heal(self._file, budget):
            return False
        self._healed, self._stale, self._renewed = True, None, False
        return True

    def _connect(self, budget: Budget) -> None:
        self._url = self._urls.get(self._file, self._stale, budget)
        length, size = self._end - self._at, self._file.bytes
        self._response = self._client.open_range(self._url, self._at, length, self._stall, size=size, budget=budget)

    def _fill(self, view: memoryview, budget: Budget) -> None:
        if self._response is None:
            self._connect(budget)
        before = self._at
        try:
            exchange("reading", budget, lambda: self._copy(view))
        except Interrupted:
            raise
        except DebridError:
            if self._at == before:
                raise
            self._drop()  # what came is good; the next call goes on behind it
        self._renewed = False
        if self._at == self._end:
            self._drop()

    def _copy(self, view: memoryview) -> None:
        """Move bytes from the connection to `view`, as they come, so that none is lost at a reset."""
        assert self._response is not None
        read, copied = self._response.raw.read1, 0
        until = time.monotonic() + _AT_ONCE
        while copied < len(view) and time.monotonic() < until:
            piece = read(min(len(view) - copied, _PIECE), decode_content=False)
            if not piece:
                raise ConnectionResetError(errno.ECONNRESET, "the body ended early")
            view[copied : copied + len(piece)] = piece
            copied += len(piece)
            self._at += len(piece)

    def _drop(self) -> None:
        response, self._response = self._response, None
        self._interrupt.hold(None)
        if response is not None:
            response.close()


def _file_of(key: Key) -> tuple[str, int]:
    """The info hash, or the digest of a hoster's link, and the file id of a key."""
    kind, info_hash, part = key
    if kind not in ("torrent", "link") or not part.isdecimal():
        raise errors.Rejected(f"no such kind of content: {kind} {part!r}")
    return info_hash, int(part)


def _rested(attempt: int, budget: Budget) -> bool:
    """Pause before the next try, except the first one; False if there is no time for one."""
    try:
        if attempt > 1:
            budget.back_off(attempt - 1)
    except Interrupted:
        return False
    return budget.remaining > 0


def _os_error(error: DebridError, what: str) -> OSError:
    number = errno.ETIMEDOUT if isinstance(error, TimedOut) else errno.EIO
    return OSError(number, f"{what}: {error}")
