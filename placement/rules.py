"""`Placement`: the pool's rule for new objects, asked at each create, and its explanation for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from placement import eligible, policies
from placement.drive import Drive
from placement.eligible import DEFAULT_MIN_FREE, HasDir, Rejection
from placement.policies import WEIGHTS, Candidate


@dataclass(frozen=True, slots=True)
class Verdict:
    """What placement thinks of one drive for one path.

    `rank`: 1 for the drive tried first, and so on; None for one that may not take it. A policy that draws
    lots gives no order in advance: its drives have rank 1 together, or the rank of the first of their
    group.
    """

    drive: Drive
    rank: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The rule of the pool. Thread-safe: it holds no state but the source of its random numbers.

    `drives` gives the drives as they are now, in the order of the config. `min_free` in bytes, see
    `eligible.py`. ValueError for an unknown policy.
    """

    drives: Callable[[], Sequence[Drive]]
    policy: str = "pfrd"
    path_preserving: bool = False
    min_free: int = DEFAULT_MIN_FREE
    random: Random = field(default_factory=Random)
    has_dir: HasDir = eligible.has_dir

    def __post_init__(self) -> None:
        policies.policy(self.policy)

    def place(self, path: str, size_hint: int | None = None) -> list[Drive]:
        """The drives to try for a new object at `path`, best first, never empty.

        `size_hint`: bytes it will need, None if unknown. OSError ENOSPC, EROFS or EIO with each drive's
        reason.
        """
        return eligible.choose(
            self.drives(),
            path,
            policy=self.policy,
            random=self.random,
            size_hint=size_hint,
            path_preserving=self.path_preserving,
            min_free=self.min_free,
            has_dir=self.has_dir,
        )

    def explain(self, path: str, size_hint: int | None = None) -> list[Verdict]:
        """What `place` would think of each drive now, in the order of the config. Draws no lot."""
        drives = self.drives()
        verdicts = eligible.verdicts_on(
            drives,
            path,
            size_hint=size_hint,
            path_preserving=self.path_preserving,
            min_free=self.min_free,
            has_dir=self.has_dir,
        )
        ordered = eligible.order(verdicts, path, self.policy, Random(0), size_hint, self.path_preserving)
        return [
            Verdict(drive, None, verdict.reason)
            if isinstance(verdict, Rejection)
            else Verdict(drive, self._rank(verdict, ordered), self._reason(verdict, ordered, path))
            for drive, verdict in zip(drives, verdicts, strict=True)
        ]

    def _rank(self, candidate: Candidate, ordered: Sequence[Candidate]) -> int:
        if self.policy not in WEIGHTS:
            return ordered.index(candidate) + 1
        return [other.depth for other in ordered].index(candidate.depth) + 1

    def _reason(self, candidate: Candidate, ordered: Sequence[Candidate], path: str) -> str:
        room, used = eligible.readable(candidate.available), eligible.readable(candidate.used)
        reason = f"{room} available, {used} used"
        if self.path_preserving:
            reason += f", holds {candidate.depth} of the path's {path.count('/')} folders"
        weight = WEIGHTS.get(self.policy)
        if weight is not None:
            group = sum(weight(other) for other in ordered if other.depth == candidate.depth)
            reason += f", drawn with a chance of {weight(candidate) / group:.0%}"
        return reason
