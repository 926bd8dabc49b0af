"""Plans on random pools: each against its definition."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import Group, Unit, units
from placement.planning import TOLERANCE, Planned, balanced, emptied, outdated
from placement.policies import Candidate

SIZES = st.integers(0, 1000)
GROUPS = st.lists(st.tuples(SIZES, st.integers(0, 50), st.integers(0, 4)), max_size=40).map(
    lambda rows: [Group((f"f{place}/n{number}",), size, mtime) for number, (size, mtime, place) in enumerate(rows)]
)


def folder(path: str) -> str:
    return "" if path.startswith("f0/") else path.partition("/")[0]


@given(GROUPS)
def test_units_hold_each_group_once_and_whole_folders(groups: list[Group]) -> None:
    found = units(groups, folder)
    assert sorted(group for unit in found for group in unit.groups) == sorted(groups)
    for name in ("f1", "f2", "f3", "f4"):
        assert sum(any(folder(group.names[0]) == name for group in unit.groups) for unit in found) <= 1
    assert all(len(unit.groups) == 1 for unit in found if not folder(unit.path))
    for unit in found:
        assert unit.size == sum(group.size for group in unit.groups)
        assert unit.mtime_ns == max(group.mtime_ns for group in unit.groups)


def test_a_link_joins_two_folders() -> None:
    one, two, both = (Group(names, 1, 0) for names in (("f1/a",), ("f2/b",), ("f1/c", "f2/c", "f0/c")))
    assert [len(unit.groups) for unit in units([one, two, both, Group(("f3/d",), 1, 0)], folder)] in ([3, 1], [1, 3])


POOLS = st.lists(st.tuples(st.integers(1000, 100_000), GROUPS), min_size=1, max_size=5)


@given(POOLS, st.sets(st.integers(1, 5)))
def test_balance_brings_drives_nearer_and_never_past_the_level(
    rows: list[tuple[int, list[Group]]], forbidden: set[int]
) -> None:
    rooms, whole, unmoved = {}, {}, {}
    for number, (total, groups) in enumerate(rows, 1):
        used = sum(group.size for group in groups)
        total = max(total, used)
        rooms[number] = Candidate(f"d{number}", number, total, total - used, used)
        whole[number] = units(groups, folder)
        unmoved[number] = used

    def allowed(unit: Unit, number: int) -> bool:
        return number not in forbidden

    moves = balanced(rooms, whole, allowed)
    level = sum(unmoved.values()) / sum(room.total for room in rooms.values())
    used = dict(unmoved)
    for move in moves:
        assert move.source != move.target and move.target not in forbidden and not move.problem
        used[move.source] -= move.group.size
        used[move.target] += move.group.size
    for number, room in rooms.items():
        before, after = (amount - level * room.total for amount in (unmoved[number], used[number]))
        assert abs(after) <= abs(before) + 1e-6, "nearer"
        assert before * after >= -1e-6, "not past it"
        assert used[number] <= room.total
    assert len({move.group for move in moves}) == len(moves) or len({id(move.group) for move in moves}) == len(moves)
    assert_units_stay_whole(moves, whole)


def assert_units_stay_whole(moves: list[Planned], whole: Mapping[int, list[Unit]]) -> None:
    for number, found in whole.items():
        for unit in found:
            goals = {move.target for move in moves if move.source == number and move.group in unit.groups}
            assert len(goals) <= 1


def test_balance_gets_within_the_tolerance_where_files_are_small() -> None:
    files = [Group((f"f0/n{number}",), 10, 0) for number in range(1000)]
    rooms = {1: Candidate("a", 1, 20_000, 10_000, 10_000), 2: Candidate("b", 2, 10_000, 10_000, 0)}
    moves = balanced(rooms, {1: units(files, folder)}, lambda unit, number: True)
    moved = sum(move.group.size for move in moves)
    assert abs((10_000 - moved) / 20_000 - 1 / 3) <= TOLERANCE and moved <= 10_000 / 3
    assert balanced({1: rooms[1]}, {1: units(files, folder)}, lambda unit, number: True) == []


@given(GROUPS, st.lists(st.integers(0, 20_000), min_size=1, max_size=4))
def test_a_drain_places_all_that_fits_and_tells_the_rest(groups: list[Group], free: list[int]) -> None:
    def choose(path: str, size: int, planned: Mapping[int, int]) -> int:
        for number, room in enumerate(free, 1):
            if planned.get(number, 0) + size <= room:
                return number
        raise OSError(28, "no room")

    moves = emptied(units(groups, folder), 9, choose)
    assert sorted(move.group for move in moves) == sorted(groups)
    for number, room in enumerate(free, 1):
        assert sum(move.group.size for move in moves if move.target == number) <= room
    left = [move for move in moves if move.problem]
    assert all(move.target == 0 and move.problem == "no room" for move in left)
    if sum(group.size for group in groups) <= max(free):
        assert not left, "any one drive could hold all of it"


@given(GROUPS, st.integers(0, 50), st.floats(0, 1))
def test_a_tier_gives_away_the_oldest_until_it_is_low_enough(groups: list[Group], before: int, above: float) -> None:
    used = sum(group.size for group in groups)
    room = Candidate("d", 1, max(1, used * 2), used, used)
    found = units(groups, lambda path: "")
    chosen = outdated(found, room, before_ns=before, above=above)
    assert all(unit.mtime_ns < before for unit in chosen)
    kept = [unit for unit in found if unit not in chosen]
    assert all(old.mtime_ns <= new.mtime_ns for old in chosen for new in kept if new.mtime_ns < before)
    left = used - sum(unit.size for unit in chosen)
    assert left <= above * room.total or not [unit for unit in kept if unit.mtime_ns < before]
    if chosen:
        assert left + chosen[-1].size > above * room.total, "no more than needed"
