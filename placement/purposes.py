"""What a job of moves is for: which files it takes, and where each of them may go."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placement import inventory
from placement.drive import Drive
from placement.eligible import measure
from placement.inventory import Unit
from placement.jobs import Item, Job, Jobs
from placement.planning import Planned, balanced, emptied, outdated
from placement.rules import Placement

# Nothing is moved while somebody may still be about to write to it.
_JUST_CHANGED_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Pool:
    """The drives as they are now and the rules that hold for them."""

    drives: Callable[[], Sequence[Drive]]
    placement: Placement

    def named(self, name: str) -> Drive:
        """ValueError, naming those there are, for no drive of the pool."""
        drives = self.drives()
        for drive in drives:
            if drive.name == name:
                return drive
        raise ValueError(f"there is no drive {name!r}; there are: {', '.join(drive.name for drive in drives)}")

    def by_id(self, ident: str) -> Drive | None:
        return next((drive for drive in self.drives() if drive.id == ident), None)

    def of_tier(self, tier: str) -> list[Drive]:
        """ValueError, naming the tiers there are, if no drive is of this one."""
        drives = self.drives()
        found = [drive for drive in drives if drive.tier == tier]
        if not found:
            there = sorted({drive.tier for drive in drives if drive.tier})
            raise ValueError(f"no drive is of tier {tier!r}; there are: {', '.join(there) or 'none'}")
        return found

    def group(self, path: str) -> str:
        """The folder that `path` is kept together with; "" for none."""
        return self.placement.rule_for(path).group(path)


@dataclass(frozen=True)
class Regular:
    """A job between tiers that begins by itself, every so many seconds, if it then has something to move."""

    spec: dict[str, Any]
    every: float


def checked(pool: Pool, kind: str, spec: Mapping[str, Any]) -> None:
    """ValueError, in words for people, where `spec` cannot be done by a job of this kind."""
    if kind == "drain":
        if pool.named(spec["drive"]).mode == "ro":
            raise ValueError(f"drive {spec['drive']} is read-only by its config: nothing can be moved away from it")
    elif kind == "tier":
        pool.of_tier(spec["source"])
        pool.of_tier(spec["target"])
        if spec["source"] == spec["target"]:
            raise ValueError("the two tiers are the same")
    elif kind != "balance":
        raise ValueError(f"no job is called {kind!r}")


def plan(pool: Pool, jobs: Jobs | None, job: Job, stop: threading.Event) -> list[Item]:
    """What is to be moved now, each with its place. OSError of drives that cannot be walked."""
    if job.kind == "undo":
        assert jobs is not None
        moved = jobs.items(job.spec["of"], "moved")
        return [Item(0, item.names, item.target, item.source, item.size) for item in reversed(moved)]
    moves = {"drain": _drain, "balance": _balance, "tier": _tier}[job.kind](pool, job.spec, stop)
    ids = {drive.number: drive.id for drive in pool.drives()}
    return [
        Item(
            0, move.group.names, ids[move.source], ids.get(move.target, ""), move.group.size,
            "failed" if move.problem else "waiting", move.problem,
        )
        for move in moves
    ]  # fmt: skip


def targets(pool: Pool, job: Job, item: Item) -> list[Drive]:
    """The drives to try for a file, the planned one first, then others that will do. OSError if there are none."""
    planned = pool.by_id(item.target)
    if job.kind in ("balance", "undo"):
        # Any other place would be none that was asked for.
        return [] if planned is None else [planned]
    numbers = _goals(pool, job.kind, job.spec, item.source)
    try:
        drives = pool.placement.place(item.names[0], item.size, among=numbers)
    except OSError:
        if planned is None:
            raise
        return [planned]
    return sorted(drives, key=lambda drive: drive is not planned)


def _goals(pool: Pool, kind: str, spec: Mapping[str, Any], source: str) -> Collection[int]:
    """Numbers of the drives that files of such a job may go to."""
    if kind == "tier":
        return {drive.number for drive in pool.of_tier(spec["target"])}
    return {drive.number for drive in pool.drives() if drive.id != source}


def _choosing(pool: Pool, numbers: Collection[int]) -> Callable[[str, int, Mapping[int, int]], int]:
    def choose(path: str, size: int, planned: Mapping[int, int]) -> int:
        return pool.placement.place(path, size, planned=planned, among=numbers)[0].number

    return choose


def _units(pool: Pool, drive: Drive, stop: threading.Event) -> list[Unit]:
    return inventory.units(inventory.take(drive, stop).groups, pool.group)


def drained(pool: Pool, spec: Mapping[str, Any]) -> Drive:
    """The drive that such a job drains, also if it is called differently by now. ValueError if it left the pool."""
    return pool.by_id(spec.get("id", "")) or pool.named(spec["drive"])


def _drain(pool: Pool, spec: Mapping[str, Any], stop: threading.Event) -> list[Planned]:
    drive = drained(pool, spec)
    numbers = _goals(pool, "drain", spec, drive.id)
    return emptied(_units(pool, drive, stop), drive.number, _choosing(pool, numbers))


def _tier(pool: Pool, spec: Mapping[str, Any], stop: threading.Event) -> list[Planned]:
    choose = _choosing(pool, _goals(pool, "tier", spec, ""))
    before_ns = time.time_ns() - max(int(spec["older"] * 1e9), _JUST_CHANGED_NS)
    moves: list[Planned] = []
    for drive in pool.of_tier(spec["source"]):
        if drive.mode != "ro" and drive.present:
            room = measure(drive, pool.placement.min_free)
            old = outdated(_units(pool, drive, stop), room, before_ns=before_ns, above=spec["above"])
            # A unit that fits nowhere may stay: the drive is not to be emptied.
            moves += [move for move in emptied(old, drive.number, choose) if not move.problem]
    return moves


def _balance(pool: Pool, spec: Mapping[str, Any], stop: threading.Event) -> list[Planned]:
    """Drives of a tier that a rule names are evened out among themselves, the others all together."""
    named = {rule.tier for rule in pool.placement.rules if rule.tier}
    usable = [drive for drive in pool.drives() if drive.mode == "rw" and not drive.retiring and drive.present]
    moves: list[Planned] = []
    for tier in {drive.tier if drive.tier in named else None for drive in usable}:
        drives = [drive for drive in usable if (drive.tier if drive.tier in named else None) == tier]
        if len(drives) > 1:
            moves += _even(pool, drives, stop)
    return moves


def _even(pool: Pool, drives: Sequence[Drive], stop: threading.Event) -> list[Planned]:
    names = {drive.number: drive.name for drive in drives}

    def allowed(unit: Unit, number: int) -> bool:
        rules = [pool.placement.rule_for(name) for group in unit.groups for name in group.names]
        return all(not rule.drives or names[number] in rule.drives for rule in rules)

    rooms = {drive.number: measure(drive, pool.placement.min_free) for drive in drives}
    return balanced(rooms, {drive.number: _units(pool, drive, stop) for drive in drives}, allowed)
