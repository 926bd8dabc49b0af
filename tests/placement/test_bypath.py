"""The calls for Windows, run on Linux: what they answer beside `os` itself, and when a drive is pulled."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placement import bypath
from placement.openpaths import opened

NODE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
Calls = Any  # os, or what stands for it


def _tree(base: Path) -> Path:
    base.mkdir()
    (base / "d/empty").mkdir(parents=True)
    (base / "d/full").mkdir()
    (base / "d/full/x").write_bytes(b"x")
    (base / "f").write_bytes(b"0123456789")
    (base / "g").write_bytes(b"other")
    (base / "l").symlink_to("d")
    (base / "lf").symlink_to("f")
    return base


def _open(calls: Calls, top: int, name: str, flags: int) -> int:
    fd: int = calls.open(name, flags, dir_fd=top)
    calls.close(fd)
    return 0


def _by_node(calls: Calls, top: int, name: str, do: Callable[[str], Any]) -> Any:
    fd = calls.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=top)
    try:
        return do(f"/proc/self/fd/{fd}")
    finally:
        calls.close(fd)


def _at(calls: Calls, top: int, do: Callable[[int], Any], flags: int = os.O_RDWR) -> Any:
    fd = calls.open("f", flags, dir_fd=top)
    try:
        return do(fd)
    finally:
        calls.close(fd)


def _in(calls: Calls, top: int, do: Callable[[int], Any]) -> Any:
    fd = calls.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
    try:
        return do(fd)
    finally:
        calls.close(fd)


def _told(entry: Any) -> tuple[Any, ...]:
    return entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink()


def _kind(found: Any) -> tuple[int, int]:
    return found.st_mode, found.st_nlink


# Each is done with os and by path, on two trees that are alike: the answers, the errors and the trees must be, too.
CASES: dict[str, Callable[[Calls, int], Any]] = {
    "stat": lambda c, t: _kind(c.stat("f", dir_fd=t, follow_symlinks=False)),
    "stat a link": lambda c, t: _kind(c.stat("l", dir_fd=t, follow_symlinks=False)),
    "stat deep": lambda c, t: _kind(c.stat("d/full/x", dir_fd=t)),
    "stat nothing": lambda c, t: c.stat("nothing", dir_fd=t),
    "stat below a file": lambda c, t: c.stat("f/x", dir_fd=t),
    "stat the top": lambda c, t: _kind(c.stat(".", dir_fd=t)),
    "fstat": lambda c, t: _kind(c.fstat(t)),
    "list": lambda c, t: _in(c, t, lambda fd: sorted(c.listdir(fd))),
    "scan": lambda c, t: _in(c, t, lambda fd: sorted(map(_told, c.scandir(fd)))),
    "open": lambda c, t: _open(c, t, "f", os.O_RDONLY),
    "open a link": lambda c, t: _open(c, t, "lf", os.O_RDONLY | os.O_NOFOLLOW),
    "open a folder to write": lambda c, t: _open(c, t, "d", os.O_WRONLY),
    "open new": lambda c, t: _open(c, t, "new", _NEW),
    "open new over a file": lambda c, t: _open(c, t, "f", _NEW),
    "open new nowhere": lambda c, t: _open(c, t, "no/new", _NEW),
    "open a file as a folder": lambda c, t: _open(c, t, "f", NODE),
    "open a link as a folder": lambda c, t: _open(c, t, "l", NODE),
    "open a folder": lambda c, t: _open(c, t, "d", NODE),
    "mkdir": lambda c, t: c.mkdir("new", 0o700, dir_fd=t),
    "mkdir again": lambda c, t: c.mkdir("d", dir_fd=t),
    "rmdir": lambda c, t: c.rmdir("d/empty", dir_fd=t),
    "rmdir full": lambda c, t: c.rmdir("d/full", dir_fd=t),
    "rmdir a file": lambda c, t: c.rmdir("f", dir_fd=t),
    "unlink": lambda c, t: c.unlink("f", dir_fd=t),
    "unlink a link": lambda c, t: c.unlink("l", dir_fd=t),
    "unlink a folder": lambda c, t: c.unlink("d", dir_fd=t),
    "rename": lambda c, t: c.rename("f", "h", src_dir_fd=t, dst_dir_fd=t),
    "rename over a file": lambda c, t: c.rename("f", "g", src_dir_fd=t, dst_dir_fd=t),
    "rename over a folder": lambda c, t: c.rename("f", "d", src_dir_fd=t, dst_dir_fd=t),
    "rename a folder over an empty one": lambda c, t: c.rename("d/full", "d/empty", src_dir_fd=t, dst_dir_fd=t),
    "rename a folder over a full one": lambda c, t: c.rename("d/empty", "d/full", src_dir_fd=t, dst_dir_fd=t),
    "link": lambda c, t: c.link("f", "h", src_dir_fd=t, dst_dir_fd=t, follow_symlinks=False),
    "link over": lambda c, t: c.link("f", "g", src_dir_fd=t, dst_dir_fd=t, follow_symlinks=False),
    "symlink": lambda c, t: c.symlink("f", "new", dir_fd=t),
    "readlink": lambda c, t: c.readlink("l", dir_fd=t),
    "readlink of a file": lambda c, t: c.readlink("f", dir_fd=t),
    "truncate": lambda c, t: _by_node(c, t, "f", lambda node: c.truncate(node, 3)),
    "truncate open": lambda c, t: _at(c, t, lambda fd: c.truncate(fd, 4)),
    "chmod": lambda c, t: _by_node(c, t, "f", lambda node: c.chmod(node, 0o400)),
    "chmod by name": lambda c, t: c.chmod("g", 0o444, dir_fd=t),
    "fchmod": lambda c, t: _at(c, t, lambda fd: c.fchmod(fd, 0o440)),
    "utime": lambda c, t: _by_node(c, t, "f", lambda node: c.utime(node, ns=(10**9, 2 * 10**9))),
    "pread": lambda c, t: _at(c, t, lambda fd: (c.pread(fd, 4, 8), c.pread(fd, 4, 10), c.pread(fd, 4, 2))),
    "preadv": lambda c, t: _at(c, t, lambda fd: c.preadv(fd, [bytearray(3), bytearray(9)], 4)),
    "pwrite": lambda c, t: _at(c, t, lambda fd: (c.pwrite(fd, b"abc", 9), c.pread(fd, 99, 0))),
    "pwrite to read only": lambda c, t: _at(c, t, lambda fd: c.pwrite(fd, b"abc", 0), os.O_RDONLY),
    "fsync": lambda c, t: _at(c, t, lambda fd: (c.fsync(fd), c.fdatasync(fd))),
    "mknod": lambda c, t: c.mknod("new", 0o100640, dir_fd=t),
}  # fmt: skip


def _done(calls: Calls, base: Path, case: Callable[[Calls, int], Any]) -> Any:
    top = calls.open(_tree(base), NODE & ~os.O_NOFOLLOW)
    try:
        return case(calls, top)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        calls.close(top)


def _left(base: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(base.rglob("*")):
        st = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        times = st.st_mtime_ns if st.st_mtime_ns == 2 * 10**9 else 0
        found[str(path.relative_to(base))] = (st.st_mode, st.st_nlink if path.is_file() else 0, content, times)
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_linux_does(tmp_path: Path, name: str) -> None:
    there, here = tmp_path / "os", tmp_path / "bypath"
    wanted, found = _done(os, there, CASES[name]), _done(bypath, here, CASES[name])
    assert found == wanted and _left(here) == _left(there)
    assert not opened, "each number was given back"


def test_nothing_of_a_pulled_drive_is_missing_and_nothing_is_made_where_it_was(tmp_path: Path) -> None:
    drive = _tree(tmp_path / "drive")
    top = bypath.open(drive, NODE & ~os.O_NOFOLLOW)
    folder = bypath.open("d", NODE, dir_fd=top)
    drive.rename(tmp_path / "away")
    for bare in (False, True):
        if bare:
            drive.mkdir()
        for call in (
            lambda: bypath.stat("f", dir_fd=top),
            lambda: bypath.stat("full/x", dir_fd=folder),
            lambda: bypath.open("f", os.O_RDONLY, dir_fd=top),
            lambda: bypath.open("new", _NEW, dir_fd=top),
            lambda: bypath.mkdir("new", dir_fd=top),
            lambda: bypath.symlink("x", "new", dir_fd=top),
            lambda: bypath.rename("f", "h", src_dir_fd=top, dst_dir_fd=top),
            lambda: bypath.unlink("f", dir_fd=top),
            lambda: bypath.listdir(folder),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EIO
    assert list(drive.iterdir()) == []
    drive.rmdir()
    (tmp_path / "away").rename(drive)
    assert bypath.stat("f", dir_fd=top).st_size == 10, "it is the same one again"
    with pytest.raises(FileNotFoundError):
        bypath.stat("nothing", dir_fd=top)
    for fd in (folder, top):
        bypath.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        bypath.close(top)


def test_room_and_what_windows_does_not_keep(tmp_path: Path) -> None:
    top = bypath.open(tmp_path, NODE & ~os.O_NOFOLLOW)
    room = bypath.fstatvfs(top)
    assert room.f_blocks * room.f_frsize == pytest.approx(shutil.disk_usage(tmp_path).total, abs=1 << 20)
    assert type(room)(list(room)) == room and room.f_namemax == 255
    assert bypath.listxattr(f"/proc/self/fd/{top}") == []
    for call in (lambda: bypath.getxattr("x", "user.a"), lambda: bypath.setxattr("x", "user.a", b"")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EOPNOTSUPP
    assert bypath.readlink(f"/proc/self/fd/{top}") == str(tmp_path)
    bypath.close(top)
