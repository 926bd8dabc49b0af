"""`Buffers`: memory for chunks on their way, used again as soon as the last view of it is gone."""

import ctypes
import mmap
import sys
import weakref

from vfs.chunks import CHUNK

IDLE = 8  # buffers kept for the next chunk

# Populated at once, which costs a third of a page fault for each page.
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
_Whole = ctypes.c_ubyte * CHUNK


class Buffers:
    """Writable views of memory of their own, of at most a chunk each. Thread-safe.

    New memory has to be cleared by the kernel, page by page, which costs more than to bring a chunk over the
    loopback. And from malloc, chunks that come and go in dozens of threads would leave holes as large as what
    is in use; what is not kept goes back to the system.
    """

    def __init__(self, idle: int = IDLE) -> None:
        self._most = idle
        self._idle: list[mmap.mmap] = []

    @property
    def idle(self) -> int:
        """Bytes that nobody uses and that are kept."""
        return len(self._idle) * CHUNK

    def take(self, size: int) -> memoryview:
        """`size` bytes of whatever content, in use until the last view of them is gone."""
        if size != CHUNK:
            return memoryview(_mapped(size))
        try:
            memory = self._idle.pop()
        except IndexError:
            memory = _mapped(size)
        # A memoryview cannot be watched, and a mapping comes back to life only once; this lives as long as the views.
        whole = _Whole.from_buffer(memory)
        weakref.finalize(whole, self._give_back, memory).atexit = False
        return memoryview(whole).cast("B")

    def _give_back(self, memory: mmap.mmap) -> None:
        """Called by whichever thread lets go of the last view, so it takes no lock."""
        if len(self._idle) < self._most:
            self._idle.append(memory)


def _mapped(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _POPULATE)
