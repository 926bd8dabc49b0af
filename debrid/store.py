"""debrid.db: what the account holds, as last seen, so that reading and restarting need no listing.

It is a cache of the account. Lost or moved aside it fills itself again; names and inodes live elsewhere. What
a file is and where its bytes come from is keyed by info hash and file id, because the provider gives a
torrent another id each time it is added.

One connection under one lock: statements take microseconds, and SQLite writes one at a time anyway.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from debrid.errors import StoreError
from debrid.models import TorrentInfo, TorrentItem

SCHEMA_VERSION = 1

SCHEMA = """
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
    missing   INTEGER NOT NULL DEFAULT 0,  -- 1: the provider confirmed that it is gone
    problem   TEXT NOT NULL DEFAULT '',    -- why it is not (wholly) usable, for people
    retry_at  REAL NOT NULL DEFAULT 0,     -- seconds since 1970: not looked at again before
    path      TEXT                -- where it was published, '': somewhere, NULL: not published
);
CREATE INDEX torrents_by_hash ON torrents (hash);
CREATE TABLE files (              -- one row per file of an info hash, never two for two additions
    hash      TEXT NOT NULL,
    id        INTEGER NOT NULL,   -- the provider's file id: position in the torrent, from 1
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
"""


@dataclass(frozen=True, slots=True)
class StoredTorrent:
    """A row of `torrents`, see SCHEMA. `selection` is None until the files are known."""

    id: str
    hash: str
    name: str
    status: str
    progress: float
    bytes: int
    added_ns: int | None
    ended_ns: int | None
    done_at: float | None
    seen_at: float
    selection: tuple[int, ...] | None
    missing: bool
    problem: str
    retry_at: float
    path: str | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A row of `files`, without its URL."""

    hash: str
    id: int
    path: str
    bytes: int
    link: str | None
    problem: str
    failures: int
    retry_at: float


_TORRENT = (
    "id, hash, name, status, progress, bytes, added_ns, ended_ns, done_at, seen_at, selection, missing,"
    " problem, retry_at, path"
)
_FILE = "hash, id, path, bytes, link, problem, failures, retry_at"

_SAW = """
INSERT INTO torrents (id, hash, name, status, progress, bytes, added_ns, ended_ns, done_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, status = excluded.status, progress = excluded.progress, bytes = excluded.bytes,
    added_ns = excluded.added_ns, ended_ns = excluded.ended_ns, seen_at = excluded.seen_at,
    done_at = iif(excluded.done_at IS NULL, NULL, coalesce(done_at, excluded.done_at)),
    missing = 0, problem = iif(missing, '', problem)
"""


class Store:
    """Thread-safe. Every method raises StoreError if the database cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        with self._lock:
            self._db.close()

    # -- torrents

    def saw(self, items: Sequence[TorrentItem], now: float) -> None:
        """A listing had these torrents; `now` in seconds since 1970. One that had been missing is back."""
        rows = [
            (
                *(each.id, each.hash, each.filename, each.status, each.progress, each.bytes),
                *(each.added_ns, each.ended_ns, now if each.is_finished else None, now),
            )
            for each in items
        ]
        with self._writing() as db:
            db.executemany(_SAW, rows)

    def record(self, info: TorrentInfo, links: Mapping[int, str]) -> None:
        """Keep the files of a torrent and the links known of them (file id -> link).

        Of several additions of one hash the newest gives the link, unless that one has failed. A new link
        ends whatever was wrong with the old one; without a new one the old stays.
        """
        newest = next((each.id for each in self.additions_of(info.hash)), info.id)
        selection = ",".join(str(each.id) for each in info.selected) if info.files else None
        with self._writing() as db:
            db.executemany(
                "INSERT INTO files (hash, id, path, bytes) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (hash, id) DO UPDATE SET path = excluded.path, bytes = excluded.bytes",
                [(info.hash, each.id, each.path, each.bytes) for each in info.files],
            )
            db.executemany(
                "UPDATE files SET link = ?1, url = NULL, problem = '', failures = 0, retry_at = 0"
                " WHERE hash = ?2 AND id = ?3 AND link IS NOT ?1 AND (link IS NULL OR problem <> '' OR ?4)",
                [(link, info.hash, file_id, newest == info.id) for file_id, link in links.items()],
            )
            db.execute("UPDATE torrents SET selection = ? WHERE id = ?", (selection, info.id))

    def torrent(self, torrent_id: str) -> StoredTorrent | None:
        """One addition, by the provider's id."""
        rows = self._read(f"SELECT {_TORRENT} FROM torrents WHERE id = ?", (torrent_id,))
        return _torrent(rows[0]) if rows else None

    def torrents(self) -> list[StoredTorrent]:
        """Every addition ever seen, newest first."""
        return [_torrent(row) for row in self._read(f"SELECT {_TORRENT} FROM torrents ORDER BY added_ns DESC, id")]

    def additions_of(self, info_hash: str) -> list[StoredTorrent]:
        """The additions of one hash, those still in the account first, among them the newest first."""
        query = f"SELECT {_TORRENT} FROM torrents WHERE hash = ? ORDER BY missing, added_ns DESC, id"
        return [_torrent(row) for row in self._read(query, (info_hash,))]

    def unpublished(self, now: float) -> list[StoredTorrent]:
        """Finished additions that are due to be published, newest first; `now` in seconds since 1970."""
        query = (
            f"SELECT {_TORRENT} FROM torrents WHERE status = 'downloaded' AND path IS NULL AND NOT missing"
            " AND retry_at <= ? ORDER BY added_ns DESC, id"
        )
        return [_torrent(row) for row in self._read(query, (now,))]

    def set_published(self, torrent_id: str, path: str, problem: str = "") -> None:
        """The addition has its place in the tree, '' if it is not known where; `problem`: what it lacks."""
        self._write("UPDATE torrents SET path = ?, problem = ? WHERE id = ?", (path, problem, torrent_id))

    def set_problem(self, torrent_id: str, problem: str, retry_at: float) -> None:
        """Say why the addition is not published; it is not due before `retry_at` (seconds since 1970)."""
        self._write("UPDATE torrents SET problem = ?, retry_at = ? WHERE id = ?", (problem, retry_at, torrent_id))

    def set_missing(self, torrent_id: str, problem: str) -> None:
        """The provider confirmed that this addition left the account. The row stays, to say so."""
        self._write("UPDATE torrents SET missing = 1, problem = ? WHERE id = ?", (problem, torrent_id))

    # -- files

    def file(self, info_hash: str, file_id: int) -> StoredFile | None:
        """One file, None if its torrent's files were never recorded."""
        rows = self._read(f"SELECT {_FILE} FROM files WHERE hash = ? AND id = ?", (info_hash, file_id))
        return StoredFile(*rows[0]) if rows else None

    def files(self, info_hash: str) -> list[StoredFile]:
        """All files of a hash, selected or not, in the torrent's order."""
        rows = self._read(f"SELECT {_FILE} FROM files WHERE hash = ? ORDER BY id", (info_hash,))
        return [StoredFile(*row) for row in rows]

    def failing_files(self) -> list[StoredFile]:
        """All files whose content cannot be had at the moment."""
        return [StoredFile(*row) for row in self._read(f"SELECT {_FILE} FROM files WHERE problem <> ''")]

    def url(self, info_hash: str, file_id: int, now: float) -> str | None:
        """The download URL of a file if it has one that is good at `now` (seconds since 1970)."""
        query = "SELECT url FROM files WHERE hash = ? AND id = ? AND url_until > ?"
        rows = self._read(query, (info_hash, file_id, now))
        return rows[0][0] if rows else None

    def set_url(self, info_hash: str, file_id: int, url: str, until: float) -> None:
        """Keep a download URL to `until` (seconds since 1970); the file is fine, then."""
        self._write(
            "UPDATE files SET url = ?, url_until = ?, problem = '', failures = 0, retry_at = 0"
            " WHERE hash = ? AND id = ?",
            (url, until, info_hash, file_id),
        )

    def set_failing(self, info_hash: str, file_id: int, problem: str, retry_at: float) -> None:
        """The content is gone, says the provider; not asked again before `retry_at` (seconds since 1970)."""
        self._write(
            "UPDATE files SET url = NULL, problem = ?, failures = failures + 1, retry_at = ? WHERE hash = ? AND id = ?",
            (problem, retry_at, info_hash, file_id),
        )

    # -- SQLite

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise StoreError(f"{self._path} was written by another version (schema {version}). {self._remedy}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        if (answer := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(answer)

    @property
    def _remedy(self) -> str:
        return (
            "It only caches the Real-Debrid account: move it (and its -wal and -shm files) aside and start"
            " again, it fills itself anew."
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be used: {error}. {self._remedy}") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with self._writing() as db:
            db.execute(statement, values)

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._explained():
            return self._db.execute(query, values).fetchall()


def _torrent(row: Sequence[Any]) -> StoredTorrent:
    fields: list[Any] = list(row)
    selection: str | None = fields[10]
    fields[10] = None if selection is None else tuple(_ids(selection.split(",")))
    fields[11] = bool(fields[11])
    return StoredTorrent(*fields)


def _ids(texts: Iterable[str]) -> Iterator[int]:
    return (int(text) for text in texts if text)
