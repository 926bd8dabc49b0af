"""A drive as a branch of the union: each call becomes one *at() call below the drive's open root directory.

Nothing here can leave the drive: paths are resolved without following symbolic links, so a link planted on a drive
leads nowhere else. New objects are given to the caller, as if the caller had made them on the drive.

Each change is reported to `KnownFiles`, which answers for the drive while that is missing: `stat` and `entries` go on
from what is known, everything else is EIO.
"""

import contextlib
import errno
import stat
from collections.abc import Iterator
from typing import Any

from placement import beneath
from placement import system as os
from placement.drive import Drive
from placement.eligible import measure
from placement.identity import FOLDER as HIDDEN
from vfs import syscalls
from vfs.attr import Attr, Caller, Space
from vfs.branch import Branch, Folder, Handle, Moved, error
from vfs.hidden import HiddenFiles
from vfs.inodes import Inodes
from vfs.known import KnownFiles, LastKnown, NothingKnown, Reported
from vfs.localhandle import Growing, LocalHandle, MakeRoom, by_proc, no_room
from vfs.openfiles import OpenFiles

# O_CREAT and O_EXCL were dealt with before, O_DIRECT would demand aligned buffers of us, and the kernel has followed
# every symbolic link before it asks.
_NOT_PASSED = os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_DIRECT
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW
# What a filesystem answers whose disk was pulled.
_PULLED = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN)
# `ls -l` asks for labels and access lists, and would report EIO for each name that it lists.
_ASKED_BY_LS = ("security.", "system.")
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID


class LocalBranch(Branch):
    """The files of one drive."""

    def __init__(self, drive: Drive, inodes: Inodes, min_free: int = 0, known: KnownFiles | None = None) -> None:
        """`min_free`: bytes the pool keeps free on each drive that has no such value of its own."""
        self.drive = drive
        self._number = drive.number
        self._known = known or NothingKnown()
        self._last = LastKnown(self._known, drive.number, inodes)
        self._inodes = inodes
        self._min_free = min_free
        self._gives_away = os.geteuid() == 0
        self.hidden = HiddenFiles(drive.number, self._known)
        self.open_files: OpenFiles[LocalHandle] = OpenFiles()
        self.growing = Growing()
        drive.reserved.growing.append(self.growing.bytes)
        # Called with a handle whose drive is full, the bytes wanted, and the error; returns when there is room.
        self.make_room: MakeRoom = no_room

    def __repr__(self) -> str:
        return f"<drive {self.drive.name}>"

    def require(self) -> None:
        self.drive.require()

    # What is reported, and what is known while the drive is missing.

    def tell_changed(self, path: str) -> None:
        """Report that somebody else changes the name `path`, or has changed it."""
        self._known.changed(self._number, path)

    def reported(self, path: str, file: bool = False) -> Reported:
        """Context manager around a change of the name `path`; `file`: it is surely no directory."""
        return Reported(self._known.changed, self._number, path, file)

    def opened(self, ino: int, handle: LocalHandle, path: str) -> None:
        """A handle of this st_ino was opened at `path`, or goes on here."""
        if handle.writes:
            self._known.writing(self._number, path, ino)
            self.growing.add(handle)
        self.open_files.opened(ino, handle)

    def _is_missing(self, cause: OSError) -> bool:
        """Whether a call failed because the drive is missing."""
        return cause.errno in _PULLED and self.drive.has_failed()

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
        if kept := self.hidden.paths.get(path):
            yield by_proc(kept[1])
            return
        with self._at(path) as (dirfd, name):
            fd = os.open(name, os.O_PATH | _ALWAYS, dir_fd=dirfd)
        try:
            yield by_proc(fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _changing_node(self, path: str, file: bool = False) -> Iterator[str]:
        """As `_node`, for a call that changes something."""
        self._must_be_writable(path)
        with self._node(path) as node:
            if path in self.hidden.paths:
                yield node
                return
            with self.reported(path, file):
                yield node

    def attr_of(self, st: os.stat_result, dirfd: int, name: str) -> Attr:
        visible = self._inodes.plain(self._number, st.st_ino)
        if visible is None:
            visible = self._inodes.visible(self._number, st.st_ino, beneath.birth_time_ns(dirfd, name) or 0)
        return Attr.of(st, visible)

    def show_as(self, path: str, visible: int, durable: bool = False) -> None:
        """From now on show `path` with this inode number; `durable`: on stable storage when it returns."""
        with self._at(path) as (dirfd, name):
            ino = os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_ino
            self._inodes.alias(self.drive.number, ino, beneath.birth_time_ns(dirfd, name) or 0, visible, durable)

    # Reading.

    def stat(self, path: str) -> Attr:
        if kept := self.hidden.paths.get(path):
            return self.attr_of(os.fstat(kept[1]), kept[1], "")
        try:
            parent = self._at(path)
            if "/" in path:
                self.drive.require().must_exist(path)
            with parent as (dirfd, name):
                return self.attr_of(os.stat(name, dir_fd=dirfd, follow_symlinks=False), dirfd, name)
        except OSError as cause:
            if not self._is_missing(cause):
                raise
        return self._last.stat(path)

    def folder(self, path: str) -> Folder:
        try:
            fd = self.drive.require().open_dir(path)
        except OSError as cause:
            if not self._is_missing(cause):
                raise
            return Folder(self._last.stat(path), iter(self._last.entries(path)))
        try:
            return Folder(self.attr_of(os.fstat(fd), fd, ""), self._attributed(fd, os.scandir(fd), at_root=not path))
        except BaseException:
            os.close(fd)
            raise

    def _attributed(self, fd: int, entries: Any, at_root: bool) -> Iterator[tuple[str, Attr]]:
        # Scans of libraries spend their time here: hence no call that is not needed.
        plain, number = self._inodes.plain, self._number
        try:
            with entries:
                for entry in entries:
                    name = entry.name
                    if at_root and name == HIDDEN:
                        continue
                    try:
                        st = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        # It vanished since the kernel listed it: it is simply not there any more.
                        continue
                    visible = plain(number, st.st_ino)
                    yield name, self.attr_of(st, fd, name) if visible is None else Attr.of(st, visible)
        finally:
            os.close(fd)

    def readlink(self, path: str) -> str:
        with self._at(path) as (dirfd, name):
            return os.readlink(name, dir_fd=dirfd)

    def open(self, path: str, flags: int) -> Handle:
        writes = _writes(flags)
        if writes:
            self._must_be_writable(path)
        flags = flags & ~_NOT_PASSED
        if kept := self.hidden.paths.get(path):
            return LocalHandle(self, os.open(by_proc(kept[1]), flags | os.O_CLOEXEC), path, writes)
        with self._at(path) as (dirfd, name):
            if not writes:
                return LocalHandle(self, os.open(name, flags | _ALWAYS, dir_fd=dirfd), path, writes)
            # O_TRUNC changes it at once.
            with self.reported(path, file=True):
                return LocalHandle(self, os.open(name, flags | _ALWAYS, dir_fd=dirfd), path, writes)

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
        try:
            if kept := self.hidden.paths.get(path):
                return os.getxattr(by_proc(kept[1]), name)
            with self._at(path) as (dirfd, last):
                return os.getxattr(f"{by_proc(dirfd)}/{last}", name, follow_symlinks=False)
        except OSError as cause:
            if not name.startswith(_ASKED_BY_LS) or not self._is_missing(cause):
                raise
            raise error(errno.EOPNOTSUPP, path) from cause

    def listxattr(self, path: str) -> list[str]:
        with self._node(path) as node:
            return os.listxattr(node)

    # Making.

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Handle:
        with self._changing(path) as (dirfd, name), self.reported(path, file=True):
            flags = flags & ~os.O_DIRECT | _ALWAYS | os.O_CREAT | os.O_EXCL
            fd = os.open(name, flags, mode, dir_fd=dirfd)
            try:
                self._give(dirfd, name, mode, caller)
            except BaseException:
                os.close(fd)
                os.unlink(name, dir_fd=dirfd)
                raise
            handle = LocalHandle(self, fd, path, writes=_writes(flags))
            handle.expected = self.drive.reserved.take(path)
            return handle

    def mknod(self, path: str, mode: int, device: int, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name), self.reported(path, file=True):
            os.mknod(name, mode, device, dir_fd=dirfd)
            self._give(dirfd, name, mode, caller)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name), self.reported(path):
            os.mkdir(name, mode, dir_fd=dirfd)
            self._give(dirfd, name, 0, caller)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        with self._changing(path) as (dirfd, name), self.reported(path, file=True):
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
        with (
            self._changing(source) as (from_fd, from_name),
            self._changing(path) as (to_fd, to_name),
            self.reported(source, file=True),
            self.reported(path, file=True),
        ):
            os.link(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)

    # Taking away and moving.

    def unlink(self, path: str) -> None:
        if path in self.hidden.paths:
            self.hidden.forget(lambda kept, _ino: kept == path)
            return
        with self._changing(path) as (dirfd, name), self.reported(path, file=True):
            os.unlink(name, dir_fd=dirfd)

    def rmdir(self, path: str) -> None:
        with self._changing(path) as (dirfd, name), self.reported(path):
            os.rmdir(name, dir_fd=dirfd)

    def rename(self, source: str, target: str, flags: int) -> None:
        with (
            self._changing(source) as (from_fd, from_name),
            self._changing(target) as (to_fd, to_name),
            Reported(self._known.renamed, self._number, source, target),
        ):
            beneath.renameat2(from_fd, from_name, to_fd, to_name, flags)

    # Open files that lose a name. They are unlinked like any other, so their count of links is right and a crash
    # leaves nothing behind; until the last handle is closed, a descriptor stands for the path libfuse gave them.

    def hide(self, source: str, target: str) -> bool:
        with self._changing(source) as (dirfd, name), self.reported(source, file=True):
            fd = os.open(name, os.O_PATH | _ALWAYS, dir_fd=dirfd)
            return self.hidden.hide(source, target, fd, lambda: os.unlink(name, dir_fd=dirfd), self.open_files)

    def left(self, ino: int, handle: LocalHandle) -> bool:
        """A handle of this st_ino is closed, or goes on elsewhere; whether that was the last."""
        if handle.writes:
            self.growing.discard(handle)
            self._known.written(self._number, ino)
        return self.open_files.closed(ino, handle)

    def closed(self, ino: int, handle: LocalHandle) -> None:
        """A handle of this st_ino is closed; after the last, nothing stands for lost names any more."""
        if self.left(ino, handle) and self.hidden.paths:
            # libfuse forgets to ask for it where the folder was removed as well.
            self.hidden.forget(lambda _path, hidden: hidden == ino)

    def follow(self, moved: Moved) -> None:
        self.hidden.follow(moved)

    def take_over(self, source: "LocalBranch", ino: int, path: str) -> None:
        """The open file `ino` of another drive lies here at `path` from now on; OSError, and nothing has changed.

        For the tree that holds the file still: nobody opens, closes or changes it meanwhile.
        """
        handles, names = source.open_files.handles(ino), source.hidden.names(ino)
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
                handle.moves_to(self, new, fd, path)
            failing.pop_all()
        with self.hidden.lock:
            for hidden, fd in kept.items():
                self.hidden.add(hidden, new, fd, path)
        source.hidden.forget(lambda _path, hidden: hidden == ino)

    # Attributes.

    def truncate(self, path: str, size: int) -> None:
        with self._changing_node(path, file=True) as node:
            os.truncate(node, size)

    def chmod(self, path: str, mode: int) -> None:
        with self._changing_node(path) as node:
            os.chmod(node, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        with self._changing_node(path) as node:
            os.chown(node, uid, gid)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        with self._changing_node(path) as node:
            syscalls.utimens(node, atime_ns, mtime_ns)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        with self._changing_node(path) as node:
            os.setxattr(node, name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        with self._changing_node(path) as node:
            os.removexattr(node, name)

    def fsyncdir(self, path: str) -> None:
        fd = self.drive.require().open_dir(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
