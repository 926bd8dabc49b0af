"""The ground that all contenders of a benchmark stand on: drives with files, in a folder that is gone afterwards."""

import contextlib
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DRIVES = 3
MIB = 1 << 20
LIBRARY = "library"
BIG_FILE = "big/file.bin"
# New folders in this one lie far from each other on each drive.
SPREAD = "spread"
# Files of the library are this long: longer than one block, so that `find -size +1` finds every one.
_SMALL_FILE = 2000
_FILES_PER_FOLDER = 30
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Stage:
    """Drives side by side: folders, or filesystems of their own where `loop` is true."""

    base: Path
    drives: tuple[Path, ...]
    loop: bool

    def describe(self) -> str:
        """What the drives are, in words for the report."""
        kind = _kind(self.drives[0])
        if self.loop:
            return f"{len(self.drives)} {kind} images on loop devices, all in {self.base.parent}"
        return f"{len(self.drives)} folders on one {kind} disk, in {self.base.parent}"


def _kind(path: Path) -> str:
    found = subprocess.run(["df", "--output=fstype", path], capture_output=True, text=True, check=False)
    return (found.stdout.split() or ["unknown"])[-1]


@contextlib.contextmanager
def stage(parent: Path | None, drive_size: int | None, keep: bool) -> Iterator[Stage]:
    """Make the drives below a new folder in `parent`; whatever was made is gone when the block ends.

    `drive_size`: bytes of each image for drives on loop devices (root only), None for plain folders.
    `keep`: leave the folder, though nothing mounted in it.
    """
    base = Path(tempfile.mkdtemp(prefix="mediapool-bench.", dir=parent))
    with contextlib.ExitStack() as closing:
        if not keep:
            closing.callback(shutil.rmtree, base, onerror=_tell)
        drives = tuple(base / f"drive{number}" for number in range(1, DRIVES + 1))
        for drive in drives:
            drive.mkdir()
            if drive_size is not None:
                _mount_image(drive, drive_size)
                closing.callback(unmount, drive)
        yield Stage(base, drives, drive_size is not None)


def _tell(_call: object, path: str, error: object) -> None:
    print(f"could not be removed: {path} ({error})")


def _mount_image(drive: Path, size: int) -> None:
    image = drive.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, drive], check=True)


def unmount(path: Path) -> None:
    """Unmount what is mounted at `path`, at once also when something still uses it; nothing if nothing is."""
    if not is_mounted(path):
        return
    usual = ["umount"] if os.geteuid() == 0 or not shutil.which("fusermount3") else ["fusermount3", "-u"]
    lazy = "-l" if usual[0] == "umount" else "-z"
    if subprocess.run([*usual, path], capture_output=True, check=False).returncode:
        subprocess.run([*usual, lazy, path], capture_output=True, check=False)


def is_mounted(path: Path) -> bool:
    """Whether something is mounted exactly at `path`; does not ask the filesystem there, which may be dead."""
    return f" {path} " in Path("/proc/self/mounts").read_text()


def fill(stage: Stage, files: int, big: int) -> None:
    """Put a library of `files` small files on the drives, and a file of `big` bytes on the first one."""
    for number in range(files):
        path = _place(stage, number)
        if number % _FILES_PER_FOLDER < DRIVES:
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(_SMALL_FILE)
    for drive in stage.drives:
        (drive / SPREAD).mkdir()
        # ext4 takes no inode again within minutes of its removal, and looks at each such one for every new file in
        # the same part of the disk: half a millisecond a file, after the turn of another contender. Other
        # filesystems need no such care, and know no such flag.
        spread(drive / SPREAD)
    path = stage.drives[0] / BIG_FILE
    path.parent.mkdir()
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for offset in range(0, big, MIB):
            file.write(block[: big - offset])


def _place(stage: Stage, number: int) -> Path:
    """Every other folder lies on one drive, as films do; the others lie on all, as long shows do."""
    folder, inside = divmod(number, _FILES_PER_FOLDER)
    drive = stage.drives[(inside if folder % 2 else folder // 2) % DRIVES]
    return drive / LIBRARY / f"part{folder // 100}" / f"folder {folder}" / f"file {inside}.mkv"


def warm_memory(size: int) -> None:
    """Have the kernel hold `size` bytes of free pages that were just in use, if there are twice as many.

    On a virtual machine the others are the host's, and to get one back takes as long as to copy 10 KiB: whoever came
    first would pay for all.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, min(size, free // 2), flags=flags).close()


def spread(folder: Path) -> None:
    """Have ext4 put the folders in `folder` all over the disk, where it has not just removed thousands of files."""
    subprocess.run(["chattr", "+T", folder], capture_output=True, check=False)


def may_drop_caches() -> bool:
    """Whether this user can make the kernel forget what it has cached."""
    return os.access(_DROP_CACHES, os.W_OK)


def drop_caches() -> None:
    """Have the kernel forget pages, names and inodes of all filesystems, written back before."""
    os.sync()
    _DROP_CACHES.write_text("3")
