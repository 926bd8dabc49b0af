"""Who may take a new object, the reason of each who may not, and the errno that follows from all reasons."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import eligible
from placement.drive import Drive, DriveConfig
from placement.eligible import GIB, Rejection, choose, depth, judge, kept_free, measure
from placement.identity import IDENTITY, DriveError
from placement.policies import POLICIES, Candidate
from placement.reserving import Reserved

Maker = Callable[..., Drive]
BLOCK = 4096


def statvfs(
    total: int, free: int, available: int | None = None, files: int = 0, favail: int = 0, flag: int = 0
) -> os.statvfs_result:
    blocks = [size // BLOCK for size in (total, free, free if available is None else available)]
    return os.statvfs_result((BLOCK, BLOCK, *blocks, files, favail, favail, flag, 255))


@dataclass
class Used:
    count: int

    def bytes(self) -> int:
        return self.count


class FakeDrive:
    """As much of a Drive as placement looks at."""

    def __init__(self, number: int, space: os.statvfs_result | None, used: int | None = None, **config: Any) -> None:
        self.config = DriveConfig(f"d{number}", f"/mnt/d{number}", **config)
        self.name, self.path, self.mode, self.number = (
            self.config.name,
            self.config.path,
            self.config.mode,
            number,
        )
        self.usage = None if used is None else Used(used)
        self.problem = None if space else DriveError(self.name, self.path, "not mounted", "Mount it")
        self._space = space
        self.reserved = Reserved()
        self.retiring = ""

    def space(self) -> os.statvfs_result:
        if self._space is None:
            raise OSError(errno.EIO, "missing", self.path)
        return self._space


def drive(number: int = 1, total: int = 100 * GIB, free: int = 50 * GIB, **more: Any) -> Any:
    config = {key: more.pop(key) for key in ("mode", "min_free", "capacity", "used") if key in more}
    return FakeDrive(number, statvfs(total, free, **more), **config)


def missing(number: int = 1, **config: Any) -> Any:
    return FakeDrive(number, None, **config)


def pick(drives: list[Any], path: str = "x", policy: str = "ff", **more: Any) -> list[int]:
    more.setdefault("has_dir", lambda drive, path: False)
    return [chosen.number for chosen in choose(drives, path, policy=policy, random=Random(1), **more)]


def refused(drives: list[Any], **more: Any) -> tuple[str, str]:
    with pytest.raises(OSError) as caught:
        pick(drives, **more)
    return errno.errorcode[caught.value.errno], str(caught.value)


@pytest.mark.parametrize(
    ("subject", "size_hint", "code", "reason"),
    [
        (drive(mode="ro"), None, errno.EROFS, "read-only by its config"),
        (drive(mode="nc"), None, errno.EROFS, "takes no new objects"),
        (drive(flag=os.ST_RDONLY), None, errno.EROFS, "mounted read-only"),
        (missing(), None, errno.EIO, "missing: not mounted"),
        (missing(mode="ro"), None, errno.EROFS, "read-only by its config"),
        (drive(free=GIB), None, errno.ENOSPC, "full"),
        (drive(free=50 * GIB, available=GIB), None, errno.ENOSPC, "full"),
        (drive(files=100, favail=0), None, errno.ENOSPC, "no inodes"),
        (drive(free=3 * GIB), 2 * GIB + 1, errno.ENOSPC, "2.0 GiB needed, 2.0 GiB available"),
        (drive(capacity=10 * GIB, used=10 * GIB), None, errno.ENOSPC, "full"),
    ],
)
def test_each_reason(subject: Any, size_hint: int | None, code: int, reason: str) -> None:
    verdict = judge(subject, size_hint=size_hint)
    assert isinstance(verdict, Rejection)
    assert (verdict.code, verdict.drive) == (code, subject)
    assert reason in verdict.reason


def test_what_fits_exactly_fits() -> None:
    verdict = judge(drive(free=3 * GIB), size_hint=2 * GIB)
    assert verdict == Candidate("d1", 1, 100 * GIB, 2 * GIB, 97 * GIB)


def test_filesystems_that_count_no_inodes_have_enough() -> None:
    assert isinstance(judge(drive(files=0, favail=0)), Candidate)


@pytest.mark.parametrize(
    ("own", "total", "kept"),
    [
        (None, 1000 * GIB, GIB),
        (None, 20 * GIB, GIB),
        (None, 10 * GIB, GIB // 2),
        (None, 20, 1),
        (0, 1000 * GIB, 0),
        (900 * GIB, 1000 * GIB, 900 * GIB),
    ],
)
def test_min_free_of_the_pool_never_takes_more_than_a_twentieth(own: int | None, total: int, kept: int) -> None:
    assert kept_free(own, total, GIB) == kept


def test_a_capacity_makes_a_smaller_drive() -> None:
    small = measure(drive(capacity=10 * GIB, used=4 * GIB))
    assert (small.total, small.used, small.available) == (10 * GIB, 4 * GIB, 6 * GIB - GIB // 2)
    nearly_full = measure(drive(free=2 * GIB, capacity=90 * GIB, used=4 * GIB))
    assert (nearly_full.total, nearly_full.available) == (90 * GIB, GIB), "what the filesystem lacks counts too"
    larger = measure(drive(capacity=900 * GIB, used=4 * GIB))
    assert (larger.total, larger.available) == (100 * GIB, 49 * GIB)


def test_the_most_informative_reason_is_the_errno() -> None:
    full, read_only, gone = drive(1, free=0), drive(2, mode="ro"), missing(3)
    assert refused([gone])[0] == "EIO"
    assert refused([gone, read_only])[0] == "EROFS"
    assert refused([gone, read_only, full])[0] == "ENOSPC"
    assert refused([full, gone])[0] == "ENOSPC"
    code, text = refused([gone, read_only, full])
    for reason in ("d1: full", "d2: read-only by its config", "d3: missing: not mounted"):
        assert reason in text
    assert refused([]) == ("EROFS", refused([])[1])
    assert "the pool has no drives" in refused([])[1]


def test_others_are_tried_after_the_first() -> None:
    drives = [drive(1, free=10 * GIB), drive(2, free=30 * GIB), drive(3, mode="ro"), drive(4, free=20 * GIB)]
    assert pick(drives, policy="mfs") == [2, 4, 1]
    assert pick(drives, policy="lfs") == [1, 4, 2]
    assert pick(drives, policy="lfs", size_hint=15 * GIB) == [4, 2]
    assert pick(drives, policy="mfs", min_free=0, size_hint=30 * GIB) == [2]


HOLDS = {1: {"a", "b"}, 2: {"a", "a/b"}, 3: set[str](), 4: {"a", "a/b"}}


def holds(subject: Any, path: str) -> bool:
    return path in HOLDS[subject.number]


def test_path_preserving_keeps_folders_together() -> None:
    drives = [drive(1), drive(2), drive(3), drive(4, free=60 * GIB)]
    keep: dict[str, Any] = {"path_preserving": True, "has_dir": holds, "policy": "mfs"}
    assert pick(drives, "a/b/file", **keep) == [4, 2, 1, 3]
    assert pick(drives, "a/b/new/folder/file", **keep) == [4, 2, 1, 3]
    assert pick(drives, "b/file", **keep) == [1, 4, 2, 3]
    assert pick(drives, "file", **keep) == [4, 1, 2, 3]


def test_path_preserving_never_fails_while_another_has_room() -> None:
    keep: dict[str, Any] = {"path_preserving": True, "has_dir": holds}
    drives = [drive(1, free=0), drive(2, free=0), drive(3), drive(4, mode="ro")]
    assert pick(drives, "a/b/file", **keep) == [3]
    drives[0] = drive(1)
    assert pick(drives, "a/b/file", **keep) == [1, 3], "a is the deepest folder that an eligible drive has"


def test_a_drive_that_cannot_say_what_it_holds_is_left_out() -> None:
    def sick(subject: Any, path: str) -> bool:
        if subject.number == 1:
            raise OSError(errno.EIO, "Input/output error")
        return True

    assert pick([drive(1), drive(2)], "a/x", path_preserving=True, has_dir=sick) == [2]
    code, text = refused([drive(1)], path="a/x", path_preserving=True, has_dir=sick)
    assert code == "EIO" and "cannot look" in text


def test_only_path_preserving_looks_for_folders() -> None:
    def unexpected(subject: Any, path: str) -> bool:
        raise AssertionError("not asked for")

    assert pick([drive(1)], "a/x", has_dir=unexpected) == [1]


@given(st.lists(st.sampled_from("ab"), max_size=6), st.integers(0, 6))
def test_depth_counts_the_components_that_are_there(parts: list[str], there: int) -> None:
    path = "/".join([*parts, "file"])
    existing = {"/".join(parts[:count]) for count in range(1, min(there, len(parts)) + 1)}
    assert depth(drive(), path, lambda _, folder: folder in existing) == min(there, len(parts))


def test_an_unknown_policy_is_no_oserror() -> None:
    with pytest.raises(ValueError, match="there are"):
        pick([drive(1)], policy="best")


SIZE = st.integers(0, 40).map(lambda count: count * GIB // 4)
DRIVES = st.tuples(
    st.sampled_from(["rw", "rw", "rw", "ro", "nc"]), SIZE, st.none() | SIZE, st.booleans(), st.none() | SIZE
)


@given(
    st.lists(DRIVES, max_size=8),
    st.none() | SIZE,
    st.sampled_from(sorted(POLICIES)),
    st.booleans(),
    st.integers(0, 99),
)
def test_never_chooses_one_that_may_not(
    rows: list[tuple[Any, ...]], size_hint: int | None, policy: str, preserve: bool, seed: int
) -> None:
    drives: list[Any] = []
    for number, (mode, free, min_free, gone, capacity) in enumerate(rows, 1):
        used = None if capacity is None else GIB
        config = {"mode": mode, "min_free": min_free, "capacity": capacity}
        space = None if gone else statvfs(10 * GIB, free)
        drives.append(FakeDrive(number, space, used, **config))
    may = {d.number for d in drives if isinstance(judge(d, size_hint=size_hint), Candidate)}
    try:
        chosen = choose(
            drives,
            "a/b/c",
            policy=policy,
            random=Random(seed),
            size_hint=size_hint,
            path_preserving=preserve,
            has_dir=lambda subject, path: subject.number % 2 == 0,
        )
    except OSError as error:
        assert not may
        codes = {judge(d, size_hint=size_hint).code for d in drives}
        expected = [c for c in (errno.ENOSPC, errno.EROFS, errno.EIO) if c in codes] or [errno.EROFS]
        assert error.errno == expected[0]
        return
    assert {d.number for d in chosen} == may and len(chosen) == len(may)
    for picked in chosen:
        assert picked.mode == "rw" and picked.problem is None
        room = picked.space().f_bavail * BLOCK
        assert room >= kept_free(picked.config.min_free, measure(picked).total, GIB) + (size_hint or 1)


def test_real_drives(make_drive: Maker, tmp_path: Path) -> None:
    one, two = make_drive("d1"), make_drive("d2")
    (tmp_path / "d2/films").mkdir()
    (tmp_path / "d1/films").symlink_to("../d2/films")
    more: dict[str, Any] = {"policy": "ff", "random": Random(1), "min_free": 0}
    assert choose([one, two], "films/x", **more) == [one, two]
    assert choose([one, two], "films/x", path_preserving=True, **more) == [two, one], "a link is no folder"
    (tmp_path / "d2" / IDENTITY).unlink()
    two.check()
    assert choose([one, two], "films/x", path_preserving=True, **more) == [one]
    with pytest.raises(OSError, match="no identity file"):
        eligible.has_dir(two, "films")


def test_sizes_for_people() -> None:
    shown = {
        0: "0 B",
        1023: "1023 B",
        1024: "1.0 KiB",
        3 * GIB // 2: "1.5 GiB",
        5 << 50: "5.0 PiB",
        1 << 63: "8192.0 PiB",
    }
    assert {size: eligible.readable(size) for size in shown} == shown
