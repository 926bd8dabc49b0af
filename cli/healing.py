"""What the daemon answers to `debrid check` and `debrid repair`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from cli.routes import Post
from debrid.checkup import Checkup
from debrid.store import Store

CHECKUP = "/api/debrid/checkup"


class KnownNames(Protocol):
    """The remote names, by content."""

    def names_of(self, info_hash: str, file_id: int) -> list[str]:
        """The paths of one file."""
        ...


class Healing:
    """Checks and repairs of one mounted account; without a token there is neither a checkup nor a store."""

    def __init__(self, checkup: Checkup | None, store: Store | None, names: KnownNames) -> None:
        self._checkup, self._store, self._names = checkup, store, names

    def state(self) -> dict[str, Any]:
        """How far the last job is."""
        return self._some().state()

    def posts(self) -> Mapping[str, Post]:
        """The routes of the commands."""
        return {
            f"{CHECKUP}/start": lambda body: {"job": self._start(*_wanted(body))},
            f"{CHECKUP}/plan": lambda body: self._plan(_wanted(body)[0]),
            f"{CHECKUP}/stop": lambda body: self._stop(),
            f"{CHECKUP}/failing": lambda body: self.failing(),
        }

    def failing(self) -> list[str]:
        """A name of each file that could not be had when it was last asked for."""
        assert self._some() and self._store is not None
        found = [self._names.names_of(file.hash, file.id) for file in self._store.failing_files()]
        return sorted(names[0] for names in found if names)

    def close(self) -> None:
        if self._checkup is not None:
            self._checkup.stop()

    def _some(self) -> Checkup:
        if self._checkup is None:
            raise ValueError("no Real-Debrid token is configured")
        return self._checkup

    def _start(self, paths: Sequence[str], repair: bool) -> int:
        with _named():
            return self._some().start(paths, repair=repair)

    def _plan(self, paths: Sequence[str]) -> list[str]:
        with _named():
            return self._some().plan(paths)

    def _stop(self) -> dict[str, Any]:
        self._some().stop()
        return {}


@contextmanager
def _named() -> Iterator[None]:
    """A path without a remote file is the caller's mistake."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"no remote file is there: {error.filename or error.strerror}") from None


def _wanted(body: object) -> tuple[list[str], bool]:
    if not isinstance(body, dict) or set(body) != {"paths", "repair"} or not isinstance(body["repair"], bool):
        raise ValueError('the body must be a JSON object of "paths" and "repair"')
    paths = body["paths"]
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError('"paths" must be a list of texts')
    if any(part in ("..", ".", "") for path in paths if path for part in path.split("/")):
        raise ValueError('"paths" must be relative to the root of the tree, without "." and ".."')
    return paths, body["repair"]
