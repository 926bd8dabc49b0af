"""Which kind of drive it is, by the flag of its disk or the type of its filesystem."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from placement.drive import Drive
from placement.kinds import kind_of

DISK = os.makedev(8, 0)
PARTITION = os.makedev(8, 1)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """As the kernel lays it out: a disk that rotates, a partition of it, and one that does not."""
    for number, flag in (("8:0", 1), ("7:0", 0)):
        (tmp_path / "devices" / number / "queue").mkdir(parents=True)
        (tmp_path / "devices" / number / "queue/rotational").write_text(f"{flag}\n")
        (tmp_path / number).symlink_to(tmp_path / "devices" / number)
    (tmp_path / "devices/8:0/8:1").mkdir()
    (tmp_path / "8:1").symlink_to(tmp_path / "devices/8:0/8:1")
    return tmp_path


@pytest.mark.parametrize(
    ("filesystem", "device", "kind"),
    [
        ("ext4", DISK, "hdd"),
        ("xfs", PARTITION, "hdd"),
        ("ext4", os.makedev(7, 0), "ssd"),
        ("nfs4", os.makedev(0, 50), "network"),
        ("cifs", DISK, "network"),
        ("fuse.sshfs", os.makedev(0, 50), "network"),
        ("fuse.rclone", os.makedev(0, 50), "network"),
        ("tmpfs", os.makedev(0, 50), "ssd"),
        ("zfs", os.makedev(0, 50), None),
        ("fuse.mergerfs", os.makedev(0, 50), None),
    ],
)
def test_kinds(sysfs: Path, filesystem: str, device: int, kind: str | None) -> None:
    assert kind_of(filesystem, "none", device, sysfs) == kind


def test_of_a_filesystem_with_a_number_of_its_own_the_device_is_asked(sysfs: Path) -> None:
    """As btrfs has; a character device is as good for this as a disk."""
    null = Path("/dev/null").stat().st_rdev
    (sysfs / f"{os.major(null)}:{os.minor(null)}").symlink_to(sysfs / "devices/8:0")
    assert kind_of("btrfs", "/dev/null", os.makedev(0, 50), sysfs) == "hdd"
    assert kind_of("btrfs", "/dev/gone", os.makedev(0, 50), sysfs) is None


def test_the_kind_is_the_tier_unless_the_config_names_one(make_drive: Callable[..., Drive]) -> None:
    drive, named = make_drive("d1"), make_drive("d2", tier="archive")
    assert named.tier == "archive" and drive.tier == drive.kind == named.kind
    assert drive.kind in ("ssd", "hdd", "network", None)
