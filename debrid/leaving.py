"""How content leaves the account, which nothing can undo: late, and only what mediapool added itself.

    last name gone and last handle closed    `release` notes it in debrid.db; no call is made
    `delete_after` later, in the poller      if the content still has no name, every addition of it that was
                                             made here is deleted at the provider
    a name came back, or it was added anew   it stays
    `delete_after` is "never"                it stays, and is the account owner's from then on

Whatever is in doubt stays: an addition of which debrid.db does not say that it was made here, one whose names
have not been in the tree yet, one that cannot be asked about. What the last run could not note, because
mediapool or the machine ended between the last name's end and the note, is found at the next start.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from debrid.client import Client
from debrid.errors import AuthError, DebridError, Interrupted, StoreError, TemporaryError
from debrid.store import Released, Store
from debrid.transport import Budget, Interrupt

log = logging.getLogger(__name__)

Key = tuple[str, str, str]

_CALL_SECONDS = 60.0
_RETRY_SECONDS = 60.0  # after a first failure; doubles up to the next
_LONGEST_RETRY_SECONDS = 6 * 3600.0
_BATCH = 20  # deletions, or looks at names, between two looks at the account


class NamesOf(Protocol):
    """What has to be known of the tree before content may leave the account."""

    def named(self, info_hash: str) -> bool:
        """Has any file of this torrent a name in the tree, or an open handle?"""
        ...


class Leaving:
    """Thread-safe; no lock of its own.

    `delete_after`: seconds without a name after which content leaves, None: it never does; `clock`: seconds
    since 1970.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        names: NamesOf,
        *,
        delete_after: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._store, self._names = client, store, names
        self._delete_after, self._clock = delete_after, clock
        self._unnoted: set[str] = set()  # hashes whose release could not be written
        self._unchecked: list[str] | None = None  # hashes to look at after the start; None: not asked for yet

    def release(self, key: Key) -> None:
        """The last name of this file is gone and its last handle closed. Raises nothing and makes no call.

        Whoever removes a name must not fail because of this: what cannot be written down is logged, and tried
        again by the poller.
        """
        kind, info_hash, _ = key
        if kind != "torrent":
            return
        try:
            self._note(info_hash)
        except StoreError as error:
            self._unnoted.add(info_hash)
            log.error("it is not noted yet that torrent %s has no name: %s", info_hash, error)

    def run_due(self, interrupt: Interrupt | None = None) -> bool:
        """Delete what has been without a name for long enough; True if more can be done at once.

        For the poller alone, after a successful look at the account. A refusal is noted and tried again later,
        after growing pauses. Raises StoreError, and Interrupted when `interrupt` is set.
        """
        interrupt = interrupt or Interrupt()
        self._catch_up()
        for _ in range(_BATCH):
            interrupt.check()
            now = self._clock()
            due = self._store.next_released(now - (self._delete_after or 0.0), now)
            if due is None:
                return False
            if self._names.named(due.hash):
                self._store.keep(due)
            elif self._delete_after is None:
                self._store.disown(due.id)  # for good: once "never" is lifted, what it kept must not leave
            elif not self._delete(due, interrupt):
                return False
        return True

    def _note(self, info_hash: str) -> None:
        count = self._store.release(info_hash, self._clock())
        stays = "it stays in the account: it was not added here"
        log.debug("torrent %s lost a file's last name; %s", info_hash, f"{count} may leave" if count else stays)

    def _catch_up(self) -> None:
        """Note what could not be noted before, be it in an earlier run."""
        if self._unchecked is None:
            self._unchecked = sorted(self._store.unreleased())
        for info_hash in list(self._unnoted):
            self._note(info_hash)
            self._unnoted.discard(info_hash)
        if self._unchecked:
            still = self._store.unreleased()  # what was released since the start waits already
            for info_hash in still.intersection(self._unchecked[:_BATCH]):
                if not self._names.named(info_hash):
                    self._note(info_hash)
            del self._unchecked[:_BATCH]

    def _delete(self, due: Released, interrupt: Interrupt) -> bool:
        """Delete one addition; False if it is no use to try another."""
        try:
            # One that is not there any more counts as deleted.
            self._client.delete_torrent(due.id, Budget.of(_CALL_SECONDS, interrupt=interrupt))
        except Interrupted:
            raise
        except DebridError as error:
            pause = min(_RETRY_SECONDS * 2 ** min(due.failures, 20), _LONGEST_RETRY_SECONDS)
            log.warning("torrent %s has no name, but cannot be deleted: %s; again in %.0f s", due.id, error, pause)
            self._store.put_off(due.id, str(error), self._clock() + pause)
            return not isinstance(error, TemporaryError | AuthError)
        self._store.forget(due.id)
        log.info("torrent %s (%s) has no name in the tree any more: deleted from the account", due.id, due.hash)
        return True
