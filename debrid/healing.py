"""Repairs in a thread of their own: when they are due, when somebody reads what is dead, when a person asks.

Lock order: `_changed`, then the store's; no call of the provider is made while either is held. While a repair is
`_current`, its row belongs to the thread here alone.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from debrid import errors
from debrid.budget import Allowance
from debrid.client import Client
from debrid.repair import Mender, RepairedTree
from debrid.repairlog import RESTING, Repair, State
from debrid.store import Store
from debrid.transport import Budget, Interrupt

log = logging.getLogger(__name__)

_TRY_SECONDS = 180.0
_LONGEST_SLEEP = 60.0  # seconds
_FORGIVEN_AFTER = 24 * 3600.0  # after a repair that held so long the tries are counted anew
_STOP_SECONDS = 15.0
_MOVING = (State.DUE, State.ADDING, State.FETCHING, State.CLEARING, State.DISCARDING)


class Repairs:
    """Thread-safe. One repair at a time, at the pace that calls nobody waits for have; `clock`: seconds since 1970."""

    def __init__(
        self,
        client: Client,
        store: Store,
        tree: RepairedTree,
        allowance: Allowance,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._store, self._clock = store.repairs, store, clock
        self._mender = Mender(client, store, tree, allowance, clock)
        self._changed = threading.Condition()
        self._asked: dict[str, bool] = {}  # hashes to go on with now, and whether somebody reads
        self._current = ""
        self._interrupt = Interrupt()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Repair in a thread of its own until `stop`."""
        if self._thread is None:
            self._interrupt = Interrupt()
            self._thread = threading.Thread(target=self._run, name="repairs", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, in the middle of a call if need be; whoever waits goes on."""
        self._interrupt.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None

    def heal(self, info_hash: str, file_id: int, budget: Budget) -> bool:
        """As `urls.Healer`: begin or join a repair if one is due, and wait for it."""
        if not self._start_for_reader(info_hash):
            return False
        self._wait(info_hash, budget)
        file = self._store.file(info_hash, file_id)
        return file is not None and not file.problem

    def force(self, info_hash: str) -> None:
        """A person asks: whatever was tried, it is tried again now, also what left the account."""
        with self._changed:
            if info_hash != self._current:  # whose state is in other hands
                old = self._log.get(info_hash) or Repair(info_hash)
                state = State.DUE if old.state in RESTING else old.state
                self._log.put(replace(old, state=state, tries=0, problem="", retry_at=0.0, asked=True))
            self._ask(info_hash, urgent=False)

    def wait(self, info_hash: str, budget: Budget) -> Repair | None:
        """Until the try under way has ended; how the repair stands then. Raises TimedOut, Interrupted."""
        self._wait(info_hash, budget)
        return self._log.get(info_hash)

    def counts(self) -> dict[str, int]:
        """How many repairs are in each state, those that are done left out. Raises StoreError."""
        return dict(Counter(str(each.state) for each in self._log.all() if each.state is not State.DONE))

    def _start_for_reader(self, info_hash: str) -> bool:
        with self._changed:
            if info_hash == self._current or info_hash in self._asked:
                return True
            if self._thread is None:
                return False
            repair, now = self._log.get(info_hash), self._clock()
            if repair is None:
                self._log.put(Repair(info_hash))
            elif repair.state is State.GIVEN_UP or repair.retry_at > now:
                return False
            elif repair.state is State.DONE:
                forgiven = now > repair.retry_at + _FORGIVEN_AFTER
                self._log.put(Repair(info_hash, tries=0 if forgiven else repair.tries))
            self._ask(info_hash, urgent=True)
        return True

    def _ask(self, info_hash: str, *, urgent: bool) -> None:
        self._asked[info_hash] = urgent or self._asked.get(info_hash, False)
        self._changed.notify_all()

    def _wait(self, info_hash: str, budget: Budget) -> None:
        while not self._interrupt.is_set:
            with self._changed:
                if info_hash not in self._asked and info_hash != self._current:
                    return
                self._changed.wait(min(0.25, budget.remaining))
            budget.check()

    def _run(self) -> None:
        while not self._interrupt.is_set:
            try:
                found = self._next()
                if found is not None:
                    self._go_on(*found)
            except errors.Interrupted:
                return
            except Exception as problem:  # the thread must outlive a full disk, and a bug
                log.error("repairing failed: %s", problem, exc_info=not isinstance(problem, errors.StoreError))
                self._interrupt.wait(_LONGEST_SLEEP)

    def _next(self) -> tuple[str, bool] | None:
        """What to go on with now, and whether somebody waits for it; None after a sleep."""
        with self._changed:
            for info_hash, urgent in self._asked.items():
                return info_hash, urgent
        due = self._log.next(_MOVING)
        left = _LONGEST_SLEEP if due is None else due.retry_at - self._clock()
        if due is not None and left <= 0:
            return due.hash, False
        with self._changed:
            if not self._asked and not self._interrupt.is_set:
                self._changed.wait(min(left, _LONGEST_SLEEP))
        return None

    def _go_on(self, info_hash: str, urgent: bool) -> None:
        with self._changed:
            self._current = info_hash
        try:
            repair = self._log.get(info_hash)
            if repair is not None and repair.state in _MOVING:
                self._mender.go_on(repair, Budget.of(_TRY_SECONDS, urgent=urgent, interrupt=self._interrupt))
        finally:
            with self._changed:
                self._current = ""
                self._asked.pop(info_hash, None)
                self._changed.notify_all()
