"""The repairs in debrid.db: how far each is, so that a restart neither forgets a try nor leaves a torrent behind."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any

from debrid.debriddb import DebridDb


class State(StrEnum):
    """How far a repair is."""

    DUE = "due"  # a try is made at `retry_at`
    ADDING = "adding"  # the hash is being added again; whether that was done may be unknown
    FETCHING = "fetching"  # `new` is in the account and not proven yet
    CLEARING = "clearing"  # `new` has taken the place of `old`, which is to be removed
    DISCARDING = "discarding"  # `new` is no good and is to be removed
    DONE = "done"
    GIVEN_UP = "given up"  # until somebody asks for it


RESTING = frozenset({State.DUE, State.DONE, State.GIVEN_UP})


@dataclass(frozen=True, slots=True)
class Repair:
    """A row of `repairs`, in the order of its columns; see `debriddb.SINCE_3`."""

    hash: str
    state: State = State.DUE
    old: str = ""
    new: str = ""
    before: str = ""
    tries: int = 0
    problem: str = ""
    retry_at: float = 0.0
    begun_at: float = 0.0
    asked: bool = False


_COLUMNS = "hash, state, old, new, before, tries, problem, retry_at, begun_at, asked"


class RepairLog:
    """Thread-safe. Every method raises StoreError."""

    def __init__(self, db: DebridDb) -> None:
        self._db = db

    def get(self, info_hash: str) -> Repair | None:
        """The repair of one hash, under way, resting or done."""
        rows = self._db.read(f"SELECT {_COLUMNS} FROM repairs WHERE hash = ?", (info_hash,))
        return _repair(rows[0]) if rows else None

    def all(self) -> list[Repair]:
        """Every repair there is a record of."""
        return [_repair(row) for row in self._db.read(f"SELECT {_COLUMNS} FROM repairs ORDER BY hash")]

    def put(self, repair: Repair) -> None:
        """Record how far a repair is."""
        self._db.write("INSERT OR REPLACE INTO repairs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(repair))

    def drop(self, info_hash: str) -> None:
        """Nothing is to be repaired there any more."""
        self._db.write("DELETE FROM repairs WHERE hash = ?", (info_hash,))

    def next(self, states: Sequence[State]) -> Repair | None:
        """The repair in one of these states whose time comes first."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT {_COLUMNS} FROM repairs WHERE state IN ({marks}) ORDER BY retry_at, hash LIMIT 1"
        rows = self._db.read(query, [str(each) for each in states])
        return _repair(rows[0]) if rows else None

    def shelve(self, torrent_id: str) -> None:
        """This addition is leaving the account by our hand: no listing brings it back into the store."""
        with self._db.writing() as db:
            db.execute("INSERT OR IGNORE INTO replaced VALUES (?)", (torrent_id,))
            db.execute("DELETE FROM torrents WHERE id = ?", (torrent_id,))
            db.execute("DELETE FROM ours WHERE id = ?", (torrent_id,))


def _repair(row: Sequence[Any]) -> Repair:
    values: list[Any] = list(row)
    values[1], values[-1] = State(values[1]), bool(values[-1])
    return Repair(*values)
