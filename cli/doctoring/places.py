"""Checks of the folders that are mediapool's own, cache and state, and of the port it listens on."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cli.doctoring.finding import Case, Finding, quoted
from cli.output import human_size
from cli.state import StateFolder
from placement.eligible import GIB, MIN_FREE_PART, kept_free
from placement.mounttable import mount_of

# Bytes; names of remote files and the catalog grow, and a name that cannot be recorded is an error.
_LEAST_STATE = 64 << 20
_MIB = 1 << 20
# The state of a socket that listens, in /proc/net/tcp.
_LISTENS = "0A"


def cache(case: Case) -> Iterator[Finding]:
    """The disk of the cache has room for what it may hold."""
    section = case.config.cache
    if not (folder := _existing(section.path)):
        return
    space = os.statvfs(folder)
    there = space.f_bavail * space.f_frsize + _held(case)
    if not os.access(folder, os.W_OK):
        remedy = "let this user write there, or name another folder in [cache] path; until then nothing is cached"
        command = _made_writable(section.path, folder, space)
        yield Finding("cache", "problem", f"{section.path}: cannot be written", remedy, command)
    elif there < section.size + section.min_free:
        found = f"{section.path}: {human_size(there)} there, [cache] size and min_free want "
        found += human_size(section.size + section.min_free)
        yield Finding("cache", "note", found, _smaller(there - section.min_free))
    else:
        yield Finding("cache", "ok", f"{section.path}: room for all of {human_size(section.size)}")


def _smaller(most: int) -> str:
    if most < _MIB:
        return "name a folder on another disk in [cache] path; until then next to nothing is cached"
    return f'write size = "{most // _MIB}MiB" in [cache], or name a folder on another disk in its path'


def _held(case: Case) -> int:
    """Bytes that the cache has already: as the mount says it, else as they lie in its folder."""
    if case.status is not None:
        return int(case.status["cache"]["main"] + case.status["cache"]["edges"])
    total = 0
    for folder, _, names in os.walk(case.config.cache.path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def state(case: Case) -> Iterator[Finding]:
    """What mediapool has to remember can be written, also when the drives are full."""
    path = StateFolder(case.config.state.path).path
    if not (folder := _existing(path)):
        return
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if not os.access(folder, os.W_OK):
        remedy = "let this user write there, or name another folder in [state] path"
        command = _made_writable(path, folder, space)
        yield Finding("state", "problem", f"{path}: cannot be written", remedy, command)
    elif free < _LEAST_STATE:
        remedy = "free some room there (this shows what takes it), or move the folder and name it in [state] path"
        command = f"du -xh -d 2 {quoted(_mount_point(folder))} | sort -h | tail"
        yield Finding("state", "problem", f"{path}: only {human_size(free)} free", remedy, command)
    else:
        yield from _beside_drives(case, folder)


def _made_writable(path: Path, folder: Path, space: os.statvfs_result) -> str:
    """The command that lets this user write to `path`, of which `folder` is what there is."""
    if space.f_flag & os.ST_RDONLY:
        return f"sudo mount -o remount,rw {quoted(_mount_point(folder))}"
    return f"sudo install -d -m 700 -o {os.geteuid()} {quoted(path)}"


def _mount_point(folder: Path) -> str:
    holder = mount_of(os.path.realpath(folder))
    return holder.point if holder else str(folder)


def _beside_drives(case: Case, folder: Path) -> Iterator[Finding]:
    path, device = case.config.state.path, os.stat(folder).st_dev
    for drive in case.config.drive:
        with suppress(OSError):
            if drive.mode != "rw" or os.stat(drive.path).st_dev != device:
                continue
            space = os.statvfs(drive.path)
            total = space.f_blocks * space.f_frsize
            kept = kept_free(drive.min_free, total, case.config.placement.min_free)
            if kept < min(GIB, total // MIN_FREE_PART):
                found = f"{path}: on the filesystem of drive {drive.name}, whose files may fill it"
                remedy = 'write min_free = "1GiB" in [placement] and in that [[drive]], or name another [state] path'
                yield Finding("state", "note", found, remedy)
                return
    yield Finding("state", "ok", f"{path}: can be written")


def _existing(path: Path) -> Path | None:
    """The folder, or the nearest above it that is there; None if that cannot be told."""
    return next((each for each in (path, *path.parents) if os.path.isdir(each)), None)


def port(case: Case) -> Iterator[Finding]:
    """The address of [http] listen is free, or the running mount has it."""
    host, number = case.config.http.address
    what, listen = "port", case.config.http.listen
    if case.contact is not None:
        yield Finding(what, "ok", f"the mount listens at {case.contact.url}")
        return
    error = _refusal(host, number)
    if error is None:
        yield Finding(what, "ok", f"{listen} is free")
        return
    others = _others(number)
    whose = f" by {others}" if others else ""
    remedy = f'end that program, or write listen = "{_with_port(host, _free_port(host, number))}" in [http]'
    cause = f"taken{whose}" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
    yield Finding(what, "problem", f"{listen}: {cause}", remedy)


def _refusal(host: str, number: int) -> OSError | None:
    """Why nobody can listen there; None if one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the daemon does: connections of before that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _free_port(host: str, number: int) -> int:
    """The next one that is free, 0 for any if there is none near."""
    return next((each for each in range(number + 1, min(number + 100, 65536)) if _refusal(host, each) is None), 0)


def _with_port(host: str, number: int) -> str:
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _others(number: int) -> str:
    """The programs that listen on this port, as far as this user may know; "" if none."""
    sockets = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net", table), number)}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):
                found.add(f"{(process / 'comm').read_text().strip()} (process {process.name})")
    return ", ".join(sorted(found))


def _listening(table: Path, number: int) -> Iterator[str]:
    """Sockets that listen on a port, as links below /proc/PID/fd name them."""
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == number:
                yield f"socket:[{fields[9]}]"


CHECKS = (("cache", cache), ("state", state), ("port", port))
