"""What may be fetched of our own accord in a day: probes, warming, checks and repairs together.

Nobody waits for these bytes, and the provider counts them like those of a player.
"""

from typing import Protocol

from debrid.errors import HosterBusy
from debrid.transport import Interrupt

_LOOK = 0.5  # s between looks whether somebody still waits for bytes


class BudgetSpent(HosterBusy):
    """Nothing more is fetched without a reader until the day ends."""


class DailyBudget(Protocol):
    """The sums of a day, which others share. Thread-safe."""

    def allows(self, count: int) -> bool:
        """Whether so many bytes more may be fetched today."""
        ...

    def spend(self, kind: str, count: int) -> None:
        """Work of this kind fetches so many bytes."""
        ...

    def ends_in(self) -> float:
        """Seconds until the sums begin anew."""
        ...

    def busy(self) -> bool:
        """Whether somebody waits for remote bytes right now."""
        ...


class Allowance:
    """The daily budget for one kind of work."""

    def __init__(self, daily: DailyBudget, kind: str) -> None:
        self._daily, self._kind = daily, kind

    def take(self, size: int, *, urgent: bool = False) -> None:
        """Count `size` bytes that are about to be fetched.

        Raises BudgetSpent if they are too many for today, unless somebody waits for them (`urgent`).
        """
        if not urgent and not self._daily.allows(size):
            left = self._daily.ends_in()
            raise BudgetSpent("what may be fetched in a day without a reader is used up", retry_after=left)
        self._daily.spend(self._kind, size)

    def give_way(self, interrupt: Interrupt) -> None:
        """Wait until nobody waits for bytes. Raises Interrupted."""
        while self._daily.busy():
            interrupt.wait(_LOOK)
            interrupt.check()
