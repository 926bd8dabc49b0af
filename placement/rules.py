"""`Placement`: the rules of the pool for new objects, asked at each create, and their explanation for people.

The first rule that matches a path decides, the pool's own settings if none does. A rule may say which policy orders
the drives, which drives may take the object at all (`drives`) or are tried before the others (`tier`), with which
files it is kept together, and how much each drive keeps free.
"""

import errno
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from placement import eligible, policies
from placement.drive import Drive
from placement.eligible import DEFAULT_MIN_FREE, HasDir, Rejection
from placement.matching import Keep, group_folder, matches
from placement.policies import WEIGHTS, Candidate

EVERYTHING = "**"


class Knowledge(Protocol):
    """What is known of files that are not there yet. Asked at each create: it must answer within milliseconds."""

    def expected_size(self, path: str) -> int | None:
        """Bytes that a new file at `path` will probably need; None if nothing is known."""
        ...

    def together(self, drive: Drive, folder: str) -> int:
        """Bytes of what lies on the drive in `folder` and below, at least 1 if it has the folder; else 0. OSError."""
        ...


class NothingKnown:
    """For a pool without an index: only that a drive has a folder is known."""

    def expected_size(self, path: str) -> int | None:
        return None

    def together(self, drive: Drive, folder: str) -> int:
        return int(eligible.has_dir(drive, folder))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `policy` may be mergerfs' name for it. ValueError for an unknown policy.

    `drives`: names of the only drives that take the object, none for all. `tier`: drives of that tier are tried
    first, the others once none of them has room. `min_free`: bytes that each drive keeps free at least.
    """

    match: str = EVERYTHING
    policy: str = "pfrd"
    path_preserving: bool = False
    drives: tuple[str, ...] = ()
    tier: str | None = None
    keep_together: Keep | None = None
    min_free: int = 0

    def __post_init__(self) -> None:
        base, preserving = policies.understood(self.policy)
        object.__setattr__(self, "policy", base)
        object.__setattr__(self, "path_preserving", self.path_preserving or preserving)

    def covers(self, path: str) -> bool:
        return matches(self.match, path)

    def group(self, path: str) -> str:
        """The folder of the files that `path` is kept together with; "" for none."""
        return group_folder(self.match, self.keep_together, path) if self.keep_together else ""


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


@dataclass(slots=True)
class Placement:
    """The rules of the pool. Thread-safe.

    `drives` gives the drives as they are now, in the order of the config. `policy`, `path_preserving` and `min_free`
    (bytes, see `eligible.py`) hold where none of `rules` matches. ValueError for an unknown policy.
    """

    drives: Callable[[], Sequence[Drive]]
    policy: str = "pfrd"
    path_preserving: bool = False
    min_free: int = DEFAULT_MIN_FREE
    random: Random = field(default_factory=Random)
    has_dir: HasDir = eligible.has_dir
    rules: Sequence[Rule] = ()
    knowledge: Knowledge = field(default_factory=NothingKnown)
    _all: tuple[Rule, ...] = field(init=False, default=())
    # One file whose size is known after the other, so that each sees what was promised to those before it.
    _promising: threading.Lock = field(init=False, default_factory=threading.Lock)
    _turns: dict[tuple[str, int], int] = field(init=False, default_factory=dict)
    _turn: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._all = (*self.rules, Rule(EVERYTHING, self.policy, self.path_preserving))

    def rule_for(self, path: str) -> Rule:
        """The first rule that matches `path`; where none does, one made of the pool's own settings."""
        return next(rule for rule in self._all if rule.covers(path))

    def place(
        self,
        path: str,
        size_hint: int | None = None,
        *,
        planned: Mapping[int, int] | None = None,
        among: Collection[int] | None = None,
    ) -> list[Drive]:
        """The drives to try for a new object at `path`, best first, never empty.

        `size_hint`: bytes it will need, None if unknown. `planned`: bytes that shall count as used besides, by drive
        number; `among`: numbers of the only drives to choose from. OSError ENOSPC, EROFS or EIO with each drive's
        reason.
        """
        rule = self.rule_for(path)
        drives = eligible.choose(
            self.drives(),
            path,
            policy=rule.policy,
            random=self.random,
            size_hint=size_hint,
            path_preserving=rule.path_preserving,
            min_free=self.min_free,
            has_dir=self.has_dir,
            floor=rule.min_free,
            adjust=self._adjusting(rule, path, size_hint, planned or {}, among),
        )
        self._turn += 1
        self._turns[rule.match, drives[0].number] = self._turn
        return drives

    def place_file(self, path: str) -> list[Drive]:
        """As `place` for a new file, of the size that is known of it, which is then promised to it on its drive."""
        size = self.knowledge.expected_size(path)
        if not size:
            return self.place(path)
        with self._promising:
            try:
                drives = self.place(path, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                # What is known may be wrong, and it may begin where there is some room.
                return self.place(path)
            drives[0].reserved.promise(path, size)
        return drives

    def _adjusting(
        self,
        rule: Rule,
        path: str,
        size_hint: int | None,
        planned: Mapping[int, int],
        among: Collection[int] | None = None,
    ) -> eligible.Adjust:
        """What the rule says to each drive."""
        group = rule.group(path)
        if not (rule.drives or rule.tier or group or planned) and among is None and rule.policy != "round_robin":
            # As nearly always, and creating files is made of this.
            return eligible.unchanged

        def adjust(drive: Drive, candidate: Candidate) -> Candidate | Rejection:
            if rule.drives and drive.name not in rule.drives:
                return Rejection(drive, f"the rule wants only {', '.join(rule.drives)}", errno.EROFS)
            if among is not None and drive.number not in among:
                return Rejection(drive, "not asked for", errno.EROFS)
            more = planned.get(drive.number, 0)
            try:
                together = self.knowledge.together(drive, group) if group else 0
            except OSError as error:
                return Rejection(drive, f"cannot look for the folder there: {error.strerror}", errno.EIO)
            changed = replace(
                candidate,
                available=max(0, candidate.available - more),
                used=candidate.used + more,
                together=together,
                turn=self._turns.get((rule.match, drive.number), 0),
                first=rule.tier is None or drive.tier == rule.tier,
            )
            return eligible.fits(drive, changed, size_hint) if more else changed

        return adjust

    def explain(self, path: str, size_hint: int | None = None) -> list[Verdict]:
        """What `place` would think of each drive now, in the order of the config. Draws no lot."""
        drives, rule = self.drives(), self.rule_for(path)
        verdicts = eligible.verdicts_on(
            drives,
            path,
            size_hint=size_hint,
            path_preserving=rule.path_preserving,
            min_free=self.min_free,
            has_dir=self.has_dir,
            floor=rule.min_free,
            adjust=self._adjusting(rule, path, size_hint, {}),
        )
        ordered = eligible.order(verdicts, path, rule.policy, Random(0), size_hint, rule.path_preserving)
        return [
            Verdict(drive, None, verdict.reason)
            if isinstance(verdict, Rejection)
            else Verdict(drive, _rank(rule, verdict, ordered), _reason(rule, verdict, ordered, path))
            for drive, verdict in zip(drives, verdicts, strict=True)
        ]

    def describe(self, path: str) -> str:
        """In words which rule and policy decide about `path`."""
        rule = self.rule_for(path)
        whose = "no rule matches, so the pool's settings hold" if rule is self._all[-1] else f"rule {rule.match!r}"
        more = [
            " keeps folders together" if rule.path_preserving else "",
            f" only drives {', '.join(rule.drives)}" if rule.drives else "",
            f" tier {rule.tier} first" if rule.tier else "",
            f" together with {group}" if (group := rule.group(path)) else "",
        ]
        return ",".join([f"{whose}: policy {rule.policy}", *filter(None, more)])


def _rank(rule: Rule, candidate: Candidate, ordered: Sequence[Candidate]) -> int:
    if rule.policy not in WEIGHTS or candidate.together:
        return ordered.index(candidate) + 1
    return [_lot(rule, other) for other in ordered].index(_lot(rule, candidate)) + 1


def _lot(rule: Rule, candidate: Candidate) -> tuple[bool, int, int]:
    """Candidates alike in this are drawn from one pot."""
    return candidate.first, candidate.together, candidate.depth if rule.path_preserving else 0


def _reason(rule: Rule, candidate: Candidate, ordered: Sequence[Candidate], path: str) -> str:
    room, used = eligible.readable(candidate.available), eligible.readable(candidate.used)
    reason = f"{room} available, {used} used"
    if candidate.reserved:
        reason += f", {eligible.readable(candidate.reserved)} reserved for files on their way"
    if not candidate.first:
        reason += f", not of tier {rule.tier}: only if none of that has room"
    if candidate.together:
        reason += f", holds {eligible.readable(candidate.together)} of {rule.group(path)}"
    if rule.path_preserving:
        reason += f", holds {candidate.depth} of the path's {path.count('/')} folders"
    weight = WEIGHTS.get(rule.policy)
    if weight is not None and not candidate.together:
        group = sum(weight(other) for other in ordered if _lot(rule, other) == _lot(rule, candidate))
        reason += f", drawn with a chance of {weight(candidate) / max(1, group):.0%}"
    return reason
