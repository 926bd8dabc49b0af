"""Looking at what was downloaded before anybody is told: head and tail through the tree, and ffprobe for films."""

import os
import threading
from pathlib import Path

from cli.mediafacts import MediaFacts, opened
from indexer.media import probe
from indexer.mediafacts import text_of
from indexer.mediatable import Probed
from indexer.verdicts import NotMedia, ProbeTrouble
from vfs.budget import PROBE, DailyBudget
from vfs.library import Key
from vfs.union import Union
from vfs.warming import HEAD

_SECONDS = 90.0  # for one file; a slow provider gives a megabyte a second
_PIECE = 1 << 18


class Inspector:
    """As `debrid.downloads.ports.Inspector`. What it reads is warm for those who come next, and what it learns kept."""

    def __init__(self, union: Union, budget: DailyBudget, mount: Path, media: MediaFacts) -> None:
        self._union, self._budget, self._mount, self._media = union, budget, mount, media
        self._cancel = threading.Event()

    def close(self) -> None:
        """End what is under way, and look at nothing more."""
        self._cancel.set()

    def check(self, path: str, kind: str) -> str | None:
        """What is wrong with the content of a file, None if nothing is. OSError if that cannot be known now."""
        size = self._union.stat(path).size
        if not size:
            return "it is empty" if kind == "video" else None
        key = self._read(path, size)
        with self._media.alone_with(key):
            return self._probed(path, key, size) if kind == "video" else None

    def _read(self, path: str, size: int) -> Key | None:
        """Head and tail, so that they are warm; which content it is, None if it is local."""
        with self._budget.as_work(PROBE):
            handle = self._union.open(path, os.O_RDONLY)
            try:
                for start in sorted({0, max(0, size - HEAD)}):
                    for offset in range(start, min(start + HEAD, size), _PIECE):
                        handle.read(min(_PIECE, size - offset), offset)
                return handle.content
            finally:
                handle.close()

    def _probed(self, path: str, key: Key | None, size: int) -> str | None:
        # ffprobe reads by the kernel, as the importer will.
        whole = os.fsencode(self._mount) + b"/" + os.fsencode(path)
        try:
            facts = probe(
                whole,
                seconds=_SECONDS,
                cancel=self._cancel,
                opened=lambda: opened(self._union, path, size, self._budget),
            )
        except NotMedia as verdict:
            self._media.learned(key, size, Probed(None, verdict.reason))
            return verdict.reason
        except ProbeTrouble as trouble:
            raise OSError(f"{path} cannot be looked at: {trouble}") from None
        self._media.learned(key, size, Probed(text_of(facts), None))
        return None
