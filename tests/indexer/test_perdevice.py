"""The order in which files are read: as they lie on a disk with one head, by inode everywhere else."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import perdevice
from indexer.devices import Kind
from indexer.finding import Found, find
from indexer.perdevice import PerDevice
from indexer.reading import open_unnoticed
from placement.extents import first_byte

MIB = 1 << 20


def order(files: list[Found], kind: Kind, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names as one reader meets them on a device of this kind."""
    with monkeypatch.context() as patch:
        patch.setattr(perdevice, "kind_of", lambda _dev: kind)
        devices = PerDevice(threading.Event(), open_unnoticed)
        batches = devices.run(files, lambda: lambda found: os.path.basename(found.path), lambda _kind: 1)
        return [name for batch in batches for name in batch]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 filesystem of its own, which root can mount."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def told_by_debugfs(image: Path, name: str) -> int:
    """The first block of a file, by the tool of the filesystem itself."""
    said = subprocess.run(
        ["debugfs", "-R", f"blocks /{name}", str(image)], check=True, capture_output=True, text=True
    ).stdout
    return int(said.split()[0])


@pytest.mark.mount
def test_on_a_disk_with_one_head_files_are_read_as_they_lie(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}" for number in range(6)]
    for name in names:
        (disk / name).touch()
    (disk / "empty").touch()
    # Their inodes follow each other; their bytes are written the other way round.
    for name in reversed(names):
        with (disk / name).open("r+b") as file:
            file.write(os.urandom(MIB))
            os.fsync(file.fileno())
    subprocess.run(["sync", "-f", str(disk)], check=True)
    files = find([os.fsencode(disk)]).files
    blocks = {name: told_by_debugfs(tmp_path / "image", name) for name in names}
    as_they_lie = [os.fsencode(name) for name in sorted(names, key=lambda name: blocks[name])]
    by_inode = [os.path.basename(one.path) for one in sorted(files, key=lambda found: found.ino)]
    assert [name for name in by_inode if name != b"empty"] != as_they_lie, "the two orders differ"
    assert order(files, "hdd", monkeypatch) == [b"empty", *as_they_lie]
    assert order(files, "ssd", monkeypatch) == by_inode
    for name in names:
        with (disk / name).open("rb") as file:
            assert first_byte(file.fileno()) == blocks[name] * os.statvfs(disk).f_frsize
    # Some at a time, so that neither time nor memory grows with what a disk holds.
    monkeypatch.setattr(perdevice, "WINDOW", 4)
    begun = order(files, "hdd", monkeypatch)
    assert {*begun[:4]} == {*by_inode[:4]} and begun[:4] != by_inode[:4]


def test_without_places_the_order_is_that_of_the_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (tmp_path / f"{number}").write_bytes(b"x" * 5000)
    files = find([os.fsencode(tmp_path)]).files
    by_inode = [os.path.basename(one.path) for one in sorted(files, key=lambda found: found.ino)]
    asked = []
    monkeypatch.setattr(perdevice, "first_byte", asked.append)
    monkeypatch.setattr(perdevice, "WINDOW", 10)
    assert order(files, "hdd", monkeypatch) == by_inode
    assert len(asked) == 10, "a filesystem that tells nothing is not asked on"
    asked.clear()
    assert order(files, "ssd", monkeypatch) == by_inode and not asked


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), max_size=60), st.integers(1, 5))
def test_each_file_is_worked_on_once(files: list[tuple[int, int]], threads: int) -> None:
    found = [Found(b"/none/%d" % number, dev, ino, 1, 1, 1, 1) for number, (dev, ino) in enumerate(files)]
    devices = PerDevice(threading.Event(), open_unnoticed, batch=3, each=1)
    batches = devices.run(found, lambda: lambda one: one.path, lambda _kind: threads)
    assert sorted(path for batch in batches for path in batch) == sorted(one.path for one in found)
