"""What `bench stream` measures: each workload works on one mount, with files that this mount was never asked for."""

import contextlib
import os
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from figures import Row
from simulated import Provider
from stage import MIB, drop_caches, may_drop_caches, warm_memory
from streammounts import StreamMount
from workloads import Sample, WrongResult

GLANCE = 64 * 1024
SEEKS = 12
FIRSTS = 6
PLAYERS = 8
PLAYER_RATE = 12.5e6  # bytes per second
PLAYER_BUFFER = 5.0  # s
CONNECTIONS = 8
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Speed:
    """How the provider behaves: seconds to the first byte, bytes per second of one connection (None: no limit)."""

    name: str
    first_byte: float
    rate: float | None


LIMITED, FREE = Speed("limited", 0.08, 60e6), Speed("free", 0.0, None)


@dataclass(frozen=True)
class Plan:
    """How much is done: bytes of a big file, clips that are probed, seconds that players play."""

    big: int
    clips: int
    play: float
    rounds: int

    def big_names(self, speed: Speed, number: int) -> dict[str, list[str]]:
        """The files of one round, by what they are for; all of them are big ones."""
        stem = f"{speed.name}-{number}"
        found = {"order": [f"{stem}-order.bin"]}
        if speed is LIMITED:
            found["seek"] = [f"{stem}-seek.bin"]
            found["first"] = [f"{stem}-first-{each}.bin" for each in range(FIRSTS)]
            found["play"] = [f"{stem}-play-{each}.bin" for each in range(PLAYERS)]
        return found

    def clip_names(self, number: int) -> list[str]:
        """One for mediainfo, then those that are probed."""
        return [f"clip-{number}-{each:02}.{'mp4' if each % 2 else 'mkv'}" for each in range(self.clips + 1)]


@dataclass(frozen=True)
class Round:
    """What a workload gets: the provider, how it behaves, how much to do, and which round it is."""

    provider: Provider
    speed: Speed
    plan: Plan
    number: int

    def names(self, use: str) -> list[str]:
        return self.plan.big_names(self.speed, self.number)[use]


Workload = Callable[[StreamMount, Round], Iterator[Sample]]


def first_bytes(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """The first 64 KiB of files whose links nobody has used yet."""
    turn.provider.forget()
    seconds = []
    for name in turn.names("first"):
        with _opened(mount, name) as fd:
            seconds.append(_timed(fd, 0))
    traffic = turn.provider.settled()
    yield _sample("first byte", 1000 * statistics.median(seconds))
    yield _sample("first fetched", traffic.sent / 1e6 / len(seconds))


def seeks(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """64 KiB here and there in one file whose link is known."""
    places = random.Random(turn.number)
    with _opened(mount, turn.names("seek")[0]) as fd:
        _timed(fd, 0)
        turn.provider.settled()
        turn.provider.forget()
        seconds = [_timed(fd, places.randrange(turn.plan.big // GLANCE) * GLANCE) for _ in range(SEEKS)]
    yield _sample("seek", 1000 * statistics.median(seconds))
    yield _sample("seek fetched", turn.provider.settled().sent / 1e6)


def probes(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """A library scan: ffprobe of each clip, twice; the second time without the kernel's page cache if possible."""
    for row in ("probe", "probe again"):
        _forget_pages()
        turn.provider.forget()
        begun = time.perf_counter()
        for name in turn.plan.clip_names(turn.number)[1:]:
            _ask("ffprobe", "-v", "error", "-show_format", "-show_streams", mount.file(name))
        seconds = time.perf_counter() - begun
        yield _sample(row, 1000 * seconds / turn.plan.clips)
        yield _sample(f"{row} fetched", turn.provider.settled().sent / 1e6 / turn.plan.clips)


def media_facts(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """mediainfo of one clip, twice."""
    for row in ("mediainfo", "mediainfo again"):
        _forget_pages()
        turn.provider.forget()
        begun = time.perf_counter()
        _ask("mediainfo", mount.file(turn.plan.clip_names(turn.number)[0]))
        yield _sample(row, 1000 * (time.perf_counter() - begun))
        yield _sample(f"{row} requests", turn.provider.settled().requests)


def in_order(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """A big file in blocks of 1 MiB, and again: by those pages the kernel kept, and without them."""
    prefix, (name,) = turn.speed.name, turn.names("order")
    turn.provider.forget()
    warm_memory(3 * turn.plan.big)
    served = mount.cpu()
    yield _sample(f"{prefix} order", _read_through(mount, name, turn))
    yield _sample(f"{prefix} cpu", (mount.cpu() - served) / (turn.plan.big / (1 << 30)))
    yield _sample(f"{prefix} order fetched", turn.provider.settled().sent / turn.plan.big)
    yield _sample(f"{prefix} again", _read_through(mount, name, turn))
    if may_drop_caches():
        drop_caches()
        yield _sample(f"{prefix} again cold", _read_through(mount, name, turn))


def players(mount: StreamMount, turn: Round) -> Iterator[Sample]:
    """Eight players at once, each with a buffer of 5 s: how many blocks came after they were needed, and how late."""
    for name in turn.names("play"):
        # As a scan of the library would: a new link waits for its turn with the account, whoever plays.
        with _opened(mount, name) as fd:
            _timed(fd, 0)
    begun = time.monotonic()
    with ThreadPoolExecutor(PLAYERS) as pool:
        late = [*pool.map(lambda name: _play(mount, name, turn.plan, begun), turn.names("play"))]
    every = [seconds for one in late for seconds in one]
    yield _sample("stalls", sum(seconds > PLAYER_BUFFER for seconds in every))
    yield _sample("latest", max(every))


def _play(mount: StreamMount, name: str, plan: Plan, begun: float) -> list[float]:
    """How long after it was asked for, at the pace of the film, each block was there (s)."""
    late, block = [], bytearray(MIB)
    with _opened(mount, name) as fd:
        for number in range(int(min(plan.play * PLAYER_RATE, plan.big) // MIB)):
            due = begun + number * MIB / PLAYER_RATE
            time.sleep(max(0.0, due - time.monotonic()))
            os.preadv(fd, [block], number * MIB)
            late.append(time.monotonic() - due)
    return late


def ceiling(turn: Round) -> Iterator[tuple[str, Sample]]:
    """The same from the provider itself, by curl: ("one" or "eight" connections, figure)."""
    provider, speed, plan = turn.provider, turn.speed, turn.plan
    url = provider.url(turn.names("order")[0])
    if speed is LIMITED:
        glances = [provider.curl(url, "-r", f"0-{GLANCE - 1}") for _ in range(FIRSTS)]
        calls = [provider.call() for _ in range(FIRSTS)]
        yield "one", _sample("seek", 1000 * statistics.median(glances))
        yield "one", _sample("first byte", 1000 * (statistics.median(glances) + statistics.median(calls)))
    yield "one", _sample(f"{speed.name} order", plan.big / 1e6 / provider.curl(url))
    part = plan.big // CONNECTIONS
    ranges = [f"{number * part}-{(number + 1) * part - 1}" for number in range(CONNECTIONS)]
    begun = time.perf_counter()
    threads = [threading.Thread(target=provider.curl, args=(url, "-r", each)) for each in ranges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield "eight", _sample(f"{speed.name} order", plan.big / 1e6 / (time.perf_counter() - begun))


def _sample(row: str, value: float) -> Sample:
    return Sample(row, value, 0.0, 0.0)


@contextlib.contextmanager
def _opened(mount: StreamMount, name: str) -> Iterator[int]:
    fd = os.open(mount.file(name), os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _timed(fd: int, offset: int) -> float:
    begun = time.perf_counter()
    if not os.pread(fd, GLANCE, offset):
        raise WrongResult(f"nothing at {offset}")
    return time.perf_counter() - begun


def _read_through(mount: StreamMount, name: str, turn: Round) -> float:
    """MB/s."""
    block, done, begun = bytearray(MIB), 0, time.perf_counter()
    with _opened(mount, name) as fd:
        while length := os.readv(fd, [block]):
            done += length
    if done != turn.plan.big:
        raise WrongResult(f"{mount.column}: {done} bytes read of {turn.plan.big}")
    return done / 1e6 / (time.perf_counter() - begun)


def _forget_pages() -> None:
    if may_drop_caches():
        drop_caches()


def _ask(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode or not done.stdout.strip():
        raise WrongResult(f"{command[0]} of {command[-1]}: {done.stderr.strip()}")


WORKLOADS: dict[str, tuple[Workload, Sequence[Speed]]] = {
    "first": (first_bytes, (LIMITED,)),
    "seek": (seeks, (LIMITED,)),
    "probe": (probes, (LIMITED,)),
    "mediainfo": (media_facts, (LIMITED,)),
    "order": (in_order, (LIMITED, FREE)),
    "players": (players, (LIMITED,)),
}
_ROWS = {
    ("first", "limited"): (
        Row("first byte", "first 64 KiB of a file, new link", "ms", False),
        Row("first fetched", "fetched for it, a file", "MB", False),
    ),
    ("seek", "limited"): (
        Row("seek", "seek, 64 KiB", "ms", False),
        Row("seek fetched", f"fetched by {SEEKS} seeks", "MB", False),
    ),
    ("probe", "limited"): (
        Row("probe", "ffprobe, a file", "ms", False),
        Row("probe fetched", "fetched for it, a file", "MB", False),
        Row("probe again", "ffprobe a second time", "ms", False),
        Row("probe again fetched", "fetched for it, a file", "MB", False),
    ),
    ("mediainfo", "limited"): (
        Row("mediainfo", "mediainfo", "ms", False),
        Row("mediainfo requests", "requests for it", "", False),
        Row("mediainfo again", "mediainfo a second time", "ms", False),
        Row("mediainfo again requests", "requests for it", "", False),
    ),
    ("players", "limited"): (
        Row("stalls", f"{PLAYERS} players, blocks that came too late", "", False),
        Row("latest", "the latest block came after", "s", False),
    ),
    **{
        ("order", speed.name): (
            Row(f"{speed.name} order", f"in order, cold{words}", "MB/s"),
            Row(f"{speed.name} order fetched", "fetched for it, times its size", "x", False),
            Row(f"{speed.name} again", f"the same again{words}", "MB/s"),
            Row(f"{speed.name} again cold", f"again, page cache dropped{words}", "MB/s"),
            Row(f"{speed.name} cpu", "CPU seconds of the mount a GiB, cold", "s", False),
        )
        for speed, words in ((LIMITED, ""), (FREE, ", no limits"))
    },
}


def rows(workloads: Sequence[str]) -> list[Row]:
    """What these workloads yield on this machine: without the right to drop caches, less."""
    found = [
        row
        for speed in (LIMITED, FREE)
        for name in workloads
        if speed in WORKLOADS[name][1]
        for row in _ROWS[name, speed.name]
    ]
    return [row for row in found if may_drop_caches() or not row.key.endswith("again cold")]
