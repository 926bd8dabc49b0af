"""How long something took, counted by steps of a scale: cheap enough for what happens often."""

from bisect import bisect_left

# Seconds; each count is of what took at most so long and longer than the step before, the last of all that took longer.
STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """Changed under a lock of whoever counts."""

    def __init__(self) -> None:
        self.counts = [0] * (len(STEPS) + 1)
        self.total = 0.0  # seconds

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(STEPS, seconds)] += 1
        self.total += seconds
