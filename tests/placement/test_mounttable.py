"""Mounts as the kernel lists them."""

import os
from pathlib import Path

import pytest

from placement.mounttable import Mount, is_at_or_below, mount_at, mount_of, mounts, parse

LINE = r"36 35 98:0 /pool/a\040b /mnt/d\134isk rw,noatime shared:7 master:1 - ext3 /dev/root\040x rw,errors=continue"


def mount(number: int, point: str) -> Mount:
    return Mount(number, "0:1", "/", point, ("rw",), (), "ext4", "/dev/x")


def test_a_line() -> None:
    found = parse(LINE + "\n")
    assert (found.id, found.device, found.root, found.point) == (36, "98:0", "/pool/a b", "/mnt/d\\isk")
    assert (found.options, found.tags) == (("rw", "noatime"), ("shared:7", "master:1"))
    assert (found.kind, found.source) == ("ext3", "/dev/root x")
    assert parse(LINE.replace(" shared:7 master:1", "")).tags == ()
    with pytest.raises(ValueError):
        parse("not a line")


def test_the_mount_of_a_path_is_the_nearest_and_topmost() -> None:
    table = [mount(1, "/"), mount(2, "/mnt"), mount(3, "/mnt/disk"), mount(4, "/mnt/disk"), mount(5, "/mnt/disk2")]
    for path, number in {"/": 1, "/home": 1, "/mnt": 2, "/mnt/disk": 4, "/mnt/disk/a": 4, "/mnt/disk3": 2}.items():
        assert (found := mount_of(path, table)) is not None and found.id == number, path
    assert mount_of("/", []) is None


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/", True), ("/", "/a", False)],
)
def test_at_or_below(path: str, folder: str, below: bool) -> None:
    assert is_at_or_below(path, folder) is below


def test_this_machine() -> None:
    found = mount_at("/proc")
    assert found is not None and found.kind == "proc" and found in mounts()
    assert mount_at(Path("/proc/self")) is None
    root = mount_of("/")
    # Of a process in a mount namespace of its own the root need not be listed.
    assert root is None or os.path.ismount(root.point)
