"""Checks of the drives: there, the right ones, writable, with room, and on filesystems that can do what is needed."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli import pool
from cli.config import DriveConfig
from cli.doctoring.finding import Case, Check, Finding, quoted
from cli.output import human_size
from cli.state import StateFolder
from placement.beneath import Root
from placement.drive import Drive, refuse_clashes
from placement.eligible import measure
from placement.identity import IDENTITY, DriveError, Identity, read_identity
from placement.mounttable import Mount, mount_of, mounts

# As mount(8) calls filesystems that know no hard links; the first three know no owners either.
_NO_LINKS = frozenset(("vfat", "msdos", "exfat", "fuse.exfat", "fuse.rclone", "fuse.gcsfuse", "fuse.s3fs"))
# Of the inodes of a filesystem, the part below which they will soon be used up.
_FEW_INODES = 100
_MOST_NEIGHBOURS = 1000


def checks(case: Case) -> Iterator[tuple[str, Check]]:
    """A check for each drive, so that one that hangs hides no other, and those about all of them."""
    for drive in case.config.drive:
        yield f"drive {drive.name}", partial(_drive, drive)
    yield "drives", together
    yield "room", room


def _drive(config: DriveConfig, case: Case) -> Iterator[Finding]:
    what = f"drive {config.name}"
    known = pool.remembered(StateFolder(case.config.state.path).names).get(config.name)
    if known is None and _is_new(config.path):
        yield Finding(what, "ok", f"{config.path}: new, becomes a drive at the next mount")
        return
    try:
        drive = Drive.open(pool.drive_config(config), known=known)
    except DriveError as error:
        yield _lost(error, known)
        return
    try:
        yield from _lost_or_found(drive, known, Seen(case, config, what))
    finally:
        drive.close()


def _is_new(path: Path) -> bool:
    return path.is_dir() and not os.path.lexists(path / IDENTITY)


def _lost_or_found(drive: Drive, known: Identity | None, seen: "Seen") -> Iterator[Finding]:
    if drive.problem is not None:
        yield _lost(drive.problem, known)
        return
    found = list(seen.findings(drive))
    yield from found
    if not any(one.what == seen.what for one in found):
        size = measure(drive, seen.case.config.placement.min_free)
        text = f"{human_size(size.available)} free for new files of {human_size(size.total)}, {drive.tier or 'unknown'}"
        yield Finding(seen.what, "ok", text)


def _lost(problem: DriveError, known: Identity | None) -> Finding:
    """A drive that is not where it should be, and where it is, if some mount has it."""
    what, found = f"drive {problem.name}", f"{problem.path}: {problem.cause}"
    place = None if known is None else _elsewhere(problem.path, known)
    if place is None:
        return Finding(what, "problem", found, problem.remedy.rstrip("?.") + ("?" if "?" in problem.remedy else ""))
    remedy = f'it is at {place} now: write path = "{place}" in its [[drive]]'
    return Finding(what, "problem", found, remedy)


def _elsewhere(path: str, known: Identity) -> str | None:
    """Where the drive with this identity is: at some mount point, or in a folder beside its own."""
    places = [one.point for one in mounts() if not one.kind.startswith("fuse.")]
    with suppress(OSError), os.scandir(os.path.dirname(path)) as beside:
        places += [entry.path for entry, _ in zip(beside, range(_MOST_NEIGHBOURS), strict=False) if entry.is_dir()]
    return next((place for place in places if place != path and _has(place, known)), None)


def _has(place: str, known: Identity) -> bool:
    try:
        with Root(place) as root:
            return read_identity(root).id == known.id
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Seen:
    """A drive that is there, looked at more closely."""

    case: Case
    config: DriveConfig
    what: str

    def findings(self, drive: Drive) -> Iterator[Finding]:
        space = drive.space()
        mount = mount_of(os.path.realpath(drive.path))
        writable = drive.mode != "ro"
        if space.f_flag & os.ST_RDONLY and writable:
            yield self._read_only(mount)
        if writable and mount is not None:
            yield from self._features(drive, mount)
        if drive.mode == "rw" and not space.f_flag & os.ST_RDONLY:
            yield from self._inodes(space)
            yield from self._full(drive)

    def _read_only(self, mount: Mount | None) -> Finding:
        point = self.config.path if mount is None else mount.point
        remedy = (
            'mount it for writing, as root (if errors made it so, see dmesg and run fsck first), or write mode = "ro" '
            "in its [[drive]]"
        )
        found = f"{self.config.path}: its filesystem is mounted read-only"
        return Finding(self.what, "problem", found, remedy, f"mount -o remount,rw {quoted(point)}")

    def _features(self, drive: Drive, mount: Mount) -> Iterator[Finding]:
        remedy = (
            f"move its files away (mediapool pool drain {self.config.name}), give it ext4, xfs or btrfs, and add it "
            'again; or write mode = "ro" in its [[drive]]'
        )
        if mount.kind in _NO_LINKS:
            found = f"{mount.kind} knows no hard links, so importers copy"
            yield Finding(f"{self.what}: links", "problem", found, remedy)
        if not _takes_attributes(drive.path):
            found = f"{mount.kind} takes no extended attributes, so they are lost when files move there"
            yield Finding(f"{self.what}: attributes", "note", found, remedy)

    def _inodes(self, space: os.statvfs_result) -> Iterator[Finding]:
        """btrfs and the like count none: they cannot run out."""
        if space.f_files and space.f_favail * _FEW_INODES < space.f_files:
            remedy = (
                "move its small files to other drives; a filesystem made with more inodes (mkfs.ext4 -i 16384) takes "
                "more of them"
            )
            found = f"{self.config.path}: {space.f_favail} of {space.f_files} inodes are free, each new file needs one"
            command = self.case.command("pool", "drain", self.config.name)
            yield Finding(f"{self.what}: inodes", "problem" if not space.f_favail else "note", found, remedy, command)

    def _full(self, drive: Drive) -> Iterator[Finding]:
        size = measure(drive, self.case.config.placement.min_free)
        if not size.available:
            remedy = 'even the drives out, or write min_free = "0" in its [[drive]], to fill it to the brim'
            found = f"{self.config.path}: full but for min_free, so it gets no new files"
            yield Finding(f"{self.what}: room", "note", found, remedy, self.case.command("pool", "balance"))


def _takes_attributes(path: str) -> bool:
    try:
        os.getxattr(path, "user.mediapool.doctor")
    except OSError as error:
        return error.errno != errno.ENOTSUP
    return True


def together(case: Case) -> Iterator[Finding]:
    """No two drives are one, and each has a filesystem of its own."""
    if not case.config.drive:
        remedy = "add one, that new files can be written"
        command = case.command("pool", "add", "/mnt/disk1")
        yield Finding("drives", "note", "there is none: the tree is remote names alone", remedy, command)
        return
    found = pool.look_at(case.config, pool.remembered(StateFolder(case.config.state.path).names))
    try:
        there = [one for one in found if isinstance(one, Drive) and one.present]
        clashes = list(_clashes(there))
        yield from clashes
        shared = list(_shared(case))
        yield from shared
        if not clashes and not shared:
            yield Finding("drives", "ok", f"{len(case.config.drive)}, each with a filesystem of its own")
    finally:
        pool.close(found)


def _clashes(drives: list[Drive]) -> Iterator[Finding]:
    for position, later in enumerate(drives):
        try:
            for earlier in drives[:position]:
                refuse_clashes([earlier, later])
        except DriveError as error:
            is_copy = later.id == earlier.id or later.number == earlier.number
            command = f"rm {quoted(os.path.join(later.path, IDENTITY))}" if is_copy else ""
            found = f"{error.path}: {error.cause}"
            yield Finding(f"drive {error.name}: identity", "problem", found, error.remedy.rstrip("."), command)


def _shared(case: Case) -> Iterator[Finding]:
    """Drives on one filesystem fill it together, and none of them survives its disk."""
    first: dict[int, DriveConfig] = {}
    for drive in case.config.drive:
        try:
            device = os.stat(drive.path).st_dev
        except OSError:
            continue
        other = first.setdefault(device, drive)
        if other is not drive:
            found = f"it lies on one filesystem with drive {other.name}, so it adds no room"
            remedy = "take one of the two out (its files stay on it), or mount another disk at its path"
            command = case.command("pool", "remove", drive.name)
            yield Finding(f"drive {drive.name}: filesystem", "note", found, remedy, command)


def room(case: Case) -> Iterator[Finding]:
    """Some drive takes new files."""
    if not case.config.drive:
        return
    found = pool.look_at(case.config, pool.remembered(StateFolder(case.config.state.path).names))
    try:
        free = sum(_free(one, case.config.placement.min_free) for one in found if isinstance(one, Drive))
        new = any(_is_new(drive.path) for drive in case.config.drive)
    finally:
        pool.close(found)
    if free or new:
        yield Finding("room", "ok", f"{human_size(free)} for new files" if free else "drives are new")
    else:
        remedy = "add a drive, or free some room"
        command = case.command("pool", "add", "/mnt/FOLDER")
        yield Finding("room", "problem", "no drive takes new files: all are full, missing or read-only", remedy,
                      command)  # fmt: skip


def _free(drive: Drive, min_free: int) -> int:
    if drive.mode != "rw":
        return 0
    try:
        space = drive.space()
        if space.f_flag & os.ST_RDONLY or (space.f_files and not space.f_favail):
            return 0
        return measure(drive, min_free).available
    except OSError:
        return 0
