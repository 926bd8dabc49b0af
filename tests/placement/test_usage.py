"""Bytes in use are counted as du counts them, in the background, and kept up to date between walks."""

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from placement import usage as usage_module
from placement.beneath import Root
from placement.usage import Usage, walk


def used(path: Path) -> int:
    """What du counts below `path`, itself not included."""
    answer = subprocess.run(["du", "-sx", "--block-size=1", str(path)], capture_output=True, check=True)
    return int(answer.stdout.split()[0]) - os.stat(path).st_blocks * 512


def settled(usage: Usage) -> int:
    """The answer once the walk that asking starts is over."""
    usage.bytes()
    thread = usage._thread
    if thread is not None:
        thread.join()
    return usage.bytes()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/film").write_bytes(b"x" * 100_000)
    (top / "short").write_bytes(b"x")
    os.link(top / "a/b/film", top / "second name")
    with open(top / "sparse", "wb") as file:
        file.truncate(1 << 30)
    (top / "link").symlink_to("/")
    return top


@pytest.fixture
def root(tree: Path) -> Iterator[Root]:
    with Root(tree) as opened:
        yield opened


@pytest.fixture
def make_usage(root: Root) -> Iterator[Callable[..., Usage]]:
    made: list[Usage] = []

    def make(**options: float) -> Usage:
        made.append(Usage(lambda: root, **options))
        return made[-1]

    yield make
    for usage in made:
        usage.close()


def test_a_walk_counts_as_du_does(tree: Path, root: Root) -> None:
    seen: list[int] = []
    assert walk(root, threading.Event(), seen.append) == used(tree)
    assert seen == sorted(seen) and seen[-1] == used(tree)


def test_long_paths_are_counted(tree: Path, root: Root) -> None:
    rel = "a"
    for _ in range(20):
        rel += "/" + "n" * 250
        with root.parent(rel) as (dirfd, name):
            os.mkdir(name, dir_fd=dirfd)
    assert walk(root, threading.Event(), lambda _: None) == used(tree)
    subprocess.run(["rm", "-rf", str(tree / "a")], check=True)


def test_other_filesystems_are_not_counted(tree: Path, root: Root) -> None:
    if os.geteuid():
        pytest.skip("mounting needs root")
    (tree / "other").mkdir()
    before = used(tree) - os.stat(tree / "other").st_blocks * 512
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tree / "other")], check=True)
    try:
        (tree / "other/file").write_bytes(b"x" * 1_000_000)
        assert walk(root, threading.Event(), lambda _: None) == before
    finally:
        subprocess.run(["umount", str(tree / "other")], check=True)


def test_a_whole_filesystem_is_asked_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("mounting needs root")
    monkeypatch.setattr(usage_module, "walk", None)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    try:
        (tmp_path / "file").write_bytes(b"x" * 1_000_000)
        with Root(tmp_path) as root:
            usage = Usage(lambda: root)
            assert 1_000_000 <= usage.bytes() < 1_100_000
            usage.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_placed_is_added_until_the_next_walk(make_usage: Callable[..., Usage], tree: Path) -> None:
    usage = make_usage()
    start = settled(usage)
    assert start == used(tree)
    usage.placed(5000)
    assert usage.bytes() == start + 5000
    usage.placed(-9000)
    assert usage.bytes() == start - 4000
    usage.placed(-(1 << 40))
    assert usage.bytes() == 0


def test_walks_are_a_while_apart(make_usage: Callable[..., Usage], tree: Path) -> None:
    rare, often = make_usage(interval=60), make_usage(interval=0)
    start = settled(rare)
    settled(often)
    (tree / "new").write_bytes(b"x" * 50_000)
    time.sleep(0.2)  # the rest after a walk, in proportion to its length
    assert settled(rare) == start
    assert settled(often) == used(tree) > start


def test_asking_never_waits_for_a_walk(make_usage: Callable[..., Usage], monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, counting = threading.Event(), threading.Event()

    def slow(root: Root, stop: threading.Event, progress: Callable[[int], None]) -> int:
        progress(700)
        counting.set()
        go_on.wait(10)
        return 1000

    monkeypatch.setattr(usage_module, "walk", slow)
    usage = make_usage()
    usage.bytes()
    assert counting.wait(10)
    usage.placed(30)
    began = time.monotonic()
    assert usage.bytes() == 730, "what is known so far"
    assert time.monotonic() - began < 0.1
    go_on.set()
    assert settled(usage) == 1030, "whether the walk saw the 30 is unknown, so they stay on top"


def test_a_later_walk_shows_only_when_it_is_finished(
    make_usage: Callable[..., Usage], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = make_usage(interval=0)
    start = settled(usage)
    usage.placed(1 << 20)
    go_on, counting = threading.Event(), threading.Event()

    def slow(root: Root, stop: threading.Event, progress: Callable[[int], None]) -> int:
        progress(start + (1 << 20))
        counting.set()
        go_on.wait(10)
        return start + (1 << 20)

    monkeypatch.setattr(usage_module, "walk", slow)
    time.sleep(0.2)
    usage.bytes()
    assert counting.wait(10)
    assert usage.bytes() == start + (1 << 20), "what was placed is not counted twice"
    go_on.set()
    assert settled(usage) == start + (1 << 20)


def test_a_failed_walk_keeps_the_last_answer(
    make_usage: Callable[..., Usage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = make_usage(interval=0)
    start = settled(usage)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(usage_module, "walk", fail)
    time.sleep(0.2)
    assert settled(usage) == start
    assert "cannot count" in caplog.text


def test_a_missing_drive_is_an_error() -> None:
    def gone() -> Root:
        raise OSError(errno.EIO, "missing")

    usage = Usage(gone)
    with pytest.raises(OSError, match="missing"):
        usage.bytes()
    usage.close()


def test_close_ends_the_walk(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Event()
    real = usage_module._entries

    def endless(root: Root, folder: str) -> Iterator[object]:
        entered.set()
        yield from real(root, "a")

    monkeypatch.setattr(usage_module, "_entries", endless)
    usage = Usage(lambda: root)
    usage.bytes()
    assert entered.wait(10)
    usage.close()
    assert usage._thread is not None and not usage._thread.is_alive()
    ended, usage._due = usage._thread, 0.0
    usage.bytes()
    assert usage._thread is ended, "none starts after close"


def test_what_vanishes_or_is_closed_is_passed_over(tree: Path, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Root.open_dir

    def open_dir(self: Root, rel: str) -> int:
        if rel == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self, rel)

    monkeypatch.setattr(Root, "open_dir", open_dir)
    below = used(tree / "a")
    # The film has its second name outside of the closed folder.
    film = os.stat(tree / "second name").st_blocks * 512
    assert walk(root, threading.Event(), lambda _: None) == used(tree) - below + film
