"""The catalog of contents: which file holds what, by hash. Its file and format: `indexer.contentsdb`.

Nothing in it is believed without a look at the file: see `remembered`. So it may be lost without harm. Paths are
bytes, absolute and real; sizes bytes; times ns since 1970; hashes are the 16 bytes of xxh3-128.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from indexer.contentsdb import Database
from indexer.finding import Found
from indexer.likely import by_name
from indexer.mediatable import Media, MediaTable, RemoteKey

# A change within the same tick of the filesystem's clock as the last look at the file would not show.
TICK_NS = 20_000_000

_FILE = "path, dev, ino, size, mtime_ns, ctime_ns, nlink, ends, hash, read_ns"
_STORE = f"INSERT OR REPLACE INTO file ({_FILE}) VALUES (?,?,?,?,?,?,?,?,?,?)"


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
    begins_as_media: bool = False
    """By its first bytes; said when it was read, and not kept."""

    @classmethod
    def of(
        cls, found: Found, ends: bytes | None, digest: bytes | None, read_ns: int | None, begins_as_media: bool = False
    ) -> Self:
        """What was found, with what was read of it."""
        return cls(*found, ends, digest, read_ns, begins_as_media)

    def row(self) -> tuple[object, ...]:
        """As the table has it."""
        return (self.path, self.dev, _signed(self.ino), *self[3:10])


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


class Contents(Database):
    """The open catalog. For one thread; other processes may use the same file."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """As `Database`. ContentsError."""
        super().__init__(file)
        self.media = MediaTable(self)

    def files(self, under: bytes | None = None) -> Iterator[Entry]:
        """Every known file, or those whose path is `under` or lies below it, in the order of their paths."""
        where, values = _below(under)
        with self.explained():
            for row in self.db.execute(f"SELECT {_FILE} FROM file {where} ORDER BY path", values):
                yield Entry(*row)

    def files_and_media(self, under: bytes | None = None) -> Iterator[tuple[Entry, Media]]:
        """As `files`, with what is known of the content of each."""
        where, values = _below(under)
        with self.explained():
            rows = self.db.execute(
                f"SELECT {_FILE}, taken, source, facts, problem FROM file LEFT JOIN media USING (hash) "
                f"{where} ORDER BY path",
                values,
            )
            for row in rows:
                yield Entry(*row[:10]), Media(*row[10:])

    def rows(self, under: bytes) -> list[tuple[int | bytes | None, ...]]:
        """As `files`, whole and without the names of the fields: for millions of rows at once."""
        where, values = _below(under)
        with self.explained():
            return self.db.execute(f"SELECT {_FILE} FROM file {where}", values).fetchall()

    def entry(self, path: bytes) -> Entry | None:
        """What is known of one file."""
        with self.explained():
            row = self.db.execute(f"SELECT {_FILE} FROM file WHERE path = ?", (path,)).fetchone()
        return None if row is None else Entry(*row)

    def with_hash(self, digest: bytes) -> list[Entry]:
        """The files that held this content when they were last read."""
        with self.explained():
            return [Entry(*row) for row in self.db.execute(f"SELECT {_FILE} FROM file WHERE hash = ?", (digest,))]

    def with_ino(self, ino: int) -> list[Entry]:
        """The files with this inode number, on any device."""
        with self.explained():
            return [Entry(*row) for row in self.db.execute(f"SELECT {_FILE} FROM file WHERE ino = ?", (_signed(ino),))]

    def store(self, entries: Iterable[Entry]) -> None:
        """Keep what is known of these files now, in one transaction; what may be media is to be looked at."""
        kept = list(entries)
        with self.writing():
            self.db.executemany(_STORE, [entry.row() for entry in kept])
            self.media.want(entry.hash for entry in kept if entry.hash is not None and _may_be_media(entry))

    def forget(self, paths: Iterable[bytes]) -> None:
        """These names are not there any more."""
        with self.writing():
            self.db.executemany("DELETE FROM file WHERE path = ?", [(path,) for path in paths])

    def moved(self, old: bytes, entry: Entry) -> None:
        """A file that was at `old` is now what `entry` says."""
        with self.writing():
            self.db.execute("DELETE FROM file WHERE path = ?", (old,))
            self.db.execute(_STORE, entry.row())

    def trees(self) -> list[CrawledTree]:
        """The trees that were crawled."""
        with self.explained():
            return [CrawledTree(*row) for row in self.db.execute("SELECT * FROM tree ORDER BY path")]

    def crawled(self, tree: CrawledTree) -> None:
        """A tree was crawled whole."""
        with self.writing():
            row = (tree.path, tree.dev, _signed(tree.ino), *tree[3:])
            self.db.execute("INSERT OR REPLACE INTO tree VALUES (?,?,?,?,?,?)", row)

    def totals(self) -> Totals:
        """How much is known."""
        with self.explained():
            row = self.db.execute(
                "SELECT count(*), coalesce(sum(size), 0), count(hash), "
                "coalesce(sum(size) FILTER (WHERE hash NOT NULL), 0) FROM file"
            ).fetchone()
        return Totals(*row)

    def unprobed(self, under: Sequence[bytes]) -> list[Entry]:
        """A file for each content that may be media and was not looked at, among those in these trees."""
        found: dict[bytes | None, Entry] = {}
        with self.explained():
            for tree in under:
                where, values = _below(tree)
                # Begins with what is wanted, which is mostly nothing.
                rows = self.db.execute(
                    f"SELECT {_FILE} FROM (SELECT hash FROM media WHERE wanted) CROSS JOIN file USING (hash) "
                    f"{where} ORDER BY path",
                    values,
                )
                for row in rows:
                    entry = Entry(*row)
                    found.setdefault(entry.hash, entry)
        return list(found.values())

    def probe_again(self, under: Sequence[bytes]) -> None:
        """What was looked at in vain in these trees is to be looked at once more."""
        with self.writing():
            for tree in under:
                where, values = _below(tree)
                self.db.execute(
                    f"UPDATE media SET wanted = 1, problem = NULL WHERE problem NOT NULL "
                    f"AND hash IN (SELECT hash FROM file {where})",
                    values,
                )

    def remote(self, key: RemoteKey) -> bytes | None:
        """The OSDB hash of a remote file; None where it is not known."""
        where = "provider = ? AND kind = ? AND id = ? AND part = ?"
        with self.explained():
            row = self.db.execute(f"SELECT osdb FROM remote WHERE {where}", key).fetchone()
        return None if row is None else row[0]

    def tell_remote(self, key: RemoteKey, size: int, osdb: bytes) -> None:
        """Record the OSDB hash of a remote file, which never changes."""
        with self.writing():
            self.db.execute(
                "INSERT INTO remote (provider, kind, id, part, size, osdb) VALUES (?,?,?,?,?,?) "
                "ON CONFLICT DO UPDATE SET size = excluded.size, osdb = excluded.osdb",
                (*key, size, osdb),
            )


def _may_be_media(entry: Entry) -> bool:
    return entry.begins_as_media or by_name(entry.path, entry.size)


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
