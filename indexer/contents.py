"""The catalog of contents: which file holds what, by hash. This file is the reference of its format.

One SQLite file (WAL) beside `catalog.db`, on purpose not in it: that one is a cache which a mount holds, writes all
the time and throws away when it is damaged, while here lie hours of reading, also about discs and trees that are not
drives, and commands write here while a mount runs. Plain sqlite3, as for names.db: importing SQLAlchemy takes longer
than a second run over 20,000 files does otherwise.

Nothing in it is believed without a look at the file: see `remembered`. So it may be lost without harm, and several
processes may write (each transaction waits for the other's). Paths are bytes, absolute and real; sizes bytes; times
ns since 1970; hashes are the 16 bytes of xxh3-128.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from indexer.finding import Found

FORMAT = 1
# "mpix" as SQLite's application_id.
_APPLICATION = 0x6D706978
_BUSY = 30.0
# A change within the same tick of the filesystem's clock as the last look at the file would not show.
TICK_NS = 20_000_000

_SCHEMA = """
CREATE TABLE file (
    path BLOB PRIMARY KEY,          -- absolute, real
    dev INTEGER NOT NULL,           -- st_dev, which changes from boot to boot on some systems
    ino INTEGER NOT NULL,           -- st_ino, less 2^64 where over 2^63 - 1
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    nlink INTEGER NOT NULL,
    ends BLOB,                      -- xxh3-128 of the first and last bytes, see indexer.reading, or NULL: not read
    hash BLOB,                      -- xxh3-128 of all bytes, or NULL: not read
    read_ns INTEGER                 -- when the hash was last made from the file
) WITHOUT ROWID;
CREATE INDEX file_hash ON file (hash) WHERE hash IS NOT NULL;
CREATE INDEX file_ino ON file (ino);
CREATE TABLE tree (
    path BLOB PRIMARY KEY,          -- what was crawled
    dev INTEGER NOT NULL,           -- of its directory: another one is mounted there, or none
    ino INTEGER NOT NULL,
    crawled_ns INTEGER NOT NULL,    -- begin of the last whole crawl
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE remote (
    provider TEXT NOT NULL,         -- the content key, as in names.db
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    part TEXT NOT NULL,
    size INTEGER NOT NULL,
    osdb BLOB NOT NULL,             -- see indexer.probable
    PRIMARY KEY (provider, kind, id, part)
) WITHOUT ROWID;
CREATE TABLE media (
    hash BLOB PRIMARY KEY,
    taken TEXT,                     -- local time as in 2024-05-31T23:59:59
    source TEXT,                    -- where from: exif, container, name, mtime
    facts TEXT                      -- JSON object of what else is known
) WITHOUT ROWID;
"""
_FILE = "path, dev, ino, size, mtime_ns, ctime_ns, nlink, ends, hash, read_ns"


# Provider, kind, id and part: which content a remote file is.
RemoteKey = tuple[str, str, str, str]


class ContentsError(Exception):
    """The catalog of contents cannot be used; the message names the file, the cause and the remedy."""


class Entry(NamedTuple):
    """What is known of one file."""

    path: bytes
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    nlink: int
    ends: bytes | None = None
    hash: bytes | None = None
    read_ns: int | None = None

    @classmethod
    def of(cls, found: Found, ends: bytes | None, digest: bytes | None, read_ns: int | None) -> Self:
        """What was found, with what was read of it."""
        return cls(*found, ends, digest, read_ns)


class CrawledTree(NamedTuple):
    """A tree that was crawled whole."""

    path: bytes
    dev: int
    ino: int
    crawled_ns: int
    files: int
    bytes: int


class Totals(NamedTuple):
    """How much the catalog knows."""

    files: int
    bytes: int
    hashed: int
    hashed_bytes: int


class Contents:
    """The open catalog. For one thread; other processes may use the same file."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """Open or make it, mode 0600. ContentsError where it is damaged, another format or out of reach."""
        self.file = os.fspath(file)
        with self._explained():
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self.file, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        if not self._is_made():
            # Another process may make it in this moment.
            with self._writing():
                if not self._is_made():
                    self._make()
        self._db.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is read again.
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _is_made(self) -> bool:
        """Whether it is one of ours, or empty; raises for anything else, without having changed it."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if (application, version) == (_APPLICATION, FORMAT):
            return True
        if application or version or self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise sqlite3.DatabaseError(f"it is of another format ({version}, this version reads {FORMAT})")
        return False

    def _make(self) -> None:
        # One by one, as executescript would end the transaction; so no comment has a semicolon.
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def files(self, under: bytes | None = None) -> Iterator[Entry]:
        """Every known file, or those whose path is `under` or lies below it, in the order of their paths."""
        where, values = _below(under)
        with self._explained():
            for row in self._db.execute(f"SELECT {_FILE} FROM file {where} ORDER BY path", values):
                yield Entry(*row)

    def rows(self, under: bytes) -> list[tuple[int | bytes | None, ...]]:
        """As `files`, whole and without the names of the fields: for millions of rows at once."""
        where, values = _below(under)
        with self._explained():
            return self._db.execute(f"SELECT {_FILE} FROM file {where}", values).fetchall()

    def entry(self, path: bytes) -> Entry | None:
        """What is known of one file."""
        with self._explained():
            row = self._db.execute(f"SELECT {_FILE} FROM file WHERE path = ?", (path,)).fetchone()
        return None if row is None else Entry(*row)

    def with_hash(self, digest: bytes) -> list[Entry]:
        """The files that held this content when they were last read."""
        with self._explained():
            return [Entry(*row) for row in self._db.execute(f"SELECT {_FILE} FROM file WHERE hash = ?", (digest,))]

    def with_ino(self, ino: int) -> list[Entry]:
        """The files with this inode number, on any device."""
        with self._explained():
            return [Entry(*row) for row in self._db.execute(f"SELECT {_FILE} FROM file WHERE ino = ?", (_signed(ino),))]

    def store(self, entries: Iterable[Entry]) -> None:
        """Keep what is known of these files now, in one transaction."""
        rows = [(entry.path, entry.dev, _signed(entry.ino), *entry[3:]) for entry in entries]
        with self._writing():
            self._db.executemany(f"INSERT OR REPLACE INTO file ({_FILE}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)

    def forget(self, paths: Iterable[bytes]) -> None:
        """These names are not there any more."""
        with self._writing():
            self._db.executemany("DELETE FROM file WHERE path = ?", [(path,) for path in paths])

    def moved(self, old: bytes, entry: Entry) -> None:
        """A file that was at `old` is now what `entry` says."""
        with self._writing():
            self._db.execute("DELETE FROM file WHERE path = ?", (old,))
            row = (entry.path, entry.dev, _signed(entry.ino), *entry[3:])
            self._db.execute(f"INSERT OR REPLACE INTO file ({_FILE}) VALUES (?,?,?,?,?,?,?,?,?,?)", row)

    def trees(self) -> list[CrawledTree]:
        """The trees that were crawled."""
        with self._explained():
            return [CrawledTree(*row) for row in self._db.execute("SELECT * FROM tree ORDER BY path")]

    def crawled(self, tree: CrawledTree) -> None:
        """A tree was crawled whole."""
        with self._writing():
            row = (tree.path, tree.dev, _signed(tree.ino), *tree[3:])
            self._db.execute("INSERT OR REPLACE INTO tree VALUES (?,?,?,?,?,?)", row)

    def totals(self) -> Totals:
        """How much is known."""
        with self._explained():
            row = self._db.execute(
                "SELECT count(*), coalesce(sum(size), 0), count(hash), "
                "coalesce(sum(size) FILTER (WHERE hash NOT NULL), 0) FROM file"
            ).fetchone()
        return Totals(*row)

    def tell_taken(self, digest: bytes, taken: str, source: str, facts: str | None = None) -> None:
        """Record when the content with this hash was taken and who says so; `facts` is a JSON object."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO media VALUES (?,?,?,?)", (digest, taken, source, facts))

    def media(self, digest: bytes) -> tuple[str, str, str | None] | None:
        """When content was taken (local time, ISO 8601), who says so, and its facts as JSON; None if not known."""
        with self._explained():
            row = self._db.execute("SELECT taken, source, facts FROM media WHERE hash = ?", (digest,)).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def remote(self, key: RemoteKey) -> bytes | None:
        """The OSDB hash of a remote file; None where it is not known."""
        where = "provider = ? AND kind = ? AND id = ? AND part = ?"
        with self._explained():
            row = self._db.execute(f"SELECT osdb FROM remote WHERE {where}", key).fetchone()
        return None if row is None else bytes(row[0])

    def tell_remote(self, key: RemoteKey, size: int, osdb: bytes) -> None:
        """Record the OSDB hash of a remote file, which never changes."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO remote VALUES (?,?,?,?,?,?)", (*key, size, osdb))

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            # What is about the file itself is exactly this class; a lock or a full disk is a subclass.
            damaged = type(error) is sqlite3.DatabaseError
            remedy = "Move it aside: it is filled anew by mediapool index crawl" if damaged else "Check its folder"
            cause = error.strerror if isinstance(error, OSError) else error
            raise ContentsError(f"the catalog {self.file} cannot be used: {cause}. {remedy}.") from error


def _below(under: bytes | None) -> tuple[str, Sequence[bytes]]:
    if under is None or under == b"/":
        return "", ()
    # All that begins with "under/": the byte after "/" is "0".
    return "WHERE path = ? OR (path >= ? AND path < ?)", (under, under + b"/", under + b"0")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def is_settled(found: Found, now_ns: int) -> bool:
    """Whether a change after `now_ns` would show in the times of the file: only then may a hash be kept."""
    return max(found.ctime_ns, found.mtime_ns) + TICK_NS < now_ns


def now_ns() -> int:
    """The system's clock, by which the filesystem stamps changes as well."""
    return time.time_ns()
