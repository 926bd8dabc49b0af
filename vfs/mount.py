"""Mounting and unmounting: the mount point before, during and after.

All of it is about Linux, and at the end of the file stands what takes its place on Windows.
"""

import contextlib
import ctypes
import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from placement.mounttable import mount_at
from vfs.filesystem import FileSystem
from vfs.mountpoint import MountError as MountError
from vfs.mountpoint import State

if TYPE_CHECKING:
    from vfs.fuse import Options

log = logging.getLogger(__name__)

KIND = "fuse.mediapool"
# Read by nobody but the kernel: how far it reads ahead of a program, in KiB. Requests are 1 MiB at most.
_READ_AHEAD = 1024
_READ_AHEAD_FILE = "/sys/class/bdi/{device}/read_ahead_kb"
# Without a mount nobody shall write into the folder by mistake, and fill the system's disk.
_BARE_MODE = 0o555
# What the kernel says of a mount that nobody serves any more.
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)


def kind_at(path: Path) -> str | None:
    """The filesystem type mounted exactly at `path`, the topmost if several; None if nothing is."""
    found = mount_at(path)
    return None if found is None else found.kind


def state(path: Path) -> State:
    """What stands at a mount point; "stale" is a mount of ours whose process is gone."""
    kind = kind_at(path)
    if kind is None:
        return "bare" if path.is_dir() else "absent"
    if kind != KIND:
        return "foreign"
    try:
        # Not stat, which the kernel answers by itself for a moment after its process is gone.
        os.statvfs(path)
    except OSError as cause:
        return "stale" if cause.errno in _DEAD else "mounted"
    return "mounted"


def prepare(path: Path) -> None:
    """Make `path` ready to be mounted on; clears what a killed process of ours left. Raises MountError."""
    found = state(path)
    if found == "stale":
        log.warning("clearing a stale mount at %s", path)
        unmount(path, force=True)
        found = state(path)
    if found == "mounted":
        raise MountError(f"{path} is mounted already: run 'mediapool unmount' first")
    if found == "foreign":
        raise MountError(f"{path} is the mount point of another filesystem ({kind_at(path)}): choose another folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        _must_be_empty(path)
        # fusermount3 wants a folder that its user may write to; `_mounted` takes that right away.
        if os.geteuid() != 0:
            path.chmod(0o755)
    except PermissionError as cause:
        raise MountError(f"{path} cannot be used as mount point: {cause.strerror}; give it to this user") from cause
    except FileExistsError as cause:
        raise MountError(f"{path} is not a folder: choose another mount point") from cause


def _must_be_empty(path: Path) -> None:
    with os.scandir(path) as entries:
        first = next(entries, None)
    if first is not None:
        raise MountError(
            f"{path} is not empty (it holds {first.name!r}): mounting would hide that; move it away or choose "
            f"another folder"
        )


def run(filesystem: FileSystem, path: Path, options: "Options", started: Callable[[], None]) -> None:
    """Mount, serve until unmounted or told to stop (SIGINT, SIGTERM), and close `filesystem`.

    `started` runs in a thread of its own once the kernel answers. Must be called in the main thread, which libfuse
    needs for its signal handling. Raises MountError.
    """
    # Late, since the import loads libfuse.
    try:
        from vfs.fuse import Session
    except OSError as cause:
        raise MountError(f"libfuse 3 cannot be loaded ({cause}): install it (Debian: apt install fuse3)") from cause
    if not os.path.exists("/dev/fuse"):
        raise MountError("/dev/fuse is missing: load the kernel's fuse module, or give the container that device")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise MountError("/dev/fuse may not be opened by this user: chmod 666 /dev/fuse as root, or mount as root")
    _raise_file_limit()
    _share_arenas()
    # The caller's umask was applied by the kernel before it asks us.
    umask = os.umask(0)
    mounted = threading.Event()
    bare = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Session(filesystem, str(path.absolute()), options, lambda: _mounted(path, bare, mounted, started))
    except RuntimeError as cause:
        # libfuse reports the end by a signal as an error too.
        if not mounted.is_set():
            raise MountError(_why_not(path, options)) from cause
    finally:
        os.close(bare)
        os.umask(umask)
        filesystem.close()


def _why_not(path: Path, options: "Options") -> str:
    why = f"libfuse could not mount at {path} (its own message stands above)"
    if options.allow_other and os.geteuid() != 0:
        why += "; [mount] allow_other needs the line user_allow_other in /etc/fuse.conf"
    return why


def _mounted(path: Path, bare: int, mounted: threading.Event, started: Callable[[], None]) -> None:
    """Wait for the tree to answer, make the folder below it read-only and the kernel read ahead, then say so."""
    mounted.set()
    # Who made the folder immutable (chattr +i) has protected it from root as well.
    with contextlib.suppress(PermissionError):
        os.fchmod(bare, _BARE_MODE)
    answered = answers(path)
    there = mount_at(path)
    if not answered or there is None or there.kind != KIND:  # it was ended before
        return
    # Root only; without it reading is slower, not wrong. Not before that answer, which sets it as well.
    with contextlib.suppress(OSError):
        Path(_READ_AHEAD_FILE.format(device=there.device)).write_text(str(_READ_AHEAD))
    started()


def answers(path: Path) -> bool:
    """Whether somebody serves the tree at `path`, by a call that reaches every drive; waits while it hangs.

    It is another process that looks: one that is killed while it waits for its own answer never ends, since its
    connection to the kernel is closed with its last thread only, and all who use the tree wait with it. An error is
    an answer, but for those of a mount that nobody serves.
    """
    asked = subprocess.run(
        ["stat", "--file-system", path], capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return not any(os.strerror(dead) in asked.stderr for dead in _DEAD)


def _share_arenas() -> None:
    """Have all threads take memory from two arenas, as what is free in one helps no other; and give back what is free.

    By itself malloc would keep ever more, since the pieces in which bytes come are large. Chunks still come from
    arenas: each by a mapping of its own would cost a page fault for every page.
    """
    # Other C libraries have no such thing, and need none.
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)
        mallopt(_M_TRIM_THRESHOLD, 1 << 20)


def _raise_file_limit() -> None:
    """Each open file of the tree is one of ours; most systems start with room for 1024."""
    import resource  # not on Windows

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def unmount(path: Path, force: bool = False) -> None:
    """Unmount; with `force` also when files are open or the process is gone. Raises MountError."""
    if kind_at(path) != KIND:
        raise MountError(f"nothing of mediapool is mounted at {path}")
    command = _unmount_command(path, force)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        cause = done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
        remedy = "" if force else "; close the programs that use it, or use --force"
        raise MountError(f"{path} could not be unmounted: {cause}{remedy}")


def _unmount_command(path: Path, force: bool) -> list[str]:
    if os.geteuid() == 0 or not shutil.which("fusermount3"):
        return ["umount", *(["-l"] if force else []), str(path)]
    return ["fusermount3", "-u", *(["-z"] if force else []), str(path)]


def wait_until_mounted(path: Path, ended: Callable[[], bool], seconds: float) -> bool:
    """Wait until the tree at `path` answers; False after `seconds`, or as soon as its process has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not ended():
        if state(path) == "mounted":
            return True
        time.sleep(0.05)
    return False


if sys.platform == "win32":
    from vfs.winmount import state, unmount
