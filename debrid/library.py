"""The bytes of the account's files: from a key to a download URL to a stream that survives what the CDN does.

Satisfies the interface that the filesystem declares for remote content: `stream(key, offset, length)`,
which raises OSError and nothing else. A key is (kind, id, part): ("torrent", info hash, file id as text).

    key ──Store──> restricted link ──unrestrict──> download URL ──Range──> bytes
          info call if unknown       once for all readers,       resumed from the current offset after resets,
                                     kept for `url_seconds`      short bodies and stalls

What the provider says about one file (gone, refused, other content) is remembered with a time before which
it is not asked again. What it says about the account (quota, fair use, pace, token) pauses everything, in
`Limits`, and is never held against a file.

Lock order: `RemoteStream._reading`, then `_Flights._lock` or the store's; none is held during a call except
`_reading`.
"""

import errno
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass

import requests

from debrid import errors
from debrid.client import Client
from debrid.errors import DebridError, Interrupted, TimedOut, Unavailable
from debrid.holds import ANY, CDN, UNRESTRICT
from debrid.leaving import Key, Leaving
from debrid.store import Store, StoredFile
from debrid.transport import Budget, Interrupt, exchange

log = logging.getLogger(__name__)

URL_SECONDS = 24 * 3600.0  # the provider keeps URLs for seven days; a fresh one a day costs little
RETRY_SECONDS = 600.0  # after the first "gone"; doubles to a day
REFUSED_SECONDS = 60.0  # after two fresh URLs in a row were refused by the CDN
GONE = "no longer in the Real-Debrid account"
_TRIES = 6  # without a single byte
_PIECE = 1 << 18


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._deadline, self._leaving = deadline, leaving
        self._urls = _Urls(client, store, url_seconds, clock)

    def stream(self, key: Key, offset: int, length: int) -> "RemoteStream":
        """Open bytes [offset, offset + length) of a file.

        Raises OSError and nothing else: EIO with the reason as its text, or ETIMEDOUT at the deadline.
        """
        budget = Budget.of(self._deadline, urgent=True)
        try:
            file = self._file(key, budget)
        except DebridError as error:
            raise _os_error(error, "/".join(key)) from None
        stream = RemoteStream(self._client, self._urls, file, (offset, length), self._deadline)
        stream.open(budget)
        return stream

    def release(self, key: Key) -> None:
        """The last name of this file is gone and its last handle closed: as `Leaving.release`."""
        if self._leaving is not None:
            self._leaving.release(key)

    def status(self) -> LibraryStatus:
        """Whether the account pauses, why and until when."""
        limits = self._client.limits
        for kind in (ANY, CDN, UNRESTRICT):
            if error := limits.holds.of(kind):
                return LibraryStatus(str(error), self._clock() + (error.retry_after or 0.0))
        if pause := limits.paused_for():
            return LibraryStatus("too many requests", self._clock() + pause)
        return LibraryStatus()

    def _file(self, key: Key, budget: Budget) -> StoredFile:
        kind, info_hash, part = key
        if kind != "torrent" or not part.isdecimal():
            raise errors.Rejected(f"no such kind of content: {kind} {part!r}")
        file = self._store.file(info_hash, int(part))
        if file is None or (file.link is None and not self._is_failing(file)):
            file = self._urls.learn(info_hash, int(part), budget)
        if self._is_failing(file):
            raise errors.ContentGone(f"{file.problem}; asked again later")
        return file

    def _is_failing(self, file: StoredFile) -> bool:
        return bool(file.problem) and self._clock() < file.retry_at


class _Flights:
    """Many ask for the same, one fetches it, all get the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[object, Future[object]] = {}

    def run(self, subject: object, budget: Budget, work: Callable[[], None]) -> None:
        """Do `work`, or wait for whoever is doing it; raises what it raised.

        What it found out is in the store.
        """
        while True:
            with self._lock:
                flight = self._under_way.get(subject)
                mine = self._under_way[subject] = Future() if flight is None else flight
            if flight is None:
                return self._lead(subject, mine, work)
            try:
                return _follow(flight, budget)
            except (Interrupted, TimedOut):  # the one we waited for was in a hurry; are we?
                budget.check()

    def _lead(self, subject: object, flight: "Future[object]", work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._land(subject)
            flight.set_exception(error)
            raise
        self._land(subject)
        flight.set_result(None)

    def _land(self, subject: object) -> None:
        with self._lock:
            del self._under_way[subject]


def _follow(flight: "Future[object]", budget: Budget) -> None:
    while True:
        try:
            flight.result(timeout=min(0.25, budget.remaining))
            return
        except NotYet:
            budget.check()


class _Urls:
    """Download URLs of files, made once for all who ask and kept in the store."""

    def __init__(self, client: Client, store: Store, url_seconds: float, clock: Callable[[], float]) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._url_seconds = url_seconds
        self._flights = _Flights()
        # URLs, and until when they are good, that the store had no room for: reading goes on without it.
        self._unkept: dict[tuple[str, int], tuple[str, float]] = {}

    def get(self, file: StoredFile, stale: str | None, budget: Budget) -> str:
        """A URL other than `stale`, as far as the provider has another. Raises DebridError."""
        if url := self._cached(file, stale):
            return url
        self._flights.run((file.hash, file.id), budget, lambda: self._unrestrict(file.hash, file.id, stale, budget))
        if url := self._cached(file, None):
            return url
        raise Unavailable("its download URL was withdrawn at once")

    def learn(self, info_hash: str, file_id: int, budget: Budget) -> StoredFile:
        """The file, after asking the provider about its torrent. Raises DebridError."""
        self._flights.run(info_hash, budget, lambda: self._ask(info_hash, file_id, budget))
        if file := self._store.file(info_hash, file_id):
            return file
        raise errors.NotFound("the torrent has no such file")

    def fail(self, file: StoredFile, problem: str, seconds: float) -> None:
        """Remember why the file cannot be had, and ask again after `seconds`, longer each time."""
        seconds = min(seconds * 2 ** min(file.failures, 10), 86_400.0)
        log.warning("%s: %s; asked again in %.0f s", file.path, problem, seconds)
        self._unkept.pop((file.hash, file.id), None)
        self._store.set_failing(file.hash, file.id, problem, self._clock() + seconds)

    def _cached(self, file: StoredFile, stale: str | None) -> str | None:
        now = self._clock()
        unkept, until = self._unkept.get((file.hash, file.id), (None, 0.0))
        url = unkept if until > now else self._store.url(file.hash, file.id, now)
        return url if url != stale else None

    def _keep(self, file: StoredFile, url: str) -> None:
        until = self._clock() + self._url_seconds
        try:
            self._store.set_url(file.hash, file.id, url, until)
            self._unkept.pop((file.hash, file.id), None)
        except errors.StoreError as error:
            log.warning("the download URL of %s is not kept: %s", file.path, error)
            self._unkept[file.hash, file.id] = (url, until)

    def _unrestrict(self, info_hash: str, file_id: int, stale: str | None, budget: Budget) -> None:
        file = self._store.file(info_hash, file_id)
        if file is None or file.link is None:
            raise errors.NotFound("the link of the file is not known any more")
        if self._cached(file, stale):
            return
        try:
            answer = self._client.unrestrict(file.link, budget)
            if answer.filesize not in (0, file.bytes):
                raise errors.WrongContent(
                    f"its link leads to {answer.filename!r} of {answer.filesize} bytes, not {file.bytes}"
                )
        except (errors.ContentGone, errors.NotFound, errors.Infringing, errors.Rejected) as error:
            # A link outlives its torrent, so it is tried even if that left; then nobody else can help, though.
            problem = f"{GONE}, and {error}" if self._has_left(info_hash) else str(error)
            self.fail(file, problem, RETRY_SECONDS)
            raise errors.ContentGone(problem) from None
        self._keep(file, answer.download)

    def _ask(self, info_hash: str, file_id: int, budget: Budget) -> None:
        for addition in self._store.additions_of(info_hash):
            if addition.missing:
                continue
            try:
                info = self._client.torrent(addition.id, budget)
            except errors.NotFound:
                self._store.set_missing(addition.id, GONE, self._clock())
                continue
            self._store.record(info, info.links_by_file or {})
            file = self._store.file(info_hash, file_id)
            if file and file.link:
                return
        if file := self._store.file(info_hash, file_id):
            problem = GONE if self._has_left(info_hash) else "Real-Debrid gives no link for this file"
            self.fail(file, problem, RETRY_SECONDS)
        else:
            raise errors.NotFound("its torrent is not known in the account")

    def _has_left(self, info_hash: str) -> bool:
        """The provider confirmed that no addition of it is in the account."""
        return all(each.missing for each in self._store.additions_of(info_hash))


class RemoteStream:
    """Bytes of one file in order; one thread reads at a time, any thread may close."""

    def __init__(self, client: Client, urls: _Urls, file: StoredFile, span: tuple[int, int], deadline: float) -> None:
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
        if isinstance(error, errors.StaleUrl) and self._renewed:
            self._urls.fail(self._file, str(error), REFUSED_SECONDS)
            return False
        if isinstance(error, errors.StaleUrl) or (attempt == 3 and not self._renewed):
            self._stale, self._renewed = self._url, True
        passing = isinstance(error, Unavailable) and error.worth_retrying and attempt < _TRIES
        return passing or isinstance(error, errors.StaleUrl)

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
        until = time.monotonic() + self._stall  # return early what a trickle brought
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
