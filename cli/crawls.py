"""Crawls of contents tell a running mount how far they are, though they are processes of their own.

The file `crawl.json` of the state folder is locked by the crawl as long as it goes on, so what one that was killed left
there counts for nothing.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placement import system as os
from placement.winfile import lock

if TYPE_CHECKING:
    from indexer.duplicates import Progress

_EVERY = 1.0  # seconds between two notes


@contextlib.contextmanager
def noted(file: Path, tell: "Callable[[Progress], None]") -> "Iterator[Callable[[Progress], None]]":
    """`tell`, which also notes in `file` what it is told; of two crawls at once only the first is noted."""
    with contextlib.ExitStack() as closing:
        try:
            fd = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            closing.callback(os.close, fd)
            lock(fd)
            os.ftruncate(fd, 0)
        except OSError:  # nobody sees how far it is, and it goes on
            yield tell
            return
        last, what = 0.0, ""

        def told(done: "Progress") -> None:
            nonlocal last, what
            tell(done)
            if time.monotonic() - last >= _EVERY or done.what != what:
                last, what = time.monotonic(), done.what
                with contextlib.suppress(OSError):
                    # Padded, so that a shorter note covers all of a longer one.
                    os.pwrite(fd, json.dumps(done._asdict()).ljust(400).encode(), 0)

        yield told


def under_way(file: Path) -> dict[str, Any] | None:
    """How far the crawl is that goes on now, as `Progress`, with nothing in it at first; None if none does."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lock(fd)
        return None
    except BlockingIOError:
        try:
            found = json.loads(os.pread(fd, 4096, 0))
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}
    finally:
        os.close(fd)
