"""What the kernel keeps of local files between two opens: all of an unchanged file, nothing of a changed one."""

import os
import time
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

pytestmark = pytest.mark.mount

OLD, NEW = b"1" * (8 << 20), b"2" * (8 << 20)


@pytest.fixture
def mounted(make_mount: MakeMount) -> Mounted:
    mounted = make_mount()
    (mounted.drive_paths[0] / "film.mkv").write_bytes(OLD)
    return mounted.start()


def until_old(path: Path) -> None:
    """Wait until the last change is longer ago than any filesystem's clock ticks."""
    wait_for(lambda: time.time() - path.stat().st_ctime > 2.1, "time to pass")


def read_by_the_mount(mounted: Mounted) -> int:
    """Bytes that the process of the mount has read so far."""
    assert mounted.process is not None
    counters = Path(f"/proc/{mounted.process.pid}/io").read_text()
    return int(counters.split("rchar: ")[1].split()[0])


def test_an_unchanged_file_is_not_read_again(mounted: Mounted) -> None:
    film = mounted.path / "film.mkv"
    until_old(film)
    assert film.read_bytes() == OLD
    before = read_by_the_mount(mounted)
    assert film.read_bytes() == OLD
    assert read_by_the_mount(mounted) - before < len(OLD) / 8


@pytest.mark.parametrize("place", ["drive", "tree", "other name"])
def test_a_changed_file_shows_its_new_bytes(mounted: Mounted, place: str) -> None:
    film = mounted.path / "film.mkv"
    os.link(film, mounted.path / "other.mkv")
    until_old(film)
    times = film.stat()
    assert film.read_bytes() == film.read_bytes() == OLD
    changed = {"drive": mounted.drive_paths[0] / "film.mkv", "tree": film, "other name": mounted.path / "other.mkv"}
    with changed[place].open("r+b") as file:
        file.write(NEW)
    # As long as before, and as old as programs can make it look.
    os.utime(changed[place], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert film.read_bytes() == NEW
