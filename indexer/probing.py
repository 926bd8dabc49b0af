"""Media facts of local files: each content that may be a film or music is looked at once, by some ffprobes at a time.

What a look brought belongs to the content, so other names, copies and renamed files are not looked at. That a content
is no media, or that ffprobe did not get on with it, is kept as well, with the reason. What could not be read is looked
at the next time.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from indexer.contents import Contents, Entry
from indexer.devices import READERS
from indexer.duplicates import Progress
from indexer.finding import Found, Unreadable
from indexer.media import probe
from indexer.mediafacts import text_of
from indexer.mediatable import Probed
from indexer.moving import found_at
from indexer.perdevice import PerDevice
from indexer.reading import open_unnoticed
from indexer.verdicts import NotMedia, ProbeFailed, ProbeTrouble

SECONDS = 30.0
"""The longest that one file may take."""
NO_FFPROBE = "ffprobe is missing; install ffmpeg"
_STORE_SECONDS = 1.5


class Looked(NamedTuple):
    """What a run brought: contents with facts, those without and why, and how many are left and why.

    `files`: with each failure a file that holds the content.
    """

    known: int
    failed: list[Unreadable]
    left: int
    trouble: str


class _Outcome(NamedTuple):
    found: Found
    probed: Probed | None
    trouble: str


class Prober:
    """One run over what is to be looked at."""

    def __init__(
        self,
        contents: Contents,
        *,
        stop: threading.Event | None = None,
        progressed: Callable[[Progress], None] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """`seconds`: the longest that one file may take."""
        self._contents, self._progressed, self._seconds = contents, progressed, seconds
        self._stop = stop or threading.Event()
        self._kept: list[tuple[bytes, Probed]] = []
        self._stored = time.monotonic()

    def run(self, trees: Sequence[bytes]) -> Looked:
        """Look at the contents of these trees that may be media. ContentsError."""
        wanted = self._contents.unprobed(trees)
        if not wanted or shutil.which("ffprobe") is None:
            return Looked(0, [], len(wanted), NO_FFPROBE if wanted else "")
        hashes = {entry.path: entry.hash or b"" for entry in wanted}
        there = [found for entry in wanted if (found := _as_known(entry)) is not None]
        known, failed, trouble = 0, [], ""
        for number, one in enumerate(self._outcomes(there)):
            if one.probed is None:
                trouble = one.trouble
                continue
            self._keep(hashes[one.found.path], one.probed)
            if one.probed.problem is None:
                known += 1
            else:
                failed.append(Unreadable(one.found.path, one.probed.problem))
            if self._progressed:
                self._progressed(Progress("looking at media", 0, 0, number + 1, len(there)))
        self._flush()
        return Looked(known, failed, len(wanted) - known - len(failed), trouble)

    def _keep(self, digest: bytes, probed: Probed) -> None:
        self._kept.append((digest, probed))
        if time.monotonic() - self._stored > _STORE_SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._contents.media.tell(self._kept)
        self._kept, self._stored = [], time.monotonic()

    def _outcomes(self, files: Sequence[Found]) -> Iterator[_Outcome]:
        devices = PerDevice(self._stop, open_unnoticed, batch=1, each=1)
        # ffprobe reads little and computes much.
        cores = os.cpu_count() or 1
        for batch in devices.run(files, lambda: self._look, lambda kind: min(READERS[kind], cores)):
            yield from batch

    def _look(self, found: Found) -> _Outcome:
        try:
            facts = Probed(text_of(probe(found.path, seconds=self._seconds, cancel=self._stop)), None)
        except (NotMedia, ProbeFailed) as verdict:
            facts = Probed(None, verdict.reason)
        except ProbeTrouble as trouble:
            return _Outcome(found, None, trouble.reason)
        if _found(found.path) != found:
            return _Outcome(found, None, "it changed meanwhile")
        return _Outcome(found, facts, "")


def _as_known(entry: Entry) -> Found | None:
    """The file, if it is what `entry` says by its size and time."""
    found = _found(entry.path)
    return found if found is not None and (found.size, found.mtime_ns) == (entry.size, entry.mtime_ns) else None


def _found(path: bytes) -> Found | None:
    try:
        return found_at(path)
    except OSError:
        return None
