"""Each policy on random pools: the same drives in another order, and that order is the promised one."""

from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.policies import POLICIES, Candidate, keeping, policy, preserving, understood

SIZES = st.integers(0, 1 << 44)
CANDIDATES = st.lists(st.tuples(SIZES, SIZES, SIZES, st.integers(0, 3)), min_size=0, max_size=12).map(
    lambda rows: [Candidate(f"d{n}", n, *row) for n, row in enumerate(rows, 1)]
)
POOLS = CANDIDATES.filter(bool)
SEEDS = st.integers(0, 1 << 32)


@given(CANDIDATES, SEEDS, st.sampled_from(sorted(POLICIES)), st.booleans())
def test_nothing_is_dropped_or_invented(candidates: list[Candidate], seed: int, name: str, preserve: bool) -> None:
    chosen = preserving(policy(name)) if preserve else policy(name)
    given_before = list(candidates)
    ordered = chosen(candidates, "a/b", None, Random(seed))
    assert sorted(ordered, key=lambda c: c.number) == candidates == given_before
    assert ordered == chosen(candidates, "a/b", None, Random(seed)), "the same seed gives the same order"


@given(POOLS)
def test_each_takes_the_best_first(candidates: list[Candidate]) -> None:
    def first(name: str) -> Candidate:
        return policy(name)(candidates, "x", None, Random(0))[0]

    assert first("ff") is candidates[0]
    assert first("mfs").available == max(c.available for c in candidates)
    assert first("lfs").available == min(c.available for c in candidates)
    assert first("lus").used == min(c.used for c in candidates)


@given(POOLS, st.sampled_from(["ff", "mfs", "lfs", "lus"]))
def test_the_second_is_the_best_of_the_rest(candidates: list[Candidate], name: str) -> None:
    first, *rest = policy(name)(candidates, "x", None, Random(0))
    others = [c for c in candidates if c is not first]
    assert rest == policy(name)(others, "x", None, Random(0))


def test_equals_keep_the_order_of_the_config() -> None:
    same = [Candidate(f"d{n}", n, 9, 5, 4) for n in range(1, 6)]
    for name in ("ff", "mfs", "lfs", "lus"):
        assert policy(name)(same, "x", None, Random(0)) == same


def frequencies(name: str, candidates: list[Candidate], draws: int) -> Counter[str]:
    random = Random(20)
    return Counter(policy(name)(candidates, "x", None, random)[0].name for _ in range(draws))


@pytest.mark.parametrize("name", ["pfrd", "rand"])
@pytest.mark.parametrize("available", [[1, 1], [1, 3], [1 << 40, 1 << 41, 5 << 40], [1, 10, 100]])
def test_lots_fall_in_proportion(name: str, available: list[int]) -> None:
    candidates = [Candidate(f"d{n}", n, 1 << 50, free, 0) for n, free in enumerate(available)]
    draws = 5000
    seen = frequencies(name, candidates, draws)
    for candidate in candidates:
        chance = candidate.available / sum(available) if name == "pfrd" else 1 / len(available)
        assert abs(seen[candidate.name] - draws * chance) <= 4 * sqrt(draws * chance * (1 - chance)) + 1


def test_what_has_nothing_available_is_drawn_last() -> None:
    empty, full = Candidate("d1", 1, 10, 10, 0), Candidate("d2", 2, 10, 0, 10)
    for seed in range(100):
        assert policy("pfrd")([full, empty], "x", None, Random(seed)) == [empty, full]


@given(POOLS, SEEDS, st.sampled_from(sorted(POLICIES)))
def test_preserving_goes_from_the_deepest_up(candidates: list[Candidate], seed: int, name: str) -> None:
    ordered = preserving(policy(name))(candidates, "a/b/c", None, Random(seed))
    depths = [c.depth for c in ordered]
    assert depths == sorted(depths, reverse=True)
    if name in ("ff", "mfs", "lfs", "lus"):
        deepest = [c for c in candidates if c.depth == depths[0]]
        assert ordered[: len(deepest)] == policy(name)(deepest, "a/b/c", None, Random(0))


def test_an_unknown_policy_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'best'; there are: ff, mfs, lfs, lus, lup, highwater, round_robin, pf"):
        policy("best")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mfs", ("mfs", False)),
        ("epmfs", ("mfs", True)),
        ("eplfs", ("lfs", True)),
        ("epff", ("ff", True)),
        ("eplus", ("lus", True)),
        ("eppfrd", ("pfrd", True)),
        ("eprand", ("rand", True)),
        ("msplfs", ("lfs", True)),
        ("mspmfs", ("mfs", True)),
        ("msppfrd", ("pfrd", True)),
        ("lup", ("lup", False)),
        ("all", ("ff", False)),
        ("epall", ("ff", True)),
        ("highwater", ("highwater", False)),
    ],
)
def test_names_of_mergerfs_are_understood(name: str, meant: tuple[str, bool]) -> None:
    assert understood(name) == meant


@pytest.mark.parametrize("name", ["newest", "epbest", "ep", ""])
def test_other_names_are_not(name: str) -> None:
    with pytest.raises(ValueError, match="there are: ff"):
        understood(name)


def filled(name: str, sizes: list[int], files: list[int]) -> list[int]:
    """Bytes used on drives of these sizes after files of these sizes were placed one after the other."""
    used, turns = [0] * len(sizes), [0] * len(sizes)
    random = Random(7)
    for turn, size in enumerate(files, 1):
        candidates = [
            Candidate(f"d{n}", n, sizes[n], sizes[n] - used[n], used[n], turn=turns[n])
            for n in range(len(sizes))
            if sizes[n] - used[n] >= size
        ]
        if not candidates:
            break
        chosen = policy(name)(candidates, "x", size, random)[0].number
        used[chosen] += size
        turns[chosen] = turn
    return used


DRIVE_SIZES = st.lists(st.integers(1 << 10, 1 << 20), min_size=1, max_size=6)
FILES = st.lists(st.integers(1, 1 << 8), min_size=1, max_size=200)


@given(DRIVE_SIZES, FILES)
def test_mfs_keeps_the_free_space_alike(sizes: list[int], files: list[int]) -> None:
    """No drive was used while another had more free by more than one file."""
    used = filled("mfs", sizes, files)
    free = [size - taken for size, taken in zip(sizes, used, strict=True)]
    for mine, taken in zip(free, used, strict=True):
        assert not taken or mine + max(files) >= max(free)


@given(DRIVE_SIZES, FILES)
def test_ff_leaves_no_drive_before_it_is_full(sizes: list[int], files: list[int]) -> None:
    used = filled("ff", sizes, files)
    for number, taken in enumerate(used):
        if taken:
            assert all(sizes[n] - used[n] < max(files) for n in range(number))


@given(DRIVE_SIZES, FILES)
def test_lus_keeps_what_is_used_alike(sizes: list[int], files: list[int]) -> None:
    used = filled("lus", sizes, files)
    with_room = [taken for taken, size in zip(used, sizes, strict=True) if size - taken >= max(files)]
    if with_room:
        assert max(used) - min(with_room) <= max(files)


@given(DRIVE_SIZES, FILES)
def test_lfs_fills_the_smaller_ones_before_it_begins_a_larger_one(sizes: list[int], files: list[int]) -> None:
    used = filled("lfs", sizes, files)
    begun = max((size for size, taken in zip(sizes, used, strict=True) if taken), default=0)
    assert all(size - taken < max(files) for size, taken in zip(sizes, used, strict=True) if size < begun)


@given(DRIVE_SIZES, FILES)
def test_lup_keeps_the_parts_used_alike(sizes: list[int], files: list[int]) -> None:
    used = filled("lup", sizes, files)
    pairs = list(zip(used, sizes, strict=True))
    with_room = [taken / size for taken, size in pairs if size - taken >= max(files)]
    if with_room:
        assert all(taken / size <= min(with_room) + max(files) / size + 1e-9 for taken, size in pairs)


@given(DRIVE_SIZES, FILES)
def test_highwater_fills_to_the_mark_before_it_is_halved(sizes: list[int], files: list[int]) -> None:
    """Each drive that is below the mark reached so far by no more than the last file, and in order at one mark."""
    used = filled("highwater", sizes, files)
    free = [size - taken for size, taken in zip(sizes, used, strict=True)]
    largest = max(sizes)
    touched = [n for n, taken in enumerate(used) if taken]
    lowest = min(free[n] + max(files) for n in touched)
    halvings = next(k for k in range(1, largest.bit_length() + 2) if largest >> k < lowest)
    # Nobody was taken below a mark while another was above that same mark.
    for number in touched:
        for other in range(len(sizes)):
            mark = largest >> max(1, halvings - 1)
            assert not (free[number] + max(files) <= mark < free[other] - max(files))


@given(st.integers(1, 6), st.integers(1, 100))
def test_round_robin_takes_each_in_turn(drives: int, count: int) -> None:
    used = filled("round_robin", [1 << 20] * drives, [1] * count)
    assert max(used) - min(used) <= 1 and sum(used) == count


TOGETHER = st.lists(st.tuples(SIZES, st.sampled_from([0, 0, 1, 5, 9]), st.booleans()), min_size=1, max_size=8).map(
    lambda rows: [Candidate(f"d{n}", n, 1 << 44, free, 0, together=t, first=f) for n, (free, t, f) in enumerate(rows)]
)


@given(TOGETHER, SEEDS, st.sampled_from(sorted(POLICIES)))
def test_keeping_goes_to_most_of_the_group_within_the_tier(candidates: list[Candidate], seed: int, name: str) -> None:
    ordered = keeping(policy(name))(candidates, "a/b", None, Random(seed))
    assert sorted(ordered, key=lambda c: c.number) == candidates
    assert [c.first for c in ordered] == sorted((c.first for c in ordered), reverse=True)
    for wanted in (True, False):
        together = [c.together for c in ordered if c.first is wanted]
        assert together == sorted(together, reverse=True)
