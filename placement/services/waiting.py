"""Folders that have changed and wait to be told: which are due, and how they are merged. Pure, and not thread-safe."""

from collections import Counter
from collections.abc import Callable, Iterable

from placement.services.paths import above, within


class Waiting:
    """Folders of the tree, with when they changed first and last: seconds of any one clock that does not jump.

    A folder stands for all that is below it, as servers look at that too: of one root there is never one inside
    another.
    """

    def __init__(self, quiet: float, longest: float, root_of: Callable[[str], str | None], most: int = 500) -> None:
        """A folder is due after `quiet` seconds without a change in it, or `longest` after the first.

        More than `most` folders are merged into those above them, up to their roots: `root_of` is `Paths.holding`.
        """
        self._quiet, self._longest, self._root_of, self._most = quiet, max(quiet, longest), root_of, most
        self._times: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._times)

    @property
    def folders(self) -> list[str]:
        """All of them."""
        return sorted(self._times)

    def add(self, folder: str, now: float) -> None:
        """Something in `folder` has changed; nothing is done where it lies in none of the roots."""
        root = self._root_of(folder)
        if root is None:
            return
        holding = next((one for one in _up_to(folder, root) if one in self._times), None)
        if holding is not None:
            self._times[holding] = (self._times[holding][0], now)
            return
        firsts = [self._times.pop(one)[0] for one in self._inside(folder)]
        self._times[folder] = (min([now, *firsts]), now)
        if len(self._times) > self._most:
            self._merge()

    def due_at(self) -> float | None:
        """When the next folder is due; None if none waits."""
        return min(map(self._due, self._times), default=None)

    def due(self, now: float) -> list[str]:
        """The folders to be told now."""
        return sorted(one for one in self._times if self._due(one) <= now)

    def told(self, folders: Iterable[str]) -> None:
        """These need not be told any more."""
        for one in folders:
            self._times.pop(one, None)

    def _due(self, folder: str) -> float:
        first, last = self._times[folder]
        return min(last + self._quiet, first + self._longest)

    def _merge(self) -> None:
        """Put folders into the one above them until at most half as many are left as there may be.

        The deepest first, as those above them are looked at the faster; of these where it saves most.
        """
        while len(self._times) > self._most // 2:
            lifted = [one for one in self._times if one != self._root_of(one)]
            if not lifted:
                return
            deepest = max(map(_depth, lifted))
            into = Counter(above(one) for one in lifted if _depth(one) == deepest)
            (upper, _), *_ = into.most_common(1)
            times = [self._times.pop(one) for one in self._inside(upper)]
            self._times[upper] = (min(first for first, _ in times), max(last for _, last in times))

    def _inside(self, folder: str) -> list[str]:
        """What waits at or below `folder`, and is known by the same root."""
        root = self._root_of(folder)
        return [one for one in self._times if within(one, folder) and self._root_of(one) == root]


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)


def _up_to(folder: str, root: str) -> list[str]:
    """`folder` and those above it up to `root`, which holds it."""
    found = [folder]
    while found[-1] != root:
        found.append(above(found[-1]))
    return found
