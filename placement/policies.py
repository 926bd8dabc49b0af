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
| lup  | the one of which the smallest part is used |
| highwater | the first with more available than the mark: half the size of the largest drive, then a quarter, ... |
| round_robin | the one that was chosen longest ago |
| pfrd | by chance, in proportion to the bytes available (the default) |
| rand | by chance, each alike |

`preserving` makes any of them keep folders together. Unlike mergerfs' `ep` policies it never answers ENOSPC
or EXDEV while a drive without the folder has room: those drives come last instead of not at all. It is what
mergerfs calls `msp`, with the remaining drives appended. So its names `epmfs`, `mspmfs`, ... mean `mfs` with
`preserving`; see `understood`. `keeping` puts the drives first that hold files of the same season or folder.
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
    parent exist there as directories. `together`: bytes there of the files that the new one is to be kept
    together with, at least 1 if their folder is there. `turn`: when it was chosen last, 0 for never.
    `first`: whether the rule wants it before those for which this is not set. `reserved`: how much more would be
    available if nothing were spoken for.
    """

    name: str
    number: int
    total: int
    available: int
    used: int
    depth: int = 0
    together: int = 0
    turn: int = 0
    first: bool = True
    reserved: int = 0


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


def least_used_part(
    candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random
) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.used / max(1, candidate.total))


def high_water(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    largest = max((candidate.total for candidate in candidates), default=0)

    def mark(candidate: Candidate) -> int:
        """How often the mark must be halved until more than that is available."""
        if not candidate.available:
            return largest.bit_length() + 1
        halved = 1
        while candidate.available <= largest >> halved:
            halved += 1
        return halved

    return sorted(candidates, key=mark)


def round_robin(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.turn)


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


def keeping(policy: Policy) -> Policy:
    """First the drives with files to be kept together with, most bytes first; `policy` among the others.

    What the rule wants first comes first in either.
    """

    def kept(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
        ordered: list[Candidate] = []
        if all(candidate.first and not candidate.together for candidate in candidates):
            return policy(candidates, path, size_hint, random)
        for wanted in (True, False):
            group = [candidate for candidate in candidates if candidate.first is wanted]
            together = [candidate for candidate in group if candidate.together]
            others = [candidate for candidate in group if not candidate.together]
            ordered += sorted(together, key=lambda candidate: -candidate.together)
            ordered += policy(others, path, size_hint, random)
        return ordered

    return kept


POLICIES: dict[str, Policy] = {
    "ff": first_found,
    "mfs": most_free,
    "lfs": least_free,
    "lus": least_used,
    "lup": least_used_part,
    "highwater": high_water,
    "round_robin": round_robin,
    "pfrd": drawn(WEIGHTS["pfrd"]),
    "rand": drawn(WEIGHTS["rand"]),
}
# What mergerfs puts before a policy's name to keep folders together, and its names that mean the same as another.
_PRESERVING = ("ep", "msp")
_SAME = {"all": "ff"}


def policy(name: str) -> Policy:
    """The policy of this name; ValueError lists the names there are."""
    try:
        return POLICIES[name]
    except KeyError:
        raise ValueError(f"no policy is called {name!r}; there are: {', '.join(POLICIES)}") from None


def understood(name: str) -> tuple[str, bool]:
    """The policy that `name` means here, and whether it keeps folders together; mergerfs' names included.

    ValueError, with the names there are, for any other, mergerfs' `newest` among them.
    """
    for prefix in ("", *_PRESERVING):
        base = name.removeprefix(prefix)
        base = _SAME.get(base, base)
        if name.startswith(prefix) and base in POLICIES:
            return base, bool(prefix)
    policy(name)
    raise AssertionError(name)
