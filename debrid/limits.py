"""One pace for the whole account, shared by everything that calls the API.

Real-Debrid allows 250 calls a minute; refused ones count too, and who goes on is blocked for an unnamed time.
Listing, changing and unrestricting have smaller allowances, which clients in the field measured.

Written by hand because the libraries for this (pyrate-limiter among them) lack the two things that decide
here: a read somebody waits for goes ahead of background calls, and one refusal stops everybody for a while.

Lock order: `_lock` is innermost; nothing is called while it is held, except the clock.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from debrid.errors import RateLimited
from debrid.holds import ANY, UNRESTRICT, Holds

Sleep = Callable[[float], object]


class Rate(NamedTuple):
    """Calls a second in the long run, and how many may come at once."""

    per_second: float
    burst: int


RATES: Mapping[str, Rate] = {
    ANY: Rate(4.0, 10),  # never more than 250 in any minute
    "list": Rate(1.1, 8),  # 75 a minute were seen to be allowed
    "info": Rate(2.0, 6),
    "change": Rate(2.0, 2),  # 22 in 10 s
    UNRESTRICT: Rate(1.0, 4),  # bursts bring the fair-use error
}


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds of a pause: after a first refusal, at most, and once refusals repeat (the circuit breaker)."""

    first: float = 1.0
    longest: float = 600.0
    breaker: float = 120.0
    breaker_after: int = 3
    forget_after: float = 60.0  # one refusal is forgiven per this time without another


class _Waiter(NamedTuple):
    rank: tuple[bool, int]  # (not urgent, arrival)
    kind: str


class Limits:
    """Thread-safe. Times are seconds of `clock`."""

    def __init__(
        self,
        rates: Mapping[str, Rate] = RATES,
        pauses: Pauses = Pauses(),
        *,
        holds: Holds | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = time.sleep,
        spread: Callable[[], float] = lambda: random.uniform(1.0, 1.2),
    ) -> None:
        self._rates, self._clock, self._sleep, self._spread = rates, clock, sleep, spread
        self.pauses, self.holds = pauses, holds or Holds(clock=clock)
        self._lock = threading.Lock()
        self._tokens = {kind: (float(rate.burst), clock()) for kind, rate in rates.items()}
        self._waiting: dict[int, _Waiter] = {}
        self._arrivals = 0
        self._paused_until = self._last_refusal = float("-inf")
        self._refusals = 0.0

    def wait(self, kind: str, deadline: float, *, urgent: bool = False, sleep: Sleep | None = None) -> None:
        """Return when a call of `kind` may be made, urgent ones first.

        Raises RateLimited, or the error of a hold, as soon as it is clear that `deadline` would pass first.
        """
        with self._lock:
            self._arrivals += 1
            me = self._waiting[self._arrivals] = _Waiter((not urgent, self._arrivals), kind)
        try:
            while delay := self._take_or_delay(me, deadline):
                (sleep or self._sleep)(delay)
        finally:
            with self._lock:
                del self._waiting[me.rank[1]]

    def refused(self, retry_after: float | None = None, *, at_least: float = 0.0) -> float:
        """The API said "too many": everybody pauses. Returns the seconds.

        A pause grows from refusal to refusal and honours what the answer asked for.
        """
        with self._lock:
            now, pauses = self._clock(), self.pauses
            if now >= self._paused_until:  # answers to calls made before the pause are the same refusal
                forgiven = (now - self._paused_until) / pauses.forget_after
                self._refusals = max(0.0, self._refusals - forgiven) + 1
            self._last_refusal = now
            at_least = pauses.breaker if round(self._refusals) >= pauses.breaker_after else at_least
            grown = min(pauses.first * 2 ** min(self._refusals - 1, 20), pauses.longest)
            pause = max(grown, retry_after or 0.0, at_least) * self._spread()
            self._paused_until = max(self._paused_until, now + pause)
            self._tokens = dict.fromkeys(self._tokens, (1.0, self._paused_until))  # no burst right afterwards
            return pause

    def paused_for(self) -> float:
        """Seconds until the pause after a refusal ends; 0 if there is none."""
        with self._lock:
            return max(0.0, self._paused_until - self._clock())

    def state(self) -> dict[str, Any]:
        """Calls of each kind that may be made at once (`left`), those that `wait`, and the seconds of a pause left."""
        with self._lock:
            now = self._clock()
            left = {kind: int(self._available(kind, now)) for kind in self._rates}
            waiting = len(self._waiting)
        return {"left": left, "waiting": waiting, "paused_for": self.paused_for()}

    def refused_within(self, seconds: float) -> bool:
        """True if the last refusal is no older than this."""
        with self._lock:
            return self._clock() - self._last_refusal <= seconds

    def _take_or_delay(self, me: _Waiter, deadline: float) -> float:
        """0 and a token of each bucket taken, or the seconds to sleep before asking again."""
        self.holds.check(ANY, me.kind)
        with self._lock:
            now = self._clock()
            delay = max(self._paused_until - now, self._delay(me, now))
            if delay <= 0:
                for kind in {ANY, me.kind}:
                    self._tokens[kind] = (self._available(kind, now) - 1, now)
                return 0.0
        if now + delay > deadline:
            raise RateLimited(f"calls are paced; the next is free in {delay:.0f} s", retry_after=delay)
        return min(delay, 1.0)  # an earlier caller may give up, so look again now and then

    def _delay(self, me: _Waiter, now: float) -> float:
        ahead = Counter(each.kind for each in self._waiting.values() if each.rank < me.rank)
        # Of the shared bucket, those ahead are due only what their own buckets let them take at once.
        due = sum(min(count, int(self._available(kind, now))) for kind, count in ahead.items())
        return max(self._until(me.kind, ahead[me.kind], now), self._until(ANY, due, now))

    def _until(self, kind: str, ahead: int, now: float) -> float:
        missing = 1 + ahead - self._available(kind, now)
        # Never so short that a clock with many digits before the point would not move.
        return 0.0 if missing < 1e-6 else max(missing / self._rates[kind].per_second, 1e-4)

    def _available(self, kind: str, now: float) -> float:
        tokens, stamp = self._tokens[kind]
        rate = self._rates[kind]
        return min(float(rate.burst), tokens + max(0.0, now - stamp) * rate.per_second)
