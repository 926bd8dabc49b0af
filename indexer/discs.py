"""What fits on a disc: capacities of media, and what a filesystem on them needs besides the content.

Pure arithmetic. All sizes are bytes; a disc is written in sectors of 2048. Capacities are those of discs formatted
with the default defect management (spare areas), as dvd+rw-tools and dvdisaster count them; a disc burned without has
more. The needs are upper bounds for ISO 9660 with Rock Ridge names as xorriso writes it, checked in the tests.
"""

import functools
import json
from dataclasses import dataclass

SECTOR = 2048
# Sectors with and without spare areas.
MEDIA = {
    "bd25": (11_826_176, 12_219_392),
    "bd50": (23_652_352, 24_438_784),
    "bd100": (47_305_728, 48_878_592),
    "bd128": (60_403_712, 62_500_864),
}
# Volume descriptors, path tables' first sectors, the 150 sectors of padding, the manifest's frame.
_FRAME = 512 << 10
# A directory record with Rock Ridge's mode, owner, three times and flags, beside the name itself. Records do not cross
# sectors, so up to an eighth of each is lost.
_RECORD = 230
# A folder's first sector, its entries for itself and its parent, its lines in both path tables, its relocation.
_FOLDER = SECTOR + 1024
# A line of the manifest besides the path: size, hash, time, punctuation.
_LINE = 120


@dataclass(frozen=True, slots=True)
class Medium:
    """One kind of disc. `capacity`: bytes it holds in all; `ecc`: recovery data, as a share of the content."""

    name: str
    capacity: int
    ecc: float = 0.0

    @property
    def usable(self) -> int:
        """Bytes for content with the directory records and manifest lines it needs."""
        return max(0, int((self.capacity - _FRAME) / (1 + self.ecc)))


def medium(name: str, *, size: int | None = None, spare: bool = True, ecc: float = 0.0) -> Medium:
    """The medium called `name` in `MEDIA`, or one of `size` bytes; `spare`: formatted with defect management.

    ValueError for an unknown name.
    """
    if size is not None:
        return Medium(name, size // SECTOR * SECTOR, ecc)
    if name not in MEDIA:
        raise ValueError(f"there is no medium {name!r}; there are {', '.join(MEDIA)}, or give a size")
    return Medium(name, MEDIA[name][0 if spare else 1] * SECTOR, ecc)


def file_cost(path: str, size: int) -> int:
    """Bytes that a file takes: whole sectors, its directory record, its line in the manifest."""
    line = len(json.dumps(path)) + _LINE
    return -(-size // SECTOR) * SECTOR + _record(path.rpartition("/")[2]) + line


@functools.lru_cache(maxsize=1 << 16)
def folder_cost(path: str) -> int:
    """Bytes that a folder takes, besides the records of what is in it."""
    return _FOLDER + _record(path.rpartition("/")[2])


def _record(name: str) -> int:
    return (_RECORD + len(name) * (1 if name.isascii() else 4)) * 8 // 7
