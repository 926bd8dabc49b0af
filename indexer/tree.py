"""The recorded tree of one drive, as one transaction of the catalog sees it.

Names are bytes here, paths are `str` relative to the root of the drive, "" for the root itself.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, bindparam, func, select

from indexer.catalog import NO_PARENT, Known, directory, drive, entry

# The columns that say what lstat said.
ATTRIBUTES = [column.name for column in entry.c if column.name not in ("directory", "name")]
# How many of them are compared where the birth time was not asked for, which is the last one.
COMPARED = len(ATTRIBUTES) - 1
_SIGNED = 1 << 63
_WRAP = 1 << 64
# Values in one IN (...), well below what any database takes.
MANY = 500
# A file with several names: the filesystem it lies on, and its number there.
File = tuple[int, int]


class Directory(NamedTuple):
    """A recorded directory. `complete_ns` is None unless every name in it is recorded; `walk` as in the catalog."""

    id: int
    filesystem: int
    complete_ns: int | None
    walk: int
    known: Known


class Walk(NamedTuple):
    """The last whole walk: its number; when it began, None once it is finished; of the last finished one when it
    began and how many names it left. Times in ns."""

    number: int = 0
    began_ns: int | None = None
    walked_ns: int | None = None
    entries: int | None = None


class OneName(NamedTuple):
    """One of several names of a file: `name` in the directory with that id."""

    directory: int
    name: bytes
    known: Known


class Listing(NamedTuple):
    """What one look at directory `path` found, begun at `looked_ns`.

    `mounts` are the subdirectories that are the top of another filesystem.
    """

    path: str
    looked_ns: int
    own: Known
    directories: dict[bytes, Known]
    files: dict[bytes, Known]
    mounts: frozenset[bytes] = frozenset()


def joined(path: str, name: str) -> str:
    """The path of `name` in directory `path`."""
    return f"{path}/{name}" if path else name


def _in_directory(table: Table, *where: Any) -> Select[Any]:
    return select(*(table.c[name] for name in ATTRIBUTES), *where)


_DIRECTORY = _in_directory(
    directory,
    directory.c.id,
    directory.c.filesystem,
    directory.c.complete_ns,
    directory.c.walk,
    directory.c.name,
)
# Statements are built once, because that takes longer than carrying them out.
_CHILD = _DIRECTORY.where(
    directory.c.drive == bindparam("drive"),
    directory.c.parent == bindparam("parent"),
    directory.c.name == bindparam("name"),
)
_CHILDREN = _DIRECTORY.where(directory.c.drive == bindparam("drive"), directory.c.parent == bindparam("parent"))
_FILES = _in_directory(entry, entry.c.name).where(entry.c.directory == bindparam("directory"))
_FILE = _FILES.where(entry.c.name == bindparam("name"))
_ABOVE = select(directory.c.parent, directory.c.name).where(directory.c.id == bindparam("id"))
_LINKED = (
    _in_directory(entry, entry.c.directory, entry.c.name)
    .join(directory, directory.c.id == entry.c.directory)
    .where(
        directory.c.filesystem == bindparam("filesystem"),
        entry.c.nlink > 1,
        entry.c.ino.in_(bindparam("inos", expanding=True)),
    )
)


class Tree:
    """The record of one drive, as one transaction sees it."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._paths: dict[int, str] = {}

    def root(self) -> Directory | None:
        """The root of the drive; None if it was never looked at."""
        return self.subdirectory(NO_PARENT, b"")

    def subdirectory(self, parent: int, name: bytes) -> Directory | None:
        """One subdirectory of the directory with id `parent`."""
        values = {"drive": self._number, "parent": parent, "name": name}
        row = self._connection.execute(_CHILD, values).first()
        return None if row is None else _directory(row)

    def child(self, parent: int, name: bytes) -> Directory | Known | None:
        """Whatever is recorded under that name; None proves its absence only where the directory is complete."""
        found = self.subdirectory(parent, name)
        if found is not None:
            return found
        row = self._connection.execute(_FILE, {"directory": parent, "name": name}).first()
        return None if row is None else _known(row)

    def find(self, path: str) -> Directory | None:
        """The directory at `path`; None if none is recorded there."""
        place = self.root()
        for name in path.split("/") if path else ():
            if place is None:
                return None
            place = self.subdirectory(place.id, os.fsencode(name))
        return place

    def directories(self, parent: int) -> dict[bytes, Directory]:
        """The subdirectories recorded in a directory."""
        rows = self._connection.execute(_CHILDREN, {"drive": self._number, "parent": parent}).all()
        return {row[-1]: _directory(row) for row in rows}

    def files(self, parent: int) -> dict[bytes, Known]:
        """All other names recorded in a directory."""
        rows = self._connection.execute(_FILES, {"directory": parent}).all()
        return {row[-1]: _known(row) for row in rows}

    def linked(self, filesystem: int, inos: Iterable[int]) -> Iterator[OneName]:
        """All recorded names of these files, as far as their record says that they have several."""
        wanted = iter([signed(ino) for ino in inos])
        while some := list(itertools.islice(wanted, MANY)):
            for row in self._connection.execute(_LINKED, {"filesystem": filesystem, "inos": some}).all():
                yield OneName(row[-2], row[-1], _known(row))

    def path_of(self, id: int) -> str:
        """The path of a recorded directory; LookupError if there is none with that id."""
        # A tree may be deeper than Python lets functions call each other.
        below: list[tuple[int, str]] = []
        while id not in self._paths:
            row = self._connection.execute(_ABOVE, {"id": id}).first()
            if row is None:
                raise LookupError(f"no directory {id}")
            if row.parent == NO_PARENT:
                self._paths[id] = ""
                break
            below.append((id, os.fsdecode(row.name)))
            id = row.parent
        path = self._paths[id]
        for id, name in reversed(below):
            path = self._paths[id] = joined(path, name)
        return path

    def count(self) -> int:
        """How many names are recorded on this drive, the root aside."""
        mine = directory.c.drive == self._number
        files = select(func.count()).select_from(entry).join(directory, directory.c.id == entry.c.directory).where(mine)
        folders = select(func.count()).select_from(directory).where(mine, directory.c.parent != NO_PARENT)
        return sum(self._connection.execute(query).scalar_one() for query in (files, folders))

    def walk(self) -> Walk:
        """The last whole walk."""
        columns = (drive.c.walk, drive.c.walk_ns, drive.c.walked_ns, drive.c.entries)
        row = self._connection.execute(select(*columns).where(drive.c.number == self._number)).first()
        return Walk() if row is None else Walk(*row)


def agree(one: Known, other: Known | None) -> bool:
    """Whether both describe the same state of a file, the time of the last access aside."""
    return other is not None and one[:COMPARED] == other._replace(atime_ns=one.atime_ns)[:COMPARED]


def signed(ino: int) -> int:
    """A number of a file as databases store it."""
    return ino - _WRAP if ino >= _SIGNED else ino


def unsigned(ino: int) -> int:
    """The reverse of `signed`."""
    return ino + _WRAP if ino < 0 else ino


def _directory(row: Sequence[Any]) -> Directory:
    id, filesystem, complete_ns, walk, _name = row[-5:]
    return Directory(id, filesystem, complete_ns, walk, _known(row))


def _known(row: Sequence[Any]) -> Known:
    return Known(unsigned(row[0]), *row[1 : COMPARED + 1])
