"""What a check finds, and what it may look at."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cli import config as configuration
from cli.config import Config
from cli.state import Contact

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what a person can do about it.

    `remedy` is for people, and there is always one where something is wrong; `command` is a line for a shell that
    does it, "" where no single line can.
    """

    what: str
    state: State
    found: str
    remedy: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.remedy:
            raise ValueError(f"{self.what}: a {self.state} without a remedy")


@dataclass(frozen=True, slots=True)
class Case:
    """What checks look at. `contact`: how a running mount is reached, `status`: what it says of itself; None if none
    runs, or for `status` if it does not answer."""

    config: Config
    contact: Contact | None = None
    status: Mapping[str, Any] | None = None

    @property
    def is_silent(self) -> bool:
        """Whether a mount runs that does not answer: then nothing in it may be looked at."""
        return self.contact is not None and self.status is None

    def command(self, *words: str) -> str:
        """A line for a shell: `mediapool WORDS`, with the configuration that was looked at."""
        file = self.config.file
        named = [] if file is None or file == configuration.find() else ["--config", str(file)]
        return shlex.join(["mediapool", *words, *named])


# What looks at one thing; OSError says that it may not.
Check = Callable[[Case], Iterable[Finding]]


def quoted(path: object) -> str:
    """A path as a word for a shell."""
    return shlex.quote(str(path))
