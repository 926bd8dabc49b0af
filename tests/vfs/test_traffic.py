"""What is open and how much went through it, without a mount."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from uniting import Pool

from vfs.about import About
from vfs.durations import STEPS, Durations
from vfs.filesystem import FileSystem
from vfs.traffic import Totals


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.names.close()


def test_bytes_are_counted_by_handle_and_outlive_it(pool: Pool) -> None:
    pool.write("b", "media/film.mkv", "x" * 1000)
    filesystem = FileSystem(pool.union, About(pool.union.lookup, lambda path: ""))
    filesystem.pid_of_caller = os.getpid
    traffic, buffer = filesystem.traffic, memoryview(bytearray(600))
    first = filesystem.open("media/film.mkv", os.O_RDONLY).fh
    second = filesystem.open("media/film.mkv", os.O_RDWR).fh
    folder = filesystem.opendir("media").fh
    assert filesystem.read(first, buffer, 0) == 600 and filesystem.read(first, buffer, 600) == 400
    assert filesystem.read(second, buffer, 0) == 600 and filesystem.write(second, b"new", 0) == 3
    one, other = traffic.now()
    assert (one.fh, one.path, one.source, one.drive, one.came, one.went) == (
        first, "media/film.mkv", "drive", "b", 1000, 0,
    )  # fmt: skip
    assert (other.came, other.went, other.pid, other.passed) == (600, 3, os.getpid(), False) and other.since > 0
    assert traffic.totals() == Totals(drives=1600, written=3)
    filesystem.rename("media/film.mkv", "media/other.mkv", 0)
    assert traffic.now()[0].path == "media/other.mkv"
    filesystem.release(first)
    assert [each.fh for each in traffic.now()] == [second] and traffic.totals() == Totals(drives=1600, written=3)
    filesystem.release(second)
    assert traffic.now() == [] and traffic.totals() == Totals(drives=1600, written=3)
    with pytest.raises(OSError) as refusal:
        traffic.closing(first)
    assert refusal.value.errno == errno.EBADF
    filesystem.releasedir(folder)
    filesystem.close()


def test_durations_fall_into_steps() -> None:
    took = Durations()
    for seconds in (0.0, STEPS[0], 0.006, 29.0, 31.0, 1000.0):
        took.add(seconds)
    assert took.counts[0] == 2 and took.counts[1] == 1 and took.counts[-2:] == [1, 2]
    assert sum(took.counts) == 6 and took.total == pytest.approx(1060.011)
