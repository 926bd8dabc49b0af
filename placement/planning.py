"""Which files are to go where: pure plans for draining a drive, evening out the drives, and moving between tiers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from placement.inventory import Group, Unit
from placement.policies import Candidate

# How far from the common level a drive may be filled before balancing touches it.
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Planned:
    """One link group that is to go from drive number `source` to `target`; 0 and a problem if no drive takes it."""

    group: Group
    source: int
    target: int
    problem: str = ""


# (path, bytes, bytes planned already by drive number) -> drive number; OSError if none takes it.
Choose = Callable[[str, int, Mapping[int, int]], int]


def emptied(units: Iterable[Unit], source: int, choose: Choose) -> list[Planned]:
    """A place for each unit, the largest first; one that fits nowhere whole is taken apart."""
    planned: Counter[int] = Counter()
    moves: list[Planned] = []

    def put(path: str, size: int, groups: Sequence[Group]) -> str:
        try:
            target = choose(path, size, planned)
        except OSError as refusal:
            return refusal.strerror or str(refusal)
        planned[target] += size
        moves.extend(Planned(group, source, target) for group in groups)
        return ""

    for unit in sorted(units, key=lambda unit: (-unit.size, unit.path)):
        if put(unit.path, unit.size, unit.groups):
            for group in unit.groups:
                problem = put(group.names[0], group.size, [group])
                if problem:
                    moves.append(Planned(group, source, 0, problem))
    return moves


def outdated(units: Iterable[Unit], room: Candidate, *, before_ns: int, above: float) -> list[Unit]:
    """The units last changed before `before_ns`, oldest first, until no more than the part `above` is used."""
    chosen: list[Unit] = []
    used = room.used
    for unit in sorted(units, key=lambda unit: (unit.mtime_ns, unit.path)):
        if used <= above * room.total or unit.mtime_ns >= before_ns:
            break
        chosen.append(unit)
        used -= unit.size
    return chosen


def balanced(
    rooms: Mapping[int, Candidate],
    units: Mapping[int, Sequence[Unit]],
    allowed: Callable[[Unit, int], bool],
    tolerance: float = TOLERANCE,
) -> list[Planned]:
    """Moves after which all drives are filled alike, as far as whole units allow.

    No move fills its target beyond the common level or empties its source below it, so each brings both nearer, and
    a second plan after the first finds nothing that goes back. `rooms` by drive number; `units` of those that may
    give some away.
    """
    total = sum(room.total for room in rooms.values())
    level = sum(room.used for room in rooms.values()) / total if total else 0.0
    used = {number: room.used for number, room in rooms.items()}
    moves: list[Planned] = []

    def goal(number: int) -> float:
        return level * rooms[number].total

    def best(unit: Unit, source: int) -> int | None:
        fitting = [
            number
            for number, room in rooms.items()
            if number != source
            and used[number] + unit.size <= goal(number)
            and used[number] + unit.size - room.used <= room.available
            and allowed(unit, number)
        ]
        return min(fitting, key=lambda number: used[number] / rooms[number].total, default=None)

    for source in sorted(units, key=lambda number: goal(number) - used[number]):
        for unit in sorted(units[source], key=lambda unit: (-unit.size, unit.path)):
            excess = used[source] - goal(source)
            if excess <= tolerance * rooms[source].total:
                break
            if not 0 < unit.size <= excess:
                continue
            target = best(unit, source)
            if target is not None:
                used[source] -= unit.size
                used[target] += unit.size
                moves += [Planned(group, source, target) for group in unit.groups]
    return moves
