"""How a benchmark shows itself: tables for people, JSON for programs, and on what machine it ran."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import Cell, Figures, Row, Verdict
from rich.console import Console
from rich.table import Table


def machine() -> dict[str, Any]:
    """What the figures depend on; `load` is that of the last minute, from others as we have not begun."""
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "system": _system(),
        "load": round(os.getloadavg()[0], 2),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def speeds(title: str, rows: Sequence[Row], columns: Sequence[str], figures: Figures, verdicts: list[Verdict]) -> Table:
    """The medians; beside each row what is demanded there."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("target")
    for row in rows:
        said = [str(verdict) for verdict in verdicts if verdict.target.row == row.key]
        table.add_row(row.title, *(_value(row, figures.best(row.key, column)) for column in columns), "\n".join(said))
    return table


def _value(row: Row, best: tuple[str, Cell] | None) -> str:
    if best is None:
        return "-"
    variant, cell = best
    figure = f"{cell.median:,.0f}" if row.unit == "/s" or cell.median >= 100 else f"{cell.median:.3g}"
    return f"{figure} {row.unit}" + (f"\n{variant}" if variant else "")


def costs(rows: Sequence[Row], columns: Sequence[str], figures: Figures) -> Table:
    """CPU seconds: of the contender's process, and with the program at work."""
    table = Table(title="CPU seconds: of the serving process / with the program that asks", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.title, *(_cost(figures.best(row.key, column)) for column in columns))
    return table


def _cost(best: tuple[str, Cell] | None) -> str:
    if best is None:
        return "-"
    served, program = statistics.median(best[1].served), statistics.median(best[1].program)
    return f"{served:.2f} / {served + program:.2f}"


def summary(verdicts: Sequence[Verdict]) -> str:
    short = [verdict for verdict in verdicts if not verdict.ok]
    return f"{len(verdicts) - len(short)} of {len(verdicts)} targets reached"


def console() -> Console:
    """Wide enough for the table also where the output is a file."""
    found = Console()
    return found if found.is_terminal else Console(width=180)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
