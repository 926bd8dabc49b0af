"""Each policy on random pools: the same drives in another order, and that order is the promised one."""

from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.policies import POLICIES, Candidate, policy, preserving

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
    with pytest.raises(ValueError, match="'epmfs'; there are: ff, mfs, lfs, lus, pfrd, rand"):
        policy("epmfs")
