"""The provider's answers as values.

Parsing forgives what the provider is known to do: unknown keys, `[]` for an empty map, numbers as text, a
progress with decimals, fields that are absent or null. It refuses, with `WrongShape`, an answer whose
identity is missing (no id, no hash, not an object at all), because such an answer must never be read as
"nothing there".

Dates carry a `Z` that is not true: the provider writes its own local time and stamps it UTC. They are kept
as stamped, in nanoseconds since the epoch; who needs the true time subtracts the UTC offset of the
provider's clock (`Client.time`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Self

from debrid.errors import WrongShape

# https://real-debrid.com/d/ and 13 characters. Longer forms exist; they open only for the account that made
# them, the short one for everybody, and it names the same file.
_LINK_ID_LENGTH = 13

UNFINISHED = frozenset(
    {"magnet_conversion", "waiting_files_selection", "queued", "downloading", "compressing", "uploading"}
)
FAILED = frozenset({"magnet_error", "error", "virus", "dead"})


@dataclass(frozen=True, slots=True)
class User:
    """The account; `premium_seconds` is what is left, 0 for a free or expired one."""

    id: int
    username: str
    type: str
    premium_seconds: int
    points: int
    expiration_ns: int | None

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape."""
        row = _object(data, "user")
        return cls(
            id=_number(row, "id"),
            username=_needed(row, "username", "user"),
            type=_text(row, "type"),
            premium_seconds=_number(row, "premium"),
            points=_number(row, "points"),
            expiration_ns=stamped_ns(_text(row, "expiration")),
        )


@dataclass(frozen=True, slots=True)
class TorrentItem:
    """One torrent as the list shows it; `bytes` counts the selected files only, `progress` is in percent."""

    id: str
    hash: str
    filename: str
    bytes: int
    status: str
    progress: float
    added_ns: int | None
    ended_ns: int | None
    links: tuple[str, ...]
    speed: int = 0
    seeders: int = 0

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape."""
        return cls(**_item_fields(_object(data, "torrent")))

    @property
    def is_finished(self) -> bool:
        """The provider holds the content."""
        return self.status == "downloaded"

    @property
    def is_unfinished(self) -> bool:
        """Still on its way; a status this program does not know counts as failed."""
        return self.status in UNFINISHED


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """A file inside a torrent. `id` counts from 1; `path` is raw, begins with a slash and may be hostile."""

    id: int
    path: str
    bytes: int
    selected: bool

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape."""
        row = _object(data, "torrent file")
        return cls(
            id=_number(row, "id", needed=True),
            path=_needed(row, "path", "torrent file"),
            bytes=_number(row, "bytes"),
            selected=_number(row, "selected") != 0,
        )

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class TorrentInfo(TorrentItem):
    """One torrent with its files, in the provider's order."""

    original_filename: str = ""
    original_bytes: int = 0
    files: tuple[TorrentFile, ...] = ()

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape. The documentation shows the object inside a list; both are taken."""
        if isinstance(data, list) and len(data) == 1:
            data = data[0]
        row = _object(data, "torrent info")
        return cls(
            **_item_fields(row),
            original_filename=_text(row, "original_filename"),
            original_bytes=_number(row, "original_bytes"),
            files=tuple(TorrentFile.parse(each) for each in _list(row, "files")),
        )

    @property
    def selected(self) -> tuple[TorrentFile, ...]:
        """The selected files, in the order sent; link i belongs to file i when there are as many of both."""
        return tuple(each for each in self.files if each.selected)

    @property
    def links_by_file(self) -> dict[int, str] | None:
        """Link of each selected file by its id; None if their numbers differ, so they cannot be paired."""
        selected = self.selected
        if len(selected) != len(self.links):
            return None
        return {file.id: link for file, link in zip(selected, self.links, strict=True)}


@dataclass(frozen=True, slots=True)
class Unrestricted:
    """A download URL and what it leads to; `filesize` in bytes, 0 if the provider does not know."""

    id: str
    filename: str
    filesize: int
    link: str
    download: str = field(repr=False)  # whoever has the URL can read the file
    mime_type: str = ""
    host: str = ""
    chunks: int = 1
    streamable: bool = False

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape, also for the empty URL that has been seen with status 200."""
        row = _object(data, "unrestricted link")
        return cls(
            id=_needed(row, "id", "unrestricted link"),
            filename=_text(row, "filename"),
            filesize=_number(row, "filesize"),
            link=_text(row, "link"),
            download=_needed(row, "download", "unrestricted link"),
            mime_type=_text(row, "mimeType"),
            host=_text(row, "host"),
            chunks=_number(row, "chunks"),
            streamable=_number(row, "streamable") != 0,
        )


@dataclass(frozen=True, slots=True)
class Download:
    """A row of the account's downloads: a URL that was handed out before."""

    id: str
    filename: str
    filesize: int
    link: str
    download: str = field(repr=False)
    generated_ns: int | None = None

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape."""
        row = _object(data, "download")
        return cls(
            id=_needed(row, "id", "download"),
            filename=_text(row, "filename"),
            filesize=_number(row, "filesize"),
            link=_text(row, "link"),
            download=_text(row, "download"),
            generated_ns=stamped_ns(_text(row, "generated")),
        )


@dataclass(frozen=True, slots=True)
class ActiveCount:
    """Active torrents against the account's limit."""

    active: int
    limit: int
    hashes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: object) -> Self:
        """Raises WrongShape."""
        row = _object(data, "active count")
        return cls(
            active=_number(row, "nb", needed=True),
            limit=_number(row, "limit", needed=True),
            hashes=tuple(str(each).lower() for each in _list(row, "list")),
        )


def match_file(answer: Unrestricted, files: Sequence[TorrentFile]) -> TorrentFile | None:
    """The file a link leads to, by size and name; by size alone if it is the only one of that size."""
    same_size = [each for each in files if answer.filesize in (0, each.bytes)]
    same_name = [each for each in same_size if each.name == answer.filename]
    if same_name:
        return same_name[0]
    return same_size[0] if len(same_size) == 1 and answer.filesize else None


def short_link(link: str) -> str:
    """The form of a torrent's link that every account may unrestrict; other links stay as they are."""
    head, mark, tail = link.partition("/d/")
    if not mark or not head.endswith("real-debrid.com"):
        return link
    return f"{head}{mark}{tail.split('/')[0].split('?')[0][:_LINK_ID_LENGTH]}"


def stamped_ns(text: str) -> int | None:
    """A JSON date as nanoseconds since the epoch, taking its zone at its word; None for anything else."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _item_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _needed(row, "id", "torrent"),
        "hash": _needed(row, "hash", "torrent").lower(),
        "filename": _text(row, "filename"),
        "bytes": _number(row, "bytes"),
        "status": _needed(row, "status", "torrent"),
        "progress": _decimal(row, "progress"),
        "added_ns": stamped_ns(_text(row, "added")),
        "ended_ns": stamped_ns(_text(row, "ended")),
        "links": tuple(each for each in _list(row, "links") if isinstance(each, str)),
        "speed": _number(row, "speed"),
        "seeders": _number(row, "seeders"),
    }


def _object(data: object, what: str) -> Mapping[str, Any]:
    if isinstance(data, dict):
        return data
    raise WrongShape(f"{what}: an object was expected, not {_describe(data)}")


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    if value is None or value == {}:
        return []
    if isinstance(value, list):
        return value
    raise WrongShape(f"{key}: a list was expected, not {_describe(value)}")


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _needed(row: Mapping[str, Any], key: str, what: str) -> str:
    value = row.get(key)
    if isinstance(value, str) and value:
        return value
    raise WrongShape(f"{what}: {key} is missing")


def _number(row: Mapping[str, Any], key: str, *, needed: bool = False) -> int:
    if needed and row.get(key) is None:
        raise WrongShape(f"{key} is missing")
    return int(_decimal(row, key))


def _decimal(row: Mapping[str, Any], key: str) -> float | int:
    value = row.get(key)
    if value is None or value == "":
        return 0
    for kind in (int, float):  # int first: sizes beyond 2**53 would lose digits as floats
        try:
            number = value if isinstance(value, int | float) else kind(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            return number
    raise WrongShape(f"{key}: a number was expected, not {_describe(value)}")


def _describe(value: object) -> str:
    return f"{type(value).__name__} ({str(value)[:40]!r})"
