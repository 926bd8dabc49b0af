"""What `distribute` must remember, in one SQLite file: its jobs, each file of them, failures, moves under way."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from placement import system as os

# Times are seconds since 1970, sizes bytes, paths raw bytes relative to their folder; drives by id.
_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    library BLOB NOT NULL,
    started REAL NOT NULL,
    finished REAL                       -- NULL while it runs, and if it was killed
);
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES job (id),
    source BLOB NOT NULL,               -- the folder it came from; for a removed link the library
    path BLOB NOT NULL,
    drive TEXT NOT NULL,                -- '' for a removed link
    target BLOB NOT NULL,               -- where the link to it leads
    size INTEGER NOT NULL,
    state TEXT NOT NULL                 -- 'moving', 'moved', 'undone', 'unlinked'
);
CREATE INDEX IF NOT EXISTS item_of_job ON item (job, state);
CREATE INDEX IF NOT EXISTS item_of_path ON item (source, path);
CREATE TABLE IF NOT EXISTS failure (
    library BLOB NOT NULL,
    source BLOB NOT NULL,
    path BLOB NOT NULL,
    reason TEXT NOT NULL,
    tries INTEGER NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (library, source, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intent (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL);
"""

State = Literal["moving", "moved", "undone", "unlinked"]


class JobsDamaged(Exception):
    """The file cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of `distribute`; `moved` and `bytes` are what it moved and was not undone, `unlinked` counts links."""

    id: int
    library: str
    started: float
    finished: float | None
    moved: int
    bytes: int
    undone: int
    unlinked: int


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a job: from `path` in `source` to `target` on the drive with this id. Or a link that was removed."""

    id: int
    job: int
    source: str
    path: str
    drive: str
    target: str
    size: int
    state: State


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be distributed: why, how often it was tried, and since when."""

    source: str
    path: str
    reason: str
    tries: int
    since: float


class Distributions:
    """That file. For one thread; also a `placement.moves.Journal`."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open it, or make it. JobsDamaged, OSError. `durable`: what is written survives a power loss."""
        try:
            # Its owner alone: it names files.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._db.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise OSError(f"{path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            remedy = "Move it aside: what was distributed stays as it is, but cannot be undone by this command."
            raise JobsDamaged(f"{path} is damaged ({error}). {remedy}") from error

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except sqlite3.Error as error:
            raise OSError(f"the journal of distribute cannot be written: {error}") from error

    # Moves under way, as `placement.moves` wants it.

    def begin(self, record: dict[str, Any]) -> int:
        with self._writing() as db:
            return db.execute("INSERT INTO intent (record) VALUES (?)", (json.dumps(record),)).lastrowid or 0

    def update(self, ident: int, record: dict[str, Any]) -> None:
        with self._writing() as db:
            db.execute("UPDATE intent SET record = ? WHERE id = ?", (json.dumps(record), ident))

    def end(self, ident: int) -> None:
        with self._writing() as db:
            db.execute("DELETE FROM intent WHERE id = ?", (ident,))

    def pending(self) -> list[tuple[int, dict[str, Any]]]:
        rows = self._db.execute("SELECT id, record FROM intent ORDER BY id").fetchall()
        return [(ident, json.loads(record)) for ident, record in rows]

    # Jobs.

    def open_job(self, library: str) -> int:
        """Begin a job; its number."""
        with self._writing() as db:
            row = (os.fsencode(library), time.time())
            return db.execute("INSERT INTO job (library, started) VALUES (?, ?)", row).lastrowid or 0

    def close_job(self, job: int) -> None:
        """The job is done; one that did nothing is forgotten."""
        with self._writing() as db:
            db.execute("UPDATE job SET finished = ? WHERE id = ?", (time.time(), job))
            db.execute("DELETE FROM job WHERE id = ? AND NOT EXISTS (SELECT 1 FROM item WHERE job = ?)", (job, job))

    def forget_empty_jobs(self) -> None:
        """Jobs that were killed before they moved anything are none."""
        with self._writing() as db:
            db.execute("DELETE FROM job WHERE NOT EXISTS (SELECT 1 FROM item WHERE job = job.id)")

    def jobs(self) -> list[Job]:
        """All jobs, the newest last."""
        rows = self._db.execute(
            "SELECT job.id, library, started, finished, COALESCE(SUM(state = 'moved'), 0),"
            " COALESCE(SUM((state = 'moved') * size), 0), COALESCE(SUM(state = 'undone'), 0),"
            " COALESCE(SUM(state = 'unlinked'), 0)"
            " FROM job LEFT JOIN item ON item.job = job.id GROUP BY job.id ORDER BY job.id"
        )
        return [Job(row[0], os.fsdecode(row[1]), *row[2:]) for row in rows]

    # Files.

    def add(self, job: int, source: str, path: str, drive: str, target: str, size: int, state: State) -> int:
        """Note a file before it is moved, or a link before it is removed; its number."""
        row = (job, os.fsencode(source), os.fsencode(path), drive, os.fsencode(target), size, state)
        with self._writing() as db:
            statement = "INSERT INTO item (job, source, path, drive, target, size, state) VALUES (?, ?, ?, ?, ?, ?, ?)"
            return db.execute(statement, row).lastrowid or 0

    def set_state(self, items: Sequence[int], state: State | None) -> None:
        """Note what became of these; None: they were not moved."""
        rows = [(item,) for item in items]
        with self._writing() as db:
            if state is None:
                db.executemany("DELETE FROM item WHERE id = ?", rows)
            else:
                db.executemany("UPDATE item SET state = ? WHERE id = ?", [(state, item) for item in items])

    def items(self, state: State, job: int | None = None) -> list[Item]:
        """All in this state, of one job or of all, oldest first."""
        where = "state = ?" if job is None else "state = ? AND job = ?"
        rows = self._db.execute(
            f"SELECT id, job, source, path, drive, target, size, state FROM item WHERE {where} ORDER BY id",
            (state,) if job is None else (state, job),
        )
        return [_item(row) for row in rows]

    def moved_from(self, source: str, path: str) -> str | None:
        """Where this file was distributed to, last of all; None if it was not."""
        row = self._db.execute(
            "SELECT target FROM item WHERE source = ? AND path = ? AND state = 'moved' ORDER BY id DESC LIMIT 1",
            (os.fsencode(source), os.fsencode(path)),
        ).fetchone()
        return None if row is None else os.fsdecode(row[0])

    # Failures.

    def failed(self, library: str, source: str, path: str, reason: str) -> None:
        """Note one more try that failed."""
        keys = (os.fsencode(library), os.fsencode(source), os.fsencode(path))
        with self._writing() as db:
            db.execute(
                "INSERT INTO failure VALUES (?, ?, ?, ?, 1, ?)"
                " ON CONFLICT DO UPDATE SET reason = excluded.reason, tries = tries + 1",
                # It may quote a path, whose bytes need not be text.
                (*keys, reason.encode(errors="backslashreplace").decode(), time.time()),
            )

    def forget_failure(self, library: str, source: str, path: str) -> None:
        """It worked, or the file is gone."""
        keys = (os.fsencode(library), os.fsencode(source), os.fsencode(path))
        with self._writing() as db:
            db.execute("DELETE FROM failure WHERE library = ? AND source = ? AND path = ?", keys)

    def failures(self, library: str) -> list[Failure]:
        """All that failed and was not distributed since."""
        rows = self._db.execute(
            "SELECT source, path, reason, tries, since FROM failure WHERE library = ?", (os.fsencode(library),)
        )
        return [Failure(os.fsdecode(row[0]), os.fsdecode(row[1]), *row[2:]) for row in rows]


def _item(row: Sequence[Any]) -> Item:
    source, path, target = os.fsdecode(row[2]), os.fsdecode(row[3]), os.fsdecode(row[5])
    return Item(row[0], row[1], source, path, row[4], target, row[6], row[7])
