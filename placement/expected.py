"""Drives as they would be with files that are only planned, for a dry run."""

from collections.abc import Sequence
from dataclasses import replace

from placement import system as os
from placement.drive import Drive
from placement.rules import Placement
from placement.sources import Found
from placement.usage import Usage


class Expected(Drive):
    """A drive with files that are only planned. It shares all with `drive`, which closes it."""

    def __init__(self, drive: Drive) -> None:
        self.__dict__.update(vars(drive))
        self.bytes = 0
        self.folders: set[str] = set()
        if drive.usage is not None:
            self.usage = _More(drive.usage, self)

    def expect(self, one: Found) -> None:
        """Count a file that would go there."""
        self.bytes += one.size
        for path in one.paths:
            while path := path.rpartition("/")[0]:
                self.folders.add(path)

    def space(self) -> os.statvfs_result:
        now = list(super().space())
        # f_frsize, then f_bfree and f_bavail.
        blocks = -(-self.bytes // now[1])
        now[3], now[4] = max(0, now[3] - blocks), max(0, now[4] - blocks)
        return os.statvfs_result(now)


class _More(Usage):
    """The bytes that are counted on a drive, and those that are planned."""

    def __init__(self, counted: Usage, expected: Expected) -> None:
        self._inner = counted
        self._expected = expected

    def bytes(self) -> int:
        return self._inner.bytes() + self._expected.bytes


def expecting(placement: Placement, drives: Sequence[Expected]) -> Placement:
    """The same rules over drives as they would be."""

    def has_dir(drive: Drive, path: str) -> bool:
        return (isinstance(drive, Expected) and path in drive.folders) or placement.has_dir(drive, path)

    return replace(placement, drives=lambda: drives, has_dir=has_dir)
