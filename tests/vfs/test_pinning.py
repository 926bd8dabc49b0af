"""Local copies of remote files without a mount: full drives, broken responses, checksums, the upgrade of names.db."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from uniting import Pool

from vfs import copyfile
from vfs.becoming import KIND, Becoming
from vfs.budget import DailyBudget
from vfs.copyfile import PART, CopyFile
from vfs.fetching import Fetch
from vfs.journal import Journal
from vfs.library import Key
from vfs.namesdb import SCHEMA, NamesDb
from vfs.nodes import RemoteFile
from vfs.pinning import Pinning, Progress
from vfs.pins import Pins
from vfs.planting import NewFile, Owner, plant

FILM: Key = ("torrent", "c0ffee", "1")
DATA = bytes(range(251)) * (3 * PART // 251 + 9)


class Library:
    """Gives DATA; each response breaks off after `breaks` bytes if that is set."""

    def __init__(self) -> None:
        self.breaks = 0
        self.fetched = 0

    def stream(self, key: Key, offset: int, length: int) -> "Response":
        return Response(self, offset, offset + length)


class Response:
    def __init__(self, library: Library, at: int, end: int) -> None:
        self._library, self._at, self._end = library, at, end
        self._left = library.breaks or len(DATA)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._end - self._at, 1 << 18)
        self._left -= count
        if self._left < 0:
            raise OSError(errno.EIO, "broken")
        buffer[:count] = DATA[self._at : self._at + count]
        self._at += count
        self._library.fetched += count
        return count

    def close(self) -> None:
        return None


class Pinned(Pool):
    """A pool with one remote file, and the engine that pins it."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        plant(self.names, "a", "", "film", [NewFile(("film.mkv",), FILM, len(DATA), 0, b"film.mkv")], Owner(0, 0, 0))
        node = self.names.get("film/film.mkv")
        assert isinstance(node, RemoteFile)
        self.node = node
        self.library = Library()
        remote = self.union.intents._remote
        self.pins = remote.copies = Pins(self.db, self.names, self.branches)
        self.pinning = Pinning(self.pins, remote, self.library, self, self.branches, DailyBudget())
        self.pinning.want(self.node, "pin")

    def fetch(self) -> Progress:
        progress = Progress()
        self.pinning.fetch(self.node, progress)
        return progress

    def copies(self) -> dict[str, list[int]]:
        """Sizes of the copies on each drive."""
        folders = {path.name: path / ".mediapool/pinned" for path in self.paths}
        return {
            name: [file.stat().st_size for file in folder.glob("*") if not file.suffix]
            for name, folder in folders.items()
            if folder.exists()
        }


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pinned]:
    yield Pinned(tmp_path)


def test_a_full_drive_is_followed_by_the_next_one(pool: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [errno.ENOSPC]

    def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
        if full:
            raise OSError(full.pop(), "full")

    monkeypatch.setattr(copyfile.syscalls, "fallocate", fallocate)
    pool.fetch()
    assert pool.copies() == {"a": [], "b": [len(DATA)]}
    assert pool.union.open("film/film.mkv", 0).read(len(DATA), 0) == DATA


def test_no_drive_with_room_is_an_error_and_leaves_nothing(pool: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(copyfile.syscalls, "fallocate", fallocate)
    with pytest.raises(OSError) as caught:
        pool.fetch()
    assert caught.value.errno == errno.ENOSPC
    assert not any(any(sizes) for sizes in pool.copies().values())


def test_broken_responses_are_repeated_from_the_part_that_broke(pool: Pinned) -> None:
    pool.library.breaks = PART + 1000
    with CopyFile(pool.drives[0].require(), "x", len(DATA)) as copy:
        fetch = Fetch(pool.library, FILM, copy, threading.Event(), lambda count: None)
        fetch.run(copy.missing(threading.Event(), lambda done: None))
        assert copy.missing(threading.Event(), lambda done: None) == []
    assert pool.library.fetched < len(DATA) + 4 * PART


def test_a_damaged_part_is_found_when_the_copy_is_read_back(pool: Pinned) -> None:
    with CopyFile(pool.drives[0].require(), "x", len(DATA)) as copy:
        for part in copy.parts():
            offset, length = copy.extent(part)
            copy.write(part, memoryview(DATA)[offset : offset + length])
        path = pool.paths[0] / ".mediapool/pinned/x"
        with path.open("r+b") as file:
            file.seek(PART + 5)
            file.write(b"?")
        with pytest.raises(OSError) as caught:
            copy.compare(threading.Event(), lambda done: None)
        assert caught.value.errno == errno.EIO
        assert copy.missing(threading.Event(), lambda done: None) == [1]


def test_a_database_of_the_format_before_gets_the_new_tables(tmp_path: Path) -> None:
    db = NamesDb(tmp_path / "names.db")
    db.db.executescript("DROP TABLE pin; DROP TABLE digest; UPDATE meta SET value = '2' WHERE key = 'schema';")
    db.close()
    db = NamesDb(tmp_path / "names.db")
    assert db.db.execute("SELECT count(*) FROM pin").fetchone() == (0,)
    assert db.db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (str(SCHEMA),)
    assert (tmp_path / "names.format2").exists()
    db.close()


def test_a_drive_without_hard_links_keeps_the_pin_and_says_why(pool: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.fetch()

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    becoming = Becoming(pool.union, pool.union.intents._remote, pool.pins, Journal(pool.names, KIND))
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="drive a has no hard links.*another drive") as caught:
        becoming.run(pool.node)
    assert caught.value.errno == errno.EPERM
    assert pool.copies() == {"a": [len(DATA)]} and pool.everywhere("film/film.mkv") == ""
    monkeypatch.undo()
    assert becoming.run(pool.node) == ["film/film.mkv"] and pool.everywhere("film/film.mkv") == "a"
