"""A file moves with all its names and all that belongs to it, or not at all."""

import errno
import fcntl
import os
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import MemoryJournal, Pool, described, pull

from placement import metadata
from placement.drive import Drive, DriveConfig
from placement.linkgroup import STAGING
from placement.moves import FORWARD, Mover

GIB = 1 << 30


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.close()


def refused(pool: Pool, code: int, path: str, match: str | None = None, **options: Any) -> OSError:
    """The move fails with this errno, naming the path, and changes nothing."""
    before = pool.files(pool.one), pool.files(pool.two)
    with pytest.raises(OSError, match=match) as caught:
        pool.move(path, **options)
    assert caught.value.errno == code and caught.value.filename == path
    assert (pool.files(pool.one), pool.files(pool.two)) == before
    pool.assert_tidy()
    return caught.value


# What is moved.


def test_a_link_group_moves_with_all_its_names(pool: Pool) -> None:
    names = pool.group("torrents/film/a.mkv", "media/Film (1999)/Film.mkv", "top.mkv", content=b"x" * 3_000_001)
    ino = (pool.one / "top.mkv").stat().st_ino
    moved = pool.move("top.mkv")
    pool.assert_whole(pool.two, names, b"x" * 3_000_001)
    new_ino = (pool.two / "top.mkv").stat().st_ino
    assert moved.paths == tuple(sorted(names)) and moved.size == 3_000_001 and moved.waiting == ""
    assert (moved.ino, moved.new_ino) == (ino, new_ino)
    assert pool.tree.calls == [
        ("freeze", "d1", ino, moved.paths),
        ("swap", "d1", ino, "d2", new_ino, moved.paths),
    ]


def test_offline_no_tree_is_needed(pool: Pool) -> None:
    names = pool.group("a", "b")
    Mover(lambda: pool.drives, pool.journal, min_free=0).move(pool.d1, "b", pool.d2)
    pool.assert_whole(pool.two, names)


def test_back_again_to_the_folders_that_are_still_there(pool: Pool) -> None:
    names = pool.group("x/a", "x/y/b")
    pool.move("x/a")
    pool.mover().move(pool.d2, "x/y/b", pool.d1)
    pool.assert_whole(pool.one, names)


NAME = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))
PATHS = st.lists(st.lists(NAME, min_size=1, max_size=3).map(b"/".join), min_size=1, max_size=4, unique=True)
TIME = st.integers(0, 4_000_000_000_000_000_000)
XATTRS = st.dictionaries(
    st.tuples(st.sampled_from(["user.", "trusted."]), st.text("abc.", min_size=1, max_size=5)).map("".join),
    st.binary(max_size=20),
    max_size=3,
)
# Runs of (bytes to skip, bytes to write).
RUNS = st.lists(st.tuples(st.integers(0, 300_000), st.binary(max_size=60)), max_size=4)


def _makeable(paths: list[bytes]) -> bool:
    """Whether no path is the folder of another one or our own."""
    return not any(other.startswith(path + b"/") for path in paths for other in paths)


@settings(max_examples=40, deadline=None)
@given(
    PATHS.filter(_makeable),
    RUNS,
    st.integers(0, 0o7777),
    st.tuples(st.integers(0, 70000), st.integers(0, 70000)),
    st.tuples(TIME, TIME),
    XATTRS,
    st.integers(0, 3),
)
def test_everything_about_it_is_kept(
    paths: list[bytes],
    runs: list[tuple[int, bytes]],
    mode: int,
    owner: tuple[int, int],
    times: tuple[int, int],
    xattrs: dict[str, bytes],
    which: int,
) -> None:
    with tempfile.TemporaryDirectory() as base:
        pool = Pool(Path(base))
        names = pool.group(*(os.fsdecode(path) for path in paths), content=b"")
        first = pool.one / names[0]
        with first.open("r+b") as file:
            for skipped, data in runs:
                file.seek(skipped, os.SEEK_CUR)
                file.write(data)
        os.chown(first, *owner)
        for name, value in xattrs.items():
            os.setxattr(first, name, value)
        first.chmod(mode)
        os.utime(first, ns=times)
        before = pool.files(pool.one)
        os.utime(first, ns=times)  # looking at it was an access
        pool.move(names[which % len(names)])
        assert os.lstat(pool.two / names[0]).st_atime_ns == times[0]
        assert pool.files(pool.two) == before
        pool.assert_tidy()
        pool.close()


def test_what_is_no_regular_file_moves_too(pool: Pool) -> None:
    os.symlink("/etc/passwd", pool.one / "link")
    os.mkfifo(pool.one / "fifo", 0o640)
    os.mknod(pool.one / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(pool.one / "socket", stat.S_IFSOCK | 0o755)
    os.lchown(pool.one / "link", 1234, 5678)
    os.setxattr(pool.one / "link", "trusted.x", b"of the link", follow_symlinks=False)
    for name in ("link", "fifo"):
        os.utime(pool.one / name, ns=(5, 7), follow_symlinks=False)
        os.link(pool.one / name, pool.one / f"{name}2", follow_symlinks=False)
    before = pool.files(pool.one)
    for name in ("link", "fifo", "device", "socket"):
        pool.move(name)
    assert pool.files(pool.two) == before and pool.files(pool.one) == {}
    assert (pool.two / "link").lstat().st_ino == (pool.two / "link2").lstat().st_ino
    assert described(pool.two / "link")[-2] == (0, "/etc/passwd")
    pool.assert_tidy()


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
ACCESS = acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


def test_parent_folders_are_made_like_the_source_has_them(pool: Pool) -> None:
    pool.group("out/in/file")
    for number, folder in enumerate((pool.one / "out/in", pool.one / "out"), 1):
        os.setxattr(folder, "user.origin", b"%d" % number)
        os.setxattr(folder, "system.posix_acl_default", ACCESS)
        os.chown(folder, 100 + number, 200 + number)
        folder.chmod(0o2711 + number)
        os.utime(folder, ns=(number * 1001, number * 1003))
    before = pool.files(pool.one)
    pool.move("out/in/file")
    assert pool.files(pool.two) == before
    # And the tree sees no change of a folder, on either drive.
    after = pool.files(pool.one)
    assert after == {path: before[path] for path in ("out", "out/in")}


def test_folders_that_exist_stay_as_they_are(pool: Pool) -> None:
    pool.group("films/file")
    (pool.two / "films").mkdir(0o700)
    os.utime(pool.two / "films", ns=(3, 4))
    before = pool.files(pool.two)
    pool.move("films/file")
    assert pool.files(pool.two)["films"] == before["films"]


def test_acls_are_copied_and_none_is_inherited(pool: Pool) -> None:
    pool.group("films/with", "films/with2")
    pool.group("films/without")
    os.setxattr(pool.one / "films/with", "system.posix_acl_access", ACCESS)
    before = pool.files(pool.one)
    (pool.two / "films").mkdir()
    os.setxattr(pool.two / "films", "system.posix_acl_default", ACCESS)
    (pool.two / STAGING).mkdir()
    os.setxattr(pool.two / STAGING, "system.posix_acl_default", ACCESS)
    pool.move("films/with")
    pool.move("films/without")
    after = pool.files(pool.two)
    assert {path: after[path] for path in before if path != "films"} == {
        path: before[path] for path in before if path != "films"
    }


@pytest.mark.parametrize(
    ("name", "code", "kept"),
    [
        ("user.comment", errno.ENOTSUP, False),
        ("user.comment", errno.ENOSPC, False),
        ("trusted.x", errno.ENOTSUP, True),
        ("trusted.x", errno.ENOSPC, False),
        ("system.posix_acl_access", errno.EOPNOTSUPP, True),
        ("security.x", errno.EPERM, True),
    ],
)
def test_which_attributes_may_be_lost(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str, code: int, kept: bool
) -> None:
    pool.group("file")
    os.setxattr(pool.one / "file", name, ACCESS)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(metadata.os, "setxattr", fail)
    if kept:
        pool.move("file")
        pool.assert_whole(pool.two, ["file"])
    else:
        refused(pool, code, "file", f"extended attribute {name}")


def test_a_filesystem_that_silently_keeps_no_modes(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.group("file")
    monkeypatch.setattr(metadata.os, "chmod", lambda *_: None)
    refused(pool, errno.EPERM, "file", "owner or mode")


def test_long_and_odd_names(pool: Pool) -> None:
    odd = os.fsdecode(b"\xff\xfe\x80 100% \n\"'\\")
    names = pool.group(f"{odd}/{'n' * 255}", f"{'ü' * 127}/{odd}")
    # Deeper than PATH_MAX: reached step by step.
    deep = "/".join(["d" * 250] * 20) + "/name"
    fd = os.open(pool.one, os.O_RDONLY)
    for folder in deep.split("/")[:-1]:
        os.mkdir(folder, dir_fd=fd)
        below = os.open(folder, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.link(pool.one / names[0], "name", dst_dir_fd=fd)
    os.close(fd)
    pool.move(names[1])
    pool.assert_tidy()
    root = pool.d2.require()
    for path in (*names, deep):
        with root.parent(path) as (dirfd, name):
            assert os.stat(name, dir_fd=dirfd).st_nlink == 3
        with pytest.raises(FileNotFoundError), pool.d1.require().parent(path) as (dirfd, name):
            os.stat(name, dir_fd=dirfd)


def test_pinned_content_moves_with_its_names(pool: Pool) -> None:
    names = pool.group(".mediapool/pinned/abc", "film")
    (pool.one / ".mediapool/pinned").chmod(0o700)
    pool.move("film")
    pool.assert_whole(pool.two, names)
    assert stat.S_IMODE((pool.two / ".mediapool/pinned").stat().st_mode) == 0o700
    assert stat.S_IMODE((pool.two / STAGING).stat().st_mode) == 0o700


# What is refused, before anything is copied.


def test_what_cannot_be_moved(pool: Pool) -> None:
    pool.group("folder/file")
    refused(pool, errno.EISDIR, "folder")
    refused(pool, errno.ENOENT, "gone")
    refused(pool, errno.ENOENT, "gone/file")
    refused(pool, errno.EPERM, ".mediapool/identity.json", "belongs to the drive")
    refused(pool, errno.EXDEV, "folder/../folder/file")
    with pytest.raises(OSError, match="already") as caught:
        pool.mover().move(pool.d1, "folder/file", pool.d1)
    assert caught.value.errno == errno.EINVAL


def test_read_only_drives_are_left_alone(pool: Pool) -> None:
    pool.group("file")
    for name, word in (("d1", "read-only"), ("d2", "read-only by its config")):
        drive = Drive.open(DriveConfig(name, str(pool.base / name), mode="ro"))
        source, target = (drive, pool.d2) if name == "d1" else (pool.d1, drive)
        with pytest.raises(OSError, match=word) as caught:
            pool.mover().move(source, "file", target)
        assert caught.value.errno == errno.EROFS
        drive.close()
    pool.assert_whole(pool.one, ["file"])


def test_there_must_be_room(pool: Pool) -> None:
    pool.group("file", content=b"x" * 100_000)
    free = os.statvfs(pool.two).f_bavail * os.statvfs(pool.two).f_frsize
    refused(pool, errno.ENOSPC, "file", "needed", reserve=free + GIB)
    small = Drive.open(DriveConfig("d2", str(pool.two), capacity=50_000))
    with pytest.raises(OSError, match="97.7 KiB needed|100.0 KiB needed") as caught:
        pool.mover().move(pool.d1, "file", small)
    assert caught.value.errno == errno.ENOSPC
    small.close()


def test_drives_with_a_capacity_hear_of_it(tmp_path: Path) -> None:
    pool = Pool(tmp_path, capacity=GIB)
    counted: list[tuple[str, int]] = []
    for drive in pool.drives:
        assert drive.usage is not None
        drive.usage.placed = lambda delta, name=drive.name: counted.append((name, delta))  # type: ignore[method-assign]
    pool.group("file", content=b"x" * 100_000)
    pool.move("file")
    assert sorted(counted) == [("d1", -102400), ("d2", 102400)]
    pool.close()


@pytest.mark.parametrize("which", ["file", ""])
def test_what_chattr_fixed_is_not_copied_in_vain(pool: Pool, which: str) -> None:
    pool.group("folder/file")
    fd = os.open(pool.one / "folder" / which, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x40086602, struct.pack("=q", 0x10))
        refused(pool, errno.EPERM, "folder/file", "immutable")
    finally:
        fcntl.ioctl(fd, 0x40086602, struct.pack("=q", 0))
        os.close(fd)


def test_a_file_at_the_same_path_there_is_not_replaced(pool: Pool) -> None:
    pool.group("a", "b")
    (pool.two / "b").write_text("another")
    with pytest.raises(FileExistsError):
        pool.move("a")
    refused(pool, errno.EEXIST, "a", "stands at the same path there: b")
    assert pool.journal.events.count("begun") == 2, "found when its names were made"
    refused(pool, errno.EEXIST, "b", "stands at the same path there")
    pool.tree.names = lambda: ["a", "b"]
    refused(pool, errno.EEXIST, "a", "stands at the same path there: b")
    assert pool.journal.events.count("begun") == 2, "found before anything was copied"
    assert (pool.two / "b").read_text() == "another"


def test_no_link_leads_out_of_the_target(pool: Pool, tmp_path: Path) -> None:
    pool.group("films/new/file")
    outside = tmp_path / "outside"
    outside.mkdir()
    (pool.two / "films").symlink_to(outside)
    refused(pool, errno.ENOTDIR, "films/new/file", "films")
    (pool.two / "films").unlink()
    (pool.two / "films").write_text("a file in its way")
    refused(pool, errno.ENOTDIR, "films/new/file", "films")
    (pool.two / "films").unlink()
    (pool.two / STAGING).rmdir()
    (pool.two / STAGING).symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        pool.move("films/new/file")
    assert os.listdir(outside) == []
    (pool.two / STAGING).unlink()

    # Put there at the last moment, when its folders are made already.
    def plant(name: str, when: str) -> None:
        if (name, when) == ("names journaled", "after"):
            (pool.two / "films").symlink_to(outside)

    with pytest.raises(NotADirectoryError):
        pool.mover(on_step=plant).move(pool.d1, "films/new/file", pool.d2)
    assert os.listdir(outside) == []
    pool.assert_tidy()
    (pool.two / "films").unlink()
    pool.assert_whole(pool.one, ["films/new/file"])


def test_no_link_is_followed_to_the_source(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (pool.one / "way").symlink_to(tmp_path)
    refused(pool, errno.ENOTDIR, "way/secret")


# What goes wrong on the way.


def fail_once(code: int) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync", "link", "mkdir", "chown"])
def test_a_full_disk_undoes_all(pool: Pool, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    pool.group("new/a", "b", content=b"x" * 5000)
    os.chown(pool.one / "b", 5, 5)
    (pool.two / STAGING).mkdir()
    monkeypatch.setattr(os, "copy_file_range", fail_once(errno.EXDEV))
    real, calls = getattr(os, call), []

    def fail(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) > (1 if call in ("link", "mkdir") else 0) and not undoing:
            undoing.append(True)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    undoing: list[bool] = []
    monkeypatch.setattr(os, call, fail)
    refused(pool, errno.ENOSPC, "b", "No space left")
    assert undoing
    assert pool.files(pool.two) == {}


def test_the_kernel_runs_out_of_room_while_copying(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.group("a")
    monkeypatch.setattr(os, "copy_file_range", fail_once(errno.EDQUOT))
    refused(pool, errno.EDQUOT, "a")


def test_a_copy_that_reads_back_differently_is_not_used(pool: Pool) -> None:
    pool.group("a", content=b"x" * 5000)

    def flip(name: str, when: str) -> None:
        if (name, when) == ("copy synced", "after"):
            (temporary,) = (pool.two / STAGING).iterdir()
            with temporary.open("r+b") as file:
                file.seek(4000)
                file.write(b"y")

    with pytest.raises(OSError, match="differs") as caught:
        pool.mover(on_step=flip).move(pool.d1, "a", pool.d2)
    assert caught.value.errno == errno.EIO
    pool.assert_whole(pool.one, ["a"], b"x" * 5000)


def test_cancelled_between_pieces(pool: Pool) -> None:
    pool.group("a", content=os.urandom(8 << 20))
    cancel, heard = threading.Event(), []

    def progress(path: str, phase: str, done: int, size: int) -> None:
        heard.append((path, phase, done, size))
        if done >= 3 << 20:
            cancel.set()

    with pytest.raises(OSError) as caught:
        pool.mover(progress=progress).move(pool.d1, "a", pool.d2, cancel=cancel)
    assert caught.value.errno == errno.ECANCELED
    assert heard == [("a", "copying", mib << 20, 8 << 20) for mib in (1, 2, 3)]
    pool.assert_whole(pool.one, ["a"], (pool.one / "a").read_bytes())


def test_reading_it_is_no_access(pool: Pool) -> None:
    pool.group("a")
    os.utime(pool.one / "a", ns=(1, 2))
    cancel = threading.Event()
    with pytest.raises(OSError):
        pool.mover(progress=lambda *_: cancel.set()).move(pool.d1, "a", pool.d2, cancel=cancel)
    assert (pool.one / "a").stat().st_atime_ns == 1


def test_cancelled_while_it_is_slowed_down(pool: Pool) -> None:
    pool.group("a", content=b"x" * (2 << 20))
    cancel = threading.Event()
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    began = time.monotonic()
    refused(pool, errno.ECANCELED, "a", rate=1000, cancel=cancel)
    assert time.monotonic() - began < 5
    timer.join()


def test_no_faster_than_it_may_be(pool: Pool) -> None:
    pool.group("a", content=b"x" * (3 << 20))
    began = time.monotonic()
    pool.move("a", rate=30 << 20)
    assert time.monotonic() - began >= 0.19  # copied and read back
    pool.assert_whole(pool.two, ["a"], b"x" * (3 << 20))


def test_a_missing_target_is_an_error_and_nothing_is_written(pool: Pool) -> None:
    pool.group("a")
    put_back = pull(pool.two)
    pool.d2.check()
    with pytest.raises(OSError, match="missing") as caught:
        pool.move("a")
    assert caught.value.errno == errno.EIO
    assert os.listdir(pool.two) == []
    put_back()
    pool.d2.check()
    pool.move("a")
    pool.assert_whole(pool.two, ["a"])


# Order.


def test_data_before_names_before_commit_before_removals(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.group("new/a", "b")
    events: list[Any] = []
    pool.journal = MemoryJournal(events)
    pool.tree.on_swap = lambda: events.append("swapped")
    real = {name: getattr(os, name) for name in ("fsync", "link", "unlink")}

    def fsync(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(pool.base) + "/")
        events.append("fsync " + ("copy" if path.startswith("d2/" + STAGING + "/") else path))
        real["fsync"](fd)

    def link(source: str, name: str, **options: Any) -> None:
        events.append(f"link {name}")
        real["link"](source, name, **options)

    def unlink(name: str, **options: Any) -> None:
        events.append("unlink " + (name if len(name) < 9 else "copy"))
        real["unlink"](name, **options)

    for name, recorded in (("fsync", fsync), ("link", link), ("unlink", unlink)):
        monkeypatch.setattr(os, name, recorded)
    pool.move("b", held=True)
    assert events[:5] == ["begun", "fsync copy", f"fsync d2/{STAGING}", "fsync d2/.mediapool", "journaled"]
    assert events[5:7] == ["link b", "link a"]
    assert sorted(events[7:9]) == ["fsync d2", "fsync d2/new"]
    assert events[9:13] == ["swapped", "committed", "unlink b", "unlink a"]
    assert sorted(events[13:15]) == ["fsync d1", "fsync d1/new"]
    assert events[15:] == ["unlink copy", f"fsync d2/{STAGING}", "ended"]


def test_the_steps_in_order(pool: Pool) -> None:
    pool.group("a", "b")
    steps: list[tuple[str, str]] = []
    pool.mover(on_step=lambda *step: steps.append(step)).move(pool.d1, "a", pool.d2)
    assert steps == [(name, when) for name in FORWARD for when in ("before", "after")]
