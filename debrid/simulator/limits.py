"""The account's rate limits: sliding windows over the virtual clock, and what follows from ignoring them."""

import threading
from collections import deque

from debrid.simulator.clock import Clock
from debrid.simulator.faults import Faults

TOO_MANY, FAIR_USAGE = 34, 36
_MINUTE = 60.0


class Window:
    """Counts events of the last so many seconds; a refused one counts too (documented)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._events: deque[float] = deque()

    def add(self, now: float) -> int:
        """Note an event; how many there are now, this one included."""
        while self._events and self._events[0] <= now - self._seconds:
            self._events.popleft()
        self._events.append(now)
        return len(self._events)


class RateLimiter:
    """Says for each request of the API whether it goes through."""

    def __init__(self, clock: Clock, faults: Faults, always: bool) -> None:
        self._clock = clock
        self._faults = faults
        self._always = always
        self._all, self._lists = Window(_MINUTE), Window(_MINUTE)
        self._changes, self._unrestricts = Window(10.0), Window(_MINUTE)
        self._tokens = Window(_MINUTE)
        self._refused = Window(_MINUTE)
        self._blocked_until = 0.0
        self._last_refusal = float("-inf")
        self._lock = threading.Lock()

    def check(self, method: str, path: str) -> int:
        """The error code a request is refused with, or 0."""
        if not (self._always or self._faults.rate_limits):
            return 0
        now = self._clock.now()
        with self._lock:
            code = self._verdict(method, path, now)
            if code:
                self._note_refusal(now)
            return code

    def _verdict(self, method: str, path: str, now: float) -> int:
        faults = self._faults
        over = self._all.add(now) > faults.limit_per_minute
        if path == "/torrents":
            over |= self._lists.add(now) > faults.limit_lists_per_minute
        elif path.startswith("/torrents/") and method != "GET":
            over |= self._changes.add(now) > faults.limit_changes_per_10s
        elif path == "/oauth/v2/token":
            over |= self._tokens.add(now) > faults.limit_tokens_per_minute
        if over or now < self._blocked_until:
            return TOO_MANY
        if path == "/unrestrict/link" and self._unrestricts.add(now) > faults.limit_unrestrict_per_minute:
            return FAIR_USAGE
        return 0

    def _note_refusal(self, now: float) -> None:
        self._last_refusal = now
        if self._refused.add(now) >= self._faults.limit_block_after:
            self._blocked_until = now + self._faults.limit_block_seconds

    def note_throttling(self) -> None:
        """A 429 was answered for another reason; it counts as throttling all the same."""
        with self._lock:
            self._last_refusal = self._clock.now()

    def throttled(self) -> bool:
        """Was anything refused within the last 30 s? Then error 35 may be a false one (seen by DMM)."""
        return self._clock.now() - self._last_refusal < 30.0
