"""What the tests of moves share: a journal on disk, a tree that records, and a look at drives as a whole."""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from placement.drive import Drive, DriveConfig
from placement.identity import FOLDER, initialise
from placement.linkgroup import STAGING
from placement.moves import Mover


class SqliteJournal:
    """A journal on disk. A connection for each call, since processes that are killed use it as well.

    Not synced: what a killed process wrote is there all the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as db:
            db.execute("CREATE TABLE IF NOT EXISTS moves (ident INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT)")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous=OFF")
            yield db
        finally:
            db.close()

    def begin(self, record: dict[str, Any]) -> int:
        with self._open() as db:
            return db.execute("INSERT INTO moves (record) VALUES (?)", (json.dumps(record),)).lastrowid or 0

    def update(self, ident: int, record: dict[str, Any]) -> None:
        with self._open() as db:
            db.execute("UPDATE moves SET record = ? WHERE ident = ?", (json.dumps(record), ident))

    def end(self, ident: int) -> None:
        with self._open() as db:
            db.execute("DELETE FROM moves WHERE ident = ?", (ident,))

    def pending(self) -> list[tuple[int, dict[str, Any]]]:
        with self._open() as db:
            rows = db.execute("SELECT ident, record FROM moves ORDER BY ident").fetchall()
        return [(ident, json.loads(record)) for ident, record in rows]


class MemoryJournal:
    """The same in memory, though through JSON; `events` also hears of it."""

    def __init__(self, events: list[Any] | None = None) -> None:
        self.records: dict[int, str] = {}
        self.events = [] if events is None else events
        self.failing: Callable[[dict[str, Any]], bool] = lambda record: False

    def begin(self, record: dict[str, Any]) -> int:
        self._put(len(self.records) + 1, record)
        self.events.append("begun")
        return len(self.records)

    def update(self, ident: int, record: dict[str, Any]) -> None:
        self._put(ident, record)
        self.events.append("committed" if record["committed"] else "journaled")

    def _put(self, ident: int, record: dict[str, Any]) -> None:
        if self.failing(record):
            raise OSError(28, "the journal is full")
        self.records[ident] = json.dumps(record, ensure_ascii=False).encode().decode("ascii")

    def end(self, ident: int) -> None:
        self.records.pop(ident, None)
        self.events.append("ended")

    def pending(self) -> list[tuple[int, dict[str, Any]]]:
        return [(ident, json.loads(record)) for ident, record in sorted(self.records.items())]


class RecordingTree:
    """A tree that writes down what is asked of it; the three hooks may interfere."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.frozen = 0
        self.names: Callable[[], Sequence[str] | None] = lambda: None
        self.on_freeze: Callable[[], object] = lambda: None
        self.on_swap: Callable[[], object] = lambda: None

    def names_of(self, drive: Drive, ino: int) -> Sequence[str] | None:
        return self.names()

    @contextlib.contextmanager
    def freeze(self, drive: Drive, ino: int, paths: Sequence[str]) -> Iterator[None]:
        self.calls.append(("freeze", drive.name, ino, tuple(paths)))
        self.on_freeze()
        self.frozen += 1
        try:
            yield
        finally:
            self.frozen -= 1

    def swap(self, drive: Drive, ino: int, target: Drive, new_ino: int, paths: Sequence[str]) -> None:
        self.on_swap()
        self.calls.append(("swap", drive.name, ino, target.name, new_ino, tuple(paths)))


class Pool:
    """Two drives, a journal and a tree below a folder."""

    def __init__(self, base: Path, journal: Any = None, **config: Any) -> None:
        self.base = base
        self.journal = journal or MemoryJournal()
        self.tree = RecordingTree()
        self.drives: list[Drive] = []
        for number, name in enumerate(("d1", "d2"), 1):
            (base / name).mkdir()
            initialise(base / name, name, number)
            self.drives.append(Drive.open(DriveConfig(name, str(base / name), **config)))
        self.d1, self.d2 = self.drives
        self.one, self.two = base / "d1", base / "d2"

    def mover(self, **options: Any) -> Mover:
        return Mover(lambda: self.drives, self.journal, self.tree, min_free=0, **options)

    def move(self, path: str, **options: Any) -> Any:
        return self.mover().move(self.d1, path, self.d2, **options)

    def group(self, *paths: str, content: bytes = b"content") -> list[str]:
        """Make one file with these names on d1."""
        for path in paths:
            (self.one / path).parent.mkdir(parents=True, exist_ok=True)
        (self.one / paths[0]).write_bytes(content)
        for path in paths[1:]:
            (self.one / path).hardlink_to(self.one / paths[0])
        return list(paths)

    def files(self, root: Path) -> dict[str, tuple[Any, ...]]:
        """What stands on a drive: each path, folders too, and all there is to say about it."""
        found = {}
        for path in sorted(root.rglob("*")):
            relative = str(path.relative_to(root))
            if relative != FOLDER and not relative.startswith(FOLDER + "/identity"):
                found[relative] = described(path)
        found.pop(STAGING, None)
        return found

    def assert_tidy(self) -> None:
        """Nothing temporary, nothing in the journal, nothing still frozen."""
        assert self.journal.pending() == []
        for root in (self.one, self.two):
            assert not (root / STAGING).exists() or os.listdir(root / STAGING) == []
        assert self.tree.frozen == 0

    def assert_whole(self, root: Path, paths: Sequence[str], content: bytes = b"content") -> None:
        """The file is on the drive at `root` with exactly these names, and nowhere else; all is tidy."""
        self.assert_tidy()
        found = {os.lstat(root / path).st_ino for path in paths}
        assert len(found) == 1
        for path in paths:
            assert os.lstat(root / path).st_nlink == len(paths)
            assert (root / path).read_bytes() == content
        other = self.two if root == self.one else self.one
        assert [path for path in paths if os.path.lexists(other / path)] == []

    def close(self) -> None:
        for drive in self.drives:
            drive.close()


def described(path: Path) -> tuple[Any, ...]:
    """All that must survive a move; a link count instead of an inode number."""
    found = path.lstat()
    common = (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns)
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    if stat.S_ISDIR(found.st_mode):
        return (*common, xattrs)
    special = (found.st_rdev, os.readlink(path) if path.is_symlink() else None)
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    return (*common, xattrs, found.st_size, found.st_nlink, special, content)


def pull(path: Path) -> Callable[[], None]:
    """Take the drive at `path` away, leaving an empty mount point; the answer brings it back."""
    away = path.with_name(path.name + ".away")
    path.rename(away)
    path.mkdir()

    def put_back() -> None:
        shutil.rmtree(path)
        away.rename(path)

    return put_back
