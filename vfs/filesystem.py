"""`FileSystem`: the verbs that the adapters call, in three groups: names, handles, directories.

Defined here and only here; `vfs.fuse` and `vfs.winfsp` translate to and from their binding and nothing else. Every
method raises OSError with a positive errno and nothing else. Paths are relative to the root of the tree, without
leading slash. No method waits for the network but `read`.
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from placement import system as os
from vfs.about import PREFIX, About
from vfs.attr import Attr, Caller, Space
from vfs.branch import Handle, Moved, error
from vfs.copied import CopyWatch
from vfs.folders import DirectoryHandle, Listed, Listing, OpenedFolder
from vfs.handles import Handles
from vfs.hearing import Heard, unheard
from vfs.lookup import parent_of
from vfs.passthrough import Passthrough, Way
from vfs.renaming import RENAME_EXCHANGE, is_hidden
from vfs.shown import Shown
from vfs.traffic import Traffic
from vfs.unchanged import Unchanged
from vfs.union import Union

# How often something is looked at again because it changes while we look.
_LOOKS = 4
# mergerfs and others answer ENOENT here, since they search first; POSIX wants to hear of the name itself.
_NAME_MAX = 255
# The offsets of "." and "..", at the beginning of each listing.
_DOTS = 2


class Opened(NamedTuple):
    """A new handle number, whether the kernel may keep what it cached of the file before, and what it does alone."""

    fh: int
    unchanged: bool
    way: Way


class FileSystem:
    """The tree as a filesystem."""

    def __init__(self, union: Union, about: About, cache_seconds: float = 1.0, passthrough_room: int = 0) -> None:
        """`cache_seconds`: how long the kernel keeps attributes; `passthrough_room`: see `Passthrough`, bytes."""
        self._union = union
        self._about = about
        self._handles = Handles()
        self._unchanged = Unchanged()
        self._listed = Listed(cache_seconds)
        self.passthrough = Passthrough(passthrough_room)
        self.pid_of_caller: Callable[[], int] = lambda: 0
        """For which process the present thread works; the adapter knows."""
        self.reads = 0
        """Read requests that came here, which those of passed-through files do not."""
        self.shown = Shown(cache_seconds)
        self.copied = CopyWatch()
        self.traffic = Traffic(self._handles, self.passthrough)
        self.heard: Heard = unheard
        self._writers: set[int] = set()

    # Names.

    def stat(self, path: str, as_it_is: bool = False) -> Attr:
        """Attributes of `path`. `as_it_is`: libfuse will not take one link off for having hidden it."""
        for _ in range(_LOOKS):
            mark = self.shown.mark()
            attr = _counted(path, self._union.stat(_checked(path)), as_it_is)
            self.shown.note(path, attr)
            # Whoever changed it before the note did not have it forgotten.
            if not self.shown.outdated(mark, path, attr.ino):
                break
        return attr

    def readlink(self, path: str) -> str:
        return self._union.readlink(path)

    def mknod(self, path: str, mode: int, device: int, caller: Caller) -> None:
        self._union.mknod(_checked(path), mode, device, caller)
        self._moved(path)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._union.mkdir(_checked(path), mode, caller)
        self.shown.moved(path)
        self.heard(path)

    def symlink(self, target: str, path: str, caller: Caller) -> None:
        self._union.symlink(target, _checked(path), caller)
        self._moved(path)

    def link(self, source: str, path: str) -> None:
        try:
            self._union.link(source, _checked(path))
        except OSError as cause:
            self.copied.refused(source, cause.strerror or str(cause))
            raise
        self._moved(path)
        self.shown.changed(self._union.stat(path).ino, source)

    def unlink(self, path: str) -> None:
        try:
            removed = self._union.taken_away(path)
        except FileNotFoundError:
            if is_hidden(path):
                # Gone with its last handle. libfuse 3.17 removes what it has hidden as soon as nobody has it open.
                return
            raise
        self._moved(path)
        self.shown.changed(removed.ino)

    def rmdir(self, path: str) -> None:
        self._union.rmdir(path)
        self.shown.moved(path)
        self.heard(path)

    def rename(self, source: str, target: str, flags: int) -> None:
        """renameat2(2) with its flags."""
        moved, replaced = self._union.renamed(source, _checked(target), flags)
        paths = Moved(source, target, flags == RENAME_EXCHANGE)
        self._handles.renamed(paths.of)
        self.passthrough.renamed(paths.of)
        self.shown.moved(source, target)
        if replaced is not None:
            self.shown.changed(replaced.ino)
        self.shown.changed(moved.ino)
        if moved.is_dir or flags == RENAME_EXCHANGE:
            self.shown.moved_folder()
            self.heard(source, target)
        else:
            self.heard(parent_of(source), parent_of(target))

    def _moved(self, path: str) -> None:
        """A name that is no folder came or went."""
        self.shown.moved(path)
        self.heard(parent_of(path))

    def truncate(self, path: str, size: int) -> None:
        self._union.truncate(path, size)
        self._changed_at(path)

    def chmod(self, path: str, mode: int) -> None:
        self._union.chmod(path, mode & 0o7777)
        self._changed_at(path)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._union.chown(path, uid, gid)
        self._changed_at(path)

    def utime(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        self._union.utime(path, atime_ns, mtime_ns)
        self._changed_at(path)

    def getxattr(self, path: str, name: str) -> bytes:
        """As getxattr(2); `user.mediapool.*` are answered from what we know, though never listed."""
        if name.startswith(PREFIX):
            return self._about.xattr(path, name)
        return self._union.getxattr(path, name)

    def listxattr(self, path: str) -> list[str]:
        return self._union.listxattr(path)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        _must_be_theirs(path, name)
        self._union.setxattr(path, name, value, flags)
        self._changed_at(path)

    def removexattr(self, path: str, name: str) -> None:
        _must_be_theirs(path, name)
        self._union.removexattr(path, name)
        self._changed_at(path)

    def space(self) -> Space:
        return self._union.space()

    # Handles of files.

    def open(self, path: str, flags: int) -> Opened:
        opened = self._opened(path, self._union.open(path, flags), flags)
        if flags & os.O_TRUNC:
            self._changed_at(path)
        return opened

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> Opened:
        """open(2) with O_CREAT; opens what is there already unless O_EXCL is given."""
        try:
            opened = self._opened(path, self._union.create(_checked(path), flags, mode, caller), flags)
            self.shown.moved(path)
            return opened
        except FileExistsError:
            # Somebody was faster, as between the kernel's look and its call anybody can be.
            if flags & os.O_EXCL:
                raise
            return self.open(path, flags)

    def _opened(self, path: str, handle: Handle, flags: int) -> Opened:
        handle.pid, handle.since = self.pid_of_caller(), time.monotonic()
        fh, writing = self._handles.add(path, handle), flags & os.O_ACCMODE != os.O_RDONLY
        if writing:
            self._writers.add(fh)
        elif handle.content is not None:
            self.copied.opened(fh, handle.content, path, handle.stat().size)
        way = self.passthrough.opened(fh, path, handle, writing)
        # The kernel refuses both together, and what it reads itself it caches as the drive's file.
        unchanged = not way.backing and (handle.immutable or self._unchanged.since_last_open(path, handle.stat()))
        return Opened(fh, unchanged, way)

    def fstat(self, fh: int, as_it_is: bool = False) -> Attr:
        """As `stat`, of an open file."""
        path = self._handles.path(fh)
        attr = _counted(path, self._handles.file(fh).stat(), as_it_is)
        self.shown.note(path, attr)
        return attr

    def read(self, fh: int, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; how many bytes, fewer than it holds only at the end of the file."""
        self.reads += 1
        handle = self._handles.file(fh)
        if not handle.immutable:
            count = handle.read_into(buffer, offset)
            handle.came += count  # not exact when two threads read one handle, and need not be
            return count
        with self.shown.reading(handle.ino):
            count = handle.read_into(buffer, offset)
        handle.came += count
        self.copied.read(fh, count)
        return count

    def write(self, fh: int, data: bytes | memoryview, offset: int) -> int:
        handle = self._handles.file(fh)
        written = handle.write(data, offset)
        handle.went += written
        self._changed_by(fh, handle)
        return written

    def ftruncate(self, fh: int, size: int) -> None:
        handle = self._handles.file(fh)
        handle.truncate(size)
        self._changed_by(fh, handle)

    def fchmod(self, fh: int, mode: int) -> None:
        handle = self._handles.file(fh)
        handle.chmod(mode & 0o7777)
        self._changed_by(fh, handle)

    def fchown(self, fh: int, uid: int, gid: int) -> None:
        handle = self._handles.file(fh)
        handle.chown(uid, gid)
        self._changed_by(fh, handle)

    def futime(self, fh: int, atime_ns: int, mtime_ns: int) -> None:
        handle = self._handles.file(fh)
        handle.utime(atime_ns, mtime_ns)
        self._changed_by(fh, handle)

    def allocate(self, fh: int, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        handle = self._handles.file(fh)
        handle.allocate(mode, offset, length)
        self._changed_by(fh, handle)

    def seek(self, fh: int, offset: int, whence: int) -> int:
        """lseek(2) with SEEK_DATA or SEEK_HOLE."""
        return self._handles.file(fh).seek(offset, whence)

    def flush(self, fh: int) -> None:
        """close(2) of a descriptor; ENOSYS, and the kernel asks no more, where no drive reports errors then."""
        if not self._union.reports_late():
            raise error(errno.ENOSYS)
        self._handles.file(fh).flush()

    def fsync(self, fh: int, data_only: bool) -> None:
        self._handles.file(fh).fsync(data_only)

    def release(self, fh: int) -> None:
        self.passthrough.closed(fh)
        self.copied.closed(fh)
        if fh in self._writers:
            self._writers.discard(fh)
            # Only now: who looks at a file that is being written sees a part of it.
            self.heard(parent_of(self._handles.path(fh)))
            if self.copied.expects:
                with suppress(OSError):
                    self.copied.written(self._handles.path(fh), self._handles.file(fh).stat().size)
        self.traffic.closing(fh)
        self._handles.remove(fh)

    # Handles of directories.

    def opendir(self, path: str) -> OpenedFolder:
        if self._listed.lately(path) and self._listed.unchanged(path, self._union.stat(path)):
            return OpenedFolder(self._handles.add(path, DirectoryHandle(None)), cacheable=True, unchanged=True)
        mark, folder = self.shown.mark(), self._union.folder(path)
        handle = DirectoryHandle(Listing(mark, folder))
        return OpenedFolder(self._handles.add(path, handle), self._listed.note(path, folder.attr), unchanged=False)

    def readdir(self, fh: int, offset: int) -> Iterator[tuple[int, str, Attr]]:
        """Entries of the open directory behind `offset`, "." and ".." first, each after the offset that follows it.

        Offset 0 reads them anew. Attributes are current when they are yielded, and names that are gone left out:
        the kernel takes each entry for as good as an answer to lookup.
        """
        path = self._handles.path(fh)
        prefix = f"{path}/" if path else ""
        listing = self._handles.directory(fh).listing(offset, lambda: self._read_directory(path))
        mark = listing.mark
        for entry in listing.after(offset):
            following, name, attr = entry
            if following > _DOTS and (attr.nlink > 1 or mark != self.shown.mark()):
                current = self._current(prefix + name, attr, mark)
                if current is None:
                    continue
                yield following, name, current
            else:
                yield entry

    def _current(self, path: str, attr: Attr, mark: int) -> Attr | None:
        """What stat says of `path`: `attr`, found after `mark`, unless it has changed since; None if it is gone."""
        self.shown.note(path, attr)
        if not self.shown.outdated(mark, path, attr.ino):
            return attr
        try:
            return self.stat(path)
        except FileNotFoundError:
            return None
        except OSError:
            return attr

    def fsyncdir(self, fh: int) -> None:
        self._union.fsyncdir(self._handles.path(fh))

    def releasedir(self, fh: int) -> None:
        self._handles.remove(fh)

    def _read_directory(self, path: str) -> Listing:
        mark = self.shown.mark()
        return Listing(mark, self._union.folder(path))

    @property
    def open_count(self) -> int:
        """How many files and folders are open."""
        return len(self._handles)

    def close(self) -> None:
        """Close every file still open; the last call of all."""
        self._handles.close_all()

    def _changed_at(self, path: str) -> None:
        ino = self._ino_of(path)
        if ino is not None:
            self.shown.changed(ino, through=path)

    def _changed_by(self, fh: int, handle: Handle) -> None:
        self.shown.changed(handle.ino, through=self._handles.path(fh))

    def _ino_of(self, path: str) -> int | None:
        attr = self._attr_of(path)
        return attr and attr.ino

    def _attr_of(self, path: str) -> Attr | None:
        try:
            return self._union.stat(path)
        except OSError:
            return None


def _counted(path: str, attr: Attr, as_it_is: bool) -> Attr:
    """One link more for a path that libfuse hides: it takes one off, for the name it thinks the file still has."""
    if as_it_is or ".fuse_hidden" not in path or not is_hidden(path):
        return attr
    return attr._replace(nlink=attr.nlink + 1)


def _must_be_theirs(path: str, name: str) -> None:
    """EPERM for attributes that only mediapool gives."""
    if name.startswith(PREFIX):
        raise error(errno.EPERM, path)


def _checked(path: str) -> str:
    """`path`, unless its last name is longer than any filesystem of ours takes: ENAMETOOLONG."""
    name = path.rpartition("/")[2]
    if len(name) > _NAME_MAX or len(os.fsencode(name)) > _NAME_MAX:
        raise error(errno.ENAMETOOLONG, path)
    return path
