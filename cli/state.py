"""The state folder: who uses it, how the running mount is reached, where its databases lie."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from placement import system as os
from placement.winfile import lock


class StateInUse(Exception):
    """Another mediapool holds this state folder; the message says which process."""


@dataclass(frozen=True, slots=True)
class Contact:
    """How commands reach a running mount: its process, address, and the token that address wants."""

    pid: int
    url: str
    token: str
    mount: str


class StateFolder:
    """The folder of `[state] path`; mode 0700, since it holds what commands prove themselves with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = path / "names.db"
        self.copies = path / "copies"
        self.debrid = path / "debrid.db"
        self.catalog = path / "catalog.db"
        self.marks = path / "catalog.marks"
        self.contents = path / "contents.db"
        self.crawl = path / "crawl.json"
        self.runs = path / "runs"
        self.archive = path / "archive.json"
        self.budget = path / "budget.json"
        self.distribute = path / "distribute.db"
        self.failed = path / "failed.json"
        self.untold = path / "untold.json"
        self.jobs = path / "jobs.db"
        self.log = path / "mediapool.log"
        self._contact = path / "daemon.json"
        self._lock = path / "lock"
        self._held: int | None = None

    def acquire(self) -> None:
        """Make the folder and take it for this process; raises StateInUse, or OSError naming what failed."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The kernel frees the lock with the process, however that ends.
        held = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            lock(held)
        except BlockingIOError:
            owner = os.pread(held, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(held)
            raise StateInUse(
                f"{self.path} is used by another mediapool (process {owner}): unmount that one first, or name "
                f"another folder in [state] path"
            ) from None
        os.ftruncate(held, 0)
        os.pwrite(held, str(os.getpid()).encode(), 0)
        self._held = held

    def release(self) -> None:
        """Let others have the folder."""
        if self._held is not None:
            self._contact.unlink(missing_ok=True)
            os.close(self._held)
            self._held = None

    def in_use(self) -> bool:
        """Whether a running mediapool holds this folder."""
        try:
            probe = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            lock(probe)
        except BlockingIOError:
            return True
        finally:
            os.close(probe)
        return False

    def announce(self, contact: Contact) -> None:
        """Write how the daemon is reached, for its own user alone."""
        text = json.dumps(asdict(contact))
        draft = self._contact.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        draft.replace(self._contact)

    def contact(self) -> Contact | None:
        """How to reach the running mount; None if none runs."""
        try:
            return Contact(**json.loads(self._contact.read_text())) if self.in_use() else None
        except (OSError, ValueError, TypeError):
            return None
