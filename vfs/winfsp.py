r"""Windows adapter: WinFsp through winfspy 0.8.4, over `FileSystem`.

Only translation stands here. What winfspy does with an error that is none of its own, with a read that is too long,
with the flush of a volume and with the number of threads decides how this is written: facts in docs/design.md, "WinFsp
under Python". Paths come as `\folder\name`.

WinFsp holds a lock of the whole volume while it opens, creates, renames, removes and lists, so nothing here waits for
the network but a read. Lock order: `_lock` of the open files, a leaf.
"""

import errno
import functools
import logging
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import winfspy
from winfspy.plumbing import SecurityDescriptor, WinFSPyError, ffi, lib, nt_success

from placement import system as os
from vfs import winstatus
from vfs.attr import OMIT, Attr
from vfs.branch import Moved, error
from vfs.filesystem import FileSystem
from vfs.winlisting import WindowsListing
from vfs.winmount import LABEL, Options, root_of
from vfs.winnames import Found, WindowsNames, entries
from vfs.winrename import WindowsRename

log = logging.getLogger(__name__)

# As many as with FUSE: more than the remote reads that may wait (192), so a stalled provider cannot hold up local
# files. WinFsp's own choice is the number of processors, at most 16.
THREADS = 256
# Bits of the access that was granted to an open file: FILE_READ_DATA, FILE_EXECUTE; FILE_WRITE_DATA, FILE_APPEND_DATA.
_READS = 0x1 | 0x20
_WRITES = 0x2 | 0x4
# Options of NtCreateFile.
_FOLDER = 0x1
_NO_FOLDER = 0x40
# Flag of Cleanup: the last handle of what is to be deleted is gone. winfspy does not export it.
_DELETE = 0x1
_WRITE_BITS = 0o222
# How often, each 10 ms, a new volume is asked whether it answers.
_ATTEMPTS = 100

Refused = WinFSPyError
"""Why a volume could not be made, mounted or served."""
F = TypeVar("F", bound=Callable[..., Any])


class Open:
    """One open file or folder of Windows. `fh` is 0 until its bytes are wanted."""

    __slots__ = ("fh", "is_dir", "listing", "lock", "name", "path", "replaced", "through_link", "writes")

    def __init__(self, found: Found) -> None:
        self.name, self.path = found.name, found.path
        self.is_dir = found.attr.is_dir
        self.through_link = found.through_link
        self.lock = threading.Lock()
        self.fh = 0
        self.writes = False
        # Handles only for reading, which somebody may be reading from, although there is one for writing now.
        self.replaced: list[int] = []
        self.listing: WindowsListing | None = None


def _refusal(cause: BaseException, what: str) -> int:
    """The status that says `cause`; winfspy would say of all but its own that it was unexpected, and not why."""
    if isinstance(cause, winfspy.NTStatusError):
        return int(cause.value)
    if isinstance(cause, OSError):
        return winstatus.status_of(cause)
    log.error("%s failed, which is a bug in mediapool", what, exc_info=cause)
    return winstatus.IO_DEVICE_ERROR


def _translated(method: F) -> F:
    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as cause:
            raise winfspy.NTStatusError(_refusal(cause, method.__name__)) from cause

    return call  # type: ignore[return-value]


class Operations(winfspy.BaseFileSystemOperations):  # type: ignore[misc]
    """What WinFsp asks; `FileSystem` answers."""

    def __init__(self, filesystem: FileSystem, options: Options, rights: str) -> None:
        """`rights`: the security descriptor of everything, in SDDL."""
        super().__init__()
        self._fs = filesystem
        self._options = options
        self._names = WindowsNames(filesystem)
        self._renames = WindowsRename(filesystem, self._names)
        # One for all: it owns memory, which is freed with it.
        self._rights = SecurityDescriptor.from_string(rights)
        self._lock = threading.Lock()
        self._open: set[Open] = set()

    # The volume.

    @_translated
    def get_volume_info(self) -> dict[str, Any]:
        space = self._fs.space()
        return {"total_size": space.total, "free_size": space.available, "volume_label": LABEL}

    @_translated
    def set_volume_label(self, volume_label: str) -> None:
        raise winfspy.NTStatusError(winstatus.NOT_SUPPORTED)

    # Rights: everything has the same, and they cannot be changed, as on a FAT filesystem.

    @_translated
    def get_security_by_name(self, file_name: str) -> tuple[int, Any, int]:
        return winstatus.attributes(self._names.find(file_name).attr), self._rights.handle, self._rights.size

    @_translated
    def get_security(self, opened: Open) -> tuple[Any, int]:
        return self._rights.handle, self._rights.size

    @_translated
    def set_security(self, opened: Open, security_information: int, modification_descriptor: Any) -> None:
        log.debug("%s: rights cannot be changed", opened.path)

    # Opening and closing.

    @_translated
    def create(
        self, file_name: str, create_options: int, access: int, file_attributes: int, _rights: Any, _size: int
    ) -> Open:
        path, there = self._names.place(file_name)
        if there is not None:
            raise winfspy.NTStatusError(winstatus.OBJECT_NAME_COLLISION)
        lacking = self._options.umask | (_WRITE_BITS if file_attributes & winstatus.READ_ONLY else 0)
        if create_options & _FOLDER:
            self._fs.mkdir(path, 0o777 & ~self._options.umask, self._options.owner)
            return self._opened(Open(Found(path, path, self._fs.stat(path))))
        made = self._fs.create(path, os.O_RDWR | os.O_EXCL, 0o666 & ~lacking, self._options.owner)
        opened = Open(Found(path, path, self._fs.fstat(made.fh)))
        opened.fh, opened.writes = made.fh, True
        return self._opened(opened)

    @_translated
    def open(self, file_name: str, create_options: int, access: int) -> Open:
        found = self._names.find(file_name)
        if create_options & _FOLDER and not found.attr.is_dir:
            raise error(errno.ENOTDIR, found.path)
        if create_options & _NO_FOLDER and found.attr.is_dir:
            raise error(errno.EISDIR, found.path)
        opened = Open(found)
        if not opened.is_dir and access & (_READS | _WRITES):
            self._bytes(opened, bool(access & _WRITES))
        return self._opened(opened)

    def _opened(self, opened: Open) -> Open:
        with self._lock:
            self._open.add(opened)
        return opened

    def _bytes(self, opened: Open, writes: bool = False) -> int:
        """The handle of its bytes, for writing too if that is wanted."""
        with opened.lock:
            if not opened.fh or (writes and not opened.writes):
                fh = self._fs.open(opened.path, os.O_RDWR if writes else os.O_RDONLY).fh
                if opened.fh:
                    opened.replaced.append(opened.fh)
                opened.fh, opened.writes = fh, writes
            return opened.fh

    @_translated
    def cleanup(self, opened: Open, file_name: str | None, flags: int) -> None:
        if flags & _DELETE:
            try:
                self._delete(opened)
            except OSError as cause:
                # There is nobody any more to say it to.
                log.warning("%s could not be deleted: %s", opened.name, cause)

    def _delete(self, opened: Open) -> None:
        if opened.through_link:
            raise error(errno.EACCES, opened.name)
        # Windows deletes no file that is open, not even for us.
        self._release(opened)
        if self._fs.stat(opened.name).is_dir:
            self._fs.rmdir(opened.name)
        else:
            self._fs.unlink(opened.name)

    def close(self, opened: Open) -> None:
        """Must not raise, or winfspy keeps the file for ever."""
        with self._lock:
            self._open.discard(opened)
        self._release(opened)

    def _release(self, opened: Open) -> None:
        with opened.lock:
            fhs = [*opened.replaced, opened.fh]
            opened.replaced, opened.fh, opened.writes = [], 0, False
        for fh in filter(None, fhs):
            try:
                self._fs.release(fh)
            except OSError as cause:
                log.warning("%s was closed with an error: %s", opened.path, cause)

    # Bytes.

    def ll_read(self, context: Any, buffer: Any, offset: int, length: int, transferred: Any) -> int:
        """Into the driver's memory itself, so never more than it asks for; winfspy would copy what it is given."""
        try:
            into = memoryview(ffi.buffer(buffer, length))
            count = self._fs.read(self._bytes(ffi.from_handle(context)), into, offset)
        except Exception as cause:
            return _refusal(cause, "read")
        transferred[0] = count
        return winstatus.SUCCESS if count or not length else winstatus.END_OF_FILE

    @_translated
    def write(self, opened: Open, buffer: Any, offset: int, to_the_end: bool, constrained: bool) -> int:
        fh, data = self._bytes(opened, writes=True), memoryview(buffer)
        if to_the_end or constrained:
            size = self._fs.fstat(fh).size
            # Constrained: pages of the system, which never make a file longer.
            data, offset = (data[: max(0, size - offset)], offset) if constrained else (data, size)
        return self._fs.write(fh, data, offset) if data else 0

    @_translated
    def overwrite(self, opened: Open, file_attributes: int, replace: bool, allocation_size: int) -> None:
        self._fs.ftruncate(self._bytes(opened, writes=True), 0)
        if replace or file_attributes & winstatus.READ_ONLY:
            self._set_attributes(opened, file_attributes)

    @_translated
    def set_file_size(self, opened: Open, new_size: int, set_allocation_size: bool) -> None:
        # More room than the file is long is only a wish.
        if not set_allocation_size or new_size < self._attr(opened).size:
            self._fs.ftruncate(self._bytes(opened, writes=True), new_size)

    def ll_flush(self, context: Any, file_info: Any) -> int:
        """Of a file, or of all of them, which winfspy does not know: then there is no context."""
        if context == ffi.NULL:
            with self._lock:
                fhs = [opened.fh for opened in self._open if opened.writes]
        else:
            opened = ffi.from_handle(context)
            fhs = [opened.fh] if opened.writes else []
        for fh in fhs:
            try:
                self._fs.fsync(fh, data_only=False)
            except OSError as cause:
                # Closed meanwhile.
                if cause.errno != errno.EBADF:
                    return winstatus.status_of(cause)
        return winstatus.SUCCESS if context == ffi.NULL else int(self.ll_get_file_info(context, file_info))

    # Attributes.

    def _attr(self, opened: Open) -> Attr:
        if opened.fh:
            return self._fs.fstat(opened.fh)
        return self._names.followed(opened.path, self._fs.stat(opened.path))

    @_translated
    def get_file_info(self, opened: Open) -> dict[str, Any]:
        return winstatus.file_info(self._attr(opened))

    @_translated
    def set_basic_info(
        self, opened: Open, file_attributes: int, _created: int, accessed: int, written: int, _changed: int, _info: Any
    ) -> dict[str, Any]:
        # 0 is what is left when Windows is told to take all attributes away.
        if file_attributes != winstatus.UNCHANGED:
            self._set_attributes(opened, file_attributes)
        times = winstatus.time_of(accessed), winstatus.time_of(written)
        if times != (OMIT, OMIT):
            self._fs.utime(opened.path, *times)
        return winstatus.file_info(self._attr(opened))

    def _set_attributes(self, opened: Open, file_attributes: int) -> None:
        """The one attribute that the tree knows is whether a file may be written to."""
        mode = stat.S_IMODE(self._attr(opened).mode)
        read_only = bool(file_attributes & winstatus.READ_ONLY)
        if read_only == bool(mode & stat.S_IWUSR) and not opened.is_dir:
            writable = mode | _WRITE_BITS & ~self._options.umask
            self._fs.chmod(opened.path, mode & ~_WRITE_BITS if read_only else writable)

    # Names.

    @_translated
    def can_delete(self, opened: Open, file_name: str) -> None:
        if not opened.name or opened.through_link:
            raise error(errno.EACCES, opened.name)
        if self._fs.stat(opened.name).is_dir and next(entries(self._fs, opened.name), None) is not None:
            raise error(errno.ENOTEMPTY, opened.name)

    @_translated
    def rename(self, opened: Open, file_name: str, new_file_name: str, replace_if_exists: bool) -> None:
        target = self._renames.rename(opened.name, new_file_name, replace_if_exists)
        self._follow(Moved(opened.name, target))

    def _follow(self, moved: Moved) -> None:
        with self._lock:
            for each in self._open:
                each.name, each.path = moved.of(each.name), moved.of(each.path)

    @_translated
    def read_directory(self, opened: Open, marker: str | None) -> Any:
        if marker is None or opened.listing is None:
            opened.listing = WindowsListing(self._fs, self._names, opened.path)
        return opened.listing.after(marker)


class Session(winfspy.FileSystem):  # type: ignore[misc]
    """One mounted volume, from `start` until `stop`."""

    def __init__(self, filesystem: FileSystem, mountpoint: str, options: Options, rights: str) -> None:
        """`rights`: as for `Operations`. WinFSPyError where WinFsp cannot make a volume."""
        super().__init__(
            mountpoint,
            Operations(filesystem, options, rights),
            sector_size=512,
            sectors_per_allocation_unit=winstatus.ALLOCATION_UNIT // 512,
            max_component_length=255,
            file_info_timeout=int(options.cache_seconds * 1000),
            # The case of names is dealt with in `WindowsNames`: WinFsp would show all of them in capitals.
            case_sensitive_search=1,
            case_preserved_names=1,
            unicode_on_disk=1,
            persistent_acls=1,
            post_cleanup_when_modified_only=1,
            um_file_context_is_user_context2=1,
            # Programs are started as administrator only from what calls itself so.
            file_system_name="NTFS",
        )

    def start(self) -> None:
        """Mount, and return when the tree answers. WinFSPyError, OSError; then nothing is mounted."""
        self.started = True
        try:
            self._must(lib.FspFileSystemSetMountPoint(self._file_system_ptr[0], self.mountpoint), "mounted")
            self._must(lib.FspFileSystemStartDispatcher(self._file_system_ptr[0], THREADS), "served")
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _must(self, status: int, what: str) -> None:
        if not nt_success(status):
            raise WinFSPyError(f"the volume could not be {what} (NTSTATUS {status & 0xFFFFFFFF:#010x})")

    def _wait(self) -> None:
        """Until the tree answers: WinFsp begins to serve a moment after it says so."""
        for attempt in range(_ATTEMPTS):
            try:
                os.stat(root_of(Path(self.mountpoint)))
                return
            except OSError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.01)
