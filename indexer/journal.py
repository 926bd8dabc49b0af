"""The journal of marks: a file that is only appended to, so what it was told survives the end of the process.

Each line is JSON, `[what, drive number, path]`; names that are no UTF-8 stand as the lone surrogates of
`os.fsdecode`. The first line says the format and how many records follow at least, so that a file the system lost a
part of is recognised. Without a whole journal nothing in the catalog may be called certain.
"""

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from placement import system as os

log = logging.getLogger(__name__)

_FORMAT = ["mediapool marks", 1]
# Lines the journal may have beyond four times what it had when it was last rewritten.
_SLACK = 2_000

# What a record says of its path: any files in that directory changed; that name changed; it came or went with all
# below it; anything in that directory changed. Then: nothing in that directory is marked; nothing on that drive is.
FILES_OF, NAME, MOVED, ALL_OF, CLEAN, FORGET = "files", "name", "moved", "all", "clean", "forget"
Record = tuple[str, int, str]


class Journal:
    """The file of marks. Not thread-safe: `Marks` guards it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Nothing is opened before `rewrite`."""
        self._path = Path(path)
        self._fd: int | None = None
        self._lines = 0
        self._limit = 0
        self._failed = False

    def read(self) -> list[Record] | None:
        """All records; None if the file is not there or not whole, and therefore nothing can be relied upon."""
        try:
            *lines, _torn = self._path.read_bytes().split(b"\n")
            # The last piece is empty, or what was being written when the power failed.
            header, *records = [json.loads(line) for line in lines]
            if header[:-1] != _FORMAT or len(records) < header[-1]:
                raise ValueError("it is not whole")
            return [(str(what), int(number), str(path)) for what, number, path in records]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.warning("%s cannot be used (%s): missing drives are unknown until they are walked", self._path, error)
            return None

    def rewrite(self, records: Sequence[Record]) -> None:
        """Replace the whole by these records and go on appending to it."""
        self.close()
        new = self._path.with_name(self._path.name + ".new")
        text = "".join(json.dumps(line) + "\n" for line in ([*_FORMAT, len(records)], *records))
        try:
            fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._fd = fd
            self._write(text.encode())
            os.replace(new, self._path)
            self._failed = False
        except OSError as error:
            self._give_up(error)
        self._lines = 0
        self._limit = _SLACK + 4 * len(records)

    def append(self, what: str, number: int, path: str) -> None:
        """Add a record. If that fails the journal is made invalid: no mark may be missing from a valid one."""
        if self._fd is not None:
            try:
                self._write((json.dumps((what, number, path)) + "\n").encode())
                self._lines += 1
            except OSError as error:
                self._give_up(error)

    @property
    def wants_rewrite(self) -> bool:
        """Whether much in it is obsolete, or it failed and may be tried again."""
        return self._fd is None or self._lines > self._limit

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        if os.write(self._fd, data) != len(data):
            raise OSError("no room for it")

    def _give_up(self, error: OSError) -> None:
        if not self._failed:
            log.error("%s cannot be written (%s): after a crash, missing drives are unknown", self._path, error)
        self._failed = True
        # An empty file is as good as none, and can be had on a full disk.
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
        self.close()
