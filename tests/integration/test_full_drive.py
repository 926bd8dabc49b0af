"""A drive is full while a file on it is being written to: the file moves with all its names, and the writer goes on."""

import errno
import mmap
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from placement.moves import FORWARD

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

MIB = 1 << 20
NAMES = ("films/Alien/alien.mkv", "torrents/alien.mkv")
MakePool = Callable[..., Mounted]


@pytest.fixture
def make_pool(make_mount: MakeMount) -> Iterator[MakePool]:
    """make_pool(8, 40) -> a mounted pool of two small filesystems of so many MiB."""
    mounted: list[Path] = []
    made: list[Mounted] = []

    def make(*sizes: int, passthrough: str = "off", **options: str) -> Mounted:
        tree = make_mount(drives=len(sizes))
        tree.write_config(**options)
        tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = passthrough
        for path, size in zip(tree.drive_paths, sizes, strict=True):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)], check=True)
            mounted.append(path)
        made.append(tree.start())
        return tree

    yield make
    for tree in made:
        tree.stop()
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def plant(drive: Path, data: bytes, names: tuple[str, ...] = NAMES) -> None:
    """One file with these names on a drive, past the tree."""
    for name in names:
        (drive / name).parent.mkdir(parents=True, exist_ok=True)
    (drive / names[0]).write_bytes(data)
    for name in names[1:]:
        (drive / name).hardlink_to(drive / names[0])


def data_of(size: int) -> bytes:
    return Random(size).randbytes(size)


def append(tree: Mounted, data: bytes, name: str = NAMES[0]) -> None:
    fd = os.open(tree.path / name, os.O_WRONLY | os.O_APPEND)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view[:MIB]) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def assert_whole(tree: Mounted, drive: int, data: bytes, names: tuple[str, ...] = NAMES) -> None:
    """The file lies on this drive alone, with exactly these names, nothing else is left anywhere."""
    for name in names:
        assert (tree.path / name).read_bytes() == data
        assert (tree.path / name).stat().st_nlink == len(names)
        for number, path in enumerate(tree.drive_paths):
            assert os.path.lexists(path / name) == (number == drive), (name, path)
    here = [(tree.drive_paths[drive] / name).stat() for name in names]
    assert len({st.st_ino for st in here}) == 1 and here[0].st_nlink == len(names)
    for path in tree.drive_paths:
        assert not (path / ".mediapool/moving").exists() or not os.listdir(path / ".mediapool/moving")


def numbers(tree: Mounted) -> dict[str, int]:
    return {str(path.relative_to(tree.path)): path.lstat().st_ino for path in sorted(tree.path.rglob("*"))}


@pytest.mark.parametrize("full", [0, 1])
def test_a_file_with_two_names_moves_while_it_is_written(make_pool: MakePool, full: int) -> None:
    """Whether the drive it goes to comes before the full one or after it."""
    tree = make_pool(*((12, 60) if full == 0 else (60, 12)))
    data = data_of(30 * MIB)
    plant(tree.drive_paths[full], data[: 6 * MIB])
    before = numbers(tree)
    reader = (tree.path / NAMES[1]).open("rb")
    append(tree, data[6 * MIB :])
    assert numbers(tree) == before
    assert_whole(tree, 1 - full, data)
    assert reader.read() == data
    reader.close()
    tree.stop()
    tree.start()
    assert numbers(tree) == before
    assert_whole(tree, 1 - full, data)


def test_it_fails_whole_when_no_drive_takes_it(make_pool: MakePool) -> None:
    tree = make_pool(12, 16)
    data = data_of(6 * MIB)
    plant(tree.drive_paths[0], data)
    with pytest.raises(OSError) as failed:
        append(tree, data_of(30 * MIB))
    assert failed.value.errno == errno.ENOSPC
    now = (tree.path / NAMES[1]).read_bytes()
    assert now.startswith(data)
    drive = 0 if (tree.drive_paths[0] / NAMES[0]).exists() else 1
    assert_whole(tree, drive, now)


def test_allocating_room_moves_it_too(make_pool: MakePool) -> None:
    tree = make_pool(12, 60)
    data = data_of(6 * MIB)
    plant(tree.drive_paths[0], data)
    with (tree.path / NAMES[0]).open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 30 * MIB)
    assert_whole(tree, 1, data + bytes(24 * MIB))


def test_a_file_made_by_its_writer_moves(make_pool: MakePool) -> None:
    tree = make_pool(12, 60)
    data = data_of(20 * MIB)
    for number in range(50):  # until chance puts one on the small drive
        name = f"new{number}"
        with (tree.path / name).open("wb") as file:
            if (tree.drive_paths[0] / name).exists():
                file.write(data)
                break
    assert_whole(tree, 1, data, (name,))


def test_handles_that_lost_their_name_move_along(make_pool: MakePool) -> None:
    tree = make_pool(12, 60)
    data = data_of(20 * MIB)
    plant(tree.drive_paths[0], data[:MIB])
    fd = os.open(tree.path / NAMES[0], os.O_RDWR)
    os.unlink(tree.path / NAMES[0])
    append(tree, data[MIB:], NAMES[1])
    os.pwrite(fd, b"changed", 0)
    assert os.fstat(fd).st_nlink == 1 and os.fstat(fd).st_size == len(data)
    os.close(fd)
    assert_whole(tree, 1, b"changed" + data[7:], (NAMES[1],))


def test_a_file_without_a_name_stays_and_the_writer_hears_of_it(make_pool: MakePool) -> None:
    tree = make_pool(12, 60)
    plant(tree.drive_paths[0], b"x")
    fd = os.open(tree.path / NAMES[0], os.O_RDWR)
    for name in NAMES:
        os.unlink(tree.path / name)
    with pytest.raises(OSError) as failed:
        for _ in range(20):
            os.write(fd, bytes(MIB))
    assert failed.value.errno == errno.ENOSPC
    os.close(fd)
    wait_for(lambda: os.statvfs(tree.drive_paths[0]).f_bavail * 4096 > 10 * MIB, "the room of the file")


def test_mapped_readers_and_two_writers_see_one_file(make_pool: MakePool) -> None:
    tree = make_pool(24, 120)
    plant(tree.drive_paths[0], bytes(MIB))
    failures: list[BaseException] = []

    def write(name: str, first: int) -> None:
        try:
            with (tree.path / name).open("r+b", buffering=0) as file:
                for number in range(first, 40, 2):
                    os.pwrite(file.fileno(), bytes([number + 1]) * MIB, number * MIB)
        except BaseException as failure:
            failures.append(failure)

    with (tree.path / NAMES[0]).open("rb") as file, mmap.mmap(file.fileno(), MIB, prot=mmap.PROT_READ) as mapped:
        writers = [threading.Thread(target=write, args=(name, number)) for number, name in enumerate(NAMES)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert not failures
        assert mapped[:10] == bytes([1]) * 10
    assert_whole(tree, 1, b"".join(bytes([number + 1]) * MIB for number in range(40)))


def test_nothing_shows_while_it_moves(make_pool: MakePool) -> None:
    """Number, count of links and names are what they were at every moment."""
    tree = make_pool(12, 60, mount="cache_seconds = 0")
    data = data_of(40 * MIB)
    plant(tree.drive_paths[0], data[:MIB])
    before = numbers(tree)
    wrong: list[object] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                now = numbers(tree)
                links = {(tree.path / name).stat().st_nlink for name in NAMES}
                if now != before or links != {2}:
                    wrong.append((now, links))
            except OSError as failure:
                wrong.append(failure)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    append(tree, data[MIB:])
    done.set()
    for looker in lookers:
        looker.join()
    assert not wrong, wrong[:3]
    assert_whole(tree, 1, data)


KILL_AT = [f"{when} {step}" for step in FORWARD for when in ("before", "after")]


@pytest.mark.parametrize("kill_at", KILL_AT)
def test_after_a_kill_at_any_step_one_whole_file_remains(make_pool: MakePool, kill_at: str) -> None:
    tree = make_pool(6, 60)
    data = data_of(12 * MIB)
    plant(tree.drive_paths[0], data[: 2 * MIB])
    before = numbers(tree)
    tree.stop()
    tree.environment["MEDIAPOOL_CRASH_AT"] = kill_at
    tree.start()
    with pytest.raises(OSError):
        append(tree, data[2 * MIB :])
    tree.kill()
    del tree.environment["MEDIAPOOL_CRASH_AT"]
    tree.start()
    assert numbers(tree) == before
    now = (tree.path / NAMES[0]).read_bytes()
    assert data.startswith(now) and len(now) >= 2 * MIB
    assert_whole(tree, 0 if (tree.drive_paths[0] / NAMES[0]).exists() else 1, now)
    append(tree, data[len(now) :], NAMES[1])
    assert_whole(tree, 1, data)
