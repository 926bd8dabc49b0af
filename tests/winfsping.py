"""winfspy on Linux: its own Python sources, over a stand-in for its compiled part and for the driver.

The sources are those of the wheel that `scripts/setup test` fetches; nothing of them is in this repository. The
stand-in is only what the wheel holds compiled: `_bindings`, with structures laid out as winfsp.h says and real C
function pointers, and `winreg`. `Driver` calls through these pointers in the order in which WinFsp does. What this
cannot show: access checks, share modes, caches and the order of a real Windows.
"""

import ctypes.util
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import cffi

SOURCES = Path(sys.prefix) / "winfspy"
READ, WRITE, DELETE, ALL = 0x1 | 0x80, 0x2 | 0x4 | 0x100, 0x10000, 0x1F01FF
FOLDER, NO_FOLDER, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000
_GUARD = b"\xa5" * 64

_CDEF = """
typedef char16_t WCHAR; typedef WCHAR *PWSTR; typedef uint32_t ULONG; typedef ULONG *PULONG; typedef void *PVOID;
typedef uint32_t NTSTATUS; typedef unsigned char BOOLEAN; typedef size_t SIZE_T; typedef uint16_t UINT16;
typedef uint32_t UINT32; typedef uint64_t UINT64; typedef unsigned char UINT8; typedef int BOOL;
typedef struct { UINT8 bytes[64]; } SECURITY_DESCRIPTOR;
typedef struct { UINT32 Version; } FSP_FSCTL_VOLUME_PARAMS;
typedef struct { UINT64 TotalSize; UINT64 FreeSize; UINT16 VolumeLabelLength; WCHAR VolumeLabel[32];
} FSP_FSCTL_VOLUME_INFO;
typedef struct { UINT32 FileAttributes; UINT32 ReparseTag; UINT64 AllocationSize; UINT64 FileSize; UINT64 CreationTime;
    UINT64 LastAccessTime; UINT64 LastWriteTime; UINT64 ChangeTime; UINT64 IndexNumber; UINT32 HardLinks;
    UINT32 EaSize; } FSP_FSCTL_FILE_INFO;
typedef struct { UINT16 Size; FSP_FSCTL_FILE_INFO FileInfo; UINT8 Padding[24]; WCHAR FileNameBuf[];
} FSP_FSCTL_DIR_INFO;
typedef struct { PVOID UserContext; } FSP_FILE_SYSTEM;
"""
_FS, _INFO, _SD = "FSP_FILE_SYSTEM *", "FSP_FSCTL_FILE_INFO *", "SECURITY_DESCRIPTOR *"
# In the order of winfsp.h; the wheel was compiled without the two at the end, and winfspy copes with that.
_VERBS = {
    "GetVolumeInfo": ("FSP_FSCTL_VOLUME_INFO *",),
    "SetVolumeLabel": ("PWSTR", "FSP_FSCTL_VOLUME_INFO *"),
    "GetSecurityByName": ("PWSTR", "UINT32 *", _SD, "SIZE_T *"),
    "Create": ("PWSTR", "UINT32", "UINT32", "UINT32", _SD, "UINT64", "PVOID *", _INFO),
    "Open": ("PWSTR", "UINT32", "UINT32", "PVOID *", _INFO),
    "Overwrite": ("PVOID", "UINT32", "BOOLEAN", "UINT64", _INFO),
    "Cleanup": ("PVOID", "PWSTR", "ULONG"),
    "Close": ("PVOID",),
    "Read": ("PVOID", "PVOID", "UINT64", "ULONG", "PULONG"),
    "Write": ("PVOID", "PVOID", "UINT64", "ULONG", "BOOLEAN", "BOOLEAN", "PULONG", _INFO),
    "Flush": ("PVOID", _INFO),
    "GetFileInfo": ("PVOID", _INFO),
    "SetBasicInfo": ("PVOID", "UINT32", "UINT64", "UINT64", "UINT64", "UINT64", _INFO),
    "SetFileSize": ("PVOID", "UINT64", "BOOLEAN", _INFO),
    "CanDelete": ("PVOID", "PWSTR"),
    "Rename": ("PVOID", "PWSTR", "PWSTR", "BOOLEAN"),
    "GetSecurity": ("PVOID", _SD, "SIZE_T *"),
    "SetSecurity": ("PVOID", "UINT32", _SD),
    "ReadDirectory": ("PVOID", "PWSTR", "PWSTR", "PVOID", "ULONG", "PULONG"),
    "ResolveReparsePoints": ("PWSTR", "UINT32", "BOOLEAN", "PVOID", "PVOID", "SIZE_T *"),
    "GetReparsePoint": ("PVOID", "PWSTR", "PVOID", "SIZE_T *"),
    "SetReparsePoint": ("PVOID", "PWSTR", "PVOID", "SIZE_T"),
    "DeleteReparsePoint": ("PVOID", "PWSTR", "PVOID", "SIZE_T"),
    "GetStreamInfo": ("PVOID", "PVOID", "ULONG", "PULONG"),
    "GetDirInfoByName": ("PVOID", "PWSTR", "FSP_FSCTL_DIR_INFO *"),
    "Control": ("PVOID", "UINT32", "PVOID", "ULONG", "PVOID", "ULONG", "PULONG"),
    "SetDelete": ("PVOID", "PWSTR", "BOOLEAN"),
}
_NOT_COMPILED = ("Control", "SetDelete")
_OPTIONS = """DIRECTORY_FILE WRITE_THROUGH SEQUENTIAL_ONLY NO_INTERMEDIATE_BUFFERING SYNCHRONOUS_IO_ALERT
 SYNCHRONOUS_IO_NONALERT NON_DIRECTORY_FILE CREATE_TREE_CONNECTION COMPLETE_IF_OPLOCKED NO_EA_KNOWLEDGE
 OPEN_REMOTE_INSTANCE RANDOM_ACCESS DELETE_ON_CLOSE OPEN_BY_FILE_ID OPEN_FOR_BACKUP_INTENT"""


class NT(Exception):
    """A status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:#010x}")
        self.status = status


class _FFI(cffi.FFI):
    """cffi as a compiled module has it: with `def_extern`."""

    def def_extern(self, **_: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def keep(function: Callable[..., Any]) -> Callable[..., Any]:
            # As in a compiled module, what escapes is printed, and the driver gets 0.
            pointer = self.callback(_signature(function.__name__.rpartition("_")[2]), function)
            setattr(lib, function.__name__, pointer)
            return function

        return keep


def _signature(verb: str) -> str:
    answer = "void" if verb in ("Cleanup", "Close") else "NTSTATUS"
    return f"{answer}(*)({', '.join((_FS, *_VERBS[verb]))})"


ffi = _FFI()
ffi.cdef(_CDEF)
_fields = " ".join(
    _signature(verb).replace("(*)", f"(*{verb})", 1) + ";" for verb in _VERBS if verb not in _NOT_COMPILED
)
ffi.cdef(f"typedef struct {{ {_fields} }} FSP_FILE_SYSTEM_INTERFACE;")
lib = SimpleNamespace()


class Volume:
    """What the driver knows of a volume that was created."""

    def __init__(self, pointer: Any, interface: Any, params: dict[str, Any]) -> None:
        self.pointer, self.interface, self.params = pointer, interface, params
        self.mountpoint = ""
        self.threads: int | None = None


volumes: dict[Any, Volume] = {}
refuse_mount = [0]
"""The status that the next attempts to mount get; tests set it."""
_PARAMS = """sector_size sectors_per_allocation_unit max_component_length volume_creation_time volume_serial_number
 transact_timeout irp_timeout irp_capacity file_info_timeout case_sensitive_search case_preserved_names
 unicode_on_disk persistent_acls reparse_points reparse_points_access_check named_streams hard_links"""
_last: dict[str, Any] = {}


def _configure(params: Any, *values: Any) -> None:
    assert len(values) == 45, "as many as the wheel's function takes"
    _last.clear()
    _last.update(
        zip(_PARAMS.split(), values, strict=False), um_file_context_is_user_context2=values[25], name=values[35]
    )


def _create(_device: Any, _params: Any, interface: Any, into: Any) -> int:
    pointer = ffi.new("FSP_FILE_SYSTEM *")
    into[0] = pointer
    volumes[pointer] = Volume(pointer, interface, dict(_last))
    return 0


def _mount(pointer: Any, mountpoint: str) -> int:
    if refuse_mount[0]:
        return refuse_mount[0]
    os.mkdir(mountpoint)
    volumes[pointer].mountpoint = mountpoint
    return 0


def _start(pointer: Any, threads: int) -> int:
    volumes[pointer].threads = threads
    return 0


def _delete(pointer: Any) -> None:
    gone = volumes.pop(pointer)
    if gone.mountpoint:
        os.rmdir(gone.mountpoint)


def _add_dir_info(info: Any, buffer: Any, length: int, transferred: Any) -> int:
    """As FspFileSystemAddDirInfo: entries begin at multiples of 8, and a 0 says that there are no more."""
    size = info.Size if info != ffi.NULL else 2
    room = -(-size // 8) * 8 if info != ffi.NULL else 2
    if transferred[0] + room > length:
        return 0
    source = info if info != ffi.NULL else ffi.new("UINT16 *", 0)
    ffi.memmove(ffi.cast("char *", buffer) + transferred[0], source, size)
    transferred[0] += room
    return 1


_descriptors: dict[Any, Any] = {}


def _descriptor(text: str, _revision: int, into: Any, size: Any) -> int:
    made = ffi.new("SECURITY_DESCRIPTOR *")
    ffi.memmove(made, text.encode()[:64], min(len(text), 64))
    _descriptors[ffi.cast("void *", made)] = made
    into[0], size[0] = made, 64
    return 1


def _compiled() -> ModuleType:
    module = ModuleType("winfspy.plumbing._bindings")
    vars(lib).update(
        configure_FSP_FSCTL_VOLUME_PARAMS=_configure,
        FspFileSystemCreate=_create,
        FspFileSystemSetMountPoint=_mount,
        FspFileSystemStartDispatcher=_start,
        FspFileSystemStopDispatcher=lambda pointer: None,
        FspFileSystemDelete=_delete,
        FspFileSystemAddDirInfo=_add_dir_info,
        ConvertStringSecurityDescriptorToSecurityDescriptorW=_descriptor,
        GetSecurityDescriptorLength=lambda pointer: 64,
        LocalFree=lambda pointer: _descriptors.pop(ffi.cast("void *", pointer), None),
        malloc=lambda size: _kept(ffi.new("char[]", size)),
        GetLastError=lambda: 0,
        GetStdHandle=lambda which: ffi.NULL,
        FspDebugLogSetHandle=lambda handle: None,
        WFSPY_FSP_FSCTL_DISK_DEVICE_NAME="WinFsp.Disk",
        WFSPY_FSP_FSCTL_NET_DEVICE_NAME="WinFsp.Net",
        WFSPY_FILE_ATTRIBUTE_INVALID_FILE_ATTRIBUTES=0xFFFFFFFF,
        WFSPY_STRING_SECURITY_DESCRIPTOR_REVISION=1,
        STD_ERROR_HANDLE=-12,
    )
    for number, name in enumerate((_OPTIONS + " OPEN_REPARSE_POINT RESERVE_OPFILTER OPEN_REQUIRING_OPLOCK").split()):
        setattr(lib, f"WFSPY_FILE_{name}", 1 << number)
    module.ffi, module.lib = ffi, lib  # type: ignore[attr-defined]
    return module


def _kept(memory: Any) -> Any:
    pointer = ffi.cast("void *", memory)
    _descriptors[pointer] = memory
    return pointer


def install(folder: Path) -> None:
    """Make `import winfspy` give the real sources over the stand-in; `folder` takes what looks like WinFsp's DLL."""
    if "winfspy" in sys.modules:
        return
    if not (SOURCES / "winfspy" / "operations.py").exists():
        raise RuntimeError(f"the sources of winfspy are not in {SOURCES}: run scripts/setup test")
    (folder / "bin").mkdir()
    sys.modules["winfspy.plumbing._bindings"] = _compiled()
    real = sys.modules.get("winreg")
    sys.modules["winreg"] = ModuleType("winreg")
    # winfspy changes PATH, which on Linux would lose its first folder by that.
    with (
        patch.dict(os.environ, {"WINFSP_LIBRARY_PATH": str(folder)}),
        patch.object(sys, "path", [str(SOURCES), *sys.path]),
        patch.object(ctypes.util, "find_library", lambda name: f"{name}.dll"),
        patch.object(os, "add_dll_directory", lambda directory: None, create=True),
    ):
        importlib.import_module("winfspy")
    del sys.modules["winreg"]
    if real is not None:
        sys.modules["winreg"] = real


class Driver:
    """Calls a volume as WinFsp does. Paths as Windows has them, from the volume's root on."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self._verbs = volumes[pointer].interface

    def _call(self, verb: str, *arguments: Any) -> None:
        """Through the function pointer; `NT` for a status that is no success."""
        status = getattr(self._verbs, verb)(self._pointer, *arguments)
        if status:
            raise NT(status)

    def attributes(self, path: str) -> int:
        """What GetFileAttributes asks first, with the descriptor's size found out as WinFsp does."""
        name, found, size = _text(path), ffi.new("UINT32 *"), ffi.new("SIZE_T *", 1)
        status = self._verbs.GetSecurityByName(self._pointer, name, found, ffi.new("SECURITY_DESCRIPTOR *"), size)
        if status == 0x80000005:
            status = self._verbs.GetSecurityByName(self._pointer, name, found, ffi.new("SECURITY_DESCRIPTOR *"), size)
        if status:
            raise NT(status)
        return int(found[0])

    def open(self, path: str, access: int = READ, options: int = 0) -> "File":
        self.attributes(path)
        context, info = ffi.new("PVOID *"), ffi.new(_INFO)
        self._call("Open", _text(path), options, access, context, info)
        return File(self, path, context[0], info)

    def create(self, path: str, options: int = NO_FOLDER, attributes: int = 0) -> "File":
        """CREATE_NEW."""
        context, info = ffi.new("PVOID *"), ffi.new(_INFO)
        self._call("Create", _text(path), options, ALL, attributes, ffi.NULL, 0, context, info)
        return File(self, path, context[0], info)

    def put(self, path: str, data: bytes) -> None:
        with self.create(path) as file:
            file.write(data, 0)

    def get(self, path: str) -> bytes:
        with self.open(path) as file:
            return file.read(0, 1 << 20)

    def info(self, path: str) -> Any:
        with self.open(path, 0x80) as file:
            return file.info

    def list(self, path: str, room: int = 4096) -> list[str]:
        with self.open(path, options=FOLDER) as folder:
            return [name for name, _ in folder.entries(room)]

    def delete(self, path: str, ask: bool = True) -> None:
        """DeleteFile, RemoveDirectory; without `ask` as FILE_DELETE_ON_CLOSE does it."""
        with self.open(path, DELETE) as file:
            if ask:
                self._call("CanDelete", file.context, _text(path))
            file.deletes = True

    def rename(self, path: str, new: str, replace: bool = False) -> None:
        with self.open(path, DELETE) as file:
            self._call("Rename", file.context, _text(path), _text(new), replace)

    def volume(self) -> Any:
        info = ffi.new("FSP_FSCTL_VOLUME_INFO *")
        self._call("GetVolumeInfo", info)
        return info

    def flush(self) -> None:
        """Of the whole volume."""
        self._call("Flush", ffi.NULL, ffi.new(_INFO))


class File:
    """An open file or folder."""

    def __init__(self, driver: Driver, path: str, context: Any, info: Any) -> None:
        self.driver, self.path, self.context, self.info = driver, path, context, info
        self.deletes = False

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        verbs, pointer = self.driver._verbs, self.driver._pointer
        if self.deletes:
            verbs.Cleanup(pointer, self.context, _text(self.path), 1)
        verbs.Close(pointer, self.context)

    def call(self, verb: str, *arguments: Any) -> Any:
        """Call a verb that answers with what the file is like then."""
        self.driver._call(verb, self.context, *arguments, self.info)
        return self.info

    def read(self, offset: int, length: int) -> bytes:
        """The driver's buffer is exactly as long as it asks for: what lies around it must stay."""
        memory = bytearray(_GUARD + bytes(length) + _GUARD)
        count = ffi.new("ULONG *", 0xFFFF_FFFF)
        whole = ffi.from_buffer(memory)
        try:
            self.driver._call("Read", self.context, whole + len(_GUARD), offset, length, count)
        finally:
            assert memory[: len(_GUARD)] == _GUARD == memory[-len(_GUARD) :], "it wrote beyond the driver's buffer"
        assert count[0] <= length
        return bytes(memory[len(_GUARD) : len(_GUARD) + count[0]])

    def write(self, data: bytes, offset: int, at_the_end: bool = False, constrained: bool = False) -> int:
        count = ffi.new("ULONG *")
        self.call("Write", ffi.from_buffer(data), offset, len(data), at_the_end, constrained, count)
        return int(count[0])

    def entries(self, room: int = 4096) -> "list[tuple[str, Any]]":
        """All that the folder lists, in buffers of `room` bytes."""
        found: list[tuple[str, Any]] = []
        buffer, count = ffi.new("char[]", room), ffi.new("ULONG *")
        while True:
            count[0] = 0
            marker = _text(found[-1][0]) if found else ffi.NULL
            self.driver._call("ReadDirectory", self.context, ffi.NULL, marker, buffer, room, count)
            at = 0
            while at < count[0]:
                entry = ffi.cast("FSP_FSCTL_DIR_INFO *", buffer + at)
                if not entry.Size:
                    return found
                length = entry.Size - ffi.sizeof("FSP_FSCTL_DIR_INFO")
                name = bytes(ffi.buffer(ffi.cast("char *", entry.FileNameBuf), length)).decode("utf-16-le")
                info = ffi.new(_INFO)
                ffi.memmove(info, ffi.addressof(entry, "FileInfo"), ffi.sizeof("FSP_FSCTL_FILE_INFO"))
                found.append((name, info))
                at += -(-entry.Size // 8) * 8
            assert count[0], "a buffer without any entry would be asked for for ever"


def _text(path: str) -> Any:
    return ffi.new("WCHAR[]", path)
