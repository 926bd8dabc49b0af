"""One tier of the chunk cache: a `diskcache.Cache` of raw bytes, with checked files and leased connections.

What is changed of diskcache 5.6, and why:
 * rows and values are bytes only (`RawDisk`): nothing found in the directory is ever unpickled;
 * the name of each file carries the xxh3-128 of its content, checked at every read;
 * SQLite connections are leased per call, not kept per thread: FUSE threads come and go by the hundred;
 * eviction is by bytes, not by an estimate in pages, and reading never starts a write transaction.

Lock order: `Tier._lock` is a leaf, held to move a connection in or out of the idle ones. Whoever has leased a
connection waits for nothing but the disk. Only one thread writes.
"""

import contextlib
import errno
import logging
import re
import shutil
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import diskcache
import xxhash
from diskcache.core import DBNAME, MODE_BINARY

from placement import system as os
from placement.winfile import lock

log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview

# Two hexadecimal digits of folder, then something unique (equal chunks are common: padding), then the
# xxh3-128.
FILE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{14}-([0-9a-f]{32})")

# The most connections, each with three descriptors; a lookup takes microseconds, so more threads take turns.
CONNECTIONS = 16

# The kernel keeps what is read from the mount itself, so a second copy of it in the page cache, that of our files,
# only drives out what others have there; and a page of new memory costs more than to write the disk. This many files
# are given time to be written back before their pages are dropped.
WRITTEN_BACK = 8

# What a folder of the cache may hold; anything else says that the folder belongs to someone else.
OURS = {"lock", "clean", "main", "edges", "lost+found"}

# What the disk, SQLite or diskcache may do to us; each means: go on without the cache.
TROUBLE = (OSError, sqlite3.Error, diskcache.Timeout)

PRAGMAS = ("PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -256", "PRAGMA mmap_size = 16777216")


class DamagedError(Exception):
    """The file of a row is missing, cut off, or not what was written."""

    def __init__(self, filename: str | None) -> None:
        super().__init__(filename)
        self.filename = filename


class RawDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Stores bytes under bytes in files of mode 0600; refuses everything that diskcache would pickle."""

    def __init__(self, directory: str, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.unsettled: list[str] = []  # files whose rows are not committed yet
        self._written: deque[int] = deque()  # descriptors of files whose pages are on their way to the disk

    def put(self, key: Any) -> tuple[Any, bool]:
        if not isinstance(key, bytes):
            raise TypeError(f"cache rows are named by bytes, not {type(key).__name__}")
        return sqlite3.Binary(key), True

    def get(self, key: Any, raw: bool) -> bytes:
        if not raw:
            raise DamagedError(None)
        return bytes(key)

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, str, None]:
        if read or not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"the cache holds bytes, not {type(value).__name__}")
        unique = os.urandom(8).hex()
        name = f"{unique[:2]}/{unique[2:]}-{xxhash.xxh3_128_hexdigest(value)}"
        self.unsettled.append(name)
        self._write_file(os.path.join(self._directory, name), value)
        return len(value), MODE_BINARY, name, None

    def _write_file(self, path: str, value: Buffer) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            fd = os.open(path, flags, 0o600)
        try:
            rest = memoryview(value)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BaseException:
            os.close(fd)
            raise
        self._forget_pages(fd)

    def _forget_pages(self, fd: int) -> None:
        """Write what `fd` holds back soon, forget the pages of files written before, and close those."""
        _drop_pages(fd)
        self._written.append(fd)
        while len(self._written) > WRITTEN_BACK:
            old = self._written.popleft()
            _drop_pages(old)
            os.close(old)

    def shut(self) -> None:
        """Close what is still open."""
        while self._written:
            os.close(self._written.popleft())

    def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> bytes:
        match = FILE_NAME.fullmatch(filename) if isinstance(filename, str) else None
        if mode != MODE_BINARY or read or match is None:
            raise DamagedError(filename)
        try:
            with open(os.path.join(self._directory, filename), "rb", buffering=0) as file:
                _read_at_once(file.fileno())
                data = file.readall()
                _drop_pages(file.fileno())
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EIO):
                raise DamagedError(filename) from error
            raise  # no descriptors left, say: a miss, but no reason to drop it
        if xxhash.xxh3_128_hexdigest(data) != match[1]:
            raise DamagedError(filename)
        return data

    def prepare(self, filename: Any) -> None:
        """Have the kernel read a file, without waiting for it."""
        if isinstance(filename, str) and FILE_NAME.fullmatch(filename):
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(self._directory, filename), os.O_RDONLY | os.O_CLOEXEC)
                _read_at_once(fd)
                os.close(fd)

    def remove(self, file_path: str) -> None:
        if FILE_NAME.fullmatch(file_path):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._directory, file_path))


def _drop_pages(fd: int) -> None:
    """Have the kernel write back what is dirty of a file, without waiting, and forget what is clean."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _read_at_once(fd: int) -> None:
    """Have the kernel ask the disk for a whole file, not for a little more each time."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)


class Usage(NamedTuple):
    """What a tier holds, or what was taken from it: bytes of files, and how many."""

    size: int
    files: int


class Tier(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """Rows of bytes by bytes, oldest use first out. Raises OSError, sqlite3.Error and diskcache.Timeout.

    Any thread may `look` and ask `holds`; all other methods belong to one writing thread.
    """

    def __init__(self, directory: str) -> None:
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._open = True
        os.makedirs(directory, 0o700, exist_ok=True)
        try:
            super().__init__(
                directory,
                timeout=10,
                disk=RawDisk,
                eviction_policy="none",
                cull_limit=0,
                statistics=0,
                disk_min_file_size=0,
                sqlite_auto_vacuum=0,
            )
        finally:
            self.close()  # the connection that the constructor leaves to this thread
        with self.leased():
            self._sql("CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time)")

    @contextlib.contextmanager
    def leased(self) -> Iterator[None]:
        """Lend this thread a connection. One that met an error is closed: what state it is in is unknown."""
        with self._free:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connect()
            self._local.con, self._local.pid = connection, os.getpid()
            healthy = False
            try:
                yield
                healthy = True
            except DamagedError:
                healthy = True
                raise
            finally:
                del self._local.con
                self._give_back(connection, healthy)

    def _give_back(self, connection: sqlite3.Connection, healthy: bool) -> None:
        with self._lock:
            keep = healthy and self._open
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        path = os.path.join(self.directory, DBNAME)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            connection.execute(pragma).fetchall()
        return connection

    def look(self, row: bytes) -> bytes | None:
        """The bytes of `row`, or None; DamagedError if there are any but not those that were stored."""
        with self.leased():
            data: bytes | None = self.get(row)
            return data

    def holds(self, row: bytes, *, soon: bool = False) -> bool:
        """Whether there is such a row. `soon`: its bytes will be wanted in a moment, so the disk begins with them."""
        with self.leased():
            found = self._sql("SELECT filename FROM Cache WHERE key = ? AND raw = 1", (row,)).fetchall()
        if found and soon:
            self.disk.prepare(found[0][0])
        return bool(found)

    def held(self, rows: Sequence[bytes]) -> set[bytes]:
        """Those of these rows that there are; a few hundred at most."""
        query = f"SELECT key FROM Cache WHERE raw = 1 AND key IN ({','.join('?' * len(rows))})"
        with self.leased():
            return {bytes(key) for (key,) in self._sql(query, tuple(rows)).fetchall()}

    def following(self, low: bytes, high: bytes) -> bytes | None:
        """The first row from `low` on, in the order of bytes, if it comes before `high`."""
        query = "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key LIMIT 1"
        with self.leased():
            found = self._sql(query, (low, high)).fetchall()
        return bytes(found[0][0]) if found else None

    def add(self, rows: Mapping[bytes, Buffer]) -> None:
        """Store these bytes in one transaction; after an error neither rows nor files of them are left."""
        self.disk.unsettled.clear()
        try:
            with self.leased(), self.transact():
                for row, data in rows.items():
                    self.set(row, data)
        except BaseException:
            for name in self.disk.unsettled:
                self.disk.remove(name)
            raise

    def evict(self, size: int) -> Usage:
        """Drop the rows that were used longest ago, at least `size` bytes of them; what was dropped."""
        freed = count = 0
        while freed < size:
            batch = self._evict_some(size - freed)
            if not batch.files:
                break
            freed, count = freed + batch.size, count + batch.files
        return Usage(freed, count)

    def _evict_some(self, size: int) -> Usage:
        with self.leased(), self.transact():
            doomed, freed = [], 0
            query = "SELECT rowid, size, filename FROM Cache ORDER BY access_time LIMIT 64"
            for rowid, row_size, filename in self._sql(query).fetchall():
                if freed >= size:
                    break
                doomed.append((rowid, filename))
                freed += row_size
            self._sql(f"DELETE FROM Cache WHERE rowid IN ({','.join(str(rowid) for rowid, _ in doomed)})")
        for _, filename in doomed:
            self.disk.remove(filename)
        return Usage(freed, len(doomed))

    def drop(self, row: bytes, filename: str | None) -> Usage:
        """Drop `row` if it still refers to `filename`; what was dropped, which may be nothing."""
        with self.leased(), self.transact():
            which = "FROM Cache WHERE key = ? AND raw = 1 AND filename IS ?"
            found = self._sql(f"SELECT size {which}", (row, filename)).fetchall()
            self._sql(f"DELETE {which}", (row, filename))
        if filename is not None and found:
            self.disk.remove(filename)
        return Usage(sum(size for (size,) in found), len(found))

    def used(self, times: Mapping[bytes, float]) -> None:
        """Note when (s since 1970) rows were used last."""
        with self.leased(), self.transact():
            for row, when in times.items():
                self._sql("UPDATE Cache SET access_time = ? WHERE key = ? AND raw = 1", (when, row))

    def wipe(self) -> None:
        """Drop all rows and files."""
        with self.leased():
            self.clear()

    def usage(self) -> Usage:
        with self.leased():
            ((size, count),) = self._sql("SELECT COALESCE(SUM(size), 0), COUNT(*) FROM Cache").fetchall()
        return Usage(size, count)

    def reconcile(self) -> None:
        """After a crash: remove files without row and rows without file; sqlite3.Error if beyond repair."""
        with self.leased(), self.transact():
            ((verdict,),) = self._sql("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            lost = {name: rowid for rowid, name in self._sql("SELECT rowid, filename FROM Cache").fetchall()}
            for folder in os.scandir(self.directory):
                if folder.is_dir(follow_symlinks=False):
                    self._match(folder.name, lost)
            for rowid in lost.values():
                self._sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))

    def _match(self, folder: str, lost: dict[str, int]) -> None:
        """Take the files in `folder` from the `lost` ones, and remove those that no row refers to."""
        with os.scandir(os.path.join(self.directory, folder)) as entries:
            for entry in entries:
                if lost.pop(f"{folder}/{entry.name}", None) is None:
                    self.disk.remove(f"{folder}/{entry.name}")

    def shut(self) -> None:
        """Close all connections; those on loan when they come back. The writing thread has ended."""
        self.disk.shut()
        with self._lock:
            self._open = False
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def claim(directory: str) -> int:
    """Make `directory` ours alone, mode 0700; the descriptor of its lock file, to be closed at the end.

    Raises OSError: EBUSY if another process has it, ENOTEMPTY if it holds other things.
    """
    os.makedirs(directory, 0o700, exist_ok=True)
    strange = sorted(set(os.listdir(directory)) - OURS)
    if strange:
        advice = f"the cache needs a folder of its own, and this one holds {strange[0]!r}: name an empty one"
        raise OSError(errno.ENOTEMPTY, advice, directory)
    os.chmod(directory, 0o700)
    fd = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        lock(fd)
    except OSError as error:
        owner = os.pread(fd, 20, 0).decode(errors="replace").strip()
        os.close(fd)
        advice = f"process {owner} uses this cache: stop it, or name another folder"
        raise OSError(errno.EBUSY, advice, directory) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def open_tier(path: str, clean: bool) -> Tier:
    """Open a tier as it was left; if not `clean`, look at every row. A damaged one begins anew, empty."""
    try:
        return _checked(path, clean)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged database makes diskcache stumble over
        log.warning("the cache %s is damaged and starts empty: %s", path, error)
        shutil.rmtree(path)
        return _checked(path, True)


def _checked(path: str, clean: bool) -> Tier:
    tier = Tier(path)
    try:
        if not clean:
            tier.reconcile()
    except BaseException:
        tier.shut()
        raise
    return tier
