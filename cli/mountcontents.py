"""The catalog of contents beside a running mount: asked by threads that must not wait, told by others.

Commands write to the same file meanwhile. Who asks never waits for them (WAL); who tells may, so that is for threads of
our own. A catalog that is missing, damaged or of another version is no reason not to mount: then nothing is known.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from indexer.contents import Contents
from indexer.contentsdb import ContentsError

log = logging.getLogger(__name__)

T = TypeVar("T")
_PATIENCE = 1.0  # seconds to wait for another thread that asks

Identity = tuple[int, int]


class MountContents:
    """Thread-safe. Lock order: `_telling_lock`, then `_asking_lock`."""

    def __init__(self, file: Path) -> None:
        """Nothing is opened yet, see `open`."""
        self._file = file
        self._asking_lock, self._telling_lock = threading.Lock(), threading.Lock()
        self._asking: Contents | None = None
        self._telling: Contents | None = None
        self._identity: Identity | None = None
        self._complaint = ""

    def is_open(self) -> bool:
        """Whether what is asked is answered: it is open, and no other file has taken its place."""
        return self._identity is not None and self._identity == self._there()

    def open(self) -> bool:
        """Open it unless it is; may wait for other processes. Whether that worked, else a warning tells why."""
        with self._telling_lock:
            if self.is_open():
                return True
            self._close()
            try:
                telling = Contents(self._file)
                asking = Contents(self._file)
            except ContentsError as error:
                self._complain(error)
                return False
            with self._asking_lock:
                self._asking, self._telling, self._identity = asking, telling, self._there()
            return True

    def _there(self) -> Identity | None:
        try:
            found = os.stat(self._file)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def ask(self, question: Callable[[Contents], T]) -> T | None:
        """The answer; None where it is not open or cannot answer at once."""
        if not self.is_open() or not self._asking_lock.acquire(timeout=_PATIENCE):
            return None
        try:
            return None if self._asking is None else question(self._asking)
        except ContentsError as error:
            self._complain(error)
            return None
        finally:
            self._asking_lock.release()

    def tell(self, note: Callable[[Contents], None]) -> None:
        """Record something; a warning tells if that does not work. May wait for other processes."""
        if not self.open():
            return
        with self._telling_lock:
            try:
                if self._telling is not None:
                    note(self._telling)
            except ContentsError as error:
                self._complain(error)

    def _complain(self, error: ContentsError) -> None:
        """Once for each cause: many ask."""
        if str(error) != self._complaint:
            log.warning("%s Until then no media facts are known.", error)
        self._complaint = str(error)

    def close(self) -> None:
        """Close it; `open` opens it again."""
        with self._telling_lock:
            self._close()

    def _close(self) -> None:
        with self._asking_lock:
            for one in (self._asking, self._telling):
                if one is not None:
                    one.close()
            self._asking = self._telling = self._identity = None
