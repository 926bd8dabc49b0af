"""The downloads, categories, tags and verdicts in debrid.db."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from debrid.debriddb import DebridDb
from debrid.downloads.record import UNSETTLED, Download, Item, Stage, Verdict
from debrid.downloads.verdicts import AGES

_NAMES = [field.name for field in fields(Download)]
_COLUMNS = ", ".join(_NAMES)
_MARKS = ", ".join("?" * len(_NAMES))
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _NAMES)
_STAGES = ", ".join(f"'{stage}'" for stage in sorted(UNSETTLED))
# The hashes of what is on its way to where clients are told, and the additions that are about to go.
UNSETTLED_CONTENT = f"SELECT iif(content = '', hash, content) FROM downloads WHERE stage IN ({_STAGES})"
DOOMED = f"SELECT torrent FROM downloads WHERE stage IN ('{Stage.FAILED}', '{Stage.DELETING}')"
_READ: dict[str, Callable[[Any], Any]] = {
    "stage": Stage,
    "tags": lambda text: tuple(json.loads(text)),
    "items": lambda text: tuple(
        Item(number, path, size, bool(wanted)) for number, path, size, wanted in json.loads(text)
    ),
    "folder": bool,
    "paused": bool,
    "imported": bool,
}
_WRITTEN: dict[str, Callable[[Any], Any]] = {"stage": str, "tags": json.dumps, "items": json.dumps}


class DownloadLog:
    """Thread-safe. Every method raises StoreError."""

    def __init__(self, db: DebridDb) -> None:
        self._db = db

    def all(self) -> list[Download]:
        """Every download, the oldest first."""
        rows = self._db.read(f"SELECT {_COLUMNS} FROM downloads ORDER BY added_at, hash")
        return [_download(row) for row in rows]

    def get(self, info_hash: str) -> Download | None:
        """One download, by how the client knows it."""
        rows = self._db.read(f"SELECT {_COLUMNS} FROM downloads WHERE hash = ?", (info_hash,))
        return _download(rows[0]) if rows else None

    def put(self, download: Download) -> None:
        """Record how far a download is."""
        values = [_WRITTEN.get(name, _same)(getattr(download, name)) for name in _NAMES]
        statement = f"INSERT INTO downloads ({_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT (hash) DO UPDATE SET {_CHANGES}"
        self._db.write(statement, values)

    def remove(self, info_hash: str) -> None:
        """Nothing is to be said of a download any more."""
        self._db.write("DELETE FROM downloads WHERE hash = ?", (info_hash,))

    def metainfo(self, info_hash: str) -> bytes:
        """The .torrent file a download is to be added by; empty if there is none."""
        rows = self._db.read("SELECT metainfo FROM downloads WHERE hash = ?", (info_hash,))
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else b""

    def set_metainfo(self, info_hash: str, raw: bytes | None) -> None:
        """Keep the .torrent file of a download; None: it is not needed any more."""
        self._db.write("UPDATE downloads SET metainfo = ? WHERE hash = ?", (raw, info_hash))

    # -- words of the client

    def words(self, table: str) -> list[str]:
        """All "categories", or all "tags"."""
        return [row[0] for row in self._db.read(f"SELECT name FROM {_table(table)} ORDER BY name")]

    def add_words(self, table: str, words: Iterable[str]) -> None:
        """Keep these."""
        with self._db.writing() as db:
            db.executemany(f"INSERT OR IGNORE INTO {_table(table)} VALUES (?)", [(word,) for word in words])

    def drop_words(self, table: str, words: Iterable[str]) -> None:
        """Forget these."""
        with self._db.writing() as db:
            db.executemany(f"DELETE FROM {_table(table)} WHERE name = ?", [(word,) for word in words])

    def setting(self, name: str) -> str | None:
        """What was kept under this name."""
        rows = self._db.read("SELECT value FROM client WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def set_setting(self, name: str, value: str) -> None:
        """Keep a text."""
        self._db.write("INSERT OR REPLACE INTO client VALUES (?, ?)", (name, value))

    # -- verdicts

    def verdict(self, info_hash: str) -> Verdict | None:
        """The last one about this hash."""
        rows = self._db.read("SELECT kind, reason, at FROM verdicts WHERE hash = ?", (info_hash,))
        return Verdict(*rows[0]) if rows else None

    def judge(self, info_hash: str, verdict: Verdict) -> None:
        """Remember it, and forget what nobody believes any more."""
        with self._db.writing() as db:
            db.execute("DELETE FROM verdicts WHERE at < ?", (verdict.at - max(AGES.values()),))
            db.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", (info_hash, *verdict))


def _table(table: str) -> str:
    assert table in ("categories", "tags")
    return table


def _same(value: Any) -> Any:
    return value


def _download(row: Sequence[Any]) -> Download:
    return Download(**{name: _READ.get(name, _same)(value) for name, value in zip(_NAMES, row, strict=True)})
