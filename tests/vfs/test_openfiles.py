import pytest

from vfs import openfiles
from vfs.branch import Handle
from vfs.openfiles import OpenFiles


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(openfiles, "time", clock)
    return clock


def close(files: OpenFiles[Handle], ino: int) -> None:
    handle = Handle()
    files.opened(ino, handle)
    assert files.is_open(ino)
    assert files.closed(ino, handle)


def test_what_was_closed_counts_as_open_for_a_moment(clock: Clock) -> None:
    files: OpenFiles[Handle] = OpenFiles()
    for ino in range(100):
        close(files, ino)
    clock.now += 0.9
    close(files, 7)
    assert all(files.was_open_lately(ino) for ino in range(100))
    clock.now += 0.2
    close(files, 1000)
    assert [ino for ino in range(2000) if files.was_open_lately(ino)] == [7, 1000]


def test_closes_of_long_ago_are_forgotten(clock: Clock) -> None:
    files: OpenFiles[Handle] = OpenFiles()
    for ino in range(500):
        close(files, ino)
    clock.now += 2
    for ino in range(500, 1000):
        close(files, ino)
    # Those of this moment, and none of before.
    assert len(files._lately) == 500
