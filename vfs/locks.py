"""One lock per path, made when it is wanted and forgotten when it is free."""

import threading
from collections.abc import Sequence
from types import TracebackType


class PathLocks:
    """Whoever creates, removes or renames a name holds the lock of its path, so that two checks of "is it there?"
    on several branches never interleave. Several paths are taken in sorted order, so no two holders wait for each
    other. Held while calling branches; nothing that waits for the network runs under it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def __call__(self, *paths: str) -> "_Held":
        """A context manager that holds the locks of these paths."""
        return _Held(self, sorted(set(paths)) if len(paths) > 1 else paths)

    def take(self, path: str) -> None:
        """Wait for the lock of `path`; KeyboardInterrupt and the like leave it as it was."""
        with self._mutex:
            lock, users = self._locks.get(path) or (threading.Lock(), 0)
            self._locks[path] = (lock, users + 1)
        try:
            lock.acquire()
        except BaseException:
            self._leave(path)
            raise

    def give(self, path: str) -> None:
        """Let the next one have the lock of `path`."""
        self._locks[path][0].release()
        self._leave(path)

    def _leave(self, path: str) -> None:
        with self._mutex:
            lock, users = self._locks[path]
            if users == 1:
                del self._locks[path]
            else:
                self._locks[path] = (lock, users - 1)


class _Held:
    """The locks of some paths, taken in their order; written out, as every change of the tree comes through here."""

    __slots__ = ("_locks", "_paths", "_taken")

    def __init__(self, locks: PathLocks, paths: Sequence[str]) -> None:
        self._locks = locks
        self._paths = paths
        self._taken = 0

    def __enter__(self) -> None:
        try:
            for path in self._paths:
                self._locks.take(path)
                self._taken += 1
        except BaseException:
            self._give_all()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_all()

    def _give_all(self) -> None:
        while self._taken:
            self._taken -= 1
            self._locks.give(self._paths[self._taken])
