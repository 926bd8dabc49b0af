"""Reading a burned disc, or an image of one, again: past the page cache, in the order it lies on the disc.

A device or an image is read by itself, with O_DIRECT where that works, at the places xorriso says its files lie; so
nothing has to be mounted, and nothing that was read before counts. A mounted disc is read file by file, its pages
dropped from memory first.
"""

import errno
import mmap
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import xxhash

from indexer.discs import SECTOR
from indexer.images import program
from indexer.manifest import NAME, RECOVERY, Manifest, ManifestDamaged, VolumeFile
from indexer.volumes import Archive, ArchiveError, Volume, now
from placement.beneath import Root
from placement.copying import Allowance, read_content
from placement.linkgroup import lstat

_PIECE = 1 << 20
_PAGE = mmap.PAGESIZE
_LINE = re.compile(rb"File data lba:\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*'(.*)'")
_CODES = {b"a": 7, b"b": 8, b"e": 27, b"f": 12, b"n": 10, b"r": 13, b"t": 9, b"v": 11, b"\\": 92}

# Hears (path, bytes done, bytes in all).
Hear = Callable[[str, int, int], None]


class Disc(Protocol):
    """A disc that can be read."""

    @property
    def paths(self) -> list[str]:
        """All files on it, in the order they lie there."""
        ...

    def digest(self, path: str) -> tuple[int, str]:
        """Bytes and xxh3-128 of a file as the disc has it; OSError if it cannot be read."""
        ...

    def content(self, path: str) -> bytes:
        """All of a file; OSError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `bad`: path -> what is wrong with it; `extra`: files that the manifest does not know."""

    manifest: Manifest
    files: int
    size: int
    bad: dict[str, str]
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replanned:
    """A volume that is to be burned again. `lacking`: files whose content its folder does not have any more."""

    volume: str
    files: int
    size: int
    lacking: tuple[str, ...]


def open_disc(path: str) -> Disc:
    """The disc at `path`: where it is mounted, its device, or an image of it. ArchiveError, OSError."""
    return MountedDisc(path) if os.path.isdir(path) else RawDisc(path)


class MountedDisc:
    """A disc that is mounted at a folder."""

    def __init__(self, path: str) -> None:
        """OSError."""
        self._root = Root(path)
        found: list[tuple[int, str]] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            for name in self._names(folder):
                rel = f"{folder}/{name}" if folder else name
                st = lstat(self._root, rel)
                if st is not None and st.st_mode & 0o170000 == 0o040000:
                    folders.append(rel)
                elif st is not None:
                    # On ISO 9660 the number of an inode is its place.
                    found.append((st.st_ino, rel))
        self.paths = [rel for _, rel in sorted(found)]

    def _names(self, folder: str) -> list[str]:
        fd = self._root.open_dir(folder)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def digest(self, path: str) -> tuple[int, str]:
        """As `Disc` says."""
        fd = self._open(path)
        try:
            found = read_content(fd, Allowance(), lambda done: None)
            return found.size, found.digest.hex()
        finally:
            os.close(fd)

    def content(self, path: str) -> bytes:
        """As `Disc` says."""
        with os.fdopen(self._open(path), "rb") as file:
            return file.read()

    def _open(self, path: str) -> int:
        with self._root.parent(path) as (dirfd, name):
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dirfd)

    def close(self) -> None:
        """As `Disc` says."""
        self._root.close()


class RawDisc:
    """A disc in a drive, or an image, that is not mounted."""

    def __init__(self, path: str) -> None:
        """Read where its files lie. ArchiveError if it is no disc of ours, OSError."""
        self._path = path
        self._fd = _open_directly(path)
        self._buffer = mmap.mmap(-1, _PIECE)
        # Path -> its bytes, and its parts: (first byte on the disc, bytes).
        self._files: dict[str, tuple[int, list[tuple[int, int]]]] = {}
        try:
            for part, start, blocks, size, name in _listed(path):
                whole, parts = self._files.setdefault(name, (size, []))
                if part < len(parts):
                    continue
                parts.append((start * SECTOR, blocks * SECTOR))
        except BaseException:
            self.close()
            raise
        self.paths = sorted(self._files, key=lambda name: self._files[name][1][:1])

    def digest(self, path: str) -> tuple[int, str]:
        """As `Disc` says."""
        hashed = xxhash.xxh3_128()
        size = 0
        for piece in self._pieces(path):
            hashed.update(piece)
            size += len(piece)
        return size, hashed.hexdigest()

    def content(self, path: str) -> bytes:
        """As `Disc` says."""
        return b"".join(bytes(piece) for piece in self._pieces(path))

    def _pieces(self, path: str) -> Iterator[memoryview]:
        left, parts = self._files[path]
        for start, length in parts:
            length = min(length, left)
            left -= length
            yield from self._read(start, length)
        if left:
            raise OSError(errno.EIO, "the disc has less of it than it says", path)

    def _read(self, start: int, length: int) -> Iterator[memoryview]:
        end = start + length
        while start < end:
            # Reads past the page cache begin and end at whole pages.
            skip = start % _PAGE
            count = os.preadv(self._fd, [memoryview(self._buffer)], start - skip) - skip
            if count <= 0:
                raise OSError(errno.EIO, "the disc ends before it", self._path)
            count = min(count, end - start)
            yield memoryview(self._buffer)[skip : skip + count]
            start += count

    def close(self) -> None:
        """As `Disc` says."""
        os.close(self._fd)


def _open_directly(path: str) -> int:
    """The device or image, read past the page cache; where O_DIRECT is not known, with its pages dropped."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        with mmap.mmap(-1, _PAGE) as page:
            os.preadv(fd, [memoryview(page)], 0)
        return fd
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd


def _listed(path: str) -> Iterator[tuple[int, int, int, int, str]]:
    """Part, first sector, sectors, bytes and path of all files; ArchiveError."""
    done = subprocess.run(
        [program("xorriso"), "-report_about", "SORRY", "-backslash_codes", "encode_output",
         "-indev", f"stdio:{os.path.realpath(path)}", "-find", "/", "-type", "f", "-exec", "report_lba", "--"],
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    found = [_LINE.fullmatch(line) for line in done.stdout.split(b"\n") if line.startswith(b"File data")]
    if not found:
        cause = done.stderr.strip().split(b"\n")[-1].decode(errors="replace")
        raise ArchiveError(f"{path} is no disc that can be read: {cause}. Is it the right one, and whole?")
    for line in found:
        if line is None:
            raise ArchiveError(f"xorriso names a file of {path} in a way that is not understood.")
        part, start, blocks, size = (int(number) for number in line.groups()[:4])
        yield part, start, blocks, size, os.fsdecode(_unescaped(line[5])).lstrip("/")


def _unescaped(text: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code, 8) if code.isdigit() else _CODES[code]])

    return re.sub(rb"\\([0-7]{3}|[abefnrtv\\])", one, text.replace(b"'\"'\"'", b"'"))


def verify(disc: Disc, archive: Archive | None, hear: Hear) -> Verdict:
    """Read all of the disc and compare it with the manifest: that of the archive, or where it has none, its own.

    ArchiveError if neither is there.
    """
    manifest, trouble = _manifest(disc, archive)
    there, known = set(disc.paths), {file.path: file for file in manifest.files}
    bad = {path: "it is missing" for path in known if path not in there}
    bad.update({NAME: trouble} if trouble else {})
    done = 0
    for path in disc.paths:
        if path in known:
            hear(path, done, manifest.size)
            if cause := _cause(disc, known[path]):
                bad[path] = cause
            done += known[path].size
    extra = (path for path in disc.paths if path not in known and path != NAME)
    strange = tuple(path for path in extra if not path.startswith(f"{RECOVERY}/"))
    return Verdict(manifest, len(known), manifest.size, bad, strange)


def _manifest(disc: Disc, archive: Archive | None) -> tuple[Manifest, str]:
    """What the disc should hold, and what is wrong with the manifest on it."""
    try:
        own = Manifest.parse(disc.content(NAME))
    except (KeyError, OSError, ManifestDamaged) as error:
        cause = str(error) if isinstance(error, ManifestDamaged) else "it cannot be read"
        if (guessed := _recognised(disc, archive)) is None:
            raise ArchiveError(
                f"Its manifest {NAME} is of no use ({cause}), and no volume of an archive has these files. "
                "Is it a disc of an archive? Name the archive: --archive DIR."
            ) from None
        return guessed.manifest, cause
    if archive is None or own.archive != archive.id or own.volume not in archive.volumes:
        return own, ""
    expected = archive.volumes[own.volume].manifest
    return expected, "" if own.seal == expected.seal else "it is not the manifest that the archive has of this volume"


def _recognised(disc: Disc, archive: Archive | None) -> Volume | None:
    """The volume of the archive with most of the disc's files, if that is more than half of them."""
    paths = set(disc.paths)
    volumes = archive.volumes.values() if archive is not None else ()
    shared = [(len(paths & {file.path for file in volume.manifest.files}), volume) for volume in volumes]
    count, best = max(shared, key=lambda one: one[0], default=(0, None))
    return best if best is not None and 2 * count > len(best.manifest.files) else None


def _cause(disc: Disc, file: VolumeFile) -> str:
    """What is wrong with a file, "" if nothing is."""
    try:
        size, digest = disc.digest(file.path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if size != file.size:
        return f"it has {size} bytes instead of {file.size}"
    return "" if digest == file.hash else "its content is not what was archived"


def record(archive: Archive, verdict: Verdict) -> Volume | None:
    """Keep a verdict of a burned disc in the archive; None if the volume is not marked as burned. OSError."""
    name = verdict.manifest.volume
    volume = archive.volumes.get(name) or archive.adopt(verdict.manifest)
    if volume.state.burned is None:
        return None
    bad = tuple(sorted(verdict.bad))
    archive.set_state(name, replace(volume.state, verified=None if bad else now(), bad=bad))
    return archive.volumes[name]


def replan(archive: Archive, names: Iterable[str] | None = None) -> list[Replanned]:
    """What is to be burned again: the volumes whose disc is bad, each by itself, the others stay as they are.

    The damaged files are read in the volume's folder, to see whether they can be burned from there. OSError.
    """
    wanted = [one for one in archive.volumes.values() if one.state.bad and (names is None or one.name in names)]
    return [
        Replanned(volume.name, len(volume.manifest.files), volume.manifest.size, tuple(_lacking(archive, volume)))
        for volume in wanted
    ]


def _lacking(archive: Archive, volume: Volume) -> Iterator[str]:
    folder = os.path.join(archive.path, volume.name)
    if not os.path.isdir(folder):
        yield from volume.state.bad
        return
    disc = MountedDisc(folder)
    there = set(disc.paths)
    for file in volume.manifest.files:
        # All must be there, the damaged ones with their content.
        if file.path not in there or (file.path in volume.state.bad and _cause(disc, file)):
            yield file.path
    disc.close()
