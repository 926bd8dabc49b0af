"""Files of Windows: opened so that they can be renamed and removed while they are open, read and written at offsets.

On Linux, where only tests come here, the same by the calls of Linux; what differs stands side by side.
Sources: CreateFileW, ReadFile, WriteFile, GetFinalPathNameByHandleW, Microsoft Learn.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

# File ids of NTFS have a counter of reuses in the upper 16 bits; the tree has 48 bits for them, as for inode numbers.
_NUMBER = (1 << 48) - 1
_BLOCK = 512
# Where a lock lies: behind all that anybody reads, as what is locked cannot be read by others.
_LOCKED = 1 << 30

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _SHARE_ALL = 0x1 | 0x2 | 0x4
    _GENERIC_READ, _GENERIC_WRITE, _FILE_APPEND_DATA = 0x80000000, 0x40000000, 0x4
    _CREATE_NEW, _OPEN_EXISTING, _OPEN_ALWAYS = 1, 3, 4
    _NORMAL, _READ_ONLY = 0x80, 0x1
    _END_OF_FILE = 38
    _MOST = 1 << 30
    _kernel.CreateFileW.restype = wintypes.HANDLE
    _kernel.CreateFileW.argtypes = (
        *(wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID),
        *(wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE),
    )
    _transfer = (wintypes.HANDLE, wintypes.LPVOID, wintypes.DWORD, wintypes.LPDWORD, wintypes.LPVOID)
    _kernel.ReadFile.argtypes = _kernel.WriteFile.argtypes = _transfer
    _kernel.GetFinalPathNameByHandleW.argtypes = (wintypes.HANDLE, wintypes.LPWSTR, wintypes.DWORD, wintypes.DWORD)

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    def _last(path: str = "") -> OSError:
        return ctypes.WinError(ctypes.get_last_error()) if not path else OSError(0, "", path, ctypes.get_last_error())

    def open_file(path: str, flags: int, mode: int) -> int:
        """As os.open, but shared with whoever renames or removes the file meanwhile."""
        access = {os.O_RDONLY: _GENERIC_READ, os.O_WRONLY: _GENERIC_WRITE}.get(
            flags & 3, _GENERIC_READ | _GENERIC_WRITE
        )
        new = _CREATE_NEW if flags & os.O_EXCL else _OPEN_ALWAYS
        how = new if flags & os.O_CREAT else _OPEN_EXISTING
        attributes = _NORMAL if mode & stat.S_IWUSR or not flags & os.O_CREAT else _READ_ONLY
        handle = _kernel.CreateFileW(path, access, _SHARE_ALL, None, how, attributes, None)
        if handle == wintypes.HANDLE(-1).value:
            raise _last(path)
        fd = msvcrt.open_osfhandle(handle, flags & (os.O_RDONLY | os.O_APPEND) | os.O_NOINHERIT | os.O_BINARY)
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
        return fd

    def _at(offset: int) -> _Overlapped:
        return _Overlapped(None, None, offset & 0xFFFFFFFF, offset >> 32, None)

    def read_at(fd: int, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` on; how many bytes, fewer than it holds at the end of the file."""
        length, count = min(len(buffer), _MOST), wintypes.DWORD()
        memory = (ctypes.c_char * length).from_buffer(buffer)
        if _kernel.ReadFile(msvcrt.get_osfhandle(fd), memory, length, ctypes.byref(count), ctypes.byref(_at(offset))):
            return count.value
        if ctypes.get_last_error() == _END_OF_FILE:
            return 0
        raise _last()

    def write_at(fd: int, data: memoryview, offset: int) -> int:
        """Write at `offset`; how many bytes."""
        part, count = bytes(data[:_MOST]), wintypes.DWORD()
        done = _kernel.WriteFile(
            msvcrt.get_osfhandle(fd), part, len(part), ctypes.byref(count), ctypes.byref(_at(offset))
        )
        if not done:
            raise _last()
        return count.value

    def path_of(fd: int) -> str:
        """Where an open file lies now."""
        text = ctypes.create_unicode_buffer(32768)
        if not _kernel.GetFinalPathNameByHandleW(msvcrt.get_osfhandle(fd), text, len(text), 0):
            raise _last()
        return text.value

    def lock(fd: int) -> None:
        """Take the file until it is closed; BlockingIOError if another process has it."""
        here = os.lseek(fd, 0, os.SEEK_CUR)
        os.lseek(fd, _LOCKED, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        finally:
            os.lseek(fd, here, os.SEEK_SET)

    def whole(path: str) -> str:
        """The path in the way in which Windows takes it as it is, and of any length."""
        if path.startswith("\\\\?\\"):
            return path
        path = os.path.abspath(path)
        return "\\\\?\\UNC" + path[1:] if path.startswith("\\\\") else "\\\\?\\" + path

    def is_junction(found: os.stat_result) -> bool:
        """Whether it is a directory that leads elsewhere."""
        return found.st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT

    def name_on_disk(name: str, shown: Callable[[str], str]) -> str:
        """What a name of the tree is called on a drive."""
        return shown(name)

    def name_in_tree(name: str, meant: Callable[[str], str]) -> str:
        """What a name on a drive is called in the tree; ValueError if nothing."""
        return meant(name)

    def link_text(target: str) -> str:
        """The target of a symbolic link in the way of the tree."""
        return target.removeprefix("\\\\?\\").replace("\\", "/")

    class Told:
        """As os.stat_result, with what that lacks on Windows."""

        __slots__ = ("_found",)

        def __init__(self, found: os.stat_result) -> None:
            self._found = found

        @property
        def st_ino(self) -> int:
            return self._found.st_ino & _NUMBER

        @property
        def st_blocks(self) -> int:
            return -(-self._found.st_size // _BLOCK)

        @property
        def st_rdev(self) -> int:
            return 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._found, name)

    def told(found: os.stat_result) -> Any:
        """`found` with the fields that the tree wants."""
        return Told(found)

else:
    open_file = os.open

    def read_at(fd: int, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` on; how many bytes, fewer than it holds at the end of the file."""
        return os.preadv(fd, [buffer], offset)

    def write_at(fd: int, data: memoryview, offset: int) -> int:
        """Write at `offset`; how many bytes."""
        return os.pwrite(fd, data, offset)

    def path_of(fd: int) -> str:
        """Where an open file lies now."""
        return os.readlink(f"/proc/self/fd/{fd}")

    def whole(path: str) -> str:
        """The path in the way in which the system takes it as it is, and of any length."""
        return path

    def lock(fd: int) -> None:
        """Take the file until it is closed; BlockingIOError if another process has it."""
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_junction(found: os.stat_result) -> bool:
        """Whether it is a directory that leads elsewhere."""
        return False

    def name_on_disk(name: str, shown: Callable[[str], str]) -> str:
        """What a name of the tree is called on a drive."""
        return name

    def name_in_tree(name: str, meant: Callable[[str], str]) -> str:
        """What a name on a drive is called in the tree."""
        return name

    def link_text(target: str) -> str:
        """The target of a symbolic link in the way of the tree."""
        return target

    def told(found: os.stat_result) -> Any:
        """`found` with the fields that the tree wants."""
        return found
