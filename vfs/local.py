"""A drive as a branch of the union: each call becomes one *at() call below the drive's open root directory.

Nothing here can leave the drive: paths are resolved without following symbolic links, so a link planted on a drive
leads nowhere else. New objects are given to the caller, as if the caller had made them on the drive.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any

from placement import beneath
from placement.drive import Drive
from placement.eligible import measure
from placement.identity import FOLDER as HIDDEN
from vfs import syscalls
from vfs.attr import Attr, Caller, Space
from vfs.branch import Branch, Handle, error
from vfs.inodes import Inodes
from vfs.localhandle import LocalHandle, MakeRoom, by_proc, no_room
from vfs.openfiles import OpenFiles

# O_CREAT and O_EXCL were dealt with before, O_DIRECT would demand aligned buffers of us, and the kernel has followed
# every symbolic link before it asks.
_NOT_PASSED = os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_DIRECT
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID


class LocalBranch(Branch):
    """The files of one drive."""

    def __init__(self, drive: Drive, inodes: Inodes, min_free: int = 0) -> None:
        """`min_free`: bytes the pool keeps free on each drive that has no such value of its own."""
        self.drive = drive
        self._inodes = inodes
        self._min_free = min_free
        self._gives_away = os.geteuid() == 0
        # Open files that lost a name: the path libfuse gave it -> (st_ino, O_PATH descriptor); `_lock` guards it.
        self._hidden: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self.open_files: OpenFiles[LocalHandle] = OpenFiles()
        # Called with a handle whose drive is full, the bytes wanted, and the error; returns when there is room.
        self.make_room: MakeRoom = no_room

    def __repr__(self) -> str:
        return f"<drive {self.drive.name}>"

    def require(self) -> None:
        self.drive.require()

    # Where things are.

    def _at(self, path: str) -> beneath.Parent:
        """Context manager giving (directory descriptor, name) for `path`."""
        if path == HIDDEN or path.startswith(HIDDEN + "/"):
            raise error(errno.ENOENT, path)
        return self.drive.require().parent(path)

    def _changing(self, path: str) -> beneath.Parent:
        """As `_at`, for a call that changes something; EROFS on a drive of mode "ro"."""
        self._must_be_writable(path)
        return self._at(path)

    def _must_be_writable(self, path: str) -> None:
        if self.drive.mode == "ro":
            raise error(errno.EROFS, path)

    @contextlib.contextmanager
    def _node(self, path: str) -> Iterator[str]:
        """A path below /proc that means the object itself, whatever it is, even if its name is gone.

        For calls that know neither directory descriptors nor how not to follow a symbolic link: what stands at
        the end of such a path is never followed further.
        """
        if path in self._hidden:
            yield by_proc(self._hidden[path][1])
            return
        with self._at(path) as (dirfd, name):
            fd = os.open(name, os.O_PATH | _ALWAYS, dir_fd=dirfd)
        try:
            yield by_proc(fd)
        finally:
            os.close(fd)

    def attr_of(self, st: os.stat_result, dirfd: int, name: str) -> Attr:
        visible = self._inodes.visible(self.drive.number, st.st_ino, lambda: beneath.birth_time_ns(dirfd, name) or 0)
        return Attr.of(st, visible)

    def show_as(self, path: str, visible: int, durable: bool = False) -> None:
        """From now on show `path` with this inode number; `durable`: on stable storage when it returns."""
        with self._at(path) as (dirfd, name):
            ino = os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_ino
            self._inodes.alias(self.drive.number, ino, beneath.birth_time_ns(dirfd, name) or 0, visible, durable)

    # Reading.

    def stat(self, path: str) -> Attr:
        if self._hidden and path in self._hidden:
            fd = self._hidden[path][1]
            return self.attr_of(os.fstat(fd), fd, "")
        with self._at(path) as (dirfd, name):
            return self.attr_of(os.stat(name, dir_fd=dirfd, follow_symlinks=False), dirfd, name)

    def entries(self, path: str) -> Iterator[tuple[str, Attr]]:
        fd = self.drive.require().open_dir(path)
        try:
            entries = os.scandir(fd)
        except BaseException:
            os.close(fd)
            raise
        return self._attributed(fd, entries, at_root=not path)

    def _attributed(self, fd: int, entries: Any, at_root: bool) -> Iterator[tuple[str, Attr]]:
        try:
            with entries:
                for entry in entries:
                    if at_root and entry.name == HIDDEN:
                        continue
                    # A name that vanished since the kernel listed it is simply not there any more.
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.name, self.attr_of(entry.stat(follow_symlinks=False), fd, entry.name)
        finally:
            os.close(fd)

    def is_empty(self, path: str) -> bool:
        """Whether directory `path` holds nothing; ENOENT and ENOTDIR as for `entries`."""
        return next(self.entries(path), None) is None

    def readlink(self, path: str) -> str:
        with self._at(path) as (dirfd, name):
            return os.readlink(name, dir_fd=dirfd)

    def open(self, path: str, flags: int) -> Handle:
        if _writes(flags):
            self._must_be_writable(path)
        flags = flags & ~_NOT_PASSED
        if path in self._hidden:
            return LocalHandle(self, os.open(by_proc(self._hidden[path][1]), flags | os.O_CLOEXEC))
        with self._at(path) as (dirfd, name):
            return LocalHandle(self, os.open(name, flags | _ALWAYS, dir_fd=dirfd))

    def device(self) -> int:
        """st_dev of the drive's filesystem, by which two drives on one filesystem are known."""
        return self.drive.require().key[0]

    def space(self) -> Space:
        """Room as it counts for new files: within the drive's capacity, without what is kept free."""
        whole, room = self.filesystem(), measure(self.drive, self._min_free)
        return whole._replace(total=room.total, free=max(0, room.total - room.used), available=room.available)

    def filesystem(self) -> Space:
        """Room of the filesystem that the drive lies on."""
        st = self.drive.space()
        size = st.f_frsize
        return Space(
            size, st.f_blocks * size, st.f_bfree * size, st.f_bavail * size, st.f_files, st.f_ffree, st.f_namemax
        )

    def getxattr(self, path: str, name: str) -> bytes:
        with self._node(path) as node:
            return os.getxattr(node, name)

    def listxattr(self, path: str) -> list[str]:
        with self._node(path) as node:
            return os.listxattr(node)

    # Making.

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Handle:
        with self._changing(path) as (dirfd, name):
            flags = flags & ~os.O_DIRECT | _ALWAYS | os.O_CREAT | os.O_EXCL
            fd = os.open(name, flags, mode, dir_fd=dirfd)
            try:
                self._give(dirfd, name, mode, caller)
            except BaseException:
                os.close(fd)
                os.unlink(name, dir_fd=dirfd)
                raise
        return LocalHandle(self, fd)

    def mknod(self, path: str, mode: int, device: int, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name):
            os.mknod(name, mode, device, dir_fd=dirfd)
            self._give(dirfd, name, mode, caller)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name):
            os.mkdir(name, mode, dir_fd=dirfd)
            self._give(dirfd, name, 0, caller)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name):
            os.symlink(target, name, dir_fd=dirfd)
            self._give(dirfd, name, 0, caller)

    def _give(self, dirfd: int, name: str, mode: int, caller: Caller) -> None:
        """Make the caller owner of what was just made; a setgid parent has set the group already."""
        if not self._gives_away:
            return
        gid = -1 if os.fstat(dirfd).st_mode & stat.S_ISGID else caller.gid
        os.chown(name, caller.uid, gid, dir_fd=dirfd, follow_symlinks=False)
        if mode & _SPECIAL_BITS and not stat.S_ISLNK(mode):
            # chown(2) cleared them.
            os.chmod(name, stat.S_IMODE(mode), dir_fd=dirfd)

    def link(self, source: str, path: str) -> None:
        with self._changing(source) as (from_fd, from_name), self._changing(path) as (to_fd, to_name):
            os.link(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)

    # Taking away and moving.

    def unlink(self, path: str) -> None:
        if path in self._hidden:
            self._forget_hidden(lambda kept, _ino: kept == path)
            return
        with self._changing(path) as (dirfd, name):
            os.unlink(name, dir_fd=dirfd)

    def rmdir(self, path: str) -> None:
        with self._changing(path) as (dirfd, name):
            os.rmdir(name, dir_fd=dirfd)

    def rename(self, source: str, target: str, flags: int) -> None:
        with self._changing(source) as (from_fd, from_name), self._changing(target) as (to_fd, to_name):
            beneath.renameat2(from_fd, from_name, to_fd, to_name, flags)

    # Open files that lose a name. They are unlinked like any other, so their count of links is right and a crash
    # leaves nothing behind; until the last handle is closed, a descriptor stands for the path libfuse gave them.

    def hide(self, source: str, target: str) -> bool:
        with self._lock, self._changing(source) as (dirfd, name):
            fd = os.open(name, os.O_PATH | _ALWAYS, dir_fd=dirfd)
            keep = False
            try:
                ino = os.fstat(fd).st_ino
                if not self.open_files.was_open_lately(ino):
                    return False
                os.unlink(name, dir_fd=dirfd)
                keep = self.open_files.is_open(ino)
                if keep:
                    self._hidden[target] = (ino, fd)
                return True
            finally:
                if not keep:
                    os.close(fd)

    def closed(self, ino: int, handle: LocalHandle) -> None:
        """A handle of this st_ino is closed; after the last, nothing stands for lost names any more."""
        if self.open_files.closed(ino, handle) and self._hidden:
            # libfuse forgets to ask for it where the folder was removed as well.
            self._forget_hidden(lambda _path, hidden: hidden == ino)

    def _forget_hidden(self, which: Callable[[str, int], bool]) -> None:
        with self._lock:
            gone = [(path, fd) for path, (ino, fd) in self._hidden.items() if which(path, ino)]
            self._hidden = {path: kept for path, kept in self._hidden.items() if (path, kept[1]) not in gone}
        for _, fd in gone:
            os.close(fd)

    def hidden_names(self, ino: int) -> list[str]:
        """The paths that stand for lost names of this st_ino."""
        return [path for path, (hidden, _) in list(self._hidden.items()) if hidden == ino]

    def take_over(self, source: "LocalBranch", ino: int, path: str) -> None:
        """The open file `ino` of another drive lies here at `path` from now on; OSError, and nothing has changed.

        For the tree that holds the file still: nobody opens, closes or changes it meanwhile.
        """
        handles, names = source.open_files.handles(ino), source.hidden_names(ino)
        with self._at(path) as (dirfd, name), contextlib.ExitStack() as failing, contextlib.ExitStack() as copies:
            opened: list[tuple[LocalHandle, int]] = []
            for handle in handles:
                fd = os.open(name, handle.flags() | _ALWAYS, dir_fd=dirfd)
                copies.callback(os.close, fd)
                opened.append((handle, fd))
            kept = {}
            for hidden in names:
                kept[hidden] = os.open(name, os.O_PATH | _ALWAYS, dir_fd=dirfd)
                failing.callback(os.close, kept[hidden])
            new = os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_ino
            for handle, fd in opened:
                handle.moves_to(self, new, fd)
            failing.pop_all()
        with self._lock:
            self._hidden.update((hidden, (new, fd)) for hidden, fd in kept.items())
        source._forget_hidden(lambda _path, hidden: hidden == ino)

    # Attributes.

    def truncate(self, path: str, size: int) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            os.truncate(node, size)

    def chmod(self, path: str, mode: int) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            os.chmod(node, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            os.chown(node, uid, gid)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            syscalls.utimens(node, atime_ns, mtime_ns)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            os.setxattr(node, name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        self._must_be_writable(path)
        with self._node(path) as node:
            os.removexattr(node, name)

    def fsyncdir(self, path: str) -> None:
        fd = self.drive.require().open_dir(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
