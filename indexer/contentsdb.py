"""The file of the catalog of contents: its tables, which are the reference of its format, and how it is opened.

One SQLite file (WAL) beside `catalog.db`, on purpose not in it: that one is a cache which a mount holds, writes all
the time and throws away when it is damaged, while here lie hours of reading, also about discs and trees that are not
drives, and commands write here while a mount runs. Plain sqlite3, as for names.db: importing SQLAlchemy takes longer
than a second run over 20,000 files does otherwise.

Several processes may write (each transaction waits for the other's); who reads waits for nobody.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Self

from indexer.likely import by_name

FORMAT = 2
# "mpix" as SQLite's application_id.
_APPLICATION = 0x6D706978
_BUSY = 30.0

_FILES = """
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
"""
# What belongs to content and not to names. Of the three, facts, problem and wanted, one is set, or none.
_CONTENTS = """
CREATE TABLE remote (
    provider TEXT NOT NULL,         -- the content key, as in names.db
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    part TEXT NOT NULL,
    size INTEGER NOT NULL,
    osdb BLOB,                      -- see indexer.probable, or NULL: not read
    facts TEXT,                     -- as in media
    problem TEXT,
    PRIMARY KEY (provider, kind, id, part)
) WITHOUT ROWID;
CREATE TABLE media (
    hash BLOB PRIMARY KEY,
    taken TEXT,                     -- local time as in 2024-05-31T23:59:59
    source TEXT,                    -- where from: exif, container, name, mtime
    facts TEXT,                     -- JSON object, see indexer.mediafacts
    problem TEXT,                   -- why there are none, in words: it was looked at in vain
    wanted INTEGER NOT NULL DEFAULT 0  -- 1: it may be a film or music, and was not looked at yet
) WITHOUT ROWID;
CREATE INDEX media_wanted ON media (hash) WHERE wanted
"""
# From format 1, which had no facts, to 2.
_FROM_1 = f"""
ALTER TABLE remote RENAME TO old_remote;
ALTER TABLE media RENAME TO old_media;
{_CONTENTS};
INSERT INTO remote (provider, kind, id, part, size, osdb) SELECT provider, kind, id, part, size, osdb FROM old_remote;
INSERT INTO media (hash, taken, source) SELECT hash, taken, source FROM old_media;
INSERT INTO media (hash, wanted) SELECT hash, 1 FROM file WHERE hash NOT NULL AND likely(path, size)
    ON CONFLICT (hash) DO UPDATE SET wanted = 1;
DROP TABLE old_remote;
DROP TABLE old_media
"""


class ContentsError(Exception):
    """The catalog of contents cannot be used; the message names the file, the cause and the remedy."""


class Database:
    """The open file. For one thread at a time; other processes may use the same file."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """Open, make or upgrade it, mode 0600. ContentsError where it is damaged, another format or out of reach."""
        self.file = os.fspath(file)
        with self.explained():
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self.db = sqlite3.connect(self.file, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self.db.close()
                raise

    def _prepare(self) -> None:
        if self._format() != FORMAT:
            # Another process may make it in this moment.
            with self.writing():
                found = self._format()
                if found != FORMAT:
                    self.db.create_function("likely", 2, by_name, deterministic=True)
                    self._run(_FROM_1 if found else _FILES + _CONTENTS)
                    self.db.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self.db.execute(f"PRAGMA user_version = {FORMAT}")
        self.db.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is read again.
        self.db.execute("PRAGMA synchronous = NORMAL")

    def _format(self) -> int:
        """Its format, 0 if it is empty; raises for anything that is not ours, without having changed it."""
        (application,) = self.db.execute("PRAGMA application_id").fetchone()
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if application == _APPLICATION and 1 <= version <= FORMAT:
            return int(version)
        if application or version or self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise sqlite3.DatabaseError(f"it is of another format ({version}, this version reads {FORMAT})")
        return 0

    def _run(self, script: str) -> None:
        # One by one, as executescript would end the transaction; so no comment has a semicolon.
        for statement in script.split(";"):
            self.db.execute(statement)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that writes, or nothing of it. ContentsError."""
        with self.explained():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raises ContentsError for what SQLite or the system say inside the block."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            # What is about the file itself is exactly this class; a lock or a full disk is a subclass.
            damaged = type(error) is sqlite3.DatabaseError
            remedy = "Move it aside: it is filled anew by mediapool index crawl" if damaged else "Check its folder"
            cause = error.strerror if isinstance(error, OSError) else error
            raise ContentsError(f"the catalog {self.file} cannot be used: {cause}. {remedy}.") from error
