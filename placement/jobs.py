"""`jobs.db`: the moves that somebody asked for, one row for each job and each file of it.

What it says of a file is only what was last noted: whether a move happened is seen on the drives, so a crash between a
move and its note loses nothing. Read by commands while nothing is mounted.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

JobState = Literal["planning", "running", "paused", "done", "cancelled", "undone"]
ItemState = Literal["waiting", "moved", "gone", "failed"]
# So many jobs are remembered with their files, which undoing them needs.
_REMEMBERED = 100
_SHOWN = 20

_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,                 -- 'drain' | 'balance' | 'tier' | 'undo'
    spec TEXT NOT NULL,                 -- JSON: what was asked for
    state TEXT NOT NULL,
    created REAL NOT NULL,              -- seconds since 1970
    ended REAL,
    problem TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS item (
    job INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,            -- in the order in which they are moved
    names TEXT NOT NULL,                -- JSON: all names of the file, as they were planned
    source TEXT NOT NULL,               -- ids of drives
    target TEXT NOT NULL,
    size INTEGER NOT NULL,              -- bytes allocated
    state TEXT NOT NULL,
    problem TEXT NOT NULL,              -- why it failed, or what it waits for
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One job; `spec` is what was asked for, as plain values."""

    id: int
    kind: str
    spec: dict[str, Any]
    state: JobState
    created: float
    ended: float | None
    problem: str


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a job. `source` and `target` are ids of drives, `size` is in bytes."""

    number: int
    names: tuple[str, ...]
    source: str
    target: str
    size: int
    state: ItemState = "waiting"
    problem: str = ""


class Jobs:
    """The database. Thread-safe; its lock is a leaf. sqlite3.Error where its disk fails."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes back is seen on the drives.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def add(self, kind: str, spec: dict[str, Any]) -> int:
        """A new job that has still to be planned; its number."""
        with self._writing() as db:
            row = (kind, json.dumps(spec), "planning", time.time(), "")
            number = db.execute(
                "INSERT INTO job (kind, spec, state, created, problem) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            db.execute("DELETE FROM job WHERE ended IS NOT NULL AND id <= ?", ((number or 0) - _REMEMBERED,))
            return number or 0

    def append(self, job: int, items: Iterable[Item]) -> int:
        """Add files to a job that is planned from now on; how many. Their numbers are given here."""
        with self._writing() as db:
            (last,) = db.execute("SELECT coalesce(max(number), 0) FROM item WHERE job = ?", (job,)).fetchone()
            rows = [
                (job, number, json.dumps(item.names), item.source, item.target, item.size, item.state, item.problem)
                for number, item in enumerate(items, last + 1)
            ]
            db.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            db.execute("UPDATE job SET state = 'running' WHERE id = ? AND state = 'planning'", (job,))
            return len(rows)

    def note(self, job: int, number: int, state: ItemState, problem: str = "", target: str | None = None) -> None:
        """What became of a file."""
        with self._writing() as db:
            db.execute(
                "UPDATE item SET state = ?, problem = ?, target = coalesce(?, target) WHERE job = ? AND number = ?",
                (state, problem, target, job, number),
            )

    def set_state(self, job: int, state: JobState, problem: str = "") -> None:
        """`state` of a job; done, cancelled and undone ones have ended."""
        ended = time.time() if state in ("done", "cancelled", "undone") else None
        with self._writing() as db:
            db.execute("UPDATE job SET state = ?, problem = ?, ended = ? WHERE id = ?", (state, problem, ended, job))

    def get(self, job: int) -> Job:
        """LookupError if there is none of this number."""
        found = [one for one in self.all() if one.id == job]
        if not found:
            raise LookupError(f"there is no job {job}")
        return found[0]

    def all(self) -> list[Job]:
        with self._lock:
            return _jobs(self._db)

    def items(self, job: int, state: ItemState) -> list[Item]:
        """The files of a job that are in this state, in their order."""
        with self._lock:
            return _items(self._db, job, state)

    def shown(self) -> list[dict[str, Any]]:
        """All jobs as `mediapool jobs list` shows them, as plain values."""
        with self._lock:
            return _shown(self._db)


def look(path: Path) -> list[dict[str, Any]]:
    """The jobs in a database that nobody has open, or that does not exist. sqlite3.Error."""
    if not path.exists():
        return []
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return _shown(db)
    finally:
        db.close()


def _jobs(db: sqlite3.Connection) -> list[Job]:
    rows = db.execute("SELECT id, kind, spec, state, created, ended, problem FROM job ORDER BY id")
    return [Job(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows]


def _items(db: sqlite3.Connection, job: int, state: str) -> list[Item]:
    rows = db.execute(
        "SELECT number, names, source, target, size, state, problem FROM item WHERE job = ? AND state = ?"
        " ORDER BY number",
        (job, state),
    )
    return [Item(row[0], tuple(json.loads(row[1])), *row[2:]) for row in rows]


def _shown(db: sqlite3.Connection) -> list[dict[str, Any]]:
    counts: dict[int, dict[str, tuple[int, int]]] = {}
    sums = "SELECT job, state, count(*), sum(size) FROM item GROUP BY job, state"
    for job, state, count, size in db.execute(sums):
        counts.setdefault(job, {})[state] = (count, size)
    return [_plain(db, job, counts.get(job.id, {})) for job in _jobs(db)]


def _plain(db: sqlite3.Connection, job: Job, counts: dict[str, tuple[int, int]]) -> dict[str, Any]:
    told = [
        {"path": json.loads(names)[0], "state": state, "problem": problem}
        for names, state, problem in db.execute(
            "SELECT names, state, problem FROM item WHERE job = ? AND state IN ('waiting', 'failed') AND problem != ''"
            " ORDER BY state DESC, number LIMIT ?",
            (job.id, _SHOWN),
        )
    ]
    held_up = "SELECT count(*) FROM item WHERE job = ? AND state = 'waiting' AND problem != ''"
    return {
        "id": job.id,
        "kind": job.kind,
        "spec": job.spec,
        "state": job.state,
        "created": job.created,
        "ended": job.ended,
        "problem": job.problem,
        "files": {state: count for state, (count, _) in counts.items()},
        "bytes": {state: size for state, (_, size) in counts.items()},
        "told": told,
        "held_up": db.execute(held_up, (job.id,)).fetchone()[0],
    }
