"""A tree that remembers names, and a clock that is moved by hand: the two ends of the torrents' life in tests."""

import time
from collections.abc import Sequence

from debrid.simulator import SimTorrent
from debrid.torrents import PublishedFile


class FakeTree:
    """As the real tree: an addition is published once, and content that has names gets no second set."""

    def __init__(self) -> None:
        self.additions: dict[str, list[PublishedFile]] = {}
        self.names_of: dict[str, str] = {}  # addition -> folder
        self.entries: dict[str, tuple[str, str, str]] = {}  # path -> key
        self.calls: list[str] = []
        self.opened: set[str] = set()  # hashes with an open handle
        self.fails = False

    def published(self, addition: str) -> bool:
        return addition in self.additions

    def publish(self, addition: str, folder: str, name: str, files: Sequence[PublishedFile]) -> str:
        self._check()
        self.calls.append(addition)
        self.additions[addition] = list(files)
        self.names_of[addition] = f"{folder}/{name}"
        if not {file.key for file in files} <= set(self.entries.values()):
            self.entries |= {"/".join((folder, name, *file.path)): file.key for file in files}
        return self.names_of[addition]

    def stand_in(self, addition: str, other: str) -> None:
        self._check()
        if other in self.additions:
            self.additions[addition] = self.additions[other]

    def names(self, info_hash: str) -> list[str]:
        return sorted(path for path, key in self.entries.items() if key[1] == info_hash)

    def withdraw(self, info_hash: str) -> list[str]:
        paths = self.names(info_hash)
        for path in paths:
            self._check()
            del self.entries[path]
        return paths

    def named(self, info_hash: str) -> bool:
        return info_hash in self.opened or bool(self.names(info_hash))

    def paths(self, torrent: SimTorrent) -> list[str]:
        return ["/".join(file.path) for file in self.additions[f"realdebrid:{torrent.id}"]]

    def _check(self) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now
