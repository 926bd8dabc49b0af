"""Download URLs of files: made once for all who ask, kept with their expiry, and what to do if none can be had."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Protocol

from debrid import errors
from debrid.client import Client
from debrid.errors import DebridError, Interrupted, Reaction, TimedOut, Unavailable
from debrid.models import Unrestricted
from debrid.store import Store, StoredFile
from debrid.transport import Budget

log = logging.getLogger(__name__)

URL_SECONDS = 24 * 3600.0  # the provider keeps URLs for seven days; a fresh one a day costs little
RETRY_SECONDS = 600.0  # after the first "gone"; doubles to a day
REFUSED_SECONDS = 60.0  # after two fresh URLs in a row were refused by the CDN
LATER_SECONDS = 3600.0  # a hoster's maintenance or limit
GONE = "no longer in the Real-Debrid account"

# What is remembered of a file, so that it fails at once until it is asked for again.
HELD = frozenset({Reaction.REPAIR, Reaction.RESYNC, Reaction.REFUSED})


class Healer(Protocol):
    """Who brings dead content back."""

    def heal(self, info_hash: str, file_id: int, budget: Budget) -> bool:
        """Wait for a repair if one is due, within the budget; True if the file can be had now.

        False at once if none is due. Raises Interrupted, StoreError.
        """
        ...


def check_size(answer: Unrestricted, file: StoredFile) -> None:
    """Raises WrongContent if a link leads to something of another size."""
    if answer.filesize not in (0, file.bytes):
        raise errors.WrongContent(f"its link leads to {answer.filename!r} of {answer.filesize} bytes, not {file.bytes}")


class Flights:
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


class Urls:
    """Download URLs of files, made once for all who ask and kept in the store."""

    def __init__(
        self,
        client: Client,
        store: Store,
        url_seconds: float,
        healer: Healer | None,
        clock: Callable[[], float],
    ) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._url_seconds, self._healer = url_seconds, healer
        self._flights = Flights()
        # URLs, and until when they are good, that the store had no room for: reading goes on without it.
        self._unkept: dict[tuple[str, int], tuple[str, float]] = {}
        self._later: dict[tuple[str, int], tuple[DebridError, float]] = {}  # what is not asked for before a time
        self._empty_until = 0.0  # an account without torrents is believed to be until then

    def is_failing(self, file: StoredFile) -> bool:
        """The provider said that it cannot be had, and it is not time yet to ask again."""
        return bool(file.problem) and self._clock() < file.retry_at

    def heal(self, file: StoredFile, budget: Budget) -> bool:
        """Wait for a repair of the file, if one is due; True if it can be had now."""
        try:
            return self._healer is not None and self._healer.heal(file.hash, file.id, budget)
        except DebridError as error:  # what is wrong with the file says more than that there was no time
            log.debug("no repair of %s: %s", file.path, error)
            return False

    def get(self, file: StoredFile, stale: str | None, budget: Budget) -> str:
        """A URL other than `stale`, as far as the provider has another. Raises DebridError."""
        if url := self._cached(file, stale):
            return url
        self._flights.run((file.hash, file.id), budget, lambda: self._unrestrict(file.hash, file.id, stale, budget))
        if url := self._cached(file, None):
            return url
        raise Unavailable("its download URL was withdrawn at once")

    def get_fresh(self, file: StoredFile, budget: Budget) -> str:
        """A URL, whichever it has. Raises DebridError."""
        return self.get(file, None, budget)

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
        self._check_later(file)
        try:
            answer = self._client.unrestrict(file.link, budget)
            check_size(answer, file)
        except DebridError as error:
            if isinstance(error, errors.HosterBusy):
                self._later[info_hash, file_id] = (error, self._clock() + LATER_SECONDS)
            if error.reaction not in HELD:
                raise
            # A link outlives its torrent, so it is tried even if that left; then nobody else can help, though.
            problem = f"{GONE}, and {error}" if self._has_left(info_hash) else str(error)
            self.fail(file, problem, RETRY_SECONDS)
            raise errors.ContentGone(problem, reaction=error.reaction) from None
        self._keep(file, answer.download)

    def _check_later(self, file: StoredFile) -> None:
        error, until = self._later.get((file.hash, file.id), (None, 0.0))
        if error is not None and self._clock() < until:
            raise errors.HosterBusy(f"{error}; asked again later")

    def _ask(self, info_hash: str, file_id: int, budget: Budget) -> None:
        if not self._store.torrents() and self._clock() >= self._empty_until:  # a new debrid.db, before the first poll
            self._store.saw(self._client.torrents(budget).items, self._clock())
            self._empty_until = self._clock() + RETRY_SECONDS
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
