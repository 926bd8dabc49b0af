"""Content: holes stay holes, zeros stay data, and what is copied is what was read."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_128

from placement import copying, extents
from placement.copying import PIECE, Allowance, ChangedError, Content, copy_content, read_content
from placement.extents import reserved

MIB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """An empty source and an empty target."""
    fds = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("source", "target")]
    yield fds[0], fds[1]
    for fd in fds:
        os.close(fd)


def quiet(done: int) -> None:
    pass


def copied(files: tuple[int, int]) -> Content:
    """Copy, and check what must hold of every copy."""
    source, target = files
    content = copy_content(source, target, Allowance(), quiet)
    size = os.fstat(source).st_size
    whole = os.pread(source, size, 0)
    assert os.fstat(target).st_size == size and os.pread(target, size + 1, 0) == whole
    assert content == Content(size, xxh3_128(whole).digest())
    os.fsync(target)
    assert read_content(target, Allowance(), quiet) == content
    return content


def blocks(fd: int) -> int:
    os.fsync(fd)
    return os.fstat(fd).st_blocks * 512


@pytest.mark.parametrize("size", [0, 1, 4096, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_any_size(files: tuple[int, int], size: int) -> None:
    os.pwrite(files[0], os.urandom(size), 0)
    copied(files)


def test_holes_are_kept(files: tuple[int, int]) -> None:
    source, target = files
    for offset in (0, 5 * MIB + 4096, 20 * MIB):
        os.pwrite(source, os.urandom(3000), offset)
    os.ftruncate(source, 64 * MIB)
    copied(files)
    assert blocks(target) == blocks(source) < MIB


def test_a_huge_hole(files: tuple[int, int]) -> None:
    os.ftruncate(files[0], 1 << 30)
    assert copy_content(*files, Allowance(), quiet).size == 1 << 30
    assert blocks(files[1]) == 0


def test_zeros_on_the_disk_stay_on_the_disk(files: tuple[int, int]) -> None:
    os.pwrite(files[0], bytes(2 * MIB), 0)
    copied(files)
    assert blocks(files[1]) == 2 * MIB


def test_what_was_allocated_ahead_stays_allocated(files: tuple[int, int]) -> None:
    """A download client reserved it to be safe from a full disk."""
    os.posix_fallocate(files[0], 0, 8 * MIB)
    os.pwrite(files[0], os.urandom(MIB), 3 * MIB)
    copied(files)
    assert blocks(files[1]) == 8 * MIB


def test_holes_beside_what_was_allocated_ahead(files: tuple[int, int]) -> None:
    """In more extents than are asked for at once."""
    for number in range(300):
        os.posix_fallocate(files[0], number * 12288, 4096)
        os.pwrite(files[0], b"x", number * 12288 + 4096)
    os.posix_fallocate(files[0], 10 * MIB, 5000)
    os.ftruncate(files[0], 20 * MIB)
    copied(files)
    assert blocks(files[1]) // 4096 in range(602, 610)
    assert len(list(reserved(files[1], 20 * MIB))) > 200, "some may just be under way to the disk"
    assert list(reserved(files[1], 5)) == [(0, 5)]


def test_an_older_longer_copy_is_overwritten(files: tuple[int, int]) -> None:
    os.pwrite(files[1], b"z" * (2 * MIB), 0)
    os.pwrite(files[0], b"new", 5000)
    copied(files)
    assert blocks(files[1]) == 4096


@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, 0])
@pytest.mark.parametrize("after", [0, 1])
def test_where_the_kernel_cannot_copy(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, code: int, after: int
) -> None:
    os.pwrite(files[0], os.urandom(3 * MIB), 0)
    real, calls = os.copy_file_range, []

    def copy_file_range(source: int, target: int, count: int, *offsets: int) -> int:
        calls.append(count)
        if len(calls) <= after:
            return real(source, target, count // 2, *offsets)
        if code:
            raise OSError(code, os.strerror(code))
        return 0

    monkeypatch.setattr(copying.os, "copy_file_range", copy_file_range)
    copied(files)
    assert len(calls) == after + 1, "it is not asked again and again"


def test_other_errors_of_the_kernel_are_told(files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    os.pwrite(files[0], b"x", 0)

    def fail(*_: int) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(copying.os, "copy_file_range", fail)
    with pytest.raises(OSError, match="broken"):
        copy_content(*files, Allowance(), quiet)


def test_where_nothing_is_known_of_holes(files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    os.pwrite(files[0], b"x" * 5000, 2 * MIB)

    def fail(*_: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(extents.os, "lseek", fail)
    copied(files)


def test_short_reads_and_writes(files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    os.pwrite(files[0], os.urandom(2 * MIB), 0)
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(copying.os, "preadv", lambda fd, into, offset: preadv(fd, [into[0][:300_000]], offset))
    monkeypatch.setattr(copying.os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:70_001], offset))
    monkeypatch.delattr(copying.os, "copy_file_range")
    copied(files)


def test_a_source_that_becomes_shorter(files: tuple[int, int]) -> None:
    os.pwrite(files[0], b"x" * (3 * MIB), 0)
    with pytest.raises(ChangedError):
        copy_content(*files, Allowance(), lambda done: os.ftruncate(files[0], 100))


def test_one_bit_makes_the_difference(files: tuple[int, int]) -> None:
    os.pwrite(files[0], b"x" * MIB + bytes(MIB), 0)
    content = copied(files)
    os.pwrite(files[1], b"\1", 2 * MIB - 1)
    os.fsync(files[1])
    assert read_content(files[1], Allowance(), quiet) != content


def test_reading_back_asks_the_drive(files: tuple[int, int]) -> None:
    os.pwrite(files[0], b"x" * (4 * MIB), 0)
    os.fsync(files[0])
    asked: list[tuple[int, ...]] = []
    real = os.posix_fadvise
    try:
        copying.os.posix_fadvise = lambda *arguments: (asked.append(arguments), real(*arguments))[1]  # type: ignore[assignment]
        read_content(files[0], Allowance(), quiet)
    finally:
        copying.os.posix_fadvise = real
    assert asked == [(files[0], 0, 0, os.POSIX_FADV_DONTNEED)]


def test_an_allowance_does_not_save_up() -> None:
    allowance = Allowance(rate=10_000)
    began = time.monotonic()
    for _ in range(5):
        allowance.spend(200)
    assert 0.09 < time.monotonic() - began < 0.5
    time.sleep(0.2)
    began = time.monotonic()
    allowance.spend(1000)
    assert time.monotonic() - began > 0.09
    began = time.monotonic()
    allowance.in_a_hurry().spend(1 << 40)
    assert time.monotonic() - began < 0.05


def test_cancelled_before_and_while_waiting() -> None:
    cancel = threading.Event()
    allowance = Allowance(rate=1, cancel=cancel)
    threading.Timer(0.05, cancel.set).start()
    for spent in (100, 0):
        with pytest.raises(OSError) as caught:
            allowance.spend(spent)
        assert caught.value.errno == errno.ECANCELED
    with pytest.raises(OSError):
        allowance.in_a_hurry().spend()
