"""Which kind of drive a folder lies on: "ssd", "hdd" or "network"; the tier of a drive that names none of its own."""

from pathlib import Path
from typing import Literal

from placement import system as os

Kind = Literal["ssd", "hdd", "network"]

# As mount(8) calls filesystems whose bytes lie on another machine.
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "ncpfs", "glusterfs", "lustre", "beegfs", "davfs")
)
_NETWORK_PROGRAMS = ("sshfs", "rclone", "glusterfs", "ceph", "s3fs", "davfs", "cifs", "juicefs", "goofys", "gcsfuse")
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))


def kind_of(filesystem: str, source: str, device: int, sysfs: Path = Path("/sys/dev/block")) -> Kind | None:
    """The kind of drive, from the flag by which the kernel says whether its disk rotates; None where unknown.

    `filesystem` and `source` as in mountinfo(5), `device` an st_dev. Filesystems over several devices, such as
    btrfs, have an st_dev of their own: then the device that is mounted is asked.
    """
    if filesystem in _NETWORK or filesystem.removeprefix("fuse.").startswith(_NETWORK_PROGRAMS):
        return "network"
    if filesystem in _IN_MEMORY:
        return "ssd"
    flag = _rotates(device, sysfs)
    if flag is None and source.startswith("/"):
        try:
            flag = _rotates(os.stat(source).st_rdev, sysfs)
        except OSError:
            return None
    return None if flag is None else "hdd" if flag else "ssd"


def _rotates(device: int, sysfs: Path) -> bool | None:
    """As /sys/dev/block/MAJOR:MINOR/queue/rotational says; a partition has it one folder above."""
    place = sysfs / f"{os.major(device)}:{os.minor(device)}"
    for folder in (place, place.resolve().parent):
        try:
            return (folder / "queue/rotational").read_text().strip() == "1"
        except OSError:
            continue
    return None
