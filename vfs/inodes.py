"""Visible inode numbers: 16 bits say which drive, 48 bits are the number on that drive.

Number 0 in the upper bits means a remote node. Whatever cannot keep that rule has an *alias* in names.db: a number
over 48 bits, and a directory that came to exist on an earlier drive than the one whose number was shown first.
An alias is bound to the birth time of the file on the drive, so a number that the drive uses again is not taken
for the old file.
"""

import itertools
import threading

from vfs.namesdb import NamesDb

_BITS = 48
_LIMIT = 1 << _BITS
# Aliases made for numbers that do not fit live under this drive number, which no drive has.
_WIDE = 0x7FFF


class Inodes:
    """Maps (drive number, st_ino) to the number shown, and remembers exceptions for ever."""

    def __init__(self, db: NamesDb) -> None:
        self._db = db
        self._lock = threading.Lock()
        rows = db.db.execute("SELECT drive, ino, birth_ns, visible FROM alias")
        self._aliases: dict[tuple[int, int], tuple[int, int]] = {
            (drive, ino % (1 << 64)): (birth, visible) for drive, ino, birth, visible in rows
        }
        self._aliased = {ino for _, ino in self._aliases}
        wide = [visible for _, visible in self._aliases.values() if visible >> _BITS == _WIDE]
        self._wide = itertools.count(max(wide, default=_WIDE << _BITS) + 1)

    def plain(self, drive: int, ino: int) -> int | None:
        """The number to show for st_ino `ino` of a drive if that needs no birth time, as nearly always; else None."""
        return drive << _BITS | ino if ino < _LIMIT and (drive, ino) not in self._aliases else None

    def visible(self, drive: int, ino: int, birth_ns: int) -> int:
        """The number to show for st_ino `ino` of a drive, made at `birth_ns`."""
        if (known := self._aliases.get((drive, ino))) and known[0] == birth_ns:
            return known[1]
        if ino < _LIMIT:
            return drive << _BITS | ino
        return self._widen(drive, ino, birth_ns)

    def last_visible(self, drive: int, ino: int, birth_ns: int | None) -> int:
        """As `visible`, of a file whose drive is missing; without its birth time an alias of its number is believed."""
        alias = self._aliases.get((drive, ino))
        return self.visible(drive, ino, alias[0] if alias and birth_ns is None else birth_ns or 0)

    def wants_birth(self, ino: int) -> bool:
        """Whether a file with this st_ino, on some drive, is told by its birth time."""
        return ino >= _LIMIT or ino in self._aliased

    def alias(self, drive: int, ino: int, birth_ns: int, visible: int, durable: bool = False) -> None:
        """From now on show `visible` for this file of a drive; OSError when that cannot be recorded.

        `durable`: it is on stable storage when this returns.
        """
        with self._lock:
            self._record(drive, ino, birth_ns, visible, durable)

    def _widen(self, drive: int, ino: int, birth_ns: int) -> int:
        with self._lock:
            visible = next(self._wide)
            self._record(drive, ino, birth_ns, visible)
        return visible

    def _record(self, drive: int, ino: int, birth_ns: int, visible: int, durable: bool = False) -> None:
        signed = ino - (1 << 64) if ino >= 1 << 63 else ino
        with self._db.write(durable) as db:
            db.execute("INSERT OR REPLACE INTO alias VALUES (?, ?, ?, ?)", (drive, signed, birth_ns, visible))
        self._aliases[drive, ino] = (birth_ns, visible)
        self._aliased.add(ino)


def drive_of(visible: int) -> int:
    """The drive number inside a visible inode number without alias; 0 for a remote node."""
    return visible >> _BITS
