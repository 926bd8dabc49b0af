"""What kind of device a file lies on, and how many readers it likes at once.

An SSD answers many readers faster than one, also more than there are cores; a disk with one head answers one, in the
order in which the data lies; a network has latency that many readers hide. Source of the numbers: measured with
jdupes' tree on two cores, eight readers on an SSD beat one and two.
"""

import functools
import os
import sys
from pathlib import Path
from typing import Literal

from placement.mounttable import mounts

Kind = Literal["ssd", "hdd", "network"]

READERS: dict[Kind, int] = {"ssd": 8, "hdd": 1, "network": 8}
_NETWORK = frozenset(("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "afs", "davfs"))
_NETWORK_FUSE = ("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.mediapool")
# Disks of a virtual machine: their flag is the hypervisor's default and says nothing of the disk behind them.
_VIRTUAL = ("/virtio", "/vbd-", "/xen")
_SYS = Path("/sys/dev/block")


@functools.lru_cache(maxsize=256)
def kind_of(dev: int) -> Kind:
    """The kind of the device with this st_dev; "ssd" where nothing says otherwise."""
    if sys.platform != "linux":
        return "ssd"
    if os.major(dev):
        return _kind_of_block(f"{os.major(dev)}:{os.minor(dev)}", _SYS)
    mount = next((one for one in mounts() if one.device == f"0:{os.minor(dev)}"), None)
    if mount is None:
        return "ssd"
    if mount.kind in _NETWORK or mount.kind.startswith(_NETWORK_FUSE):
        return "network"
    # btrfs and others number their filesystems themselves; the first of their disks is as good a guess as any.
    try:
        found = os.stat(mount.source).st_rdev if mount.source.startswith("/dev/") else 0
    except OSError:
        return "ssd"
    return _kind_of_block(f"{os.major(found)}:{os.minor(found)}", _SYS) if found else "ssd"


def _kind_of_block(number: str, known: Path) -> Kind:
    """What `known`, /sys/dev/block, says of the device `number`, or of those that it is made of."""
    device = (known / number).resolve()
    if (device / "partition").exists():
        device = device.parent
    if any(name in str(device) for name in _VIRTUAL):
        return "ssd"
    below = [_text(slave / "dev") for slave in _children(device / "slaves")]
    if below:
        return "hdd" if any(_kind_of_block(slave, known) == "hdd" for slave in below) else "ssd"
    if backing := _text(device / "loop" / "backing_file"):
        try:
            return kind_of(os.stat(backing).st_dev)
        except OSError:
            return "ssd"
    return "hdd" if _text(device / "queue" / "rotational") == "1" else "ssd"


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
