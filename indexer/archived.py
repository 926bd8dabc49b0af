"""What of a tree is archived, told by content; and where in an archive a name is."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from indexer.gathering import Found, Gathered, Hear, KnownHashes, Left, content_hash
from indexer.manifest import VolumeFile
from indexer.planning import Together, oldest_first
from indexer.volumes import Archive, Volume


@dataclass(frozen=True, slots=True)
class Standing:
    """A file of a tree, and where its content is archived; `volume` None if it is not yet."""

    origin: str
    size: int
    volume: Volume | None = None
    file: VolumeFile | None = None


def standings(gathered: Gathered, archive: Archive, known: KnownHashes, hear: Hear) -> Iterator[Standing]:
    """Each file gathered, in order. Only those of a size that is archived are read; what cannot be read is left."""
    hashes = archive.hashes()
    sizes = {file.size for _, file in hashes.values()}
    wanted = [file.size for file in gathered.files if file.size in sizes]
    total, done = sum(wanted), 0
    for file in gathered.files:
        origin = gathered.origin(file)
        if file.size not in sizes:
            yield Standing(origin, file.size)
            continue
        hear("comparing", origin, done, total)
        done += file.size
        try:
            found = hashes.get(content_hash(gathered, file, known))
        except OSError as error:
            gathered.left.append(Left(origin, error.strerror or str(error)))
            continue
        yield Standing(origin, file.size, *(found or ()))


def find(archive: Archive, word: str) -> Iterator[tuple[Volume, VolumeFile]]:
    """Files whose path in the volume has `word` in it, whatever the case; or matches it, if it is a pattern."""
    is_pattern = any(sign in word for sign in "*?[")
    sought = word.lower()
    for volume in archive.volumes.values():
        for file in volume.manifest.files:
            path = file.path.lower()
            name = path.rpartition("/")[2]
            if fnmatchcase(path, sought) or fnmatchcase(name, sought) if is_pattern else sought in path:
                yield volume, file


def keep_oldest(gathered: Gathered, free: int, together: Together) -> int:
    """Leave all files but those that are to go so that `free` bytes become free, the oldest first; the bytes they free.

    A file with other names frees nothing by one of them going.
    """
    linked = [file for file in gathered.files if file.links > 1]
    gathered.left += [Left(gathered.origin(file), "it has other names, and would stay on the drive") for file in linked]
    files = [file for file in gathered.files if file.links == 1]
    chosen = set(oldest_first([file.entry() for file in files], free, together))
    stay = [file for at, file in enumerate(files) if at not in chosen]
    gathered.left += [Left(gathered.origin(file), "not among the oldest") for file in stay]
    gathered.files = [file for at, file in enumerate(files) if at in chosen]
    return _size(gathered.files)


def _size(files: list[Found]) -> int:
    return sum(file.size for file in files)
