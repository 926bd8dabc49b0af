"""`Moving`: what the jobs of moves ask of the tree, file by file."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from placement.drive import Drive
from placement.relocation import Moved


class Moving(Protocol):
    """What moves a single file."""

    def move_file(
        self,
        drive: Drive,
        names: Sequence[str],
        target: Drive,
        *,
        cancel: threading.Event,
        rate: int | None,
        attempt: int,
        progress: Callable[[str, int, int], None],
    ) -> Moved:
        """Move the file of these names, as far as they still are its names; errors as `moves.Mover.move`.

        `rate`: bytes a second at most. `progress` hears (phase, bytes done, bytes in all).
        """
        ...

    def busy(self, drive: Drive, path: str) -> str:
        """Why the file cannot be moved just now, in words; "" if nothing is known against it."""
        ...

    def keep_folders(self, drive: Drive, folders: Sequence[str]) -> None:
        """Make those folders on other drives that only this one has. OSError."""
        ...
