"""debrid.db: what the account holds, as last seen, so that reading and restarting need no listing.

It is a cache of the account. Lost or moved aside it fills itself again; names and inodes live elsewhere. What
a file is and where its bytes come from is keyed by info hash and file id, because the provider gives a
torrent another id each time it is added.

Only `ours` is no cache. Without it nothing tells what mediapool added from what people added, so after a loss
all of it counts as added by people, and stays in the account.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from debrid.debriddb import DebridDb
from debrid.downloads.downloadlog import DOOMED, UNSETTLED_CONTENT, DownloadLog
from debrid.models import TorrentInfo, TorrentItem, Unrestricted
from debrid.repairlog import RepairLog


@dataclass(frozen=True, slots=True)
class StoredTorrent:
    """A row of `torrents`, see `debriddb.SCHEMA`. `selection` is None until the files are known."""

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
    missing_at: float | None
    problem: str
    retry_at: float
    path: str | None

    @property
    def missing(self) -> bool:
        """The provider confirmed that it left the account."""
        return self.missing_at is not None


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


class Segment(NamedTuple):
    """Bytes [start, start + length) of file `file` of the same torrent; PACK: of its one archive."""

    file: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Released:
    """An addition made here whose content lost its last name at `released_at`, seconds since 1970."""

    id: str
    hash: str
    released_at: float
    failures: int
    problem: str


PACK = 0  # file id of the archive that the provider made of a whole selection

_TORRENT = (
    "id, hash, name, status, progress, bytes, added_ns, ended_ns, done_at, seen_at, selection, missing_at,"
    " problem, retry_at, path"
)
_FILE = "hash, id, path, bytes, link, problem, failures, retry_at"
_RELEASED = "id, hash, released_at, failures, problem"
_PUBLISHED = "id IN (SELECT id FROM torrents WHERE path IS NOT NULL)"

_SAW = """
INSERT INTO torrents (id, hash, name, status, progress, bytes, added_ns, ended_ns, done_at, seen_at)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE NOT EXISTS (SELECT 1 FROM replaced WHERE id = ?1)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, status = excluded.status, progress = excluded.progress, bytes = excluded.bytes,
    added_ns = excluded.added_ns, ended_ns = excluded.ended_ns, seen_at = excluded.seen_at,
    done_at = iif(excluded.done_at IS NULL, NULL, coalesce(done_at, excluded.done_at)),
    missing_at = NULL, problem = iif(missing_at IS NULL, problem, '')
"""


class Store:
    """Thread-safe. Every method raises StoreError if the database cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._db = DebridDb(path)
        self.repairs = RepairLog(self._db)
        self.downloads = DownloadLog(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        self._db.close()

    # -- torrents

    def saw(self, items: Sequence[TorrentItem], now: float) -> None:
        """A listing had these torrents; `now` in seconds since 1970. One that had been missing is back."""
        rows = [_seen(each, now) for each in items]
        with self._db.writing() as db:
            db.executemany(_SAW, rows)

    def record(self, info: TorrentInfo, links: Mapping[int, str]) -> None:
        """Keep the files of a torrent and the links known of them (file id -> link).

        Of several additions of one hash the newest gives the link, unless that one has failed. A new link
        ends whatever was wrong with the old one; without a new one the old stays.
        """
        newest = next((each.id for each in self.additions_of(info.hash)), info.id)
        selection = ",".join(str(each.id) for each in info.selected) if info.files else None
        with self._db.writing() as db:
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
        rows = self._db.read(f"SELECT {_TORRENT} FROM torrents WHERE id = ?", (torrent_id,))
        return _torrent(rows[0]) if rows else None

    def torrents(self) -> list[StoredTorrent]:
        """Every addition ever seen, newest first."""
        return [_torrent(row) for row in self._db.read(f"SELECT {_TORRENT} FROM torrents ORDER BY added_ns DESC, id")]

    def additions_of(self, info_hash: str) -> list[StoredTorrent]:
        """The additions of one hash, those still in the account first, among them the newest first."""
        query = f"SELECT {_TORRENT} FROM torrents WHERE hash = ? ORDER BY missing_at IS NOT NULL, added_ns DESC, id"
        return [_torrent(row) for row in self._db.read(query, (info_hash,))]

    def unpublished(self, now: float) -> list[StoredTorrent]:
        """Finished additions that are due to be published, newest first; `now` in seconds since 1970.

        Not those that a client is about to get: they come into the tree by another way.
        """
        query = (
            f"SELECT {_TORRENT} FROM torrents WHERE status = 'downloaded' AND path IS NULL AND missing_at IS NULL"
            f" AND retry_at <= ? AND hash NOT IN ({UNSETTLED_CONTENT}) AND id NOT IN ({DOOMED})"
            " ORDER BY added_ns DESC, id"
        )
        return [_torrent(row) for row in self._db.read(query, (now,))]

    def set_published(self, torrent_id: str, path: str, problem: str = "") -> None:
        """The addition has its place in the tree, '' if it is not known where; `problem`: what it lacks."""
        self._db.write(
            "UPDATE torrents SET path = iif(?1 = '', coalesce(path, ''), ?1), problem = ?2 WHERE id = ?3",
            (path, problem, torrent_id),
        )

    def set_unpublished(self, torrent_id: str) -> None:
        """The tree knows nothing of this addition, whatever was noted here."""
        self._db.write("UPDATE torrents SET path = NULL, retry_at = 0 WHERE id = ?", (torrent_id,))

    def set_problem(self, torrent_id: str, problem: str, retry_at: float) -> None:
        """Say why the addition is not published; it is not due before `retry_at` (seconds since 1970)."""
        self._db.write("UPDATE torrents SET problem = ?, retry_at = ? WHERE id = ?", (problem, retry_at, torrent_id))

    def set_missing(self, torrent_id: str, problem: str, now: float) -> None:
        """The provider confirmed that this addition left the account. The row stays, to say so and since when.

        `now` in seconds since 1970.
        """
        self._db.write(
            "UPDATE torrents SET missing_at = coalesce(missing_at, ?), problem = ? WHERE id = ?",
            (now, problem, torrent_id),
        )

    def replace(self, old: str, info: TorrentInfo, links: Mapping[int, str], now: float) -> bool:
        """The addition `info` takes the place of `old` in everything: names, links, and whose it is.

        False, and nothing is changed, if `old` is not known any more. `now` in seconds since 1970.
        """
        with self._db.writing() as db:
            row = db.execute("SELECT path FROM torrents WHERE id = ?", (old,)).fetchone()
            if row is None:
                return False
            db.execute(_SAW, _seen(info, now))
            chosen = ",".join(str(each.id) for each in info.selected)
            db.execute(
                "UPDATE torrents SET path = ?, selection = ?, problem = '', retry_at = 0 WHERE id = ?",
                (row[0], chosen, info.id),
            )
            db.executemany(
                "UPDATE files SET link = ?, url = NULL, url_until = 0, problem = '', failures = 0, retry_at = 0"
                " WHERE hash = ? AND id = ?",
                [(link, info.hash, file_id) for file_id, link in links.items()],
            )
            db.execute("UPDATE OR REPLACE ours SET id = ? WHERE id = ?", (info.id, old))
            db.execute("DELETE FROM torrents WHERE id = ?", (old,))
            db.execute("INSERT OR IGNORE INTO replaced VALUES (?)", (old,))
        return True

    def forget(self, torrent_id: str) -> None:
        """Nothing is to be said of this addition any more. Its files stay: an open one may still be read."""
        with self._db.writing() as db:
            db.execute("DELETE FROM torrents WHERE id = ?", (torrent_id,))
            db.execute("DELETE FROM ours WHERE id = ?", (torrent_id,))

    # -- additions made here

    def mark_added_here(self, torrent_id: str, info_hash: str) -> None:
        """Mediapool made this addition, so mediapool may delete it. To be called as soon as it has its id.

        Whatever of this hash waited to leave the account stays: somebody wants it again.
        """
        info_hash = info_hash.lower()
        with self._db.writing() as db:
            db.execute("INSERT OR IGNORE INTO ours (id, hash) VALUES (?, ?)", (torrent_id, info_hash))
            db.execute("UPDATE ours SET released_at = NULL WHERE hash = ?", (info_hash,))

    def added_here(self, torrent_id: str) -> bool:
        """Did mediapool make this addition?"""
        return bool(self._db.read("SELECT 1 FROM ours WHERE id = ?", (torrent_id,)))

    def release(self, info_hash: str, now: float) -> int:
        """The content lost its last name `now` (seconds since 1970): how many additions of it wait to leave.

        Those are the ones made here whose names were in the tree before. One that is not published yet is
        about to bring names, and stays.
        """
        statement = (
            f"UPDATE ours SET released_at = ?, failures = 0, problem = '', retry_at = 0 WHERE hash = ? AND {_PUBLISHED}"
        )
        with self._db.writing() as db:
            return db.execute(statement, (now, info_hash)).rowcount

    def released(self) -> list[Released]:
        """All additions that wait to leave, the longest waiting first."""
        query = f"SELECT {_RELEASED} FROM ours WHERE released_at IS NOT NULL ORDER BY released_at, id"
        return [Released(*row) for row in self._db.read(query)]

    def next_released(self, until: float, now: float) -> Released | None:
        """The first addition released by `until` that may be tried `now` (both seconds since 1970)."""
        query = (
            f"SELECT {_RELEASED} FROM ours WHERE released_at <= ? AND retry_at <= ? AND {_PUBLISHED}"
            " ORDER BY released_at, id LIMIT 1"
        )
        rows = self._db.read(query, (until, now))
        return Released(*rows[0]) if rows else None

    def unreleased(self) -> set[str]:
        """The hashes of published additions made here that are not waiting to leave."""
        return {row[0] for row in self._db.read(f"SELECT hash FROM ours WHERE released_at IS NULL AND {_PUBLISHED}")}

    def keep(self, released: Released) -> None:
        """Let it stay, unless it was released once more since."""
        self._db.write(
            "UPDATE ours SET released_at = NULL WHERE id = ? AND released_at = ?",
            (released.id, released.released_at),
        )

    def disown(self, torrent_id: str) -> None:
        """From now on it is as if people had added it."""
        self._db.write("DELETE FROM ours WHERE id = ?", (torrent_id,))

    def put_off(self, torrent_id: str, problem: str, retry_at: float) -> None:
        """It could not be deleted; not tried again before `retry_at` (seconds since 1970)."""
        self._db.write(
            "UPDATE ours SET failures = failures + 1, problem = ?, retry_at = ? WHERE id = ?",
            (problem, retry_at, torrent_id),
        )

    # -- files

    def file(self, info_hash: str, file_id: int) -> StoredFile | None:
        """One file, None if its torrent's files were never recorded."""
        rows = self._db.recall(f"SELECT {_FILE} FROM files WHERE hash = ? AND id = ?", info_hash, file_id)
        return StoredFile(*rows[0]) if rows else None

    def files(self, info_hash: str) -> list[StoredFile]:
        """All files of a hash, selected or not, in the torrent's order."""
        rows = self._db.read(f"SELECT {_FILE} FROM files WHERE hash = ? ORDER BY id", (info_hash,))
        return [StoredFile(*row) for row in rows]

    def record_pack(self, info_hash: str, path: str, size: int, link: str) -> None:
        """The provider made one archive of all files of a torrent."""
        self._db.write(
            "INSERT INTO files (hash, id, path, bytes, link) VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash, id)"
            " DO UPDATE SET path = excluded.path, bytes = excluded.bytes, link = excluded.link, url = NULL,"
            " problem = '', failures = 0, retry_at = 0",
            (info_hash, PACK, path, size, link),
        )

    def record_link(self, digest: str, found: Unrestricted, until: float) -> None:
        """Keep where the file of a hoster's link is, with its URL to `until` (seconds since 1970).

        `digest` stands in for the info hash, and is no such thing by its length.
        """
        self._db.write(
            "INSERT OR REPLACE INTO files (hash, id, path, bytes, link, url, url_until) VALUES (?, 1, ?, ?, ?, ?, ?)",
            (digest, f"/{found.filename}", found.filesize, found.link, found.download, until),
        )

    def set_parts(self, info_hash: str, parts: Mapping[str, Sequence[Segment]]) -> None:
        """Where these parts of a torrent lie inside its files."""
        rows = [(info_hash, part, seq, *each) for part, found in parts.items() for seq, each in enumerate(found)]
        with self._db.writing() as db:
            for part in parts:
                db.execute("DELETE FROM parts WHERE hash = ? AND part = ?", (info_hash, part))
            db.executemany("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def parts(self, info_hash: str, part: str) -> list[Segment]:
        """Where a part lies, in order; empty if it is a file of its own, or not known."""
        query = "SELECT file, start, length FROM parts WHERE hash = ? AND part = ? ORDER BY seq"
        return [Segment(*row) for row in self._db.recall(query, info_hash, part)]

    def failing_files(self) -> list[StoredFile]:
        """All files whose content cannot be had at the moment."""
        return [StoredFile(*row) for row in self._db.read(f"SELECT {_FILE} FROM files WHERE problem <> ''")]

    def url(self, info_hash: str, file_id: int, now: float) -> str | None:
        """The download URL of a file if it has one that is good at `now` (seconds since 1970)."""
        rows = self._db.recall("SELECT url, url_until FROM files WHERE hash = ? AND id = ?", info_hash, file_id)
        url: str | None
        url, until = rows[0] if rows else (None, 0.0)
        return url if until > now else None

    def set_link(self, info_hash: str, file_id: int, link: str) -> None:
        """The file has this link, which works."""
        self._db.write(
            "UPDATE files SET link = ?, url = NULL, problem = '', failures = 0, retry_at = 0 WHERE hash = ? AND id = ?",
            (link, info_hash, file_id),
        )

    def set_url(self, info_hash: str, file_id: int, url: str, until: float) -> None:
        """Keep a download URL to `until` (seconds since 1970); the file is fine, then."""
        self._db.write(
            "UPDATE files SET url = ?, url_until = ?, problem = '', failures = 0, retry_at = 0"
            " WHERE hash = ? AND id = ?",
            (url, until, info_hash, file_id),
        )

    def set_failing(self, info_hash: str, file_id: int, problem: str, retry_at: float) -> None:
        """The content is gone, says the provider; not asked again before `retry_at` (seconds since 1970)."""
        self._db.write(
            "UPDATE files SET url = NULL, problem = ?, failures = failures + 1, retry_at = ? WHERE hash = ? AND id = ?",
            (problem, retry_at, info_hash, file_id),
        )


def _seen(item: TorrentItem, now: float) -> tuple[object, ...]:
    return (
        *(item.id, item.hash, item.filename, item.status, item.progress, item.bytes),
        *(item.added_ns, item.ended_ns, now if item.is_finished else None, now),
    )


def _torrent(row: Sequence[Any]) -> StoredTorrent:
    fields: list[Any] = list(row)
    selection: str | None = fields[10]
    fields[10] = None if selection is None else tuple(_ids(selection.split(",")))
    return StoredTorrent(*fields)


def _ids(texts: Iterable[str]) -> Iterator[int]:
    return (int(text) for text in texts if text)
