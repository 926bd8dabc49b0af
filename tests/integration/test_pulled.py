"""A drive is pulled out of a running mount, and comes back; or was not there when the mount began."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from pulling import Pulled, back, missed, settled, status

pytestmark = pytest.mark.mount


def fill(mounted: Mounted) -> None:
    """A folder with a file and a merged folder, on each drive."""
    for number, drive in enumerate(mounted.drive_paths, 1):
        for path in (f"only{number}/deep/file", f"merged/file{number}"):
            (drive / path).parent.mkdir(parents=True, exist_ok=True)
            (drive / path).write_text(f"on drive {number}")


def shown(root: Path) -> dict[str, tuple[int, ...]]:
    """All names in the tree with what lstat says."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            st = os.lstat(os.path.join(folder, name))
            size = (st.st_nlink, st.st_size, st.st_mtime_ns) if name in files else ()
            found[os.path.join(folder, name)] = (st.st_ino, st.st_mode, *size)
    return found


def assert_eio(mounted: Mounted, path: str = "only2/deep/file") -> None:
    with pytest.raises(OSError) as raised:
        (mounted.path / path).read_text()
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize("empty", [True, False], ids=["an empty folder in its place", "nothing in its place"])
def test_a_pulled_drive_comes_back_without_a_new_mount(make_mount: MakeMount, empty: bool) -> None:
    mounted = make_mount()
    fill(mounted)
    mounted.start()
    settled(mounted)
    before = shown(mounted.path)
    pulled = Pulled(mounted.drive_paths[1], empty)
    for _ in range(2):
        pulled.pull()
        missed(mounted, 2)
        assert shown(mounted.path) == before
        assert_eio(mounted)
        assert (mounted.path / "merged/file1").read_text() == "on drive 1"
        (mounted.path / "only2/deep/new").write_text("elsewhere")
        (mounted.path / "only2/deep/new").unlink()
        pulled.put_back()
        back(mounted, 2)
        assert shown(mounted.path) == before
        assert (mounted.path / "only2/deep/file").read_text() == "on drive 2"
        # What came into being elsewhere meanwhile goes on being part of the folder.
        settled(mounted)
    (mounted.path / "only2/deep/file").write_text("changed")
    assert (mounted.drive_paths[1] / "only2/deep/file").read_text() == "changed"


@pytest.mark.parametrize("empty", [True, False], ids=["an empty folder in its place", "nothing in its place"])
def test_a_drive_that_is_missing_at_the_start(make_mount: MakeMount, empty: bool) -> None:
    mounted = make_mount()
    fill(mounted)
    mounted.start()
    settled(mounted)
    before = shown(mounted.path)
    mounted.stop()
    pulled = Pulled(mounted.drive_paths[1], empty)
    pulled.pull()
    mounted.start()
    assert shown(mounted.path) == before
    assert_eio(mounted)
    (mounted.path / "only2/deep/new").write_text("elsewhere")
    told = mounted.command("status")
    assert "drive2" in told.stdout and "missing" in told.stdout and "as last known" in told.stdout, told
    pulled.put_back()
    back(mounted, 2)
    assert shown(mounted.path).items() >= before.items()
    assert (mounted.path / "only2/deep/file").read_text() == "on drive 2"
    assert (mounted.path / "only2/deep/new").read_text() == "elsewhere"


def test_a_drive_that_was_never_there_is_refused(make_mount: MakeMount) -> None:
    mounted = make_mount()
    mounted.drive_paths[1].rmdir()
    told = mounted.command("mount")
    assert told.returncode == 2 and "drive2" in told.stderr and not mounted.drive_paths[1].exists()


def test_killed_while_a_drive_is_missing(make_mount: MakeMount) -> None:
    mounted = make_mount()
    fill(mounted)
    mounted.start()
    settled(mounted)
    before = shown(mounted.path)
    pulled = Pulled(mounted.drive_paths[1])
    pulled.pull()
    missed(mounted, 2)
    (mounted.path / "merged/new").write_text("elsewhere")
    mounted.kill()
    mounted.start()
    assert shown(mounted.path).items() >= before.items()
    assert_eio(mounted)
    assert (mounted.path / "merged/new").read_text() == "elsewhere"
    pulled.put_back()
    back(mounted, 2)
    assert (mounted.path / "merged/file2").read_text() == "on drive 2"


def test_killed_right_after_a_change_of_the_drive(make_mount: MakeMount) -> None:
    """What changed shortly before is unknown, not as it was; all else is known."""
    mounted = make_mount()
    fill(mounted)
    mounted.start()
    settled(mounted)
    before = shown(mounted.path / "merged")
    (mounted.path / "only2/deep/file").unlink()
    mounted.kill()
    Pulled(mounted.drive_paths[1]).pull()
    mounted.start()
    for call in (os.lstat, lambda path: path.write_text("anew")):
        with pytest.raises(OSError) as raised:
            call(mounted.path / "only2/deep/file")
        assert raised.value.errno == errno.EIO
    with pytest.raises(OSError) as raised:
        os.listdir(mounted.path / "only2/deep")
    assert raised.value.errno == errno.EIO
    assert (mounted.path / "only2/deep").is_dir() and shown(mounted.path / "merged") == before
    assert status(mounted)["drives"][1]["uncertain"] == 1
    assert "1 of its folders" in mounted.command("status").stdout


@pytest.mark.parametrize("damage", [b"this is no database" * 1000, None], ids=["damaged", "gone"])
def test_a_damaged_catalog_is_filled_anew(make_mount: MakeMount, damage: bytes | None) -> None:
    mounted = make_mount()
    fill(mounted)
    mounted.start()
    settled(mounted)
    before = shown(mounted.path)
    mounted.stop()
    catalog = mounted.state / "catalog.db"
    if damage is None:
        catalog.unlink()
    else:
        catalog.write_bytes(damage)
    pulled = Pulled(mounted.drive_paths[1])
    pulled.pull()
    mounted.start()
    # Nothing is known of the drive now: no name of it is shown, and none is said to be absent.
    with pytest.raises(OSError) as raised:
        os.listdir(mounted.path / "merged")
    assert raised.value.errno == errno.EIO
    assert (mounted.path / "merged/file1").read_text() == "on drive 1"
    assert "not known" in mounted.command("status").stdout
    assert (mounted.state / "catalog.db.damaged").exists() == (damage is not None)
    assert ("moved to" in mounted.log.read_text()) == (damage is not None)
    pulled.put_back()
    back(mounted, 2)
    settled(mounted)
    pulled.pull()
    missed(mounted, 2)
    assert shown(mounted.path) == before


def test_a_catalog_that_cannot_be_opened_does_not_stop_the_mount(make_mount: MakeMount) -> None:
    mounted = make_mount()
    fill(mounted)
    (mounted.state / "catalog.db").mkdir(parents=True)
    mounted.start()
    pulled = Pulled(mounted.drive_paths[1])
    assert (mounted.path / "merged/file2").read_text() == "on drive 2"
    pulled.pull()
    missed(mounted, 2)
    assert_eio(mounted)
    with pytest.raises(OSError) as raised:
        os.lstat(mounted.path / "only2/deep/file")
    assert raised.value.errno == errno.EIO
    assert "catalog.db" in mounted.log.read_text()
    pulled.put_back()
    back(mounted, 2)


# Filesystems that are really unmounted.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small filesystem of its own, to be mounted as a drive."""
    place = tmp_path / "disk"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place))
    yield place
    run("umount", "-l", str(place))


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def with_disk(make_mount: MakeMount, disk: Path) -> Iterator[Mounted]:
    """A mount whose second drive is that filesystem."""
    mounted = make_mount()
    drive = str(mounted.drive_paths[1])
    run("mount", "--bind", str(disk), drive)
    fill(mounted)
    mounted.start()
    settled(mounted)
    yield mounted
    mounted.stop()
    subprocess.run(["umount", "-l", drive], check=False, capture_output=True)


def test_an_unmounted_drive_is_left_out_of_the_room(with_disk: Mounted, disk: Path) -> None:
    mounted, drive = with_disk, with_disk.drive_paths[1]
    before = shown(mounted.path)
    own, all_together = os.statvfs(disk), os.statvfs(mounted.path)
    run("umount", "-l", str(drive))
    missed(mounted, 2)
    without = os.statvfs(mounted.path)
    blocks = own.f_blocks * own.f_frsize
    assert (all_together.f_blocks - without.f_blocks) * without.f_frsize == pytest.approx(blocks, rel=0.01)
    assert shown(mounted.path) == before
    (mounted.path / "only2/deep/new").write_text("elsewhere")
    assert os.listdir(drive) == []
    run("mount", "--bind", str(disk), str(drive))
    back(mounted, 2)
    assert (mounted.path / "only2/deep/file").read_text() == "on drive 2"
    assert os.statvfs(mounted.path).f_blocks == all_together.f_blocks
    assert shown(mounted.path).items() >= before.items()


def test_files_that_are_open_when_the_drive_is_pulled(with_disk: Mounted, disk: Path) -> None:
    mounted, drive = with_disk, with_disk.drive_paths[1]
    reading = os.open(mounted.path / "only2/deep/file", os.O_RDONLY)
    writing = os.open(mounted.path / "merged/file2", os.O_RDWR)
    run("umount", "-l", str(drive))
    missed(mounted, 2)
    for call in (
        lambda: os.pread(reading, 100, 0),
        lambda: os.pwrite(writing, b"more", 11),
        lambda: os.fsync(writing),
        lambda: os.fstat(reading),
    ):
        try:
            call()
        except OSError as cause:
            assert cause.errno == errno.EIO
    with pytest.raises(OSError) as raised:
        os.unlink(mounted.path / "only2/deep/file")
    assert raised.value.errno == errno.EIO
    os.close(reading)
    os.close(writing)
    assert os.listdir(drive) == []
    run("mount", "--bind", str(disk), str(drive))
    back(mounted, 2)
    assert (mounted.path / "only2/deep/file").read_text() == "on drive 2"
    wait_for(lambda: (mounted.path / "merged/file2").read_text() == (disk / "merged/file2").read_text(), "the content")
    shutil.rmtree(mounted.path / "only2")
    assert not (disk / "only2").exists()
