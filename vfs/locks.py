"""One lock per path, made when it is wanted and forgotten when it is free."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class PathLocks:
    """Whoever creates, removes or renames a name holds the lock of its path, so that two checks of "is it there?"
    on several branches never interleave. Several paths are taken in sorted order, so no two holders wait for each
    other. Held while calling branches; nothing that waits for the network runs under it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def __call__(self, *paths: str) -> Iterator[None]:
        with ExitStack() as held:
            for path in sorted(set(paths)):
                held.enter_context(self._one(path))
            yield

    @contextmanager
    def _one(self, path: str) -> Iterator[None]:
        with self._mutex:
            lock, users = self._locks.get(path) or (threading.Lock(), 0)
            self._locks[path] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._mutex:
                lock, users = self._locks[path]
                if users == 1:
                    del self._locks[path]
                else:
                    self._locks[path] = (lock, users - 1)
