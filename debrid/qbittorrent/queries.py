"""Which rows a client asked for, in which order, and what changed since it asked last. Pure, but for `Deltas`."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_DOWNLOADING = frozenset(
    {"downloading", "metaDL", "forcedDL", "stalledDL", "checkingDL", "pausedDL", "queuedDL", "moving"}
)
_PAUSED = frozenset({"pausedDL", "pausedUP"})

_FILTERS: dict[str, Callable[[Row], bool]] = {
    "downloading": lambda row: row["state"] in _DOWNLOADING,
    "seeding": lambda row: row["state"] in ("stalledUP", "uploading"),
    "completed": lambda row: row["progress"] == 1,
    "paused": lambda row: row["state"] in _PAUSED,
    "stopped": lambda row: row["state"] in _PAUSED,
    "resumed": lambda row: row["state"] not in _PAUSED,
    "running": lambda row: row["state"] not in _PAUSED,
    "active": lambda row: row["dlspeed"] > 0,
    "inactive": lambda row: row["dlspeed"] == 0,
    "stalled": lambda row: row["state"] in ("stalledUP", "stalledDL"),
    "stalled_uploading": lambda row: row["state"] == "stalledUP",
    "stalled_downloading": lambda row: row["state"] == "stalledDL",
    "checking": lambda row: row["state"] == "checkingDL",
    "moving": lambda row: row["state"] == "moving",
    "errored": lambda row: row["state"] == "error",
}
_LARGEST_RID = 1_000_000
_KEPT = 8  # answers that a delta can be made against


class BadSort(ValueError):
    """Rows have no such key."""


def filtered(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of a filter; a word that is none means all."""
    wanted = _FILTERS.get(name)
    return [row for row in rows if wanted is None or wanted(row)]


def arranged(rows: Sequence[Row], sort: str, reverse: bool, limit: int, offset: int) -> list[Row]:
    """A part of the rows: from `offset` (below 0: from the end), at most `limit` (0 and below: all). Raises BadSort."""
    found = list(rows)
    if sort:
        if any(sort not in row for row in found):
            raise BadSort(sort)
        found.sort(key=lambda row: row[sort])
    if reverse:
        found.reverse()
    if offset < 0:
        offset = max(0, len(found) + offset)
    return found[offset : offset + limit] if limit > 0 else found[offset:]


class Deltas:
    """What sync/maindata answered lately, by its number. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.cycle(range(1, _LARGEST_RID + 1))
        self._answers: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    def answer(self, rid: int, now: Mapping[str, Any]) -> dict[str, Any]:
        """All of `now`, or what changed since the answer `rid`; `now` has torrents, categories, tags, server_state."""
        with self._lock:
            before = self._answers.get(rid)
            number = next(self._numbers)
            self._answers[number] = now
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        if before is None:
            return {"rid": number, "full_update": True, **now}
        return {"rid": number, **_difference(before, now)}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    torrents = {key: _changed(before["torrents"].get(key, {}), row) for key, row in now["torrents"].items()}
    categories = {key: each for key, each in now["categories"].items() if before["categories"].get(key) != each}
    parts = {
        "torrents": {key: row for key, row in torrents.items() if row},
        "torrents_removed": [key for key in before["torrents"] if key not in now["torrents"]],
        "categories": categories,
        "categories_removed": [key for key in before["categories"] if key not in now["categories"]],
        "tags": [each for each in now["tags"] if each not in before["tags"]],
        "tags_removed": [each for each in before["tags"] if each not in now["tags"]],
        "server_state": _changed(before["server_state"], now["server_state"]),
    }
    found.update({key: part for key, part in parts.items() if part})
    return found


def _changed(before: Row, now: Row) -> dict[str, Any]:
    return {key: value for key, value in now.items() if key not in before or before[key] != value}
