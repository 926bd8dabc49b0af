"""Bytes sent by the CDN, by day in Paris and by hoster: behind /traffic/details and the daily quota."""

import threading
from collections import defaultdict

from debrid.simulator.clock import Clock, local_day


class Traffic:
    """Counts from many connections at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._days: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._total = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        return self._total

    def add(self, host: str, count: int) -> None:
        day = local_day(self._clock.now())
        with self._lock:
            self._days[day][host] += count
            self._total += count

    def today(self) -> int:
        with self._lock:
            return sum(self._days.get(local_day(self._clock.now()), {}).values())

    def days(self, start: str, end: str) -> dict[str, dict[str, object]]:
        """The days from `start` to `end` (`YYYY-MM-DD`, both included) that have any traffic."""
        with self._lock:
            return {
                day: {"host": dict(hosts), "bytes": sum(hosts.values())}
                for day, hosts in sorted(self._days.items())
                if start <= day <= end and any(hosts.values())
            }
