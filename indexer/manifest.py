"""The manifest of a volume, its `index.json`: what the volume holds, sealed.

It lies in the volume, so also on the disc, and is the truth about it: everything else that is known of an archive can
be made from the manifests again. JSON in ASCII, one file a line; a path that is no UTF-8 stands as `path_b64`, the
base64 of its bytes, in place of `path`. The seal is the xxh3-128 of all other fields.
"""

import base64
import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import xxhash

NAME = "index.json"
# The folder of a volume with what par2 made to mend its files.
RECOVERY = "PAR2"
FORMAT = "mediapool volume 1"


class ManifestDamaged(Exception):
    """A manifest that cannot be believed; the message says what is wrong with it."""


class VolumeFile(NamedTuple):
    """One file of a volume: path in it, bytes, xxh3-128 as 32 hex digits, mtime in ns."""

    path: str
    size: int
    hash: str
    mtime_ns: int


class Copy(NamedTuple):
    """A file that was not archived, for its content is: where it was found, and the hash that tells which."""

    origin: str
    hash: str


@dataclass(frozen=True)
class Manifest:
    """What a volume holds. `archive`: id of the set it belongs to; `made`: UTC; `capacity`: bytes of the disc."""

    archive: str
    volume: str
    made: str
    medium: str
    capacity: int
    ecc: float
    files: tuple[VolumeFile, ...]
    copies: tuple[Copy, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @functools.cached_property
    def seal(self) -> str:
        """The xxh3-128 of the fields, by which a change of any of them shows."""
        return xxhash.xxh3_128(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "archive": self.archive,
            "volume": self.volume,
            "made": self.made,
            "medium": self.medium,
            "capacity": self.capacity,
            "ecc": self.ecc,
            "files": [{**named(one.path), **_rest(one)} for one in self.files],
            "copies": [{**named(one.origin), "hash": one.hash} for one in self.copies],
        }

    def as_json(self) -> str:
        """The text of `index.json`."""
        return lines({**self._fields(), "seal": self.seal})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """What `as_json` gave; `ManifestDamaged` for anything else."""
        try:
            fields = json.loads(data)
            if fields["format"] != FORMAT:
                raise ManifestDamaged(f"its format is {fields['format']!r}, this version reads {FORMAT!r}")
            manifest = cls(
                **{name: fields[name] for name in ("archive", "volume", "made", "medium", "capacity", "ecc")},
                files=tuple(file_from(one) for one in fields["files"]),
                copies=tuple(Copy(path_of(one), one["hash"]) for one in fields["copies"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestDamaged(f"it cannot be read: {type(error).__name__} {error}") from None
        if manifest.seal != fields.get("seal"):
            raise ManifestDamaged("its seal is broken: something in it was changed")
        return manifest


def named(path: str) -> dict[str, str]:
    """The field that holds a path of any bytes (`os.fsdecode`)."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"path_b64": base64.b64encode(os.fsencode(path)).decode()}
    return {"path": path}


def path_of(fields: dict[str, Any]) -> str:
    """The path that `named` wrote; KeyError, ValueError."""
    if "path_b64" in fields:
        return os.fsdecode(base64.b64decode(fields["path_b64"], validate=True))
    path = fields["path"]
    if not isinstance(path, str):
        raise ValueError(f"{path!r} is no path")
    return path


def _rest(one: VolumeFile) -> dict[str, Any]:
    return {"size": one.size, "hash": one.hash, "mtime_ns": one.mtime_ns}


def file_from(fields: dict[str, Any]) -> VolumeFile:
    """One line of "files"; KeyError, ValueError. Paths that would leave the volume are refused."""
    path = path_of(fields)
    if path.startswith("/") or "\0" in path or not path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} is no path in a volume")
    return VolumeFile(path, int(fields["size"]), str(fields["hash"]), int(fields["mtime_ns"]))


def lines(fields: dict[str, Any]) -> str:
    """JSON of `fields` in which each element of a list stands on a line of its own, for grep."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_value(value)}" for name, value in fields.items()) + "\n}\n"


def _value(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(_each(value)) + "\n]"


def _each(values: Iterable[Any]) -> Iterable[str]:
    return (json.dumps(value) for value in values)
