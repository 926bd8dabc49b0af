"""The two ioctl calls by which the kernel is given files that it reads by itself (Linux 6.9, <linux/fuse.h>)."""

import fcntl
import logging
import os
import struct
from collections.abc import Callable

log = logging.getLogger(__name__)

# _IOW(229, 1, struct fuse_backing_map) and _IOW(229, 2, uint32_t).
_OPEN = 1 << 30 | 16 << 16 | 229 << 8 | 1
_CLOSE = 1 << 30 | 4 << 16 | 229 << 8 | 2
# struct fuse_backing_map: int32 fd, uint32 flags, uint64 padding.
_MAP = struct.Struct("=iIQ")


class Backings:
    """`vfs.passthrough.Kernel` of one mount."""

    def __init__(self, session_fd: Callable[[], int]) -> None:
        """`session_fd` answers the descriptor of /dev/fuse by which the mount is served."""
        self._session_fd = session_fd

    def open(self, fd: int) -> int:
        """The kernel's number for the file; OSError: EPERM without CAP_SYS_ADMIN, ELOOP on a stacked filesystem."""
        # With a buffer that may be written to, Python gives what the call returns instead of the buffer.
        return int(fcntl.ioctl(self._session_fd(), _OPEN, bytearray(_MAP.pack(fd, 0, 0)), True))

    def close(self, number: int) -> None:
        try:
            fcntl.ioctl(self._session_fd(), _CLOSE, struct.pack("=I", number))
        except OSError as cause:
            log.debug("file %d of the kernel could not be closed: %s", number, os.strerror(cause.errno or 0))
