"""What `bench local` measures: each workload works on one contender and yields its figures, row by row.

Three temperatures: *cold*, nothing is cached anywhere; *drives warm*, the drives' own caches are filled but the
mount must be asked; *warm*, the same was done through the same mount just before. For the bare disk, drives warm and
warm are the same.
"""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import NamedTuple

from contenders import BareDisk, Contender
from figures import Row
from stage import BIG_FILE, MIB, SPREAD, drop_caches, may_drop_caches, warm_memory

_PAGE = 4096
_SMALL = b"x" * 1024
_SMALL_FOLDERS = 20
_runs = count()


class Sample(NamedTuple):
    """One figure: the value in its row's unit, CPU seconds of the contender's process, and of the program at work."""

    row: str
    value: float
    served: float
    program: float


@dataclass(frozen=True)
class Sizes:
    """How much is done: bytes of the big file, files of the library, small files made, random reads."""

    big: int
    library: int
    small: int
    reads: int


@dataclass
class Meter:
    """Seconds that passed, and CPU seconds, of one piece of work."""

    seconds: float = 0.0
    served: float = 0.0
    program: float = 0.0

    def rate(self, row: str, amount: float) -> Sample:
        return Sample(row, amount / self.seconds, self.served, self.program)

    def time(self, row: str) -> Sample:
        return Sample(row, self.seconds, self.served, self.program)


@contextmanager
def _metered(contender: Contender) -> Iterator[Meter]:
    meter = Meter()
    served, program, begun = contender.cpu(), _our_cpu(), time.perf_counter()
    yield meter
    meter.seconds = time.perf_counter() - begun
    meter.served, meter.program = contender.cpu() - served, _our_cpu() - program


def _our_cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


class WrongResult(Exception):
    """A contender did not do what it was asked; its figures would mean nothing."""


Workload = Callable[[Contender, BareDisk, Sizes], Iterable[Sample]]


def read_in_order(contender: Contender, bare: BareDisk, sizes: Sizes) -> Iterator[Sample]:
    """The whole big file in blocks of 1 MiB."""
    if may_drop_caches():
        drop_caches()
        warm_memory(3 * sizes.big)
        yield _read_all(contender, sizes).rate("read cold", sizes.big / 1e6)
    _forget(contender)
    _read_all(bare, sizes)
    warm_memory(3 * sizes.big)
    yield _read_all(contender, sizes).rate("read drives warm", sizes.big / 1e6)
    yield _read_all(contender, sizes).rate("read warm", sizes.big / 1e6)


def _read_all(contender: Contender, sizes: Sizes) -> Meter:
    block, done = bytearray(MIB), 0
    with _metered(contender) as meter:
        fd = os.open(contender.folder(BIG_FILE), os.O_RDONLY)
        try:
            while length := os.readv(fd, [block]):
                done += length
        finally:
            os.close(fd)
    if done != sizes.big:
        raise WrongResult(f"{contender.column}: {done} bytes read of {sizes.big}")
    return meter


def _forget(contender: Contender) -> None:
    """Have the kernel forget the pages of the big file as the contender shows it, and only those."""
    fd = os.open(contender.folder(BIG_FILE), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def read_at_random(contender: Contender, bare: BareDisk, sizes: Sizes) -> Iterator[Sample]:
    """Single pages of the big file."""
    if may_drop_caches():
        drop_caches()
        # The disk itself is what takes the time.
        few = max(1, sizes.reads // 10)
        yield _read_pages(contender, sizes, few).rate("random cold", few)
    _forget(contender)
    _read_all(bare, sizes)
    yield _read_pages(contender, sizes, sizes.reads).rate("random drives warm", sizes.reads)
    _read_all(contender, sizes)
    yield _read_pages(contender, sizes, sizes.reads).rate("random warm", sizes.reads)


def _read_pages(contender: Contender, sizes: Sizes, reads: int) -> Meter:
    spots, pages, block = random.Random(reads), max(1, sizes.big // _PAGE), bytearray(_PAGE)
    offsets = [spots.randrange(pages) * _PAGE for _ in range(reads)]
    fd = os.open(contender.folder(BIG_FILE), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        with _metered(contender) as meter:
            for offset in offsets:
                os.preadv(fd, [block], offset)
    finally:
        os.close(fd)
    return meter


def write_in_order(contender: Contender, _bare: BareDisk, sizes: Sizes) -> Iterator[Sample]:
    """A new file in blocks of 1 MiB, and what it takes until that is on the disk."""
    with _own_folder(contender) as folder:
        path, block = f"{folder}/new.bin", os.urandom(MIB)
        os.sync()
        warm_memory(3 * sizes.big)
        with _metered(contender) as written:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            for offset in range(0, sizes.big, MIB):
                os.write(fd, block[: sizes.big - offset])
            os.close(fd)
        with _metered(contender) as synced:
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        if os.stat(path).st_size != sizes.big:
            raise WrongResult(f"{contender.column}: {os.stat(path).st_size} bytes written of {sizes.big}")
    yield written.rate("write", sizes.big / 1e6)
    whole = Meter(*(getattr(written, name) + getattr(synced, name) for name in ("seconds", "served", "program")))
    yield whole.rate("write and sync", sizes.big / 1e6)


def scan(contender: Contender, bare: BareDisk, sizes: Sizes) -> Iterator[Sample]:
    """`find -size +1` over the whole library, as a media server's scan begins."""
    if may_drop_caches():
        drop_caches()
        yield _find(contender, sizes).time("scan all cold")
        drop_caches()
        _find(bare, sizes)
        yield _find(contender, sizes).time("scan cold")
    else:
        _find(contender, sizes)
    yield _find(contender, sizes).time("scan warm")


def _find(contender: Contender, sizes: Sizes) -> Meter:
    with _metered(contender) as meter:
        command = ["find", *contender.library(), "-type", "f", "-size", "+1"]
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
    if found != sizes.library:
        raise WrongResult(f"{contender.column}: find sees {found} files of {sizes.library}")
    return meter


def small_files(contender: Contender, _bare: BareDisk, sizes: Sizes) -> Iterator[Sample]:
    """Create, rename and unlink many files of 1 KiB in a few folders."""
    with contextlib.ExitStack() as removing:
        names = list(islice(_names(contender, removing), sizes.small))
        os.sync()
        with _metered(contender) as meter:
            for name in names:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(fd, _SMALL)
                os.close(fd)
        yield meter.rate("create", sizes.small)
        with _metered(contender) as meter:
            for name in names:
                os.rename(name, name + ".bak")
        yield meter.rate("rename", sizes.small)
        with _metered(contender) as meter:
            for name in names:
                os.unlink(name + ".bak")
        yield meter.rate("unlink", sizes.small)


def start(contender: Contender, _bare: BareDisk, _sizes: Sizes) -> Iterator[Sample]:
    """A second process with the same settings, until it answers; and its memory then."""
    twin = contender.twin()
    if twin is None:
        return
    try:
        seconds = twin.start()
        served = twin.cpu()
        yield Sample("start", seconds, served, 0.0)
        yield Sample("start memory", twin.memory("VmRSS") / 1e6, served, 0.0)
    finally:
        twin.stop()


def _names(contender: Contender, removing: contextlib.ExitStack) -> Iterator[str]:
    """Paths without end, in new folders that `removing` takes away."""
    run = next(_runs)
    folders = [contender.folder(SPREAD) / f"run {run} folder {number}" for number in range(_SMALL_FOLDERS)]
    for folder in folders:
        removing.callback(shutil.rmtree, folder)
        folder.mkdir()
    for number, folder in enumerate(cycle(folders)):
        yield f"{folder}/file {number}.nfo"


@contextlib.contextmanager
def _own_folder(contender: Contender) -> Iterator[str]:
    folder = contender.folder("bench")
    folder.mkdir()
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder)


WORKLOADS: dict[str, Workload] = {
    "read": read_in_order,
    "write": write_in_order,
    "random": read_at_random,
    "scan": scan,
    "small": small_files,
    "start": start,
}
_ROWS = {
    "read": (
        Row("read cold", "sequential read, cold", "MB/s"),
        Row("read drives warm", "sequential read, drives warm", "MB/s"),
        Row("read warm", "sequential read, warm", "MB/s"),
    ),
    "write": (
        Row("write", "sequential write", "MB/s"),
        Row("write and sync", "sequential write and fsync", "MB/s"),
    ),
    "random": (
        Row("random cold", "random 4 KiB read, cold", "/s"),
        Row("random drives warm", "random 4 KiB read, drives warm", "/s"),
        Row("random warm", "random 4 KiB read, warm", "/s"),
    ),
    "scan": (
        Row("scan all cold", "find -size, all cold", "s", False),
        Row("scan cold", "find -size, cold, drives warm", "s", False),
        Row("scan warm", "find -size, warm", "s", False),
    ),
    "small": (
        Row("create", "small files: create", "/s"),
        Row("rename", "small files: rename", "/s"),
        Row("unlink", "small files: unlink", "/s"),
    ),
    "start": (
        Row("start", "start until it answers", "s", False),
        Row("start memory", "memory after the start", "MB", False),
    ),
}


def rows(workloads: Iterable[str]) -> list[Row]:
    """What these workloads yield on this machine: without the right to drop caches, nothing cold."""
    found = [row for name in workloads for row in _ROWS[name]]
    return [row for row in found if may_drop_caches() or "cold" not in row.key]
