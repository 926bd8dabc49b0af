"""How the recorded tree of one drive is brought up to date.

`TreeWriter.store` takes what one look at one directory found and writes the differences: names that came, changed or
went, the whole record below a directory that went, and that the directory is complete now.
"""

import functools
import itertools
import os
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Table, bindparam, delete, insert, select, update

from indexer.catalog import NO_PARENT, Known, directory, drive, entry
from indexer.tree import (
    ATTRIBUTES,
    COMPARED,
    MANY,
    Directory,
    File,
    Listing,
    OneName,
    Tree,
    agree,
    joined,
    signed,
    unsigned,
)

# Built once, because that takes longer than carrying them out. The columns to set are those given.
_UPDATE = update(directory).where(directory.c.id == bindparam("which"))
_UPDATE_FILE = update(entry).where(entry.c.directory == bindparam("in"), entry.c.name == bindparam("which"))
_DELETE_FILE = delete(entry).where(entry.c.directory == bindparam("in"), entry.c.name == bindparam("which"))


class Stored(NamedTuple):
    """What `store` did: the subdirectories as recorded now, the names of those that were not recorded before, and
    which files with several names got, lost or changed one, with their new attributes if they were seen."""

    children: dict[bytes, Directory]
    new: set[bytes]
    touched: dict[File, Known | None]


class TreeWriter(Tree):
    """The record of one drive, in a transaction that may write."""

    @functools.cached_property
    def _walk_number(self) -> int:
        return self.walk().number

    def adopt(self, identity: str) -> bool:
        """Make this the record of the drive with that UUID; True if it was another one's and is forgotten now."""
        mine = drive.c.number == self._number
        found = self._connection.execute(select(drive.c.identity).where(mine)).scalar()
        if found == identity:
            return False
        if found is not None:
            self.forget()
        self._connection.execute(insert(drive).values(number=self._number, identity=identity))
        return found is not None

    def forget(self) -> None:
        """Forget the drive."""
        mine = select(directory.c.id).where(directory.c.drive == self._number)
        self._connection.execute(delete(entry).where(entry.c.directory.in_(mine)))
        self._connection.execute(delete(directory).where(directory.c.drive == self._number))
        self._connection.execute(delete(drive).where(drive.c.number == self._number))

    @staticmethod
    def forget_all(connection: Connection) -> None:
        """Forget all drives."""
        for table in (entry, directory, drive):
            connection.execute(delete(table))

    def set_walk(self, **values: int | None) -> None:
        """Set columns of the drive: walk, walk_ns, walked_ns, entries."""
        self._connection.execute(update(drive).where(drive.c.number == self._number).values(**values))

    def make_root(self, own: Known) -> Directory:
        """The root, made if it is not recorded; made anew if it is another directory now."""
        root = self.root()
        if root is not None and root.known.ino == own.ino:
            return root
        if root is not None:
            self._forget_below([root.id])
            self._connection.execute(delete(directory).where(directory.c.id == root.id))
        self._insert_directories(NO_PARENT, 0, {b"": own}, frozenset((b"",)))
        made = self.root()
        assert made is not None
        return made

    def forget_contents(self, place: Directory) -> dict[File, Known | None]:
        """Forget what is in a directory, which is not complete then; answers what `Stored.touched` is."""
        self._connection.execute(_UPDATE, {"complete_ns": None, "which": place.id})
        return dict.fromkeys(self._forget_below([place.id], itself=False))

    def store(self, place: Directory, listing: Listing, moved: Container[bytes] = ()) -> Stored | None:
        """Record what a look at `place` found; None if that is not recorded any more.

        Below names in `moved` nothing recorded before is believed.
        """
        looked = {"complete_ns": listing.looked_ns, "walk": self._walk_number, "which": place.id}
        if not self._connection.execute(_UPDATE, _values(listing.own) | looked).rowcount:
            return None
        recorded = self.directories(place.id)
        gone = [
            name
            for name, old in recorded.items()
            if name in moved or not _same_directory(old, listing.directories.get(name), name in listing.mounts)
        ]
        new = {name: known for name, known in listing.directories.items() if name not in recorded or name in gone}
        lost = self._forget_below([recorded[name].id for name in gone])
        self._insert_directories(place.id, place.filesystem, new, listing.mounts)
        self._update_directories(recorded, listing, new)
        touched = dict.fromkeys(lost) | self._store_files(place, listing.files)
        return Stored(self.directories(place.id) if gone or new else recorded, set(new), touched)

    def _update_directories(
        self, recorded: Mapping[bytes, Directory], listing: Listing, new: Collection[bytes]
    ) -> None:
        changed = [
            # Its birth time is recorded by a look at itself; from outside it is not asked for.
            _values(known._replace(birth_ns=recorded[name].known.birth_ns)) | {"which": recorded[name].id}
            for name, known in listing.directories.items()
            if name not in new and recorded[name].known[:COMPARED] != known[:COMPARED]
        ]
        if changed:
            self._connection.execute(_UPDATE, changed)

    def _store_files(self, place: Directory, files: Mapping[bytes, Known]) -> dict[File, Known | None]:
        """Write the differences; answers what `Stored.touched` is."""
        recorded = self.files(place.id)
        if recorded == files:
            return {}
        gone = recorded.keys() - files.keys()
        new = {name: known for name, known in files.items() if name not in recorded}
        changed = {name: known for name, known in files.items() if name in recorded and recorded[name] != known}
        self._write_files(place.id, gone, new, changed)
        touched: dict[File, Known | None] = {}
        for name in itertools.chain(gone, changed):
            if recorded[name].nlink > 1:
                touched[place.filesystem, recorded[name].ino] = None
        for known in itertools.chain(new.values(), changed.values()):
            if known.nlink > 1:
                touched[place.filesystem, known.ino] = known
        return touched

    def _write_files(
        self, id: int, gone: Collection[bytes], new: Mapping[bytes, Known], changed: Mapping[bytes, Known]
    ) -> None:
        if gone:
            self._connection.execute(_DELETE_FILE, [{"in": id, "which": name} for name in gone])
        if changed:
            values = [_values(known) | {"in": id, "which": name} for name, known in changed.items()]
            self._connection.execute(_UPDATE_FILE, values)
        # In the order of the key, so that pages are filled one after the other.
        rows = [(id, name, signed(known[0]), *known[1 : COMPARED + 1]) for name, known in sorted(new.items())]
        self._insert(entry, ("directory", "name", *ATTRIBUTES), rows)

    def _insert_directories(
        self, parent: int, filesystem: int, new: Mapping[bytes, Known], mounts: Collection[bytes]
    ) -> None:
        rows = [
            (self._number, parent, name, 0 if name in mounts else filesystem, 0, *_values(known).values())
            for name, known in new.items()
        ]
        self._insert(directory, ("drive", "parent", "name", "filesystem", "walk", *ATTRIBUTES), rows)
        if any(name in mounts for name in new):
            # A filesystem is called by the id of its top, which has one only now.
            tops = update(directory).where(directory.c.parent == parent, directory.c.filesystem == 0)
            self._connection.execute(tops.values(filesystem=directory.c.id))

    def _insert(self, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert many rows, past the parameter processing of SQLAlchemy, which takes twice the time of SQLite."""
        if rows:
            statement, positional = _inserting(table, columns, self._connection.dialect)
            values: Any = rows if positional else [dict(zip(columns, row, strict=True)) for row in rows]
            self._connection.exec_driver_sql(statement, values)

    def _forget_below(self, ids: Sequence[int], itself: bool = True) -> set[File]:
        """Forget these directories and all below; answers the files in them that have further names."""
        if not ids:
            return set()
        below = select(directory.c.id).where(directory.c.id.in_(ids)).cte("below", recursive=True)
        below = below.union_all(select(directory.c.id).where(directory.c.parent == below.c.id))
        found = iter([id for (id,) in self._connection.execute(select(below.c.id))])
        lost: set[File] = set()
        while some := list(itertools.islice(found, MANY)):
            lost.update(self._linked_in(some))
            self._connection.execute(delete(entry).where(entry.c.directory.in_(some)))
            unwanted = some if itself else [id for id in some if id not in ids]
            self._connection.execute(delete(directory).where(directory.c.id.in_(unwanted)))
        return lost

    def _linked_in(self, ids: Sequence[int]) -> Iterator[File]:
        query = select(directory.c.filesystem, entry.c.ino).join(directory, directory.c.id == entry.c.directory)
        rows = self._connection.execute(query.where(entry.c.directory.in_(ids), entry.c.nlink > 1))
        return ((filesystem, unsigned(ino)) for filesystem, ino in rows)

    def outdated(self, touched: Mapping[File, Known | None]) -> Iterator[str]:
        """The paths of recorded names of these files that have to be looked at again, the record being older."""
        for filesystem in {file[0] for file in touched}:
            names: dict[int, list[OneName]] = {}
            for one in self.linked(filesystem, [ino for at, ino in touched if at == filesystem]):
                names.setdefault(one.known.ino, []).append(one)
            for ino, group in names.items():
                now = touched[filesystem, ino]
                if now is None and _is_whole([one.known for one in group]):
                    continue
                for one in group:
                    if not agree(one.known, now):
                        yield joined(self.path_of(one.directory), os.fsdecode(one.name))


def _is_whole(group: Sequence[Known]) -> bool:
    """Whether these are all names of a file, and say the same."""
    return len(group) == group[0].nlink and all(agree(known, group[0]) for known in group)


def _same_directory(old: Directory, now: Known | None, is_mount: bool) -> bool:
    return now is not None and now.ino == old.known.ino and is_mount == (old.filesystem == old.id)


@functools.lru_cache(maxsize=16)
def _inserting(table: Table, columns: tuple[str, ...], dialect: Dialect) -> tuple[str, bool]:
    """The text of an INSERT, and whether its parameters are positional, in the order of `columns`."""
    compiled: Any = insert(table).compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), compiled.positional and list(compiled.positiontup) == list(columns)


def _values(known: Known) -> dict[str, int | None]:
    """The attributes by the names of their columns, in their order."""
    return dict(zip(ATTRIBUTES, (signed(known.ino), *known[1 : COMPARED + 1]), strict=True))
