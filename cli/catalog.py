"""The catalog of a running mount: opened, begun anew where it is damaged, kept fresh. It never stops the mount."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cli.state import StateFolder
from indexer.catalog import Catalog, CatalogDamaged, CatalogError
from indexer.known import KnownFiles
from indexer.look import WantsBirth
from indexer.walker import Walker
from placement.drive import Drive

log = logging.getLogger(__name__)


class DriveKnowledge:
    """What is known of the drives, for while one is missing.

    `files` is None if no catalog can be had; then missing drives give EIO, and all else works.
    """

    def __init__(self, state: StateFolder, drives: Sequence[Drive], wants_birth: WantsBirth) -> None:
        """`wants_birth`: see `indexer.look`."""
        self.files: KnownFiles | None = None
        self._walker: Walker | None = None
        self._drives = drives
        # A mount may end while the thread that began it still starts the walker.
        self._lock = threading.Lock()
        self._stopped = False
        with ExitStack() as closing:
            self._closing = closing
            try:
                self._open(state, wants_birth)
            except CatalogError as error:
                log.warning("%s Until then a missing drive shows nothing.", error)
                return
            self._closing = closing.pop_all()

    def _open(self, state: StateFolder, wants_birth: WantsBirth) -> None:
        catalog = open_catalog(state.catalog)
        self._closing.callback(catalog.close)
        files = KnownFiles(catalog, state.marks)
        self._closing.callback(files.close)
        for drive in self._drives:
            # What is known of a drive must not be shown of another that has its number now.
            files.adopt(drive.number, drive.id)
        self._walker = Walker(self._drives, catalog, files, wants_birth=wants_birth)
        self.files = files

    def start(self) -> None:
        """Begin to look at the drives in the background, unless `stop` was called already."""
        with self._lock:
            if self._walker is None or self._stopped:
                return
            try:
                self._walker.start()
            except CatalogError as error:
                log.warning("%s Changes of the drives are not noticed.", error)

    def add(self, drive: Drive) -> None:
        """One more drive of the pool that is mounted."""
        with self._lock:
            if self._walker is not None and not self._stopped:
                try:
                    self._walker.add(drive)
                except CatalogError as error:
                    log.warning("%s Changes of drive %s are not noticed.", error, drive.name)

    def remove(self, drive: Drive) -> None:
        """A drive that has left the pool."""
        if self._walker is not None:
            self._walker.remove(drive.number)

    def stop(self) -> None:
        """End looking; nothing may be reported or asked any more."""
        with self._lock:
            self._stopped = True
            if self._walker is not None:
                self._walker.stop()
        self._closing.close()

    def uncertain(self, number: int) -> int | None:
        """How many folders of a drive could not be shown were it missing, or cannot be now; None if nothing can."""
        if self.files is None:
            return None
        try:
            root = self.files.stat(number, "")
        except OSError:
            return None
        return None if root is None else self.files.marks.count(number)

    def walking(self) -> bool:
        """Whether a drive has still to be walked."""
        return self._walker is not None and not self._walker.idle()


def open_catalog(path: Path) -> Catalog:
    """The catalog; a damaged one is moved aside, since the drives can be read again. CatalogError if out of reach."""
    try:
        return Catalog(path)
    except CatalogDamaged as damage:
        aside = path.with_name(path.name + ".damaged")
        log.warning("%s That was done: it was moved to %s.", damage, aside)
        try:
            # The write-ahead log belongs to the damaged file, and would be taken for one of the new.
            for end in ("-wal", "-shm", ""):
                if (old := path.with_name(path.name + end)).exists():
                    old.replace(aside.with_name(aside.name + end))
        except OSError as error:
            raise CatalogError(f"{path} cannot be moved aside: {error.strerror}.") from error
    return Catalog(path)
