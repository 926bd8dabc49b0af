"""The last hour as a drawing: the outlines of areas in a box, from which the template makes SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.web.throughput import STEPS, Rates

WIDTH, HEIGHT = 720, 160
"""Of the box; the page stretches it as it likes."""
_LEAST = 1 << 20  # bytes a second at the top, so that a trickle does not fill the box
_SERIES = ("drives", "cache", "provider")


@dataclass(frozen=True, slots=True)
class Line:
    """One source: its outline as SVG points, and the bytes a second now and at most."""

    name: str
    points: str
    now: float
    peak: float


@dataclass(frozen=True, slots=True)
class Plot:
    """All lines in one scale; `top`: bytes a second at the upper edge."""

    lines: tuple[Line, ...]
    top: int


def plotted(rates: Sequence[Rates]) -> Plot:
    """The rates of steps of the last hour, the oldest first; what is older than the first is nothing."""
    rates = rates[-STEPS:]
    peak = max((max(each) for each in rates), default=0.0)
    top = _nice(peak)
    return Plot(tuple(_line(name, [getattr(each, name) for each in rates], top) for name in _SERIES), top)


def _nice(peak: float) -> int:
    """The next of 1, 2 or 5 times a power of ten MiB that is at least as much."""
    top, factors = _LEAST, (2, 2.5, 2)
    step = 0
    while top < peak:
        top = round(top * factors[step % 3])
        step += 1
    return top


def _line(name: str, values: Sequence[float], top: int) -> Line:
    first = STEPS - len(values)
    scale = WIDTH / (STEPS - 1)
    at = [
        (round((first + index) * scale, 1), round(HEIGHT * (1 - value / top), 1)) for index, value in enumerate(values)
    ]
    if at:
        at = [(at[0][0], float(HEIGHT)), *at, (at[-1][0], float(HEIGHT))]
    # Where nothing changes one point says as much as many.
    level = {index for index in range(1, len(at) - 1) if at[index - 1][1] == at[index][1] == at[index + 1][1]}
    points = " ".join(f"{x:g},{y:g}" for index, (x, y) in enumerate(at) if index not in level)
    return Line(name, points, values[-1] if values else 0.0, max(values, default=0.0))
