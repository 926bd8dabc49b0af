"""Checks of this machine: the device, the library, the kernel, and what they let this user do."""

import errno
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from cli.doctoring.containers import container
from cli.doctoring.finding import Case, Finding
from vfs import libfuse

_DEVICE = "/dev/fuse"
_FUSE_CONF = Path("/etc/fuse.conf")
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
# Bit of CapEff in /proc/self/status, from <linux/capability.h>.
_CAP_SYS_ADMIN = 1 << 21
_PASSTHROUGH_LINUX = (6, 9)
# Since then requests of FUSE may have 1 MiB instead of 128 KiB.
_LARGE_REQUESTS_LINUX = (4, 20)
# Each open file of the tree is one of ours, often two: a library scan beside a few players and downloads.
_OPEN_FILES = 8192
# One for each folder of a library; where there are no more, servers stop watching without a word.
_ENOUGH_WATCHES = 100_000
_MORE_WATCHES = 524_288
_CONTAINER = "give the container the device and the right to mount: --device /dev/fuse --cap-add SYS_ADMIN"


def device(case: Case) -> Iterator[Finding]:
    """/dev/fuse is there and may be opened."""
    if not os.path.exists(_DEVICE):
        yield _no_device()
        return
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        yield _closed_device(error)
    else:
        yield Finding(_DEVICE, "ok", "may be opened")


def _no_device() -> Finding:
    if "\tfuse\n" not in Path("/proc/filesystems").read_text():
        return Finding(_DEVICE, "problem", "missing", "load the kernel module fuse, as root", "modprobe fuse")
    if container():
        return Finding(_DEVICE, "problem", "missing", _CONTAINER, f"mknod -m 666 {_DEVICE} c 10 229")
    return Finding(_DEVICE, "problem", "missing", "make it, as root", f"mknod -m 666 {_DEVICE} c 10 229")


def _closed_device(error: OSError) -> Finding:
    if error.errno == errno.EACCES:
        remedy = "let all users open it, as root, or mount as root"
        return Finding(_DEVICE, "problem", "this user may not open it", remedy, f"chmod 666 {_DEVICE}")
    cause = f"cannot be opened: {error.strerror}"
    if container():
        return Finding(_DEVICE, "problem", cause, _CONTAINER)
    return Finding(_DEVICE, "problem", cause, "load the kernel module fuse, as root", "modprobe fuse")


def library(case: Case) -> Iterator[Finding]:
    """libfuse 3 can be loaded."""
    found = libfuse.chosen()
    if not found:
        yield Finding("libfuse", "problem", "no libfuse 3", "install it (Debian, Ubuntu)", "apt install fuse3")
        return
    where = str(libfuse.built()) if libfuse.built().exists() else "the system's"
    yield Finding("libfuse", "ok", f"{libfuse.in_words(found)}, {where}")


def right_to_mount(case: Case) -> Iterator[Finding]:
    """This user may mount: as root with its capability, else by fusermount3."""
    what = "right to mount"
    if os.geteuid() == 0:
        if _is_admin():
            yield Finding(what, "ok", "root")
        else:
            yield Finding(what, "problem", "root, but without CAP_SYS_ADMIN", _CONTAINER)
    elif shutil.which("fusermount3"):
        yield Finding(what, "ok", "by fusermount3")
    else:
        remedy = "only root can mount without it; install it (Debian, Ubuntu)"
        yield Finding(what, "problem", "fusermount3 is missing", remedy, "apt install fuse3")


def other_users(case: Case) -> Iterator[Finding]:
    """Other users, such as a media server's, may look into the tree."""
    what = "other users"
    if not case.config.mount.allow_other:
        remedy = "a media server under another user sees nothing: write allow_other = true in [mount]"
        yield Finding(what, "note", "only the user who mounts may look in", remedy)
    elif os.geteuid() != 0 and not _allows_others():
        remedy = f"as root, add the line user_allow_other to {_FUSE_CONF}"
        yield Finding(
            what, "problem", f"{_FUSE_CONF} does not allow it", remedy, f"echo user_allow_other >> {_FUSE_CONF}"
        )
    else:
        yield Finding(what, "ok", "may look in, as far as permissions say")


def _allows_others() -> bool:
    try:
        lines = _FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.partition("#")[0].strip() == "user_allow_other" for line in lines)


def kernel(case: Case) -> Iterator[Finding]:
    """Its version, as far as that matters; passthrough has its own check."""
    release = platform.release()
    if _linux() < _LARGE_REQUESTS_LINUX:
        remedy = "use a newer kernel; 6.9 reads local files at the speed of the disk"
        yield Finding("kernel", "note", f"{release}: reads go in pieces of 128 KiB", remedy)
    else:
        yield Finding("kernel", "ok", release)


def _linux() -> tuple[int, ...]:
    numbers = platform.release().split("-")[0].split(".")[:2]
    return tuple(int(part) for part in numbers if part.isdecimal())


def passthrough(case: Case) -> Iterator[Finding]:
    """As the running mount says it; else as far as can be told from outside."""
    refusal, remedy, command = foreseen(case) if case.status is None else _told(case)
    if refusal:
        yield Finding("passthrough", "note", refusal, remedy, command)
    else:
        yield Finding("passthrough", "ok", "the kernel reads local files by itself")


def _told(case: Case) -> tuple[str, str, str]:
    assert case.status is not None
    refusal = case.status["passthrough"]["why"]
    _, remedy, command = foreseen(case)
    return refusal, remedy or "mount again, which looks anew", command if remedy else case.command("unmount")


def foreseen(case: Case) -> tuple[str, str, str]:
    """Why the next mount will have no passthrough, the remedy, and a command; all "" if it will."""
    slower = "local files are read through mediapool, which is slower"
    if case.config.mount.passthrough == "off":
        return "turned off by [mount] passthrough", f'{slower}: write passthrough = "auto" in [mount]', ""
    if _linux() < _PASSTHROUGH_LINUX:
        return f"it needs Linux 6.9, and this is {platform.release()}", f"{slower}: use a newer kernel", ""
    found = libfuse.chosen()
    if found < libfuse.PASSTHROUGH_SINCE:
        why = f"it needs libfuse 3.17, and this is {libfuse.in_words(found)}"
        return why, f"{slower}: build a newer libfuse, in the folder of mediapool", "scripts/libfuse"
    if not _is_admin():
        return "it needs root (CAP_SYS_ADMIN)", f"{slower}: mount as root", "sudo " + case.command("mount")
    return "", "", ""


def _is_admin() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(effective, 16) & _CAP_SYS_ADMIN)


def open_files(case: Case) -> Iterator[Finding]:
    """How many files the mount may have open: the running one, or one that is started from here."""
    pid = 0 if case.contact is None else case.contact.pid
    # A mount makes use of all that it may have, so the hard limit counts.
    _soft, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY or most >= _OPEN_FILES:
        yield Finding("open files", "ok", "no limit" if most == resource.RLIM_INFINITY else f"{most} at most")
        return
    remedy = (
        "allow more: as root in the shell that mounts, or LimitNOFILE=65536 in its unit, or --ulimit nofile=65536 "
        "for its container"
    )
    command = f"prlimit --pid {pid} --nofile=65536:65536" if pid else "ulimit -n 65536"
    yield Finding("open files", "note", f"{most} at most, and each file that is open in the tree is one", remedy,
                  command)  # fmt: skip


def watches(case: Case) -> Iterator[Finding]:
    """How many folders programs may watch: media servers of this machine do."""
    what = "watched folders"
    try:
        most = int(_WATCHES.read_text())
    except (FileNotFoundError, ValueError):
        return
    if most < _ENOUGH_WATCHES:
        remedy = "beyond that media servers stop noticing new files, without a word: allow more, as root"
        command = f"sysctl -w fs.inotify.max_user_watches={_MORE_WATCHES}"
        yield Finding(what, "note", f"{most} a user at most", remedy, command)
    else:
        yield Finding(what, "ok", f"{most} a user at most")


CHECKS = (
    (_DEVICE, device),
    ("libfuse", library),
    ("right to mount", right_to_mount),
    ("other users", other_users),
    ("kernel", kernel),
    ("passthrough", passthrough),
    ("open files", open_files),
    ("watched folders", watches),
)
