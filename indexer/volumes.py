"""An archive: a folder of volumes `0001`, `0002`, ..., each with its manifest, and the index of the set.

`index.json` of the archive names every file of every volume with its hash and the state of each volume, also of those
that are on disc only by now. It is made from the manifests: where it is lost or damaged it is made anew from those of
the volumes that are there, and a disc that is verified brings its own back. A marker in the folder of a volume,
`UNBURNED` or `BURNED`, holds its state as well.
"""

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.manifest import (
    NAME,
    RECOVERY,
    Copy,
    Manifest,
    ManifestDamaged,
    VolumeFile,
    file_from,
    lines,
    named,
    path_of,
)
from placement.beneath import Root

log = logging.getLogger(__name__)

FORMAT = "mediapool archive 1"
UNBURNED, BURNED = "UNBURNED", "BURNED"
_NUMBER = re.compile(r"\d{4,}")


class ArchiveError(Exception):
    """Why something cannot be done with an archive, for people: the cause and what to do."""


@dataclass(frozen=True, slots=True)
class State:
    """What became of a volume. Times in UTC as YYYY-MM-DDTHH:MM:SSZ, None for never.

    `disc`: what people wrote on it. `bad`: paths that the last verification found damaged: it is to be
    burned again.
    """

    burned: str | None = None
    disc: str = ""
    verified: str | None = None
    bad: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The state in a word."""
        if self.bad:
            return "bad"
        if self.burned is None:
            return "unburned"
        return "verified" if self.verified else "burned"


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume: its manifest and its state."""

    manifest: Manifest
    state: State = field(default_factory=State)

    @property
    def name(self) -> str:
        """Its number, at least four digits."""
        return self.manifest.volume


def now() -> str:
    """This moment in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Archive:
    """The folder at `path`. Not thread-safe; one process at a time changes it (`locked`)."""

    def __init__(self, path: str | os.PathLike[str], *, make: bool = False) -> None:
        """Read it; `make` it if there is none. ArchiveError, OSError."""
        self.path = os.path.realpath(path)
        if make:
            os.makedirs(self.path, exist_ok=True)
        elif not os.path.isdir(self.path):
            raise ArchiveError(f"There is no archive at {self.path}. Name its folder: --archive DIR.")
        self.root = Root(self.path)
        self.id = ""
        self.volumes: dict[str, Volume] = {}
        self.refresh()

    def require(self) -> Root:
        """The root, as drives give theirs."""
        return self.root

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing it meanwhile; ArchiveError if one does."""
        import fcntl  # not on Windows

        os.makedirs(f"{self.path}/.mediapool", mode=0o700, exist_ok=True)
        fd = os.open(f"{self.path}/.mediapool/lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.refresh()
            if self._anew:
                self.save()
            yield
        except BlockingIOError:
            raise ArchiveError(f"Another mediapool works in {self.path}. Wait until it is done.") from None
        finally:
            os.close(fd)

    def refresh(self) -> None:
        """Read the index of the set, and the manifests of volumes that it does not know. ArchiveError, OSError."""
        known = self._from_index()
        self.id, self.volumes = known or ("", {})
        # Whether the index has to be written: what is in it was put together here.
        self._anew = False
        for name in self.folders():
            if name not in self.volumes and (volume := self._from_folder(name)):
                self.volumes[name] = volume
                self.id = self.id or volume.manifest.archive
                self._anew = True
        self.id = self.id or str(uuid.uuid4())

    def folders(self) -> list[str]:
        """The names of the volumes' folders that are there."""
        return sorted(name for name in os.listdir(self.path) if _NUMBER.fullmatch(name))

    def volume(self, name: str) -> Volume:
        """The volume called `name`, also without its leading zeros; ArchiveError."""
        found = self.volumes.get(name) or self.volumes.get(name.zfill(4))
        if found is None:
            there = ", ".join(self.volumes) or "none"
            raise ArchiveError(f"There is no volume {name!r} in {self.path}. There are: {there}.")
        return found

    def hashes(self) -> dict[str, tuple[Volume, VolumeFile]]:
        """Where each archived content is."""
        return {file.hash: (volume, file) for volume in self.volumes.values() for file in volume.manifest.files}

    def seal(self, manifest: Manifest) -> None:
        """Write the manifest of a volume whose files are all there, and its marker; afterwards `save`. OSError."""
        volume = Volume(manifest)
        self._mark(volume)
        write_whole(Path(self.path, manifest.volume, NAME), manifest.as_json())
        self.volumes[manifest.volume] = volume

    def set_state(self, name: str, state: State) -> None:
        """Record what became of a volume, in the index and, if its folder is there, by its marker. OSError."""
        volume = self.volumes[name] = replace(self.volume(name), state=state)
        self._mark(volume)
        self.save()

    def adopt(self, manifest: Manifest) -> Volume:
        """Take in a volume of this archive that it does not know, as found on a disc. ArchiveError, OSError."""
        if not self.volumes:
            self.id = manifest.archive
        if manifest.archive != self.id:
            raise ArchiveError(f"Volume {manifest.volume} belongs to another archive than {self.path}.")
        self.volumes[manifest.volume] = Volume(manifest, State(burned=now()))
        self.save()
        return self.volumes[manifest.volume]

    def forget(self, name: str) -> None:
        """Take a volume out whose files went back to where they came from; afterwards `save`. OSError."""
        self.volumes.pop(name, None)
        for one in (NAME, UNBURNED, BURNED):
            Path(self.path, name, one).unlink(missing_ok=True)
        shutil.rmtree(Path(self.path, name, RECOVERY), ignore_errors=True)

    def save(self) -> None:
        """Write the index of the set. OSError."""
        volumes = sorted(self.volumes.values(), key=lambda volume: volume.name)
        fields = {
            "format": FORMAT,
            "archive": self.id,
            "volumes": [_summary(volume) for volume in volumes],
            "files": [{**_file(file), "volume": one.name} for one in volumes for file in one.manifest.files],
            "copies": [
                {**named(copy.origin), "hash": copy.hash, "volume": one.name}
                for one in volumes
                for copy in one.manifest.copies
            ],
        }
        write_whole(Path(self.path, NAME), lines(fields))

    def _mark(self, volume: Volume) -> None:
        folder = Path(self.path, volume.name)
        if not folder.is_dir():
            return
        done, other = (BURNED, UNBURNED) if volume.state.burned and not volume.state.bad else (UNBURNED, BURNED)
        write_whole(folder / done, _state_text(volume.state))
        (folder / other).unlink(missing_ok=True)

    def _from_folder(self, name: str) -> Volume | None:
        """The volume whose folder is there; None if its manifest is not, since it is being built or undone."""
        folder = Path(self.path, name)
        try:
            manifest = Manifest.parse((folder / NAME).read_bytes())
        except FileNotFoundError:
            return None
        except ManifestDamaged as damage:
            log.error("the manifest of volume %s in %s is not used: %s", name, self.path, str(damage))
            return None
        for marker in (UNBURNED, BURNED):
            with contextlib.suppress(OSError, ValueError, TypeError):
                fields = json.loads((folder / marker).read_bytes())
                return Volume(manifest, _state({**fields, "bad": [path_of(one) for one in fields["bad"]]}))
        return Volume(manifest)

    def _from_index(self) -> tuple[str, dict[str, Volume]] | None:
        place = Path(self.path, NAME)
        try:
            return _parsed(place.read_bytes())
        except FileNotFoundError:
            return None
        except ManifestDamaged as damage:
            aside = place.with_name(f"{NAME}.damaged")
            log.error("%s: %s; it is made anew from the volumes, and kept as %s", place, str(damage), aside.name)
            place.replace(aside)
            return None


def _file(file: VolumeFile) -> dict[str, Any]:
    return {**named(file.path), "size": file.size, "hash": file.hash, "mtime_ns": file.mtime_ns}


def _summary(volume: Volume) -> dict[str, Any]:
    manifest = volume.manifest
    return {
        "volume": manifest.volume,
        "made": manifest.made,
        "medium": manifest.medium,
        "capacity": manifest.capacity,
        "ecc": manifest.ecc,
        "seal": manifest.seal,
        **asdict(volume.state),
        "bad": [named(path) for path in volume.state.bad],
    }


def _state_text(state: State) -> str:
    return json.dumps({**asdict(state), "bad": [named(path) for path in state.bad]}) + "\n"


def _state(fields: dict[str, Any]) -> State:
    return State(fields["burned"], fields["disc"], fields["verified"], tuple(fields["bad"]))


def _parsed(data: bytes) -> tuple[str, dict[str, Volume]]:
    """The id and the volumes of an archive, from the text of its index; ManifestDamaged."""
    try:
        fields = json.loads(data)
        files: dict[str, list[VolumeFile]] = {one["volume"]: [] for one in fields["volumes"]}
        copies: dict[str, list[Copy]] = {one["volume"]: [] for one in fields["volumes"]}
        for one in fields["files"]:
            files[one["volume"]].append(file_from(one))
        for one in fields["copies"]:
            copies[one["volume"]].append(Copy(path_of(one), one["hash"]))
        found = {}
        for one in fields["volumes"]:
            plain = {name: one[name] for name in ("volume", "made", "medium", "capacity", "ecc")}
            name = one["volume"]
            manifest = Manifest(fields["archive"], files=tuple(files[name]), copies=tuple(copies[name]), **plain)
            if manifest.seal != one["seal"]:
                raise ManifestDamaged(f"what it says of volume {name} does not fit its seal")
            found[name] = Volume(manifest, _state({**one, "bad": [path_of(path) for path in one["bad"]]}))
        return fields["archive"], found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestDamaged(f"it cannot be read: {type(error).__name__} {error}") from None


def write_whole(place: Path, text: str) -> None:
    """Put `text` at `place`, on stable storage, whole or not at all. OSError."""
    draft = place.with_name(f".{place.name}.new")
    fd = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, place)
        folder = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror, str(place)) from error
