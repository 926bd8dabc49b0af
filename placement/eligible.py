"""Which drives may take a new object, and for the others why not.

`judge` answers for one drive, `choose` for all: the drives to try, best first, or an OSError whose errno is
the most informative reason and whose message carries each drive's own. A drive is asked nothing while its
mode already rules it out.

min_free. The value of the pool (`[placement] min_free`, 1 GiB unless set) holds for drives that name none
of their own, but never for more than 5% of a drive: else a small drive would never be used. A drive's own
value is taken as it stands. `available` counts only what lies above it, so placing stops at min_free; files
already placed may still grow into it.

Capacity. A drive with a `capacity` is treated as a drive of that size, if its filesystem is not smaller.

Reserved. What is spoken for on a drive (`reserving.py`) is not available either. A drive on which all is spoken for
comes last, but still takes what has no known size: it may be small, and what was expected may never come.
"""

import errno
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from placement import policies
from placement import system as os
from placement.drive import Drive
from placement.policies import Candidate

GIB = 1 << 30
DEFAULT_MIN_FREE = GIB
# The pool's min_free is never more than one part in this many of a drive.
MIN_FREE_PART = 20

HasDir = Callable[[Drive, str], bool]
# What a rule says to a drive that may take the object otherwise.
Adjust = Callable[[Drive, Candidate], "Candidate | Rejection"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A drive that may not take the object, with the reason in words and as an errno."""

    drive: Drive
    reason: str
    code: int


def has_dir(drive: Drive, path: str) -> bool:
    """Whether `path` is a directory on this drive, reached and being no symbolic link;

    OSError EIO if missing.
    """
    try:
        with drive.require().parent(path) as (dirfd, name):
            return stat.S_ISDIR(os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def measure(drive: Drive, min_free: int = DEFAULT_MIN_FREE) -> Candidate:
    """The drive's size and room in bytes as placement counts them; OSError if it cannot be asked."""
    return _measured(drive, drive.space(), min_free)


def _measured(drive: Drive, space: "os.statvfs_result", min_free: int, floor: int = 0) -> Candidate:
    total = space.f_blocks * space.f_frsize
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    room = space.f_bavail * space.f_frsize
    capacity = drive.config.capacity
    if drive.usage is not None and capacity is not None:
        used = drive.usage.bytes()
        total = min(total, capacity)
        room = min(room, capacity - used)
    kept = max(floor, kept_free(drive.config.min_free, total, min_free))
    free = max(0, room - kept)
    available = max(0, free - drive.reserved.bytes())
    return Candidate(drive.name, drive.number, total, available, used, reserved=free - available)


def kept_free(own: int | None, total: int, default: int) -> int:
    """Bytes to keep free on a drive of `total` bytes: its own value, else the pool's but at most 5%."""
    return own if own is not None else min(default, total // MIN_FREE_PART)


def judge(
    drive: Drive, *, size_hint: int | None = None, min_free: int = DEFAULT_MIN_FREE, floor: int = 0
) -> Candidate | Rejection:
    """Whether `drive` may take a new object of `size_hint` bytes (None: unknown). Raises nothing.

    `floor`: bytes to keep free in any case.
    """
    if drive.mode == "ro":
        return Rejection(drive, "read-only by its config", errno.EROFS)
    if drive.mode == "nc":
        return Rejection(drive, "takes no new objects by its config", errno.EROFS)
    if drive.retiring:
        return Rejection(drive, drive.retiring, errno.EROFS)
    try:
        space = drive.space()
        candidate = _measured(drive, space, min_free, floor)
    except OSError as error:
        problem = drive.problem
        return Rejection(drive, f"missing: {problem.cause}" if problem else str(error), errno.EIO)
    if space.f_flag & os.ST_RDONLY:
        return Rejection(drive, "its filesystem is mounted read-only", errno.EROFS)
    return _fits(drive, candidate, space, size_hint)


def _fits(
    drive: Drive, candidate: Candidate, space: "os.statvfs_result", size_hint: int | None
) -> Candidate | Rejection:
    if space.f_files and not space.f_favail:
        return Rejection(drive, "no inodes are free", errno.ENOSPC)
    if not candidate.available + candidate.reserved:
        return Rejection(drive, "full: nothing available above min_free", errno.ENOSPC)
    return fits(drive, candidate, size_hint)


def fits(drive: Drive, candidate: Candidate, size_hint: int | None) -> Candidate | Rejection:
    """The candidate if `size_hint` bytes are available there."""
    if size_hint is not None and size_hint > candidate.available:
        needed, room = readable(size_hint), readable(candidate.available)
        return Rejection(drive, f"{needed} needed, {room} available", errno.ENOSPC)
    return candidate


def unchanged(drive: Drive, candidate: Candidate) -> Candidate:
    """An `Adjust` for a rule that has nothing to say to the drives."""
    return candidate


def choose(
    drives: Sequence[Drive],
    path: str,
    *,
    policy: str,
    random: Random,
    size_hint: int | None = None,
    path_preserving: bool = False,
    min_free: int = DEFAULT_MIN_FREE,
    has_dir: HasDir = has_dir,
    floor: int = 0,
    adjust: Adjust = unchanged,
) -> list[Drive]:
    """The drives that may take `path`, best first, never empty.

    OSError with each drive's reason: ENOSPC if any was dropped for space, else EROFS if any is read-only or
    takes nothing new (or there are no drives), else EIO. ValueError for an unknown policy.
    """
    verdicts = verdicts_on(
        drives,
        path,
        size_hint=size_hint,
        path_preserving=path_preserving,
        min_free=min_free,
        has_dir=has_dir,
        floor=floor,
        adjust=adjust,
    )
    ordered = order(verdicts, path, policy, random, size_hint, path_preserving)
    if not ordered:
        raise refusal([verdict for verdict in verdicts if isinstance(verdict, Rejection)], path)
    by_number = {drive.number: drive for drive in drives}
    return [by_number[candidate.number] for candidate in ordered]


def order(
    verdicts: Sequence[Candidate | Rejection],
    path: str,
    policy: str,
    random: Random,
    size_hint: int | None,
    path_preserving: bool,
) -> list[Candidate]:
    """The candidates among `verdicts` as the policy orders them, those to be kept together with first."""
    chosen = policies.policy(policy)
    if path_preserving:
        chosen = policies.preserving(chosen)
    chosen = policies.keeping(chosen)
    candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
    free = [candidate for candidate in candidates if candidate.available]
    spoken_for = [candidate for candidate in candidates if not candidate.available]
    ordered = chosen(free, path, size_hint, random)
    return [*ordered, *chosen(spoken_for, path, size_hint, random)] if spoken_for else ordered


def verdicts_on(
    drives: Sequence[Drive],
    path: str,
    *,
    size_hint: int | None,
    path_preserving: bool,
    min_free: int,
    has_dir: HasDir,
    floor: int = 0,
    adjust: Adjust = unchanged,
) -> list[Candidate | Rejection]:
    """`judge` for each drive, in their order, then `adjust`; with `path_preserving` candidates have their depth."""
    verdicts: list[Candidate | Rejection] = []
    for drive in drives:
        verdict = judge(drive, size_hint=size_hint, min_free=min_free, floor=floor)
        if isinstance(verdict, Candidate):
            verdict = adjust(drive, verdict)
        if path_preserving and isinstance(verdict, Candidate):
            verdict = _with_depth(drive, verdict, path, has_dir)
        verdicts.append(verdict)
    return verdicts


def _with_depth(drive: Drive, candidate: Candidate, path: str, has_dir: HasDir) -> Candidate | Rejection:
    try:
        return replace(candidate, depth=depth(drive, path, has_dir))
    except OSError as error:
        # A drive that cannot say what it holds is not one to put new files on.
        return Rejection(drive, f"cannot look for the folder there: {error.strerror}", errno.EIO)


def depth(drive: Drive, path: str, has_dir: HasDir) -> int:
    """How many leading components of the parent of `path` are directories on this drive."""
    ancestor = path.rpartition("/")[0]
    while ancestor and not has_dir(drive, ancestor):
        ancestor = ancestor.rpartition("/")[0]
    return ancestor.count("/") + 1 if ancestor else 0


def refusal(rejections: Sequence[Rejection], path: str) -> OSError:
    """The OSError, ready to raise, that says why no drive took `path`."""
    codes = {rejection.code for rejection in rejections}
    code = next((code for code in (errno.ENOSPC, errno.EROFS, errno.EIO) if code in codes), errno.EROFS)
    reasons = "; ".join(f"{rejection.drive.name}: {rejection.reason}" for rejection in rejections)
    return OSError(code, f"{os.strerror(code)} ({reasons or 'the pool has no drives'})", path)


def readable(count: int) -> str:
    """A number of bytes for people, such as "1.5 GiB"."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(size) < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
