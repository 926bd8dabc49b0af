"""Moving a file of the tree to another drive: what is shown at every step, and who has to wait."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from uniting import Pool

from placement import relocation
from placement.drive import Drive
from placement.linkgroup import find_names
from vfs.attr import Attr
from vfs.journal import Journal
from vfs.localhandle import LocalHandle
from vfs.relocating import Relocating

FULL = OSError(errno.ENOSPC, "no room")
NAMES = ("films/Alien/alien.mkv", "torrents/alien")
Hook = Callable[[str, str], object]


class Moving:
    """A pool with a file of two names on drive b, and what to do at each step of a move."""

    def __init__(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pool, self.union = pool, pool.union
        self.at_step: Hook = lambda step, when: None
        monkeypatch.setattr("vfs.relocating._crash_point", lambda step, when: self.at_step(step, when))
        self.relocating = Relocating(pool.union, pool.branches, pool, Journal(pool.names, "move"), 0)
        for name in NAMES:
            (pool.paths[1] / name).parent.mkdir(parents=True, exist_ok=True)
        pool.write("b", NAMES[0], "content")
        os.link(pool.paths[1] / NAMES[0], pool.paths[1] / NAMES[1])

    def open(self, flags: int = os.O_RDWR) -> LocalHandle:
        handle = self.union.open(NAMES[0], flags)
        assert isinstance(handle, LocalHandle)
        return handle

    def make_room(self, handle: LocalHandle) -> None:
        self.relocating.make_room(handle, handle.branch, 10, FULL)

    def shown(self) -> dict[str, Any]:
        """Every name with its number and links, by stat and by listing."""
        found: dict[str, Any] = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            for name, attr in self.union.entries(folder):
                path = f"{folder}/{name}".lstrip("/")
                found[path] = (_plain(attr), _plain(self.union.stat(path)))
                if attr.is_dir:
                    folders.append(path)
        return found


def _plain(attr: Attr) -> Any:
    """What must not change: of a folder the number and the mode alone."""
    return (attr.ino, attr.mode) if attr.is_dir else attr[:7] + (attr.mtime_ns,)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    for drive in pool.drives:
        drive.close()
    pool.db.close()


@pytest.fixture
def moving(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Moving:
    return Moving(pool, monkeypatch)


@pytest.mark.parametrize("target", ["a", "c"])
def test_the_tree_shows_the_same_at_every_step(moving: Moving, target: str) -> None:
    moving.pool.next = target
    before, wrong = moving.shown(), []
    handle = moving.open()

    def look(step: str, when: str) -> None:
        now = moving.shown()
        if now != before or handle.stat().nlink != 2:
            wrong.append((when, step, now))

    moving.at_step = look
    moving.make_room(handle)
    assert not wrong
    assert moving.shown() == before
    assert [moving.pool.everywhere(name) for name in NAMES] == [target, target]
    handle.write(b"C", 0)
    assert moving.pool.read(NAMES[1]) == "Content" and handle.stat().nlink == 2
    handle.close()


def test_nothing_shows_of_a_move_that_is_given_up_either(moving: Moving) -> None:
    before, wrong = moving.shown(), []
    handle = moving.open()

    def fail_late(step: str, when: str) -> None:
        if moving.shown() != before:
            wrong.append((when, step))
        if (step, when) == ("committed", "before"):
            raise OSError(errno.EIO, "the state disk fails")

    moving.at_step = fail_late
    with pytest.raises(OSError) as failed:
        moving.make_room(handle)
    assert failed.value is FULL and not wrong
    assert moving.shown() == before
    assert [moving.pool.everywhere(name) for name in NAMES] == ["b", "b"]
    handle.write(b"C", 0)
    assert moving.pool.read(NAMES[1]) == "Content"
    handle.close()


def test_others_wait_while_the_names_change_over(moving: Moving) -> None:
    """Opening, renaming, linking, metadata, writing, and renaming of the folder above; each ends well afterwards."""
    union, pool = moving.union, moving.pool
    handle, other = moving.open(), moving.open()
    acts: dict[str, Callable[[], object]] = {
        "open": lambda: union.open(NAMES[1], os.O_RDONLY).close(),
        "link": lambda: union.link(NAMES[1], "third"),
        "folder": lambda: union.rename("films", "movies", 0),
        "mode": lambda: union.chmod(NAMES[1], 0o600),
        "write": lambda: other.write(b"more", 3),
        "close": other.close,
    }
    ended: list[str] = []
    threads: list[threading.Thread] = []
    early: list[list[str]] = []

    def act(name: str) -> None:
        acts[name]()
        ended.append(name)

    def begin(step: str, when: str) -> None:
        if (step, when) == ("swapped", "before"):
            for name in acts:
                if name != "close":
                    threads.append(threading.Thread(target=act, args=(name,)))
                    threads[-1].start()
        if (step, when) == ("temporary removed", "before"):
            threads[0].join(0.2)
            early.append(list(ended))

    moving.at_step = begin
    moving.make_room(handle)
    for thread in threads:
        thread.join(20)
    act("close")
    assert early == [[]] and sorted(ended) == sorted(acts)
    assert pool.read("movies/Alien/alien.mkv") == pool.read("third") == "conmore"
    assert union.stat("third").nlink == 3 and union.stat("third").mode & 0o777 == 0o600
    assert pool.everywhere("third") == "a" and pool.everywhere("films") == ""
    handle.close()


def test_two_writers_move_the_file_once(moving: Moving) -> None:
    first, second = moving.open(), moving.open()
    full = second.branch
    moving.make_room(first)
    assert first.branch is second.branch is not full
    moving.relocating.make_room(second, full, 10, FULL)
    assert first.branch is second.branch
    first.close()
    second.close()


def test_names_that_wait_for_a_drive_give_eio_until_it_is_back(moving: Moving) -> None:
    handle, away = moving.open(), moving.pool.paths[1].with_name("away")

    def pull(step: str, when: str) -> None:
        if (step, when) == ("old names removed", "before"):
            moving.pool.paths[1].rename(away)
            moving.pool.drives[1].check()

    moving.at_step = pull
    moving.make_room(handle)
    moving.at_step = lambda step, when: None
    for name in NAMES:
        with pytest.raises(OSError) as failed:
            moving.union.stat(name)
        assert failed.value.errno == errno.EIO
    away.rename(moving.pool.paths[1])
    moving.pool.drives[1].check()
    assert moving.pool.read(NAMES[0]) == "content"
    assert [moving.pool.everywhere(name) for name in NAMES] == ["a", "a"]
    handle.close()


def test_a_drive_that_takes_nothing_is_passed_over(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.pool.write("a", NAMES[1], "another file in the way")
    handle = moving.open()
    moving.make_room(handle)
    assert moving.pool.everywhere(NAMES[0]) == "c"
    handle.close()

    def no_drive(path: str, size_hint: int | None = None) -> list[Drive]:
        raise OSError(errno.ENOSPC, "all full")

    monkeypatch.setattr(moving.pool, "place", no_drive)
    handle = moving.open()
    with pytest.raises(OSError) as failed:
        moving.make_room(handle)
    assert failed.value is FULL
    handle.close()


@pytest.mark.parametrize("hint", [NAMES, NAMES[:1], (*NAMES, "gone"), ("gone", "gone too"), ()])
def test_names_of_an_index_save_a_walk_if_they_are_right(
    moving: Moving, monkeypatch: pytest.MonkeyPatch, hint: tuple[str, ...]
) -> None:
    walks = []
    monkeypatch.setattr(relocation, "find_names", lambda *asked: walks.append(asked) or find_names(*asked))
    moving.relocating.known_names = lambda number, ino: hint
    moving.pool.next = "c"
    handle = moving.open()
    moving.make_room(handle)
    assert [moving.pool.everywhere(name) for name in NAMES] == ["c", "c"]
    assert len(walks) == (hint != NAMES)
    handle.close()


def test_a_job_gives_way_to_a_writer_whose_drive_is_full(moving: Moving) -> None:
    """It moves the file slowly, and perhaps to where there is no room for what is being written."""
    handle, cancel = moving.open(), threading.Event()
    source, target = handle.branch.drive, moving.pool.drives[0]
    failed: list[OSError] = []
    copying = threading.Event()
    moving.at_step = lambda step, when: copying.set() if (step, when) == ("copied", "before") else None

    def move() -> None:
        try:
            moving.relocating.move_file(
                source, NAMES, target, cancel=cancel, rate=1, attempt=1, progress=lambda *told: None
            )
        except OSError as cause:
            failed.append(cause)

    thread = threading.Thread(target=move)
    thread.start()
    assert copying.wait(30)
    moving.pool.next = "c"
    moving.make_room(handle)
    thread.join(30)
    assert [cause.errno for cause in failed] == [errno.ECANCELED]
    assert [moving.pool.everywhere(name) for name in NAMES] == ["c", "c"]
    handle.close()


def test_on_windows_a_full_drive_is_the_error_of_the_writer(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placement.moves.MOVES_HERE", False)
    handle = moving.open()
    with pytest.raises(OSError) as caught:
        moving.make_room(handle)
    assert caught.value is FULL
    with pytest.raises(OSError, match="not moved between drives on Windows") as refused:
        moving.relocating.mover.move(moving.pool.drives[1], NAMES[0], moving.pool.drives[0])
    assert refused.value.errno == errno.EOPNOTSUPP
    assert moving.pool.everywhere(NAMES[0]) == "b"
    handle.close()
