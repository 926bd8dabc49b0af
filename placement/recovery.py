"""How a move ends: finished after its commit, undone before it; in the running program as after a crash."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from placement.drive import Drive
from placement.transfer import Record, Transfer, remove_stray

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one record. `source` and `target` are ids of drives.

    "waiting": it could not be dealt with yet for `cause`, and its paths are to give EIO. `kept`: names that
    were left on both drives because one of the two files is not what the move left there.
    """

    ident: int
    result: Literal["finished", "undone", "waiting"]
    paths: tuple[str, ...]
    source: str
    target: str
    cause: str = ""
    kept: tuple[str, ...] = ()


class Endings:
    """The last steps of moves. Each may be repeated after it was cut off anywhere."""

    def __init__(self, end: Callable[[int], None], step: Callable[[str], AbstractContextManager[None]]) -> None:
        """`end` forgets a record of the journal; `step` is entered for each step, with its name."""
        self._end = end
        self._step = step
        # A folder must not be removed while another move is about to put a name in it. A leaf.
        self.folders = threading.Lock()

    def finish(self, ident: int, transfer: Transfer) -> tuple[str, ...]:
        """Leave the copy alone; the names that are kept on the source. OSError: to be repeated."""
        with self._step("old names removed"):
            kept = transfer.remove_old()
        with self._step("old folders synced"):
            transfer.sync_old()
        self._close(ident, transfer, kept)
        return kept

    def undo(self, ident: int, transfer: Transfer) -> tuple[str, ...]:
        """Leave the source alone; the names that are kept on the target. OSError: to be repeated."""
        with self._step("new names removed"), self.folders:
            kept = transfer.remove_new()
        with self._step("new folders synced"):
            transfer.sync_new()
        self._close(ident, transfer, kept)
        return kept

    def _close(self, ident: int, transfer: Transfer, kept: tuple[str, ...]) -> None:
        for path in kept:
            log.error("%s stands on two drives and was left there: one was changed since it was copied", path)
        with self._step("temporary removed"):
            transfer.remove_temporary()
        with self._step("journal ended"):
            self._end(ident)

    def recover(self, ident: int, fields: dict[str, Any], drives: Mapping[str, Drive]) -> Recovered:
        """Finish or undo what the record `fields` tells of. Raises nothing for this: what fails is waiting."""
        try:
            record = Record.from_json(fields)
        except ValueError as error:
            log.error("record %d of the journal of moves cannot be read: %s", ident, error)
            return Recovered(ident, "waiting", (), "", "", str(error))
        try:
            transfer = Transfer(record, _writable(drives, record.source), _writable(drives, record.target))
            kept = (self.finish if record.committed else self.undo)(ident, transfer)
        except OSError as error:
            log.warning("the move of %s waits: %s", record.paths[0], error)
            return Recovered(ident, "waiting", record.paths, record.source, record.target, str(error))
        result: Literal["finished", "undone"] = "finished" if record.committed else "undone"
        log.info("the interrupted move of %s was %s", record.paths[0], result)
        return Recovered(ident, result, record.paths, record.source, record.target, kept=kept)

    def remove_strays(self, strays: Iterable[tuple[Drive, str]]) -> None:
        """Remove these files from the drives' folders for copies; what cannot be removed stays for next time."""
        with self._step("strays removed"):
            for drive, token in strays:
                try:
                    remove_stray(drive, token)
                except OSError as error:
                    log.warning("drive %s: cannot remove the copy %s: %s", drive.name, token, error)


def _writable(drives: Mapping[str, Drive], ident: str) -> Drive:
    """The drive with this id, if it is there and may be changed; OSError."""
    drive = drives.get(ident)
    if drive is None:
        raise OSError(f"the pool has no drive with the id {ident}")
    if drive.mode == "ro":
        raise OSError(f"drive {drive.name} is read-only by its config")
    drive.require()
    return drive
