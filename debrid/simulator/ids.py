"""Identifiers in the shapes Real-Debrid gives them, from one seeded source, so that a run can be repeated."""

import random
import threading

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
LENGTH = 13


class Ids:
    """Makes identifiers that are never given twice, and all other chance of the simulator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._given: set[str] = set()
        self._lock = threading.Lock()

    def letters(self, length: int) -> str:
        with self._lock:
            return self._letters(length)

    def new(self) -> str:
        """An id of a torrent, a link or a download: 13 characters A-Z and 2-7."""
        with self._lock:
            return self._fresh(LENGTH, "")

    def code(self, host: int) -> str:
        """The code of a generated URL; its last four digits name the machine, as `...4128` for host 128-4."""
        with self._lock:
            return self._fresh(LENGTH - 4, f"4{host:03d}")

    def between(self, low: float, high: float) -> float:
        with self._lock:
            return self._random.uniform(low, high)

    def _letters(self, length: int) -> str:
        return "".join(self._random.choices(ALPHABET, k=length))

    def _fresh(self, length: int, ending: str) -> str:
        while (text := self._letters(length) + ending) in self._given:
            pass
        self._given.add(text)
        return text
