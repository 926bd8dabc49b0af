"""Pinned copies of remote files, taken along when their drive is drained.

The new copy is read back and counts once its row names its drive; until then the old one does, and a file that is open
goes on with the one it was opened with.
"""

import errno
import logging
import threading
from collections.abc import Callable, Sequence

from placement.drive import Drive
from vfs.copyfile import CopyFile
from vfs.local import LocalBranch
from vfs.nodes import RemoteFile
from vfs.pins import Pin, Pins

log = logging.getLogger(__name__)


class PinMoving:
    """Moves copies one after the other. `place` chooses drives for (path, bytes), best first, or raises OSError."""

    def __init__(
        self, pins: Pins, branches: Sequence[LocalBranch], place: Callable[[str, int], Sequence[Drive]]
    ) -> None:
        self._pins, self._branches, self._place = pins, branches, place

    def empty(self, drive: Drive, cancel: threading.Event) -> str:
        """Move all whole copies away from the drive; what stays and why, in words, "" if nothing does. ECANCELED."""
        left: list[str] = []
        for pin in self._pins.all():
            node = self._pins.node_of(pin)
            if pin.drive != drive.number or node is None or pin.goal == "unpin":
                continue
            if pin.digest is None:
                left.append("one is still being fetched")
                continue
            try:
                self._move(pin, node, drive, cancel)
            except OSError as cause:
                if cause.errno == errno.ECANCELED:
                    raise
                log.warning("the pinned copy %s stays on drive %s: %s", pin.token, drive.name, cause)
                left.append(cause.strerror or str(cause))
        return f"{len(left)} pinned copies stay: {left[0]}" if left else ""

    def _move(self, pin: Pin, node: RemoteFile, drive: Drive, cancel: threading.Event) -> None:
        refusal: OSError | None = None
        for target in self._place(pin.path, node.size):
            branch = next((one for one in self._branches if one.drive is target), None)
            if branch is None or target is drive:
                continue
            try:
                return self._move_to(pin, node, branch, cancel)
            except OSError as cause:
                self._pins.delete_copy(branch, pin.token)
                if cause.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    raise
                refusal = cause
        raise refusal or OSError(errno.ENOSPC, "no other drive takes it")

    def _move_to(self, pin: Pin, node: RemoteFile, branch: LocalBranch, cancel: threading.Event) -> None:
        source = self._pins.branch_of(pin)
        with (
            CopyFile(source.drive.require(), pin.token, node.size) as old,
            CopyFile(branch.drive.require(), pin.token, node.size) as new,
        ):
            new.reserve()
            for part in old.parts():
                if cancel.is_set():
                    raise OSError(errno.ECANCELED, "it was interrupted")
                new.write(part, memoryview(old.read(part)))
            if new.compare(cancel, lambda done: None) != pin.digest:
                raise OSError(errno.EIO, "the copy is not what was fetched; pin the file anew")
            moved = pin._replace(drive=branch.drive.number, mtime_ns=new.stat().st_mtime_ns)
        if not self._pins.replace(pin, moved):
            # Somebody unpinned it meanwhile.
            self._pins.delete_copy(branch, pin.token)
            return
        log.info("pinned file %d moved from drive %s to %s", pin.ino, source.drive.name, branch.drive.name)
        try:
            self._pins.delete_copy(source, pin.token)
        except OSError as cause:
            # The new one counts by now, and must not be taken for one that failed.
            log.warning("the old pinned copy %s stays on drive %s: %s", pin.token, source.drive.name, cause)
