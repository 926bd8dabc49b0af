import time

from vfs.attr import Attr
from vfs.unchanged import Unchanged

LONG_AGO = time.time_ns() - 10**12


def attr(**changes: int) -> Attr:
    return Attr(1, 0o100644, 1, 0, 0, 0, 100, 8, 0, LONG_AGO, LONG_AGO)._replace(**changes)


def test_only_a_file_like_the_one_before_is_unchanged() -> None:
    unchanged = Unchanged()
    assert [unchanged.since_last_open("a", attr()) for _ in range(3)] == [False, True, True]
    assert not unchanged.since_last_open("b", attr())
    for change in ({"ino": 2}, {"size": 101}, {"mtime_ns": LONG_AGO + 1}, {"ctime_ns": LONG_AGO + 1}):
        assert not unchanged.since_last_open("a", attr(**change))
        assert not unchanged.since_last_open("a", attr())
        assert unchanged.since_last_open("a", attr(atime_ns=5, nlink=2))


def test_a_file_changed_just_now_may_have_been_changed_again() -> None:
    unchanged, now = Unchanged(), attr(ctime_ns=time.time_ns())
    assert [unchanged.since_last_open("a", now) for _ in range(3)] == [False] * 3


def test_it_does_not_grow_without_end() -> None:
    unchanged = Unchanged()
    for number in range(12_000):
        unchanged.since_last_open(f"{number}", attr())
    assert len(unchanged._seen) == 10_000
    assert unchanged.since_last_open("11999", attr()) and not unchanged.since_last_open("0", attr())
