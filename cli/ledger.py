"""What `mediapool jobs` needs to know of a kind of jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Job = Mapping[str, Any]  # ready for JSON, with an `id` among others


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user said besides the job."""

    config_file: Path | None
    state_folder: Path | None = None  # where to look, whatever the configuration says
    archive: Path | None = None  # the folder of the volumes


class Ledger(Protocol):
    """The jobs of one kind. `configured`: they cannot be had without a configuration.

    All methods end the program with a message where they cannot do what is asked.
    """

    configured: bool

    def jobs(self, asked: Asked) -> Sequence[Job]:
        """All of them, oldest first."""
        ...

    def row(self, job: Job) -> tuple[object, ...]:
        """Job, what, state, files, bytes, rate, left, since."""
        ...

    def remarks(self, job: Job) -> Sequence[str]:
        """What else has to be said of it."""
        ...

    def undo(self, asked: Asked, job: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Move its files back, after asking; a dry run tells what that would be."""
        ...
