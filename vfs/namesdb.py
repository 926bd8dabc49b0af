"""`names.db`: the file that remembers remote files, their names, and what the kernel was told about inodes.

`_TABLES` is the reference of the format. The database is small, loaded whole by `vfs.names`, and written
first whenever a name changes: what a caller was told happened is in the file before memory shows it.
"""

import errno
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from placement import system as os
from placement.beneath import below

SCHEMA = 3
ROOT = 1


# What SQLite says about the disk or about who may use the file, and not about what stands in it.
_NO_DAMAGE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


class NamesDamaged(Exception):
    """names.db cannot be used; the message names the file and the cause."""


class NamesTooNew(NamesDamaged):
    """A newer mediapool wrote it; nothing is wrong with it."""


_INTENT = """
-- Work on several branches that was begun: finished or undone at the next start if it was not ended.
CREATE TABLE intent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,                 -- who understands the record: 'union' | 'move'
    record TEXT NOT NULL                -- JSON; names as their bytes in base64
);
"""

_PIN = """
-- Local copies of remote files, in .mediapool/pinned/ of a drive. A row without its file: the copy is to be removed.
CREATE TABLE pin (
    ino INTEGER PRIMARY KEY,            -- of the remote file
    kind TEXT NOT NULL,                 -- its content, as in the table of that name
    id TEXT NOT NULL,
    part TEXT NOT NULL,
    goal TEXT NOT NULL,                 -- 'pin' | 'download', to become an ordinary file | 'unpin', to be removed
    drive INTEGER NOT NULL,             -- its number; 0 while none is chosen
    token TEXT NOT NULL,                -- the name of the copy there, and with '.sums' that of its checksums
    digest BLOB,                        -- xxh3-128 of all its bytes once it is whole, else NULL
    mtime_ns INTEGER NOT NULL           -- of the copy when it was compared
);
-- The xxh3-128 of all bytes of remote files that were once pinned.
CREATE TABLE digest (ino INTEGER PRIMARY KEY, digest BLOB NOT NULL);
"""

# The reference of the format. Times are ns since 1970, sizes bytes, names raw bytes.
_TABLES = f"""
BEGIN;
-- 'schema'; 'pool': a random UUID, by which copies of this file are told from those of other pools;
-- 'saved': in copies, when they were made, in ns; 'barrier': the last time that was asked for one.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '{SCHEMA}');

-- The drives that were ever part of this pool. An identity is a random UUID kept on the drive itself.
CREATE TABLE drive (
    number INTEGER PRIMARY KEY,         -- 1..32767, the upper bits of its inode numbers
    identity TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL                  -- as in the configuration when it was last mounted
);

-- Remote files and the directories that hold their names. AUTOINCREMENT: a number is never used twice,
-- so nothing outside can take a new file for an old one.
CREATE TABLE node (
    ino INTEGER PRIMARY KEY AUTOINCREMENT,
    mode INTEGER NOT NULL,              -- with the type bits: S_IFDIR or S_IFREG
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    size INTEGER NOT NULL,              -- 0 for directories
    atime_ns INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL
);
INSERT INTO node VALUES ({ROOT}, {0o040755}, 0, 0, 0, 0, 0, 0);

-- Which content a remote file is: never a provider's torrent id, which changes at every repair.
CREATE TABLE content (
    ino INTEGER PRIMARY KEY REFERENCES node (ino),
    provider TEXT NOT NULL,             -- 'realdebrid'
    kind TEXT NOT NULL,                 -- 'torrent' | 'link'
    id TEXT NOT NULL,                   -- info hash | hash of the hoster link
    part TEXT NOT NULL,                 -- file id, or 'file id/inner path' inside an archive; '' for links
    original BLOB NOT NULL,             -- the path the provider gave, before it was made safe
    UNIQUE (provider, kind, id, part)
);

-- One row is one name; several names of one node are its hard links. Renaming a directory is one row.
CREATE TABLE name (
    parent INTEGER NOT NULL REFERENCES node (ino),
    name BLOB NOT NULL,
    ino INTEGER NOT NULL REFERENCES node (ino),
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE INDEX name_of ON name (ino);

CREATE TABLE xattr (
    ino INTEGER NOT NULL REFERENCES node (ino),
    name BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (ino, name)
) WITHOUT ROWID;

-- Each addition to the account that was published once; a poll never publishes it a second time.
CREATE TABLE publication (
    addition TEXT PRIMARY KEY,          -- 'realdebrid:<torrent id>'
    path BLOB NOT NULL,                 -- where it was put at that time
    time_ns INTEGER NOT NULL
) WITHOUT ROWID;

-- Visible inode numbers of local files and directories whose number on the drive is not the one shown.
CREATE TABLE alias (
    drive INTEGER NOT NULL,
    ino INTEGER NOT NULL,               -- st_ino on that drive, as a signed 64-bit number
    birth_ns INTEGER NOT NULL,          -- so that a reused number is not taken for the old file
    visible INTEGER NOT NULL,
    PRIMARY KEY (drive, ino)
) WITHOUT ROWID;
{_INTENT}
{_PIN}
COMMIT;
"""

# How a database of the format before becomes one of the next: format -> what to run.
_UPGRADES = {1: _INTENT, 2: _PIN}


class NamesDb:
    """The one connection to names.db. Reads happen at start only; `write` lets one transaction in at a time.

    Lock order: the lock of the caller (`Names`, `Inodes`) before the one inside `write`.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the database; NamesDamaged when it is not one that this version can use.

        OSError (ENOSPC, EIO, EACCES, ...) when that cannot be known, because of its disk.
        """
        self.path = path
        self._lock = threading.Lock()
        fresh = not path.exists()
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare(fresh)
        except sqlite3.Error as cause:
            code = disk_trouble(cause)
            if code is not None:
                raise OSError(code, f"cannot be opened ({cause})", str(path)) from cause
            raise NamesDamaged(f"{path}, with the names of all remote files, is damaged: {cause}.") from cause

    def _prepare(self, fresh: bool) -> None:
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        if fresh or not self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self.db.executescript(_TABLES)
        (check,) = self.db.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        meta = dict(self.db.execute("SELECT key, value FROM meta"))
        if not meta.get("schema", "").isdecimal():
            raise sqlite3.DatabaseError("it does not say which format it has")
        self._upgrade(int(meta["schema"]))
        self.pool = meta.get("pool") or str(uuid.uuid4())
        if "pool" not in meta:
            self.db.execute("INSERT INTO meta VALUES ('pool', ?)", (self.pool,))

    def _upgrade(self, found: int) -> None:
        """Bring an older format up to this one, a copy kept beside it; NamesDamaged for a newer one."""
        if found > SCHEMA or (found < SCHEMA and found not in _UPGRADES):
            raise NamesTooNew(
                f"{self.path} has format {found}, this mediapool writes format {SCHEMA}: use the version that "
                f"wrote it, or a newer one."
            )
        if found < SCHEMA:
            self.backup(self.path.with_suffix(f".format{found}"))
        for number in range(found, SCHEMA):
            self.db.executescript(
                f"BEGIN; {_UPGRADES[number]} UPDATE meta SET value = '{number + 1}' WHERE key = 'schema'; COMMIT;"
            )

    def backup(self, path: Path) -> None:
        """Write a whole copy to `path`, on stable storage, in place of an older one; OSError if that fails."""
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_names(self.path, folder, path.name)
        finally:
            os.close(folder)

    @contextmanager
    def write(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; committed when the block ends. A failure undoes it and becomes ENOSPC or EIO.

        `durable`: the commit returns only when it, and every one before it, is on stable storage.
        """
        try:
            with self._lock:
                # NORMAL leaves the log to the system's own time; FULL syncs it at the commit.
                self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    yield self.db
                    self.db.execute("COMMIT")
                except BaseException:
                    if self.db.in_transaction:
                        self.db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as cause:
            code = errno.ENOSPC if disk_trouble(cause) == errno.ENOSPC else errno.EIO
            raise OSError(code, f"{self.path} could not be written: {cause}") from cause

    def close(self) -> None:
        self.db.close()


def disk_trouble(cause: sqlite3.Error) -> int | None:
    """The errno of what the disk does not let us do; None for a database that is damaged."""
    # The lower byte is the kind of error, the others tell more of it.
    return _NO_DAMAGE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)


def copy_names(source: Path, folder: int, name: str) -> None:
    """Write a copy of the names.db `source` as `name` in the open directory `folder`, in place of an older one.

    Whole and on stable storage, or nothing is changed. The source may be in use: nobody who reads or writes it
    waits. A copy has no intents, as at the time it is used the work they tell of was done or is forgotten.
    OSError when it cannot be read or written; EIO when the source is damaged.
    """
    draft = f"{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)
    fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        # By a path, as SQLite knows no descriptors; it must lead to the file made above, as nothing is created.
        _copy(source, below(folder, draft))
        # Not in WAL mode, so that it can be read where nothing can be written.
        os.pwrite(fd, b"\1\1", 18)
        os.fsync(fd)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except sqlite3.Error as cause:
        code = disk_trouble(cause) or errno.EIO
        raise OSError(code, f"the copy {name} of {source} could not be written: {cause}") from cause
    finally:
        os.close(fd)
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)


def _copy(source: Path, target: str) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, isolation_level=None)) as old,
        closing(sqlite3.connect(f"file:{quote(target)}?mode=rw", uri=True, isolation_level=None)) as copy,
    ):
        # One look from here on; writers go on beside it.
        old.execute("BEGIN")
        (check,) = old.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        # Without a journal and its syncs: a draft that fails is thrown away.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        old.backup(copy)
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'intent'").fetchone():
            copy.execute("DELETE FROM intent")
        copy.execute("INSERT OR REPLACE INTO meta VALUES ('saved', ?)", (str(time.time_ns()),))
