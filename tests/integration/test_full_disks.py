"""The disk of the cache or of the state is full, read-only or gone: reading goes on, and what cannot be recorded fails.

On small filesystems of their own, which root can mount; where that is refused these tests fail.
"""

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import Simulator

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

MIB = 1 << 20
FILM = random.Random(1).randbytes(9 * MIB + 12_345)
SHOW = "torrents/complete/Show"
# Neither a link, nor a move, nor a removal can be recorded; each leaves the tree as it was.
Act = Callable[[Path], object]
ACTS: dict[str, Act] = {
    "link": lambda top: os.link(top / SHOW / "film.mkv", top / "linked.mkv"),
    "rename a folder": lambda top: os.rename(top / SHOW, top / "torrents/complete/Other"),
    "unlink": lambda top: os.unlink(top / SHOW / "small.mkv"),
    "chmod": lambda top: os.chmod(top / SHOW / "film.mkv", 0o600),
    "utime": lambda top: os.utime(top / SHOW / "film.mkv", (1, 1)),
    "xattr": lambda top: os.setxattr(top / SHOW / "film.mkv", "user.note", b"x" * 3000),
    "write beside": lambda top: (top / SHOW / "film.srt").write_text("beside"),
    "replace on another drive": lambda top: os.rename(top / "new", top / "old"),
    "rename": lambda top: os.rename(top / SHOW / "film.mkv", top / SHOW / "other.mkv"),
}

MakeDisk = Callable[[Path, str], None]


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """make_disk(folder, "ext4") puts a filesystem of 24 MiB into the folder."""
    mounted: list[Path] = []

    def make(folder: Path, kind: str) -> None:
        folder.mkdir(exist_ok=True)
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(folder)]
        else:
            image = tmp_path / f"{folder.name}.img"
            with image.open("wb") as file:
                file.truncate(24 * MIB)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
            command = ["mount", "-o", "loop", str(image), str(folder)]
        subprocess.run(command, check=True)
        mounted.append(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Show", {"/film.mkv": FILM, "/small.mkv": b"small"})
        yield simulator


def pool(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    tree = make_mount()
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    (tree.drive_paths[0] / "new").write_text("new")
    (tree.drive_paths[1] / "old").write_text("old")
    return tree


def started(tree: Mounted) -> Mounted:
    tree.start()
    try:
        wait_for((tree.path / SHOW / "film.mkv").exists, "the torrent")
    except AssertionError as late:
        raise AssertionError(f"{late}\n{tree.log.read_text()}") from None
    return tree


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Take all room of the folder's filesystem."""
    filler = folder / "lost+found" / "filler" if (folder / "lost+found").exists() else folder / "filler"
    fd = os.open(filler, os.O_CREAT | os.O_WRONLY)
    for size in (MIB, 4096, 1):
        with suppress(OSError):
            while os.write(fd, bytes(size)):
                pass
    os.fsync(fd)
    try:
        yield
    finally:
        os.close(fd)
        filler.unlink()


def read_past_the_kernel(file: Path) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return b"".join(iter(lambda: os.read(fd, MIB), b""))
    finally:
        os.close(fd)


def picture(tree: Mounted) -> dict[str, tuple[object, ...]]:
    """All that the tree shows: numbers, modes, links, sizes and times; attributes of our own; local bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(tree.path.rglob("*")):
        st = path.stat()
        local = os.getxattr(path, "user.mediapool.source") == b"drive" and path.is_file()
        data = path.read_bytes() if local else b""
        times = (st.st_mtime_ns, st.st_ctime_ns)
        found[str(path.relative_to(tree.path))] = (*st[:2], *st[3:7], *times, *os.listxattr(path), data)
    return found


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_of_the_state_changes_nothing(
    make_mount: MakeMount, make_disk: MakeDisk, simulator: Simulator, kind: str
) -> None:
    tree = pool(make_mount, simulator)
    make_disk(tree.state, kind)
    started(tree)
    before = picture(tree)
    with filled(tree.state):
        for name, act in ACTS.items():
            with pytest.raises(OSError) as refused:
                act(tree.path)
            assert refused.value.errno in (errno.ENOSPC, errno.EIO), name
            assert picture(tree) == before, name
        assert read_past_the_kernel(tree.path / SHOW / "film.mkv") == FILM
        # What needs no record of ours goes on.
        (tree.path / "local").mkdir()
        (tree.path / "local/file").write_text("local")
        os.link(tree.path / "local/file", tree.path / "local/link")
        os.rename(tree.path / "local/file", tree.path / "local/moved")
        assert (tree.path / "local/moved").read_text() == "local"
        shutil.rmtree(tree.path / "local")
    for name, act in ACTS.items():
        if name != "rename a folder":
            act(tree.path)
    after = picture(tree)
    assert {"linked.mkv", f"{SHOW}/other.mkv", f"{SHOW}/film.srt"} <= set(after)
    tree.stop()
    tree.start()
    assert picture(tree) == after
    assert (tree.path / "linked.mkv").read_bytes() == FILM


def test_what_is_published_while_the_state_s_disk_is_full_appears_later(
    make_mount: MakeMount, make_disk: MakeDisk, simulator: Simulator
) -> None:
    tree = pool(make_mount, simulator)
    make_disk(tree.state, "tmpfs")
    started(tree)
    with filled(tree.state):
        later = simulator.add_torrent("Later", {"/film.mkv": b"later"})
        seen = simulator.count(path_prefix="/torrents")
        wait_for(lambda: simulator.count(path_prefix="/torrents") >= seen + 3, "polls")
        assert not (tree.path / "torrents/complete/Later").exists()
    wait_for((tree.path / "torrents/complete/Later/film.mkv").exists, "the torrent", 60)
    simulator.remove_torrent(later.id)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_mount_ends_and_begins_on_a_full_disk_without_losing_a_name(
    make_mount: MakeMount, make_disk: MakeDisk, simulator: Simulator, kind: str
) -> None:
    tree = pool(make_mount, simulator)
    make_disk(tree.state, kind)
    started(tree)
    os.link(tree.path / SHOW / "film.mkv", tree.path / "linked.mkv")
    before = picture(tree)
    with filled(tree.state):
        tree.stop()
        done = tree.command("mount", "--background")
        if done.returncode == 0:
            assert tree.command("unmount").returncode == 0
        else:
            assert "Traceback" not in done.stderr and "damaged" not in done.stderr, done
            assert "No space" in done.stderr or "full" in done.stderr, done
    tree.start()
    assert picture(tree) == before


TROUBLES = ("full", "read-only", "gone", "empty")


@contextmanager
def trouble_with(folder: Path, trouble: str) -> Iterator[None]:
    """The disk of the cache in trouble."""
    if trouble == "full":
        with filled(folder.parent):
            yield
    elif trouble == "read-only":
        # Made read-only before it is there: what the program has open for writing would be in the way.
        aside = folder.with_name("aside")
        aside.mkdir()
        subprocess.run(["mount", "--bind", str(folder), str(aside)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(aside)], check=True)
        subprocess.run(["mount", "--bind", str(aside), str(folder)], check=True)
        subprocess.run(["umount", str(aside)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    elif trouble == "gone":
        subprocess.run(["umount", "-l", str(folder.parent)], check=True)
        yield
    else:
        # In one step: what the program still writes would be in the way of removing one file after another.
        folder.rename(folder.with_name("moved"))
        shutil.rmtree(folder.with_name("moved"), ignore_errors=True)
        yield


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_the_cache_s_disk_is_no_trouble_for_readers(
    make_mount: MakeMount, make_disk: MakeDisk, simulator: Simulator, trouble: str, when: str
) -> None:
    tree = pool(make_mount, simulator)
    disk = tree.base / "cachedisk"
    make_disk(disk, "tmpfs")
    tree.cache = disk / "cache"
    tree.cache.mkdir()
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    if when == "during":
        started(tree)
        with open(tree.path / SHOW / "film.mkv", "rb") as file:
            assert file.read(5 * MIB) == FILM[: 5 * MIB]
    with trouble_with(tree.cache, trouble):
        if when == "before":
            started(tree)
        for _ in range(2):
            assert read_past_the_kernel(tree.path / SHOW / "film.mkv") == FILM
        os.link(tree.path / SHOW / "film.mkv", tree.path / "linked.mkv")
        assert read_past_the_kernel(tree.path / "linked.mkv") == FILM
        assert tree.command("status").returncode == 0
    tree.stop()
