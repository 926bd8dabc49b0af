"""Watches the account and puts the files of finished torrents into the tree.

A poller thread asks cheaply whether anything changed, reads the whole list only then, and publishes each
addition (one torrent id) once. It never takes a name away: a torrent that a listing lacks is asked for by
its id, and only if the provider itself says that it is gone, it is marked missing, for `debrid list` to
tell. Whatever else goes wrong (refused token, pace, outage, an empty or odd answer) changes nothing and
shows in `status()`.

What is published, from the links and the selected files of a torrent:

    as many links as files     link i belongs to file i fewer links                each link is unrestricted
    and matched by name and size; files without one are left
                               out and named in the torrent's problem. In the first minute more links may
                               follow, so it waits.
    one link, many files       the provider packed them into one RAR: `archives` says where they lie in it. If it
                               is not stored, the RAR itself is published, and named in the torrent's problem.
    files that are RARs        of stored ones the files inside, likewise
    no links                   lost content; nothing is published, looked at again after hours
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from debrid import errors
from debrid.client import Client
from debrid.contents import Contents, NotYet, PublishedFile
from debrid.errors import DebridError, Interrupted, TemporaryError
from debrid.leaving import Leaving
from debrid.listing import ListedTorrent, listed
from debrid.models import UNFINISHED
from debrid.store import PACK, Store, StoredTorrent
from debrid.transport import Budget, Interrupt
from debrid.urls import GONE

log = logging.getLogger(__name__)

COMPLETE = "torrents/complete"
FULL_SECONDS = 900.0  # the cheap question misses some changes, so the whole list is read this often anyway
_CALL_SECONDS = 120.0
_RETRY_SECONDS = 60.0
_NEW_SECONDS = 3600.0
_BATCH = 50  # additions published between two looks at the account
_STOP_SECONDS = 15.0
_PROBES = 5  # absent torrents asked for by id in one round


class Tree(Protocol):
    """The tree as this poller sees it. Both methods may raise OSError."""

    def published(self, addition: str) -> bool:
        """Was this addition ever published, be it removed since? The tree's memory counts, not the store's."""
        ...

    def publish(self, addition: str, folder: str, name: str, files: Sequence[PublishedFile]) -> str:
        """Show the files under folder/name (or a name beside it) and return the path; once per addition."""
        ...


@dataclass(frozen=True, slots=True)
class TorrentsStatus:
    """How the poller fares.

    `polled_at`: last success, seconds since 1970; `error`: '' or why the last round failed.
    """

    polled_at: float | None = None
    error: str = ""
    known: int = 0
    published: int = 0
    unfinished: int = 0
    missing: int = 0
    problems: int = 0


class Torrents:
    """Thread-safe. `poll_seconds`: pause between two looks at the account; `clock`: seconds since 1970."""

    def __init__(
        self,
        client: Client,
        store: Store,
        tree: Tree,
        *,
        poll_seconds: float = 15.0,
        folder: str = COMPLETE,
        leaving: Leaving | None = None,
        published: Callable[[Sequence[PublishedFile]], object] = lambda files: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`published` is told of torrents that finished while we watched: what somebody will look at soon."""
        self._client, self._store, self._tree, self._leaving = client, store, tree, leaving
        self._contents = Contents(client, store, clock)
        self._tell = published
        self._poll_seconds, self._folder, self._clock = poll_seconds, folder, clock
        self._polling = threading.Lock()
        self._wake = threading.Event()
        self._interrupt = Interrupt()
        self._thread: threading.Thread | None = None
        self._polled_at: float | None = None
        self._error = ""
        self._failures = 0
        self._behind = True  # what had finished when we began is not all published yet
        self._compared = False  # the store with the tree, once after the start
        self._mark: object = None  # what the cheap question answered when the list was last read
        self._list_due = 0.0  # seconds since 1970
        self._watch_due = 0.0  # of time.monotonic()

    # -- running

    def start(self) -> None:
        """Poll in a thread of its own until `stop`."""
        if self._thread is None:
            self._interrupt = Interrupt()
            self._thread = threading.Thread(target=self._run, name="torrents", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, in the middle of a call if need be."""
        self._interrupt.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)  # only the resolver can hold it longer; it does nothing afterwards
            self._thread = None

    def poke(self) -> None:
        """Look at the account now rather than at the next turn."""
        self._list_due = 0.0
        self._wake.set()

    def poll(self) -> bool:
        """One look at the account; True if more can be done at once. What went wrong is in `status()`."""
        with self._polling:
            more = False
            try:
                self._compare()
                error = self._notice()
                more = self._publish_due()
                self._behind = more
                # Last, and only when all went well: of all that happens here this alone cannot be undone.
                if self._leaving is not None and not error:
                    more = self._leaving.run_due(self._interrupt) or more
                self._polled_at = self._clock()
            except Interrupted:
                return False
            except (DebridError, OSError) as problem:
                error = str(problem)
            except Exception as problem:  # the thread must outlive a bug; it shows in the log and the status
                log.exception("polling failed")
                error = f"internal error: {problem!r}"
            if error and error != self._error:
                log.warning("Real-Debrid: %s; nothing is changed", error)
            self._error, self._failures = error, self._failures + 1 if error else 0
            return more

    def _run(self) -> None:
        while not self._interrupt.is_set:
            self._wake.clear()
            if not self.poll() and not self._interrupt.is_set:
                self._wake.wait(self._poll_seconds * 2 ** min(self._failures, 4))

    def _budget(self) -> Budget:
        return Budget.of(_CALL_SECONDS, interrupt=self._interrupt)

    def _compare(self) -> None:
        """What the tree does not know as published is published again, whatever the store says.

        The tree may be older than the store: restored from a backup, or set back by a crash of the machine.
        """
        if self._compared:
            return
        for each in self._store.torrents():
            if each.path is not None and not self._tree.published(addition_of(each.id)):
                log.warning("%s is not known in the tree any more: it will be published again", each.name)
                self._store.set_unpublished(each.id)
        self._compared = True

    # -- what the account holds

    def _notice(self) -> str:
        """Bring the store up to date; returns what is doubtful about the listing, '' if nothing is."""
        first = self._client.torrents_first(self._budget())
        mark = (first.total, first.items[0].id if first.items else "")
        known = [each for each in self._store.torrents() if not each.missing]
        now = self._clock()
        watching = time.monotonic() >= self._watch_due and any(each.status in UNFINISHED for each in known)
        if mark == self._mark and now < self._list_due and not watching:
            return ""
        self._mark = None  # should this fail half-way, all of it is done again
        started = time.monotonic()
        listing = self._client.torrents(Budget.of(_CALL_SECONDS * 3, interrupt=self._interrupt))
        # Large accounts take long to list: do not spend more than a fifth of the time on it.
        took = time.monotonic() - started
        self._watch_due = time.monotonic() + max(0.0, 4 * took - self._poll_seconds)
        self._store.saw(listing.items, now)
        absent = {each.id for each in known} - {each.id for each in listing.items}
        alive, left = self._probe([each for each in known if each.id in absent])
        if alive:
            return f"the list shows {len(listing.items)} torrents, but at least {alive} more exist"
        if not left:
            self._mark, self._list_due = mark, now + FULL_SECONDS
        return ""

    def _probe(self, absent: Sequence[StoredTorrent]) -> tuple[int, int]:
        """Ask for some of the torrents the listing lacks: how many exist, how many are yet to be asked for."""
        alive = 0
        for each in sorted(absent, key=lambda each: each.seen_at)[:_PROBES]:
            try:
                self._store.saw([self._client.torrent(each.id, self._budget())], self._clock())
                alive += 1
            except errors.NotFound:
                log.info("%s is %s", each.name, GONE)
                self._store.set_missing(each.id, GONE, self._clock())
        return alive, max(0, len(absent) - _PROBES)

    # -- publishing

    def _publish_due(self) -> bool:
        """Publish what is due, a batch at a time; True if there is more."""
        due = self._store.unpublished(self._clock())
        for torrent in due[:_BATCH]:
            self._interrupt.check()
            try:
                self._publish(torrent)
            except errors.NotFound:
                self._store.set_missing(torrent.id, GONE, self._clock())
            except (Interrupted, errors.StoreError):
                raise
            except DebridError as error:
                # Put off, so that one bad torrent does not stand before all others in the next round.
                self._put_off(torrent, str(error), _RETRY_SECONDS)
                if isinstance(error, TemporaryError | errors.AuthError):
                    raise
            except OSError as error:
                self._put_off(torrent, f"cannot be published: {error}", _RETRY_SECONDS)
                raise
        return len(due) > _BATCH

    def _publish(self, torrent: StoredTorrent) -> None:
        addition = addition_of(torrent.id)
        if self._tree.published(addition):
            packed = self._store.file(torrent.hash, PACK) is not None
            self._store.set_published(torrent.id, "", torrent.problem if packed else self._contents.lost(torrent))
            return
        try:
            files, problem = self._contents.files(torrent, self._budget())
        except NotYet as reason:
            if reason.seconds:
                self._put_off(torrent, str(reason), reason.seconds)
            return
        path = self._tree.publish(addition, self._folder, torrent.name, files)
        self._store.set_published(torrent.id, path, problem)
        log.info("published %s with %d files", path, len(files))
        recent = (self._clock() - _NEW_SECONDS) * 10**9
        if self._polled_at is not None and self._contents.true_ns(torrent, self._budget()) > recent:
            self._tell(files)

    def _put_off(self, torrent: StoredTorrent, problem: str, seconds: float) -> None:
        self._store.set_problem(torrent.id, problem, self._clock() + seconds)

    # -- telling

    def incomplete(self) -> str:
        """Why the tree may lack something that the account holds; "" if it lacks nothing that we could know of."""
        if self._error:
            return self._error
        return "torrents of the account are being published" if self._behind else ""

    def status(self) -> TorrentsStatus:
        """How the poller fares. Raises StoreError."""
        rows = self._store.torrents()
        return TorrentsStatus(
            polled_at=self._polled_at,
            error=self._error,
            known=len(rows),
            published=sum(each.path is not None for each in rows),
            unfinished=sum(each.status in UNFINISHED and not each.missing for each in rows),
            missing=sum(each.missing for each in rows),
            problems=sum(bool(each.problem) for each in rows),
        )

    def list(self) -> list[ListedTorrent]:
        """As `listing.listed`. Raises StoreError."""
        return listed(self._store)


def addition_of(torrent_id: str) -> str:
    """By which name the tree remembers an addition."""
    return f"realdebrid:{torrent_id}"
