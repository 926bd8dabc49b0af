"""When a picture or film was taken: by its EXIF, its container, its name, its mtime, the first that says so.

The answer is local time as the camera's clock showed it, which is what people sort by, so an EXIF date is taken as it
is, also beside a zone. Containers count in UTC (or say their zone): those become local time of this machine, unless
the zone is said. EXIF is read by exifread: pure Python, no dependencies, typed, knows JPEG, HEIC, TIFF and the raw
formats made of it, and reads no more of a file than it has to.
"""

import logging
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple

import exifread

from indexer.likely import SUFFIXES
from indexer.media import probe
from indexer.verdicts import NotMedia, ProbeTrouble

Source = Literal["exif", "container", "name", "mtime"]

_IMAGES = frozenset(
    b".jpg .jpeg .jpe .tif .tiff .heic .heif .avif .png .webp .jxl "
    b".dng .nef .cr2 .cr3 .arw .orf .rw2 .raf .pef .srw".split()
)
# DateTimeOriginal is when the shutter opened, Digitized the same for cameras; Image DateTime changes with editing.
_TAGS = ("EXIF DateTimeOriginal", "EXIF DateTimeDigitized", "Image DateTime")
_PROBE_SECONDS = 20.0
# IMG_20240531_235959, 2024-05-31 23.59.59, PXL_20240531_235959123, VID-20240531-WA0001, Screenshot_2024-05-31-23-59-59.
_NAMED = re.compile(
    rb"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    rb"(?:(?:[-_. T]|\s+at\s+)?([01]\d|2[0-3])[-_.:h]?([0-5]\d)[-_.:m]?([0-5]\d)\d{0,3})?(?!\d)"
)

Container = Callable[[bytes], str]

# exifread tells of every oddity of a file; here only the date matters.
logging.getLogger("exifread").setLevel(logging.CRITICAL)


class Taken(NamedTuple):
    """When, as local time without a zone, and who says so."""

    when: datetime
    source: Source


def taken(path: bytes, mtime_ns: int, container: Container | None = None) -> Taken:
    """When the file at `path` was taken. `container`: what reads the date of one, for tests. OSError never."""
    suffix = os.path.splitext(path)[1].lower()
    when = None
    if suffix in _IMAGES and (when := by_exif(path)) is not None:
        return Taken(when, "exif")
    if suffix in SUFFIXES and (when := from_container((container or _created)(path))) is not None:
        return Taken(when, "container")
    if (when := by_name(os.path.basename(path))) is not None:
        return Taken(when, "name")
    return Taken(datetime.fromtimestamp(mtime_ns // 1_000_000_000), "mtime")


def by_exif(path: bytes) -> datetime | None:
    """The date in the EXIF of a picture; None where it has none that makes sense."""
    try:
        with open(path, "rb") as file:
            tags = exifread.process_file(file, details=False, extract_thumbnail=False)
    except Exception:  # damaged files raise anything; their date is then unknown
        return None
    for name in _TAGS:
        if name in tags and (when := from_exif(str(tags[name]))) is not None:
            return when
    return None


def from_exif(text: str) -> datetime | None:
    """An EXIF date, "2024:05:31 23:59:59"; None for the zeros and blanks of a clock that was never set."""
    try:
        return _sensible(datetime.strptime(text.strip()[:19], "%Y:%m:%d %H:%M:%S"))
    except ValueError:
        return None


def _created(path: bytes) -> str:
    try:
        return probe(path, seconds=_PROBE_SECONDS).created
    except (NotMedia, ProbeTrouble):
        return ""


def from_container(text: str) -> datetime | None:
    """The local time of an ISO 8601 date: as its zone says, or this machine's where it is in UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is not None and not when.utcoffset():
        # Cameras write UTC or, wrongly, their local time as if it were: nothing tells which.
        when = when.astimezone()
    return _sensible(when.replace(tzinfo=None))


def by_name(name: bytes) -> datetime | None:
    """The date in a file's name as cameras and telephones write it, midnight if it has no time."""
    for match in _NAMED.finditer(name):
        year, _, month, day, *time = match.groups()
        try:
            hour, minute, second = (int(part or 0) for part in time)
            when = datetime(int(year), int(month), int(day), hour, minute, second)
        except ValueError:
            continue
        if (sensible := _sensible(when)) is not None:
            return sensible
    return None


def _sensible(when: datetime) -> datetime | None:
    """`when`, unless it is what unset clocks say: 1904 is the zero of QuickTime, 1970 of Unix, 1980 of FAT."""
    start_of_year = (when.month, when.day) == (1, 1)
    return None if when.year < 1971 or (when.year == 1980 and start_of_year) or when.year > 2200 else when
