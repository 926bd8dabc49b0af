"""Medians, ratios, and what is demanded of them; nothing here measures or prints."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = True


@dataclass
class Cell:
    """The figures of one row and one option set of a contender, a figure per round."""

    values: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    program: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Target(NamedTuple):
    """`column` shall be at least `factor` times as fast as `against` in `row`; or at most `limit` of its unit."""

    row: str
    column: str
    against: str = ""
    factor: float = 0.0
    limit: float | None = None


class Verdict(NamedTuple):
    """A target and what was reached: a ratio of speeds, or the figure itself where a limit is set."""

    target: Target
    reached: float
    ok: bool

    def __str__(self) -> str:
        word = "ok" if self.ok else "SHORT"
        if self.target.limit is not None:
            return f"{self.target.column}: <= {self.target.limit:g} {word}"
        return f"{self.target.column}: {self.reached:.2f} of {self.target.against} (>= {self.target.factor:.3g}) {word}"


class Figures:
    """All samples of one run: by row, column and option set ("" where a column has one only)."""

    def __init__(self, lower_is_better: Iterable[str]) -> None:
        self._lower = frozenset(lower_is_better)
        self._cells: dict[tuple[str, str], dict[str, Cell]] = defaultdict(lambda: defaultdict(Cell))

    def add(self, row: str, column: str, variant: str, value: float, served: float = 0, program: float = 0) -> None:
        cell = self._cells[row, column][variant]
        cell.values.append(value)
        cell.served.append(served)
        cell.program.append(program)

    def best(self, row: str, column: str) -> tuple[str, Cell] | None:
        """The option set that is best in this row, by its median; None without figures."""
        cells = self._cells.get((row, column))
        if not cells:
            return None
        choose = min if row in self._lower else max
        return choose(cells.items(), key=lambda item: item[1].median)

    def ratio(self, row: str, column: str, against: str) -> float | None:
        """How many times as fast; the median over the rounds, as both of a round met the same machine."""
        one, other = self.best(row, column), self.best(row, against)
        if one is None or other is None:
            return None
        pairs = zip(one[1].values, other[1].values, strict=True)
        return statistics.median(b / a if row in self._lower else a / b for a, b in pairs)

    def verdict(self, target: Target) -> Verdict | None:
        """None where one of the two has no figures."""
        if target.limit is not None:
            best = self.best(target.row, target.column)
            return None if best is None else Verdict(target, best[1].median, best[1].median <= target.limit)
        ratio = self.ratio(target.row, target.column, target.against)
        return None if ratio is None else Verdict(target, ratio, ratio >= target.factor)

    def as_json(self, row: str, columns: Sequence[str]) -> dict[str, Any]:
        """Every column's median, and all figures of each of its option sets."""
        found: dict[str, Any] = {}
        for column in columns:
            best = self.best(row, column)
            if best is not None:
                sets = {variant: vars(cell) for variant, cell in self._cells[row, column].items()}
                found[column] = {"median": best[1].median, "best": best[0], "sets": sets}
        return found
