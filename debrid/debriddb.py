"""The file debrid.db: its schema, its one connection, and what happens when it cannot be used.

One connection under one lock: statements take microseconds, and SQLite writes one at a time anyway.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from debrid.errors import StoreError

SCHEMA_VERSION = 4

OURS = """
CREATE TABLE ours (                -- additions that mediapool made itself: no other is ever deleted by it
    id          TEXT PRIMARY KEY,  -- as in torrents, which may hear of it only later
    hash        TEXT NOT NULL,
    released_at REAL,              -- seconds since 1970: its content lost the last name then, NULL: it stays
    failures    INTEGER NOT NULL DEFAULT 0,  -- how often in a row it could not be deleted
    problem     TEXT NOT NULL DEFAULT '',    -- why not
    retry_at    REAL NOT NULL DEFAULT 0      -- seconds since 1970: not tried again before
) WITHOUT ROWID;
CREATE INDEX ours_by_hash ON ours (hash);
"""

SINCE_3 = """
CREATE TABLE repairs (             -- one row per info hash that was, is or will be added again
    hash     TEXT PRIMARY KEY,
    state    TEXT NOT NULL,        -- see `repairlog.State`
    old      TEXT NOT NULL,        -- the addition to be replaced, '': not chosen yet
    new      TEXT NOT NULL,        -- the addition made in its place, '': none
    before   TEXT NOT NULL,        -- ids of the hash known before adding, comma separated
    tries    INTEGER NOT NULL,     -- in a row
    problem  TEXT NOT NULL,        -- why the last try failed or had to wait
    retry_at REAL NOT NULL,        -- seconds since 1970: not gone on with before
    begun_at REAL NOT NULL,        -- seconds since 1970: when `new` was added
    asked    INTEGER NOT NULL      -- 1: a person asked for it
) WITHOUT ROWID;
CREATE TABLE parts (               -- files that lie inside others, by ranges
    hash   TEXT NOT NULL,
    part   TEXT NOT NULL,          -- file id, or 'file id/path inside that archive', as in the keys of the tree
    seq    INTEGER NOT NULL,       -- order of its pieces
    file   INTEGER NOT NULL,       -- the file that has the piece; 0: what the provider packed all files into
    start  INTEGER NOT NULL,       -- first byte of the piece in that file
    length INTEGER NOT NULL,       -- bytes
    PRIMARY KEY (hash, part, seq)
) WITHOUT ROWID;
CREATE TABLE replaced (            -- additions removed by a repair: what a late listing says of them is past
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
"""

SINCE_4 = """
CREATE TABLE downloads (           -- what clients added, see `downloads.record.Download`
    hash       TEXT PRIMARY KEY,   -- as the client knows it: info hash, 40 or 64 lower-case hex digits; or a digest
    kind       TEXT NOT NULL,      -- torrent, link
    stage      TEXT NOT NULL,      -- see `downloads.record.Stage`
    name       TEXT NOT NULL,
    source     TEXT NOT NULL,      -- magnet link, or link of a hoster
    v2         TEXT NOT NULL,      -- info hash of version 2, '': none
    category   TEXT NOT NULL,
    tags       TEXT NOT NULL,      -- JSON: a list of texts
    folder     INTEGER NOT NULL,   -- 1: a single file has a folder as well
    paused     INTEGER NOT NULL,
    torrent    TEXT NOT NULL,      -- id of the addition it became, '': none yet
    content    TEXT NOT NULL,      -- by which its files are keyed
    before     TEXT NOT NULL,      -- ids known before adding, each with a comma behind it
    items      TEXT NOT NULL,      -- JSON: a list of [id, path, bytes, wanted]
    size       INTEGER NOT NULL,
    progress   REAL NOT NULL,      -- 0 to 1
    speed      INTEGER NOT NULL,   -- bytes a second
    seeders    INTEGER NOT NULL,
    path       TEXT NOT NULL,      -- in the tree, '': not there yet
    target     TEXT NOT NULL,      -- where it is about to be moved
    only       TEXT NOT NULL,      -- path of its one file, '': it has several
    added_at   REAL NOT NULL,
    changed_at REAL NOT NULL,
    done_at    REAL NOT NULL,
    problem    TEXT NOT NULL,
    retry_at   REAL NOT NULL,
    tries      INTEGER NOT NULL,
    imported   INTEGER NOT NULL,
    copied     TEXT NOT NULL,
    metainfo   BLOB                -- the .torrent file until it was added, NULL: none
) WITHOUT ROWID;
CREATE TABLE categories (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE tags (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE verdicts (            -- torrents that came to nothing
    hash   TEXT PRIMARY KEY,
    kind   TEXT NOT NULL,          -- see `downloads.verdicts.AGES`
    reason TEXT NOT NULL,
    at     REAL NOT NULL           -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE client (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;  -- settings of the Web API
"""

SCHEMA = f"""
CREATE TABLE torrents (           -- one row per addition to the account
    id        TEXT PRIMARY KEY,   -- the provider's torrent id, 13 characters
    hash      TEXT NOT NULL,      -- info hash, 40 lower-case hex digits; several rows may share it
    name      TEXT NOT NULL,      -- the provider's file name for it, raw
    status    TEXT NOT NULL,      -- the provider's word, such as 'downloaded'
    progress  REAL NOT NULL,      -- percent
    bytes     INTEGER NOT NULL,   -- size of the selected files
    added_ns  INTEGER,            -- nanoseconds since 1970 as stamped by the provider, NULL: not told
    ended_ns  INTEGER,            -- likewise, when the content was complete
    done_at   REAL,               -- seconds since 1970 by our clock: first seen finished, NULL: never yet
    seen_at   REAL NOT NULL,      -- seconds since 1970 by our clock, last time a listing had it
    selection TEXT,               -- ids of the selected files, comma separated as selectFiles takes them;
                                  -- NULL: the files have not been asked for yet
    missing_at REAL,          -- seconds since 1970: the provider confirmed that it is gone, NULL: it is there
    problem   TEXT NOT NULL DEFAULT '',    -- why it is not (wholly) usable, for people
    retry_at  REAL NOT NULL DEFAULT 0,     -- seconds since 1970: not looked at again before
    path      TEXT                -- where it was published, '': somewhere, NULL: not published
);
CREATE INDEX torrents_by_hash ON torrents (hash);
CREATE TABLE files (              -- one row per file of an info hash, never two for two additions
    hash      TEXT NOT NULL,
    id        INTEGER NOT NULL,   -- the provider's file id: position in the torrent, from 1; 0: all of it as one RAR
    path      TEXT NOT NULL,      -- inside the torrent, raw, with a leading slash
    bytes     INTEGER NOT NULL,
    link      TEXT,               -- restricted link, NULL: none known
    url       TEXT,               -- download URL made from it, NULL: none
    url_until REAL NOT NULL DEFAULT 0,     -- seconds since 1970: not used after that
    problem   TEXT NOT NULL DEFAULT '',    -- why the content cannot be had, '' if it can
    failures  INTEGER NOT NULL DEFAULT 0,  -- how often in a row the provider said so
    retry_at  REAL NOT NULL DEFAULT 0,     -- seconds since 1970: not asked for again before
    PRIMARY KEY (hash, id)
) WITHOUT ROWID;
{OURS}
{SINCE_3}
{SINCE_4}
"""

# The column that this one replaces stays behind, unused: old SQLite cannot drop any.
_FROM_1 = f"""
ALTER TABLE torrents ADD COLUMN missing_at REAL;
UPDATE torrents SET missing_at = seen_at WHERE missing;
{OURS}
"""
_MIGRATIONS = {0: SCHEMA, 1: _FROM_1 + SINCE_3 + SINCE_4, 2: SINCE_3 + SINCE_4, 3: SINCE_4}


_ANSWERS = 1000  # kept in memory


class DebridDb:
    """Thread-safe. Every method raises StoreError, with the remedy, if the database cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._answers: dict[tuple[Any, ...], list[Any]] = {}  # of `recall`, since the last change
        with self._explained():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # before SQLite makes it with wider rights
            path.chmod(0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed when the block ends, undone if it fails."""
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._answers.clear()

    def write(self, statement: str, values: Sequence[Any] = ()) -> int:
        """A transaction of one statement; how many rows it changed."""
        with self.writing() as db:
            return db.execute(statement, values).rowcount

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        with self._lock, self._explained():
            return self._db.execute(query, values).fetchall()

    def recall(self, query: str, *values: Any) -> list[Any]:
        """As `read`, from memory if nothing was written since: each stream that opens asks the same as the last one."""
        asked = (query, *values)
        found = self._answers.get(asked)
        if found is not None:
            return found
        with self._lock, self._explained():
            found = self._db.execute(query, values).fetchall()
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
            self._answers[asked] = found  # with the lock, so never after a change that it does not know of
            return found

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION and version not in _MIGRATIONS:
            raise StoreError(f"{self._path} was written by another version (schema {version}). {self._remedy}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version < SCHEMA_VERSION:
            self._db.executescript(f"BEGIN; {_MIGRATIONS[version]} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        if (answer := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(answer)

    @property
    def _remedy(self) -> str:
        return (
            "It only caches the Real-Debrid account: move it (and its -wal and -shm files) aside and start"
            " again, it fills itself anew. What mediapool added then counts as yours and stays in the account, and"
            " the download client has no downloads; names in the tree stay."
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be used: {error}. {self._remedy}") from error
