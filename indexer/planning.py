"""The plan: which file goes to which volume. A pure function of the files and the medium.

Two orders: "ffd", first fit decreasing, is the fewest discs; "date" fills one disc after the other by date, so that
each holds a span of time. Files of one folder, or of one day, stay together wherever they fit on one disc.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from indexer.discs import Medium, file_cost, folder_cost

Together = Literal["folder", "date", "nothing"]
Order = Literal["ffd", "date"]


class TooLarge(Exception):
    """Files that fit on no disc of this kind; the message names them and the remedies."""

    def __init__(self, paths: Sequence[str], medium: Medium) -> None:
        named = ", ".join(map(repr, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        super().__init__(
            f"Larger than a whole disc ({medium.name}, {medium.usable} bytes for files): {named}. "
            "Choose a larger medium (--media), or leave them out on purpose (--exclude)."
        )
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to be archived: its path in the volume, bytes, xxh3-128 or None, and its date as YYYY-MM-DD."""

    path: str
    size: int
    hash: str | None
    date: str


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan costs. `lower_bound`: discs that no plan can do with fewer of; `fill`: share of the discs used.

    `split`: folders (or days) with files on more than one disc.
    """

    discs: int
    lower_bound: int
    fill: float
    split: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The volumes, each as positions in the list of entries, in the order of their paths; and what that costs."""

    order: Order
    volumes: tuple[tuple[int, ...], ...]
    used: tuple[int, ...]
    price: Price


@dataclass(slots=True)
class _Unit:
    """Files that stay together."""

    members: list[int]
    folders: frozenset[str]
    files: int  # bytes of the files alone
    date: str

    whole: int  # and with all folders above them

    def cost(self, present: set[str]) -> int:
        """Bytes it takes on a disc that has the folders `present`."""
        if self.folders <= present:
            return self.files
        return self.files + sum(map(folder_cost, self.folders - present))


@dataclass(slots=True)
class _Disc:
    members: list[int] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    used: int = 0

    def take(self, unit: _Unit) -> None:
        self.used += unit.cost(self.folders)
        self.folders |= unit.folders
        self.members += unit.members


def plan(entries: Sequence[Entry], medium: Medium, *, together: Together = "folder", order: Order = "ffd") -> Plan:
    """Assign all entries to volumes; `TooLarge` if a file fits on none. The same input gives the same plan."""
    costs = [file_cost(entry.path, entry.size) for entry in entries]
    above = _Above()
    _refuse_too_large(entries, costs, above, medium)
    whole = _units(entries, costs, above, together)
    units = [piece for unit in whole for piece in _pieces(unit, entries, costs, above, medium.usable)]
    discs = _first_fit(units, medium.usable) if order == "ffd" else _next_fit(units, medium.usable)
    volumes = tuple(tuple(sorted(disc.members, key=lambda at: entries[at].path)) for disc in discs)
    used = tuple(disc.used for disc in discs)
    return Plan(order, volumes, used, _price(whole, volumes, used, medium))


class _Above:
    """A folder with those above it, and what they take on a disc; remembered."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {"": frozenset()}
        self._costs: dict[str, int] = {}

    def cost(self, folder: str) -> int:
        """Bytes that all of them take."""
        found = self._costs.get(folder)
        if found is None:
            found = self._costs[folder] = sum(map(folder_cost, self(folder)))
        return found

    def __call__(self, folder: str) -> frozenset[str]:
        found = self._known.get(folder)
        if found is None:
            found = self._known[folder] = self(folder.rpartition("/")[0]) | {folder}
        return found


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _key(entry: Entry, together: Together) -> str:
    if together == "folder":
        return _folder(entry.path)
    return entry.date if together == "date" else entry.path


def _refuse_too_large(entries: Sequence[Entry], costs: Sequence[int], above: _Above, medium: Medium) -> None:
    large = [
        entry.path
        for entry, cost in zip(entries, costs, strict=True)
        if cost + above.cost(_folder(entry.path)) > medium.usable
    ]
    if large:
        raise TooLarge(large, medium)


def _units(entries: Sequence[Entry], costs: Sequence[int], above: _Above, together: Together) -> list[_Unit]:
    groups: dict[str, list[int]] = {}
    for at, entry in enumerate(entries):
        groups.setdefault(_key(entry, together), []).append(at)
    return [_unit(members, entries, costs, above) for _, members in sorted(groups.items())]


def _unit(members: list[int], entries: Sequence[Entry], costs: Sequence[int], above: _Above) -> _Unit:
    if len(members) == 1:
        # Most common where nothing stays together.
        (at,) = members
        folder = _folder(entries[at].path)
        return _Unit(members, above(folder), costs[at], entries[at].date, costs[at] + above.cost(folder))
    folders = frozenset[str]().union(*(above(folder) for folder in {_folder(entries[at].path) for at in members}))
    files = sum(costs[at] for at in members)
    whole = files + sum(map(folder_cost, folders))
    return _Unit(members, folders, files, min(entries[at].date for at in members), whole)


def _pieces(unit: _Unit, entries: Sequence[Entry], costs: Sequence[int], above: _Above, usable: int) -> Iterator[_Unit]:
    """The unit, or, if it fits on no disc, parts of it in the order of their paths, each as large as fits."""
    if unit.whole <= usable:
        yield unit
        return
    disc = _Disc()
    for at in sorted(unit.members, key=lambda at: entries[at].path):
        one = _unit([at], entries, costs, above)
        if disc.members and disc.used + one.cost(disc.folders) > usable:
            yield _unit(disc.members, entries, costs, above)
            disc = _Disc()
        disc.take(one)
    yield _unit(disc.members, entries, costs, above)


def _first_fit(units: Iterable[_Unit], usable: int) -> list[_Disc]:
    """The largest unit first, each into the first disc with room for it."""
    room = _Room()
    discs: list[_Disc] = []
    # Stable, so units of one size keep their order.
    for unit in sorted(units, key=lambda unit: -unit.whole):
        at = room.first(unit.whole)
        if at == len(discs):
            discs.append(_Disc())
        discs[at].take(unit)
        room.set(at, usable - discs[at].used)
    return discs


def _next_fit(units: Iterable[_Unit], usable: int) -> list[_Disc]:
    """By date, each into the disc at hand or a new one."""
    discs: list[_Disc] = []
    for unit in sorted(units, key=lambda unit: unit.date):
        if not discs or discs[-1].used + unit.cost(discs[-1].folders) > usable:
            discs.append(_Disc())
        discs[-1].take(unit)
    return discs


class _Room:
    """The room left on discs 0, 1, ..., to ask for the first with enough of it: a tree of the largest of two."""

    def __init__(self) -> None:
        self._leaves = 64
        self._most = [0] * (2 * self._leaves)
        self._used = 0

    def first(self, need: int) -> int:
        """The first disc with `need` bytes left; the number of the next new one if there is none."""
        if self._most[1] < need:
            return self._used
        at = 1
        while at < self._leaves:
            at *= 2
            at += self._most[at] < need
        return at - self._leaves

    def set(self, disc: int, left: int) -> None:
        """Disc number `disc` has `left` bytes left, at least 0."""
        self._used = max(self._used, disc + 1)
        if disc >= self._leaves:
            old = self._most[self._leaves :]
            self._leaves *= 2
            self._most = [0] * (2 * self._leaves)
            for position, value in enumerate(old):
                self._put(position, value)
        self._put(disc, left)

    def _put(self, disc: int, left: int) -> None:
        at = disc + self._leaves
        self._most[at] = left
        while at > 1:
            at //= 2
            largest = max(self._most[2 * at], self._most[2 * at + 1])
            if self._most[at] == largest:
                return
            self._most[at] = largest


def _price(units: Sequence[_Unit], volumes: Sequence[Sequence[int]], used: Sequence[int], medium: Medium) -> Price:
    volume_of = {at: number for number, members in enumerate(volumes) for at in members}
    folders = frozenset[str]().union(*{unit.folders for unit in units})
    needed = sum(unit.files for unit in units) + sum(map(folder_cost, folders))
    return Price(
        discs=len(volumes),
        lower_bound=-(-needed // medium.usable) if units else 0,
        fill=sum(used) / (len(volumes) * medium.usable) if volumes else 0.0,
        split=sum(len({volume_of[at] for at in unit.members}) > 1 for unit in units),
    )


def without_copies(entries: Sequence[Entry], archived: Container[str] = ()) -> tuple[list[int], list[int]]:
    """Positions of the entries to archive, and of those whose content is archived already or by an earlier entry.

    Only entries with a hash can be copies; empty files never are.
    """
    kept: list[int] = []
    copies: list[int] = []
    seen: set[str] = set()
    for at, entry in enumerate(entries):
        if entry.hash is None or not entry.size:
            kept.append(at)
        elif entry.hash in seen or entry.hash in archived:
            copies.append(at)
        else:
            seen.add(entry.hash)
            kept.append(at)
    return kept, copies


def oldest_first(entries: Sequence[Entry], free: int, together: Together = "folder") -> list[int]:
    """Positions of the entries that leave a drive so that `free` bytes become free, what is oldest first.

    Folders (or days) go whole, as old as their newest file. All positions, if all of it is less than `free`.
    """
    groups: dict[str, list[int]] = {}
    for at, entry in enumerate(entries):
        groups.setdefault(_key(entry, together), []).append(at)
    chosen: list[int] = []
    left = free
    for _, members in sorted((max(entries[at].date for at in members), members) for members in groups.values()):
        if left <= 0:
            break
        chosen += members
        left -= sum(entries[at].size for at in members)
    return sorted(chosen)
