"""Linux adapter: libfuse 3 through mfusepy, over `FileSystem`.

Only translation stands here. mfusepy's own methods are replaced where they drop what libfuse gives (flags of
rename, handles of getattr and setattr, attributes in readdir) or copy bytes more often than needed.
Facts that decide, each measured: docs/design.md, "FUSE under Python".
"""

import ctypes
import errno
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from vfs import libfuse

os.environ.update(libfuse.environment())

import mfusepy

from vfs.attr import Caller
from vfs.backings import Backings
from vfs.filesystem import FileSystem, Opened
from vfs.fusestat import pack_stat
from vfs.syscalls import time_from

log = logging.getLogger(__name__)

MAX_READ = 1 << 20
# Threads of libfuse and requests of the kernel under way: more than the remote reads that may wait (192), so a
# stalled provider cannot hold up local files.
MAX_THREADS = 256
MAX_BACKGROUND = 256

# After these libfuse looks at the file, in the same thread, to answer the kernel.
_CHANGES = frozenset(("chmod_fuse_3", "chown_fuse_3", "truncate_fuse_3", "utimens_fuse_3"))
_CAP_SPLICE_READ = 1 << 9
_CAP_READDIRPLUS_AUTO = 1 << 14
_CAP_HANDLE_KILLPRIV = 1 << 20
_CAP_PASSTHROUGH = 1 << 29
# Drives may lie on a filesystem that is stacked on another, as overlayfs in containers.
_STACKED_OVER = 1
# Where struct fuse_file_info of libfuse 3.17 has the number of the backing file, which mfusepy does not know.
_BACKING_AT = 36
_READDIR_PLUS = 1
_FILL_DIR_PLUS = 2
# How long a change waits for the kernel to forget old attributes; it takes microseconds, so this is never seen.
_FORGET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to mount; `cache_seconds` is how long the kernel may keep names and attributes.

    `passthrough`: let the kernel read local files by itself where it can.
    """

    allow_other: bool
    cache_seconds: float
    passthrough: bool


class Session(mfusepy.FUSE):  # type: ignore[misc]
    """One mount; the constructor returns when it has been unmounted."""

    def __init__(self, filesystem: FileSystem, mountpoint: str, options: Options, started: Callable[[], None]) -> None:
        """Raises RuntimeError when libfuse cannot mount; it has then said why on stderr."""
        self._fs = filesystem
        self._options = options
        self._started = started
        self._thread = threading.local()
        self._forgetter: Forgetter | None = None
        verbs = SimpleNamespace(use_ns=True, init_with_config=self._configure, destroy=self._end)
        # libfuse is given those operations that have a method below.
        for name in vars(Session):
            if not name.startswith("_"):
                setattr(verbs, name.removesuffix("_fuse_3"), True)
        super().__init__(
            verbs, mountpoint, raw_fi=True, foreground=True, fsname="mediapool", subtype="mediapool",
            default_permissions=True, allow_other=options.allow_other, max_read=MAX_READ, max_threads=MAX_THREADS,
            max_idle_threads=MAX_THREADS,
            **({"suid": True, "dev": True} if os.geteuid() == 0 else {}),
        )  # fmt: skip

    def _wrapper(self, func: Callable[..., int | None], *args: Any) -> int:
        """Every call of libfuse comes through here: errors become negative errnos."""
        try:
            self._keep_thread()
            self._thread.previous, self._thread.verb = self._thread.verb, func.__name__
            return func(*args) or 0
        except OSError as cause:
            return -(cause.errno or errno.EIO)
        except BaseException:
            log.exception("%s failed, which is a bug in mediapool", func.__name__)
            return -errno.EIO

    def _keep_thread(self) -> None:
        """Let Python remember this thread of libfuse between calls.

        Without it each call makes and destroys a Python thread state, and with it everything thread-local: an
        SQLite connection per read, for one. One Ensure without its Release keeps the state until the process ends.
        """
        if not hasattr(self._thread, "kept"):
            ctypes.pythonapi.PyGILState_Ensure()
            self._thread.kept = True
            self._thread.verb = ""

    # Life.

    def _configure(self, conn: Any, config: Any) -> None:
        conn.max_read = MAX_READ
        conn.max_background = MAX_BACKGROUND
        conn.congestion_threshold = MAX_BACKGROUND * 3 // 4
        self._want(conn)
        config.use_ino = 1
        config.nullpath_ok = 1
        config.entry_timeout = config.attr_timeout = self._options.cache_seconds
        config.negative_timeout = 0
        self._forgetter = Forgetter(mfusepy._libfuse, mfusepy._libfuse.fuse_get_context().contents.fuse)
        self._fs.shown.forget = self._forgetter.forget
        self._fs.pid_of_caller = _pid_of_caller
        threading.Thread(target=self._started, name="mounted", daemon=True).start()

    def _want(self, conn: Any) -> None:
        """Ask the kernel for what we want of its offer, and tell the filesystem whether reads are passed through."""
        current = libfuse.loaded(mfusepy._libfuse) >= libfuse.PASSTHROUGH_SINCE
        # Newer versions of libfuse have 64 of these bits, and want them set in one of the two places.
        offered, field = (conn.capable_ext, "want_ext") if current else (conn.capable, "want")
        # The kernel clears suid and sgid bits on writes by others; daemons that promise it often forget.
        # And with splice libfuse takes each write through a pipe into memory it allocates for it. Without "auto" the
        # kernel always asks for names with their attributes: who scans a library wants them all, and we have them.
        wanted = getattr(conn, field) & ~(_CAP_HANDLE_KILLPRIV | _CAP_SPLICE_READ | _CAP_READDIRPLUS_AUTO)
        refusal = self._refusal(current, offered)
        if not refusal:
            wanted |= _CAP_PASSTHROUGH
            conn.max_backing_stack_depth = _STACKED_OVER
        setattr(conn, field, wanted)
        self._fs.passthrough.offer(None if refusal else Backings(_session_fd()), refusal)

    def _refusal(self, current: bool, offered: int) -> str:
        """Why local files are not passed through; "" if they are."""
        if not self._options.passthrough:
            return "turned off by [mount] passthrough"
        if not current:
            found = libfuse.in_words(libfuse.loaded(mfusepy._libfuse))
            return f"it needs libfuse 3.17, and this is {found}: scripts/libfuse builds a newer one"
        return "" if offered & _CAP_PASSTHROUGH else "this kernel does not offer it: it needs Linux 6.9"

    def _end(self, _path: str) -> None:
        if self._forgetter:
            self._forgetter.close()

    # Names.

    def getattr_fuse_3(self, path: bytes | None, buf: Any, fip: Any) -> None:
        # What libfuse asks for itself after a change it passes on; what the kernel asks for it counts anew.
        as_it_is = self._thread.previous in _CHANGES
        attr = self._fs.fstat(fip.contents.fh, as_it_is) if fip else self._fs.stat(_tree(path), as_it_is)
        pack_stat(buf.contents, attr)

    def readlink(self, path: bytes, buf: Any, size: int) -> None:
        target = os.fsencode(self._fs.readlink(_tree(path)))[: size - 1] + b"\0"
        ctypes.memmove(buf, target, len(target))

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        self._fs.mknod(_tree(path), mode, device, _caller())

    def mkdir(self, path: bytes, mode: int) -> None:
        self._fs.mkdir(_tree(path), mode, _caller())

    def unlink(self, path: bytes) -> None:
        self._fs.unlink(_tree(path))

    def rmdir(self, path: bytes) -> None:
        self._fs.rmdir(_tree(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        self._fs.symlink(os.fsdecode(target), _tree(path), _caller())

    def rename_fuse_3(self, source: bytes, target: bytes, flags: int) -> None:
        self._fs.rename(_tree(source), _tree(target), flags)

    def link(self, source: bytes, path: bytes) -> None:
        self._fs.link(_tree(source), _tree(path))

    def chmod_fuse_3(self, path: bytes | None, mode: int, fip: Any) -> None:
        if fip:
            self._fs.fchmod(fip.contents.fh, mode)
        else:
            self._fs.chmod(_tree(path), mode)

    def chown_fuse_3(self, path: bytes | None, uid: int, gid: int, fip: Any) -> None:
        # (uid_t) -1 means "leave it"; Python wants that as a negative number.
        owner = (_signed(uid), _signed(gid))
        if fip:
            self._fs.fchown(fip.contents.fh, *owner)
        else:
            self._fs.chown(_tree(path), *owner)

    def truncate_fuse_3(self, path: bytes | None, size: int, fip: Any) -> None:
        if fip:
            self._fs.ftruncate(fip.contents.fh, size)
        else:
            self._fs.truncate(_tree(path), size)

    def utimens_fuse_3(self, path: bytes | None, times: Any, fip: Any) -> None:
        atime, mtime = (time_from(t.tv_sec, t.tv_nsec) for t in (times.contents.actime, times.contents.modtime))
        if fip:
            self._fs.futime(fip.contents.fh, atime, mtime)
        else:
            self._fs.utime(_tree(path), atime, mtime)

    def statfs(self, _path: bytes, buf: Any) -> None:
        space, out = self._fs.space(), buf.contents
        size = out.f_bsize = out.f_frsize = space.block_size
        out.f_blocks, out.f_bfree = space.total // size, space.free // size
        out.f_bavail = space.available // size
        out.f_files, out.f_ffree = space.files, space.files_free
        out.f_favail, out.f_namemax = space.files_free, space.name_max

    def setxattr(self, path: bytes, name: bytes, value: Any, size: int, flags: int) -> None:
        self._fs.setxattr(_tree(path), os.fsdecode(name), ctypes.string_at(value, size), flags)

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int) -> int:
        return _answer(self._fs.getxattr(_tree(path), os.fsdecode(name)), value, size)

    def listxattr(self, path: bytes, names: Any, size: int) -> int:
        return _answer(b"".join(os.fsencode(name) + b"\0" for name in self._fs.listxattr(_tree(path))), names, size)

    def removexattr(self, path: bytes, name: bytes) -> None:
        self._fs.removexattr(_tree(path), os.fsdecode(name))

    # Open files. Their path is NULL (nullpath_ok), so that a waiting read keeps no path locked.

    def open(self, path: bytes, fip: Any) -> None:
        _fill(fip, self._fs.open(_tree(path), fip.contents.flags))

    def create(self, path: bytes, mode: int, fip: Any) -> None:
        _fill(fip, self._fs.create(_tree(path), fip.contents.flags, mode, _caller()))

    def read(self, _path: None, buf: Any, size: int, offset: int, fip: Any) -> int:
        return self._fs.read(fip.contents.fh, _memory(buf, size), offset)

    def write(self, _path: None, buf: Any, size: int, offset: int, fip: Any) -> int:
        return self._fs.write(fip.contents.fh, _memory(buf, size), offset)

    def flush(self, _path: None, fip: Any) -> None:
        self._fs.flush(fip.contents.fh)

    def release(self, _path: None, fip: Any) -> None:
        self._fs.release(fip.contents.fh)

    def fsync(self, _path: None, data_only: int, fip: Any) -> None:
        self._fs.fsync(fip.contents.fh, bool(data_only))

    def fallocate(self, _path: None, mode: int, offset: int, length: int, fip: Any) -> None:
        self._fs.allocate(fip.contents.fh, mode, offset, length)

    def lseek(self, _path: None, offset: int, whence: int, fip: Any) -> int:
        return self._fs.seek(fip.contents.fh, offset, whence)

    # Directories.

    def opendir(self, path: bytes, fip: Any) -> None:
        fi = fip.contents
        fi.fh, fi.cache_readdir, fi.keep_cache = self._fs.opendir(_tree(path))

    def readdir_fuse_3(self, _path: None, buf: Any, filler: Any, offset: int, fip: Any, flags: int) -> None:
        plus = _FILL_DIR_PLUS if flags & _READDIR_PLUS else 0
        stat = mfusepy.c_stat()
        for following, name, attr in self._fs.readdir(fip.contents.fh, offset):
            pack_stat(stat, attr)
            # Offsets other than 0 let libfuse stop when its buffer is full, and pass the attributes on.
            if filler(buf, os.fsencode(name), stat, following, plus):
                break

    def fsyncdir(self, _path: None, _data_only: int, fip: Any) -> None:
        self._fs.fsyncdir(fip.contents.fh)

    def releasedir(self, _path: None, fip: Any) -> None:
        self._fs.releasedir(fip.contents.fh)


class Forgetter:
    """A thread that makes the kernel forget attributes of paths, and whom a change waits for.

    libfuse deadlocks when this is done inside a request that holds the same path; hence the thread.
    """

    def __init__(self, libfuse: Any, fuse: int) -> None:
        self._call = libfuse.fuse_invalidate_path
        self._call.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        self._fuse = fuse
        self._wanted: queue.SimpleQueue[tuple[list[str], threading.Event] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="forget", daemon=True)
        self._thread.start()

    def forget(self, paths: Iterable[str]) -> None:
        """Return when the kernel has forgotten these paths, at the latest after a few seconds."""
        done = threading.Event()
        self._wanted.put((list(paths), done))
        if not done.wait(_FORGET_SECONDS):
            log.warning("the kernel does not answer; attributes may be shown late for a moment")

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            paths, done = wanted
            for path in paths:
                # ENOENT: the kernel does not know that path any more, which is as good.
                self._call(self._fuse, b"/" + os.fsencode(path))
            done.set()

    def close(self) -> None:
        self._wanted.put(None)


def _session_fd() -> Callable[[], int]:
    """What answers the descriptor of this mount, which is not open yet while libfuse asks how to mount."""
    library, fuse = mfusepy._libfuse, mfusepy._libfuse.fuse_get_context().contents.fuse
    library.fuse_get_session.argtypes, library.fuse_get_session.restype = (ctypes.c_void_p,), ctypes.c_void_p
    library.fuse_session_fd.argtypes = (ctypes.c_void_p,)
    session = library.fuse_get_session(fuse)
    return lambda: int(library.fuse_session_fd(session))


def _pid_of_caller() -> int:
    """The process, or thread, for which the present call of libfuse is; 0 if the kernel does not tell."""
    return int(mfusepy.fuse_get_context()[2])


def _fill(fip: Any, opened: Opened) -> None:
    """What libfuse tells the kernel about an open file."""
    fi = fip.contents
    fi.fh, fi.keep_cache, way = opened.fh, opened.unchanged, opened.way
    if way.backing:
        fi.direct_io = way.direct
        ctypes.c_int32.from_address(ctypes.addressof(fi) + _BACKING_AT).value = way.backing


_memory_at = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_at.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_memory_at.restype = ctypes.py_object
_READ_AND_WRITE = 0x200  # PyBUF_WRITE


def _memory(buf: Any, size: int) -> memoryview:
    """The `size` bytes at a pointer of libfuse, good until the call is answered."""
    view: memoryview = _memory_at(buf, size, _READ_AND_WRITE)
    return view


def _tree(path: bytes | None) -> str:
    """The path in the tree that libfuse means; ESTALE when it has none to give."""
    if path is None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return os.fsdecode(path[1:])


def _caller() -> Caller:
    uid, gid, _pid = mfusepy.fuse_get_context()
    return Caller(uid, gid)


def _signed(owner: int) -> int:
    return -1 if owner == 0xFFFFFFFF else owner


def _answer(data: bytes, buf: Any, size: int) -> int:
    """The way of xattr calls: no buffer asks for the length, a short one is ERANGE."""
    if not size:
        return len(data)
    if len(data) > size:
        return -errno.ERANGE
    ctypes.memmove(buf, data, len(data))
    return len(data)
