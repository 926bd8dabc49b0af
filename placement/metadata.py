"""What belongs to a file besides its content: owner, mode, times, extended attributes, or being a FIFO.

Objects are given as open descriptors, O_PATH is enough, so a name that is exchanged meanwhile is not met and
no symbolic link is followed.
"""

import errno
import logging
import stat
import sys

from placement import system as os

log = logging.getLogger(__name__)

_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
# FS_IOC_GETFLAGS with the flags of chattr +i and +a, from <linux/fs.h>.
_GET_FLAGS = 0x80086601
_FIXED = 0x10 | 0x20


def by_proc(fd: int) -> str:
    """A path that means the object itself, whatever it is; what stands at its end is not followed further."""
    return f"/proc/self/fd/{fd}"


def copy_attributes(source: int, target: int, found: os.stat_result) -> None:
    """Give `target` owner, mode and times (ns) as in `found`, and the extended attributes of `source`.

    Attributes "user." are copied or it fails, naming them; "security." is tried; the others (ACLs,
    "trusted.") are copied where the filesystem of `target` knows them. Access times and dates are kept as
    finely as that filesystem can. OSError; EPERM where it silently keeps no owners or modes.
    """
    place = by_proc(target)
    have = os.fstat(target)
    if (have.st_uid, have.st_gid) != (found.st_uid, found.st_gid):
        os.chown(place, found.st_uid, found.st_gid)
    # Before the mode, which may forbid it, and after the owner, which clears capabilities.
    copy_xattrs(source, target)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(place, stat.S_IMODE(found.st_mode))
    os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
    have = os.fstat(target)
    if (have.st_mode, have.st_uid, have.st_gid) != (found.st_mode, found.st_uid, found.st_gid):
        raise OSError(errno.EPERM, "its owner or mode cannot be kept there")


def copy_xattrs(source: int, target: int) -> None:
    """Extended attributes as `copy_attributes` says; OSError names the one that failed."""
    names = _xattr_names(source)
    for name in names:
        try:
            _copy_xattr(source, target, name)
        except OSError as error:
            if not _may_be_lost(name, error):
                raise OSError(error.errno, f"extended attribute {name}: {error.strerror}") from error
            log.info("extended attribute %s is not kept: %s", name, error.strerror)
    for name in set(_xattr_names(target)) - set(names):
        # Inherited from the folder it was made in, or removed from the source since it was copied first.
        if name.startswith(("user.", "trusted.", "system.posix_acl_")):
            os.removexattr(by_proc(target), name)


def _copy_xattr(source: int, target: int, name: str) -> None:
    try:
        value = os.getxattr(by_proc(source), name)
    except OSError as error:
        if error.errno == errno.ENODATA:  # removed meanwhile
            return
        raise
    os.setxattr(by_proc(target), name, value)


def _may_be_lost(name: str, error: OSError) -> bool:
    return name.startswith("security.") or (error.errno in _NO_XATTRS and not name.startswith("user."))


def _xattr_names(fd: int) -> list[str]:
    try:
        return os.listxattr(by_proc(fd))
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return []
        raise


def recreate(source: int, dirfd: int, name: str) -> None:
    """Make what `source` is, a symbolic link, FIFO, socket or device, anew as `name`; OSError."""
    found = os.fstat(source)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(link_text(source), name, dir_fd=dirfd)
    else:
        os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=dirfd)


def link_text(fd: int) -> str:
    """Where the symbolic link `fd` (O_PATH) points; OSError."""
    return os.readlink("", dir_fd=fd)


def is_same_special(one: int, other: int) -> bool:
    """Whether two objects that are no regular files are the same kind of thing with the same meaning."""
    first, second = os.fstat(one), os.fstat(other)
    if (stat.S_IFMT(first.st_mode), first.st_rdev) != (stat.S_IFMT(second.st_mode), second.st_rdev):
        return False
    return not stat.S_ISLNK(first.st_mode) or link_text(one) == link_text(other)


def is_fixed(fd: int) -> bool:
    """Whether chattr(1) made the file or folder `fd` immutable or append-only: no name of it can be removed."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        answer = fcntl.ioctl(fd, _GET_FLAGS, bytes(8))
    except OSError:
        return False
    return bool(int.from_bytes(answer[:4], sys.byteorder) & _FIXED)
