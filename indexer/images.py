"""Images of volumes, written by xorriso, with recovery data by par2.

ISO 9660 level 3 with Rock Ridge: names of any bytes up to 255, files of any size, owner, mode and times. UDF holds no
names that are no text, and no maintained program writes it without mounting; so an image is never UDF.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from math import log2
from pathlib import Path

from indexer.discs import SECTOR
from indexer.manifest import NAME, RECOVERY
from indexer.volumes import BURNED, UNBURNED, Archive, ArchiveError, Volume
from placement.identity import FOLDER
from placement.linkgroup import lstat

# Hears the share that is done, 0 to 1.
Hear = Callable[[float], None]
_PACKAGES = {"xorriso": "xorriso", "par2": "par2"}
# The most that par2 can tell apart.
_BLOCKS = 32_768
# Bytes; with smaller ones most of the room would go to their checksums.
_BLOCK = 4096
_DONE = re.compile(rb"(\d+(?:\.\d+)?)%")


def program(name: str) -> str:
    """Where the program is; ArchiveError naming its package."""
    found = shutil.which(name)
    if found is None:
        raise ArchiveError(f"The program {name} is missing. Install it: apt-get install {_PACKAGES[name]}.")
    return found


def label(volume: Volume) -> str:
    """What the disc is called."""
    return f"ARCHIVE_{volume.name}"


def write_image(archive: Archive, volume: Volume, image: Path, hear: Hear) -> int:
    """Write the image of a volume whose files are all there, whole or not at all; its bytes.

    With recovery data, if the volume was planned with some. ArchiveError, OSError.
    """
    refuse_incomplete(archive, volume)
    if volume.manifest.ecc:
        write_recovery(archive, volume, hear)
    size = _image_size(archive, volume)
    if size > volume.manifest.capacity:
        raise ArchiveError(
            f"The image of volume {volume.name} would have {size} bytes, the disc takes {volume.manifest.capacity}. "
            "Was something added to its folder?"
        )
    draft = image.with_name(image.name + ".part")
    draft.unlink(missing_ok=True)
    try:
        _xorriso([*_described(archive, volume, f"stdio:{draft}"), "-commit", "-end"], hear)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.rename(draft, image)
    finally:
        draft.unlink(missing_ok=True)
    return image.stat().st_size


def refuse_incomplete(archive: Archive, volume: Volume) -> None:
    """ArchiveError if files of the volume are not in its folder, or of another size."""
    bad = []
    for file in volume.manifest.files:
        found = lstat(archive.root, f"{volume.name}/{file.path}")
        if found is None or found.st_size != file.size:
            bad.append(file.path)
    if bad:
        raise ArchiveError(
            f"{len(bad)} of {len(volume.manifest.files)} files are not in {archive.path}/{volume.name} as they were "
            f"archived, the first: {bad[0]!r}. Put them back; the disc, if there is one, has them."
        )


def _described(archive: Archive, volume: Volume, target: str) -> list[str]:
    """Arguments of xorriso that describe the image."""
    folder = f"{archive.path}/{volume.name}"
    # The markers say how it is with the folder; by their paths, since a file may be called like one.
    markers = [f"/{name}" for name in (UNBURNED, BURNED) if os.path.lexists(f"{folder}/{name}")]
    # Without wildcards, and paths that begin with a dash are no commands.
    # An image begins at its first sector, not behind a table for later sessions.
    plan = [
        "-compliance",
        "no_emul_toc",
        "-iso_rr_pattern",
        "off",
        "-outdev",
        target,
        "-volid",
        label(volume),
        "-map",
        folder,
        "/",
    ]
    return [*plan, "-rm", *markers, "--"] if markers else plan


def _image_size(archive: Archive, volume: Volume) -> int:
    done = _run([program("xorriso"), "-report_about", "SORRY", *_described(archive, volume, "stdio:/dev/null"),
                 "-print_size", "-rollback_end"])  # fmt: skip
    found = re.search(rb"Image size\s*:\s*(\d+)s", done)
    if found is None:
        raise ArchiveError(f"xorriso does not tell the size of the image: {_tail(done)}")
    return int(found[1]) * SECTOR


def _xorriso(arguments: Iterable[str], hear: Hear) -> None:
    _follow([program("xorriso"), "-report_about", "UPDATE", *arguments], hear)


def write_recovery(archive: Archive, volume: Volume, hear: Hear) -> None:
    """Write recovery data for `ecc` of the volume's bytes into its folder, anew if there is some. ArchiveError."""
    tool, manifest = program("par2"), volume.manifest
    folder = Path(archive.path, volume.name)
    place = folder / RECOVERY
    shutil.rmtree(place, ignore_errors=True)
    files = [(len(os.fsencode(file.path)), file.size) for file in manifest.files if file.size]
    files.append((len(NAME), (folder / NAME).stat().st_size))
    if len(files) > _BLOCKS // 2:
        raise ArchiveError(
            f"par2 can protect {_BLOCKS // 2} files at most, and volume {volume.name} has {len(files)}. "
            "Archive with --ecc 0, or on smaller media."
        )
    block, count = _blocks(files, manifest.ecc)
    with _plainly_named(archive, volume) as base:
        draft = base.parent / RECOVERY
        draft.mkdir()
        create = [tool, "create", "-R", f"-s{block}", f"-c{count}", "-n1", f"-B{base}", str(draft / "recovery.par2")]
        _follow([*create, "--", *(str(base / name) for name in sorted(os.listdir(base)))], hear)
        draft.rename(place)


@contextlib.contextmanager
def _plainly_named(archive: Archive, volume: Volume) -> Iterator[Path]:
    """A folder of hard links to all that par2 is to protect, for while it works.

    It takes a backslash for a slash and stumbles over control characters; these stand as %XX in the links.
    """
    base = Path(archive.path, FOLDER, "recovery", "files")
    shutil.rmtree(base.parent, ignore_errors=True)
    base.mkdir(parents=True)
    try:
        for path in (NAME, *(file.path for file in volume.manifest.files)):
            link = base / re.sub(r"[\\\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", path)
            link.parent.mkdir(parents=True, exist_ok=True)
            while os.path.lexists(link):
                link = link.with_name(f"{link.name}~")
            os.link(f"{archive.path}/{volume.name}/{path}", link, follow_symlinks=False)
        yield base
    except OSError as error:
        raise ArchiveError(f"Recovery data cannot be made in {archive.path}: {error.strerror}. Try --ecc 0.") from error
    finally:
        shutil.rmtree(base.parent, ignore_errors=True)


def _blocks(files: list[tuple[int, int]], ecc: float) -> tuple[int, int]:
    """Bytes of a block and the number of recovery blocks, so that they take `ecc` of the bytes at most.

    `files`: length of the name and bytes of each. The packets of par2 2.0: 68 bytes before a recovery block, 20 a block
    for its checksum, some 220 and the name for each file; all but the first stand in both files of par2, and again
    between the recovery blocks, log2 of their number times.
    """
    total = sum(size for _, size in files)
    wanted = min(_BLOCKS // 2, max(2000, 2 * len(files)))
    block = max(_BLOCK, -(-total // wanted) // 4 * 4 + 4)
    sources = sum(-(-size // block) for _, size in files)
    around = 20 * sources + sum(220 + name for name, _ in files)
    room = ecc * total
    most = max(1.0, room / (block + 68))
    count = int((room - around * (2 + log2(most))) / (block + 68))
    return block, max(1, min(count, _BLOCKS - sources))


def _follow(command: list[str], hear: Hear) -> None:
    """Run a program and tell how far it is; ArchiveError with its last words."""
    said = b""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            while piece := os.read(process.stdout.fileno(), 4096):
                said = (said + piece)[-8192:]
                if shares := _DONE.findall(piece):
                    hear(min(1.0, float(shares[-1]) / 100))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ArchiveError(f"{os.path.basename(command[0])} failed: {_tail(said)}")


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise ArchiveError(f"{os.path.basename(command[0])} failed: {_tail(done.stderr + done.stdout)}")
    return done.stdout + done.stderr


def _tail(said: bytes) -> str:
    lines = [line.strip() for line in re.split(rb"[\r\n]+", said) if line.strip()]
    return " / ".join(line.decode(errors="replace") for line in lines[-3:]) or "it said nothing"
