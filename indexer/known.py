"""`KnownFiles`: what is known of the files of a drive, for while the drive is missing.

The rule: it may answer "unknown" too often, but never something that is not so. It answers from the catalog, as far
as no mark says otherwise:

* A name is as recorded if neither it nor a directory above it is marked as changed.
* A name is absent if its directory is recorded completely and holds no such name, and that name is not marked.
* A listing is known if the directory is recorded completely and nothing in it is marked. Else there is none: never a
  shorter one.
* Attributes are `exact` unless something elsewhere may have changed them: those of a directory, when what is in it
  changed; those of a file that is open for writing; those of a file with several names, when another name is marked,
  is recorded differently, or is not recorded although something on the drive is marked.

What to do about an unclean stop was weighed thus. To call the whole drive unknown after it would let a library vanish
because a process was killed; to believe the catalog would show as certain what changed since. So each mark is in a
journal before the change is carried out (`indexer.marks`), and after a crash exactly the marked names are unknown
until they are looked at again. The catalog is believed from one run to the next, because a drive that is missing at
the start cannot be looked at. What others change on a drive directly, past the mount, is known after the next walk.

Lock order: `KnownFiles` has no lock of its own; `Marks._lock` is a leaf and not held while the catalog is asked.
"""

import errno
import logging
import os
from collections.abc import Callable, Collection
from typing import TypeVar

from indexer.catalog import Catalog, CatalogError
from indexer.catalog import Known as Known
from indexer.journal import Journal
from indexer.marks import Marks
from indexer.tree import Directory, OneName, Tree, agree, joined
from indexer.treewriter import TreeWriter

log = logging.getLogger(__name__)

T = TypeVar("T")
Places = dict[str, Directory]

# Seconds from the first change in a directory until it is looked at again.
QUIET = 5.0
# How often an answer is sought again because the catalog was written meanwhile.
_TRIES = 20


class Unknown(OSError):
    """Nothing certain is known: neither that the name is there nor that it is not. An EIO, to be passed on as it is."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EIO, "the drive is missing, and what it holds there is not known", path)


class KnownFiles:
    """Last known names and attributes of all drives. Thread-safe.

    Drives are given by number, paths are relative to the root of the drive ("" is the root), names as `os.fsdecode`
    gives them. For `.mediapool` at the root it is as if it did not exist.
    """

    def __init__(self, catalog: Catalog, journal: str | os.PathLike[str], *, quiet: float = QUIET) -> None:
        """`journal`: path of the file of marks, made if need be; `quiet`: seconds until a changed directory is due.

        Without a whole journal nothing recorded before can be relied upon, and the catalog forgets the trees of all
        drives. CatalogError.
        """
        self._catalog = catalog
        file = Journal(journal)
        records = file.read()
        if records is None:
            with catalog.writing() as connection:
                TreeWriter.forget_all(connection)
        self.marks = Marks(file, records or (), quiet)
        # Directories by path, as of a version of the marks, which changes whenever the catalog does.
        self._places: dict[int, tuple[int, Places]] = {}

    def close(self) -> None:
        """Write the journal anew and close it; the catalog stays open. No calls may be under way."""
        self.marks.close()

    def adopt(self, number: int, identity: str) -> None:
        """The drive with that number has this UUID; what is known of another with its number is forgotten."""
        with self._catalog.writing() as connection:
            other = TreeWriter(connection, number).adopt(identity)
        if other:
            self.marks.forget(number)

    # What the filesystem reports.

    def changed(self, drive_number: int, path: str, file: bool = False) -> None:
        """The name `path` is being changed on a drive: made, removed, linked, its attributes or its content.

        To be called before the change, so that it survives a crash, and again after it, however it ended, so that no
        look begun in between is believed; the second call costs less than a microsecond. For link(2), report both
        names. `file`: it is surely no directory, before and after. Call it only once the drive has answered: what is
        refused because the drive is missing changes nothing. Never raises, never waits for the catalog.
        """
        self.marks.changed(drive_number, path, file)

    def renamed(self, drive_number: int, old: str, new: str) -> None:
        """`old` is being renamed to `new`, or exchanged with it; to be called as `changed`. It speaks for all that is
        below either name, so a whole tree costs one call."""
        self.marks.renamed(drive_number, old, new)

    def writing(self, drive_number: int, path: str, ino: int) -> None:
        """A handle that may write was opened for the file with this st_ino; to be called before the first write.

        Until `written` was called as often, the file is uncertain, under whatever names it gets meanwhile; so single
        writes need not be reported.
        """
        self.marks.writing(drive_number, path, ino)

    def written(self, drive_number: int, ino: int) -> None:
        """Such a handle was closed."""
        self.marks.written(drive_number, ino)

    # What the filesystem asks.

    def stat(self, drive_number: int, path: str) -> Known | None:
        """What is known of `path`, links not followed; None if it is surely absent; raises Unknown else."""

        def ask(tree: Tree, places: Places) -> Known | None:
            found = self._locate(tree, places, drive_number, path)
            if isinstance(found, Directory):
                return self._shown(drive_number, path, found)
            if found is None:
                return None
            above = self._locate(tree, places, drive_number, path.rpartition("/")[0])
            assert isinstance(above, Directory)
            return found._replace(exact=found.ino not in self._doubtful(tree, drive_number, above, [found]))

        return self._ask(drive_number, path, ask)

    def entries(self, drive_number: int, path: str) -> list[tuple[str, Known]] | None:
        """All names in directory `path`; None if not all are known for sure.

        FileNotFoundError and NotADirectoryError where that is sure.
        """

        def ask(tree: Tree, places: Places) -> list[tuple[str, Known]]:
            place = self._locate(tree, places, drive_number, path)
            if place is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if not isinstance(place, Directory):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if place.complete_ns is None or not self.marks.clean(drive_number, path):
                raise Unknown(path)
            return self._listed(tree, drive_number, path, place)

        try:
            return self._ask(drive_number, path, ask)
        except Unknown:
            return None

    def names_of(self, drive_number: int, ino: int) -> list[str]:
        """Names that a file with this st_ino and several names had when the drive was last looked at, sorted.

        A hint: some may be gone and others missing, also all of them. Never raises.
        """
        try:
            with self._catalog.reading() as connection:
                tree = Tree(connection, drive_number)
                root = tree.root()
                found = [] if root is None else list(tree.linked(root.filesystem, [ino]))
                return sorted(joined(tree.path_of(one.directory), os.fsdecode(one.name)) for one in found)
        except (CatalogError, LookupError) as error:
            log.debug("the names of file %d are not known: %s", ino, error)
            return []

    def _ask(self, number: int, path: str, ask: Callable[[Tree, Places], T]) -> T:
        """The answer of `ask`, given while no mark was taken away: what it read and the marks go together."""
        for _ in range(_TRIES):
            version = self.marks.version(number)
            try:
                with self._catalog.reading() as connection:
                    answer = ask(Tree(connection, number), self._cache(number, version))
            except CatalogError as error:
                log.error("%s", error)
                break
            except OSError:
                if self.marks.version(number) == version:
                    raise
                continue
            if self.marks.version(number) == version:
                return answer
        raise Unknown(path)

    def _locate(self, tree: Tree, places: Places, number: int, path: str) -> Directory | Known | None:
        """What is recorded at `path`, None if it is absent; Unknown where either is not certain."""
        place = places.get("") or tree.root()
        if place is None or (not path and not self.marks.certain(number, "", "", True)):
            raise Unknown(path)
        places[""] = place
        at = ""
        for name in path.split("/") if path else ():
            here = joined(at, name)
            found = places.get(here) or tree.child(place.id, os.fsencode(name))
            is_dir = isinstance(found, Directory)
            if not self.marks.certain(number, at, name, is_dir) or (found is None and place.complete_ns is None):
                raise Unknown(path)
            if not isinstance(found, Directory):
                return found if here == path else None
            places[here] = place = found
            at = here
        return place

    def _cache(self, number: int, version: int) -> Places:
        known = self._places.get(number)
        if known is None or known[0] != version:
            known = self._places[number] = (version, {})
        return known[1]

    def _shown(self, number: int, path: str, place: Directory) -> Known:
        return place.known._replace(exact=self.marks.clean(number, path))

    def _listed(self, tree: Tree, number: int, path: str, place: Directory) -> list[tuple[str, Known]]:
        files = tree.files(place.id)
        doubtful = self._doubtful(tree, number, place, files.values())
        listed = [
            (os.fsdecode(name), known._replace(exact=False) if known.ino in doubtful else known)
            for name, known in files.items()
        ]
        for raw, child in tree.directories(place.id).items():
            name = os.fsdecode(raw)
            listed.append((name, self._shown(number, joined(path, name), child)))
        return listed

    def _doubtful(self, tree: Tree, number: int, place: Directory, files: Collection[Known]) -> set[int]:
        """Which of these files, recorded in `place`, may have been changed by a handle or by another name."""
        if not self.marks.any(number):
            return set()
        doubtful = {known.ino for known in files if self.marks.is_writing(number, known.ino)}
        linked = {known.ino: known for known in files if known.nlink > 1}
        names = dict.fromkeys(linked, 0)
        for other in tree.linked(place.filesystem, linked):
            ino = other.known.ino
            names[ino] += 1
            if not agree(other.known, linked[ino]) or not self._stands(tree, number, other):
                doubtful.add(ino)
        return doubtful | {ino for ino, known in linked.items() if names[ino] < known.nlink}

    def _stands(self, tree: Tree, number: int, one: OneName) -> bool:
        """Whether neither the name nor a directory above it is marked."""
        path, name, is_dir = tree.path_of(one.directory), os.fsdecode(one.name), False
        while self.marks.certain(number, path, name, is_dir):
            if not path:
                return True
            path, _, name = path.rpartition("/")
            is_dir = True
        return False
