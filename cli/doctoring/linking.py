"""Whether link and rename work between folders, as Sonarr or Radarr would use them in one container.

The kernel refuses both between two mounts (EXDEV), also of one filesystem: two volumes of a container are two mounts.
Then a program copies, and of a remote file that is a download of all of it.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from cli.doctoring.finding import Case, Check, Finding, quoted
from placement.mounttable import Mount, is_at_or_below, mounts

_GROUP = "paths"


def checks(paths: Sequence[Path], really: bool) -> Iterator[tuple[str, str, Check]]:
    """The checks between each two of `paths`; `really`: by linking and renaming a file of their own, removed again."""
    for one, other in combinations(paths, 2):
        yield _GROUP, f"{one} and {other}", _checking(os.path.realpath(one), os.path.realpath(other), really)


def _checking(one: str, other: str, really: bool) -> Check:
    def check(_case: Case) -> Iterator[Finding]:
        what = f"{one} and {other}"
        if lacking := next((path for path in (one, other) if not os.path.isdir(path)), None):
            remedy = "name folders that exist here; in a container, by their paths in there"
            yield Finding(what, "problem", f"{lacking} is no folder", remedy)
            return
        places = _mount(one), _mount(other)
        if places[0].id != places[1].id:
            yield _separate(what, (one, other), places)
        elif really and (refused := _tried(one, other)):
            yield _refused(what, refused)
        else:
            tried = "linked and renamed a file" if really else "one mount"
            yield Finding(what, "ok", f"{tried}: link and rename work")

    return check


def _mount(path: str) -> Mount:
    """The mount that the folder is on, by its id: names do not tell which of two mounts over one another is seen."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    finally:
        os.close(fd)
    number = next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))
    return next(mount for mount in mounts() if mount.id == number)


def _separate(what: str, paths: tuple[str, str], places: tuple[Mount, Mount]) -> Finding:
    one, other = places
    # Nobody mounts anything at the root.
    common = os.path.commonpath(paths) if os.path.commonpath(paths) != "/" else "/data"
    if one.device != other.device:
        cause = f"two filesystems ({one.kind} at {one.point}, {other.kind} at {other.point}): files are copied"
        remedy = (
            f"give this container the whole tree as one volume in place of these: -v TREE:{common}, "
            "TREE being the [mount] path of mediapool"
        )
        return Finding(what, "problem", cause, remedy)
    cause = f"separate mounts of one filesystem ({one.point}, {other.point}): files are copied instead of linked"
    source = os.path.commonpath([_source(one, paths[0]), _source(other, paths[1])])
    if (whole := _shown_at(one.device, source)) is None:
        where = "the folder of the host that holds both"
        remedy = f"give this container one volume in place of these two: -v FOLDER:{common}, FOLDER being {where}"
        return Finding(what, "problem", cause, remedy)
    remedy = f"use one mount in place of these two; for a container: -v {quoted(whole)}:{quoted(common)}"
    points = " ".join(quoted(place.point) for place in places)
    return Finding(what, "problem", cause, remedy, f"umount {points} && mount --bind {quoted(whole)} {quoted(common)}")


def _source(mount: Mount, path: str) -> str:
    """What `path` is called in its filesystem."""
    return os.path.normpath(os.path.join(mount.root, os.path.relpath(path, mount.point)))


def _shown_at(device: str, source: str) -> str | None:
    """Where a folder of a filesystem can be seen by this process, if anywhere."""
    for mount in mounts():
        if mount.device == device and is_at_or_below(source, mount.root):
            shown = os.path.normpath(os.path.join(mount.point, os.path.relpath(source, mount.root)))
            with contextlib.suppress(OSError):
                if _mount(shown).id == mount.id:
                    return shown
    return None


def _tried(one: str, other: str) -> OSError | None:
    """Link and rename an empty file of our own from one folder to the other; why that fails."""
    name = f".mediapool-doctor-{uuid.uuid4().hex}"
    first, second, third = os.path.join(one, name), os.path.join(other, name), os.path.join(other, name + "-renamed")
    try:
        os.close(os.open(first, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.link(first, second)
        os.unlink(second)
        os.rename(first, third)
    except OSError as error:
        return error
    finally:
        for path in (first, second, third):
            _remove(path)
    return None


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _refused(what: str, error: OSError) -> Finding:
    cause = f"link or rename fails: {error.strerror}"
    remedies: dict[int, str] = {
        errno.EACCES: "let this user write to both folders",
        errno.EPERM: "use a filesystem with hard links, such as ext4, xfs, btrfs, or the tree of mediapool",
        errno.EROFS: "mount them for writing",
        errno.ENOSPC: "make room there",
    }
    remedy = remedies.get(error.errno or 0, "look at the kernel's log: dmesg | tail")
    return Finding(what, "problem", cause, remedy)
