"""The policies: which of the drives that may take a new object is tried first.

A policy is a pure function of (candidates, path, size hint, random) to the same candidates, best first, so a
caller whose best drive answers ENOSPC after all tries the next. It neither drops nor invents a candidate; an
empty answer only follows from no candidates. What may take the object at all is decided in `eligible.py`.

| name | tries first |
|---|---|
| ff   | the first in the order of the config |
| mfs  | the one with most bytes available |
| lfs  | the one with fewest bytes available that still fits |
| lus  | the one with fewest bytes used |
| pfrd | by chance, in proportion to the bytes available (the default) |
| rand | by chance, each alike |

`preserving` makes any of them keep folders together. Unlike mergerfs' `ep` policies it never answers ENOSPC
or EXDEV while a drive without the folder has room: those drives come last instead of not at all. It is what
mergerfs calls `msp`, with the remaining drives appended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from random import Random


@dataclass(frozen=True, slots=True)
class Candidate:
    """A drive that may take a new object; all sizes in bytes.

    `total`: size of the drive, or its capacity if that is less. `used`: what lies there. `available`: what
    may still be placed, after min_free and capacity. `depth`: how many leading components of the path's
    parent exist there as directories.
    """

    name: str
    number: int
    total: int
    available: int
    used: int
    depth: int = 0


Policy = Callable[[Sequence[Candidate], str, int | None, Random], list[Candidate]]

# What a drive's chance is proportional to, for the policies that draw lots.
WEIGHTS: dict[str, Callable[[Candidate], float]] = {
    "pfrd": lambda candidate: candidate.available,
    "rand": lambda candidate: 1,
}


def first_found(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    return list(candidates)


def most_free(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.available)


def least_free(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.available)


def least_used(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.used)


def drawn(weight: Callable[[Candidate], float]) -> Policy:
    """A policy that draws the drives one after the other, each with a chance proportional to its weight."""

    def policy(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
        def waiting(candidate: Candidate) -> float:
            # The earliest of several exponential clocks is one's own with a chance proportional to its rate.
            rate = weight(candidate)
            return random.expovariate(rate) if rate > 0 else inf

        return sorted(candidates, key=waiting)

    return policy


def preserving(policy: Policy) -> Policy:
    """`policy` among the drives that hold the path's deepest existing ancestor, then the next deepest."""

    def preserved(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
        deepest_first = sorted(candidates, key=lambda candidate: -candidate.depth)
        ordered: list[Candidate] = []
        for _, together in groupby(deepest_first, key=lambda candidate: candidate.depth):
            ordered += policy(list(together), path, size_hint, random)
        return ordered

    return preserved


POLICIES: dict[str, Policy] = {
    "ff": first_found,
    "mfs": most_free,
    "lfs": least_free,
    "lus": least_used,
    "pfrd": drawn(WEIGHTS["pfrd"]),
    "rand": drawn(WEIGHTS["rand"]),
}


def policy(name: str) -> Policy:
    """The policy of this name; ValueError lists the names there are."""
    try:
        return POLICIES[name]
    except KeyError:
        raise ValueError(f"no policy is called {name!r}; there are: {', '.join(POLICIES)}") from None
