"""What a service is still to be told, in a file, so that a restart loses none of it."""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Kept:
    """One JSON file; its folder must exist. Without a file nothing is kept."""

    def __init__(self, file: Path | None, what: str) -> None:
        """`what` is kept in it, for messages."""
        self._file = file
        self._what = what

    def read(self) -> Any:
        """What was written last; None if nothing was, or it cannot be read, which is logged."""
        if self._file is None:
            return None
        try:
            return json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as cause:
            self.damaged(cause)
            return None

    def damaged(self, cause: Exception) -> None:
        """Log that what was read makes no sense."""
        log.warning("%s of the last run are not told: %s: %s", self._what, self._file, cause)

    def write(self, content: Any) -> None:
        """Put this in its place, whole or not at all; what hinders is logged."""
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                json.dump(content, out)
            draft.replace(self._file)
        except OSError as cause:
            log.warning("%s that are not told yet are lost with a restart: %s", self._what, cause)
