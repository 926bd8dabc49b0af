"""The disk cache: what was stored comes back unchanged or not at all, and the caps hold at every moment."""

import contextlib
import errno
import logging
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from remote_bytes import FILM, SERIES, content, eventually, file_bytes, nothing_left

from vfs import cache as cache_module
from vfs import tier as tier_module
from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, PIECE, Extent
from vfs.library import Key
from vfs.throttle import Throttle
from vfs.tier import Buffer, RawDisk, Tier

LENGTH = 64 * CHUNK

MakeCache = Callable[..., ChunkCache]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any disk may be slow; here everything is stored all the same."""
    monkeypatch.setattr(cache_module, "PATIENCE", 60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_cache(folder: Path) -> Iterator[MakeCache]:
    made: list[ChunkCache] = []

    def make(size: int = 1 << 30, **options: int) -> ChunkCache:
        made.append(ChunkCache(str(folder), size, **options))
        return made[-1]

    with nothing_left():
        yield make
        for cache in made:
            cache.close()


def extent(chunk: int) -> Extent:
    return Extent(chunk * CHUNK, (chunk + 1) * CHUNK)


def fill(cache: ChunkCache, *chunks: int, key: Key = FILM, length: int = LENGTH) -> None:
    for chunk in chunks:
        cache.put(key, length, extent(chunk), content(key, chunk * CHUNK, CHUNK))
    cache.flush()


def holds(cache: ChunkCache, chunk: int, key: Key = FILM) -> bool:
    """Whether a chunk is stored; if so, its bytes must be right."""
    found = cache.find(key, LENGTH, chunk * CHUNK)
    if found is None:
        return False
    assert bytes(found[1]) == content(key, found[0].start, found[0].size)
    return True


def chunk_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/??/*-*") if path.is_file()]


def test_a_chunk_comes_back(make_cache: MakeCache) -> None:
    cache = make_cache()
    fill(cache, 3)
    assert cache.get(FILM, LENGTH, extent(3)) == content(FILM, 3 * CHUNK, CHUNK)
    assert cache.holds(FILM, LENGTH, 3 * CHUNK + 17) == extent(3)
    assert cache.get(FILM, LENGTH, extent(4)) is None
    stats = cache.stats()
    assert (stats.main, stats.edges, stats.chunks, stats.stored, stats.hits, stats.misses) == (CHUNK, 0, 1, 1, 1, 1)


def test_bytes_can_be_read_while_they_wait_to_be_written(make_cache: MakeCache) -> None:
    cache = make_cache()
    blocker = threading.Event()
    cache._jobs.put(lambda: blocker.wait() and None)
    cache.put(FILM, LENGTH, extent(3), content(FILM, 3 * CHUNK, CHUNK))
    assert holds(cache, 3)
    assert cache.holds(FILM, LENGTH, 3 * CHUNK)
    blocker.set()


def test_part_of_a_chunk_is_found_by_piece(make_cache: MakeCache) -> None:
    cache = make_cache()
    part = Extent(5 * CHUNK + PIECE, 5 * CHUNK + 3 * PIECE)
    cache.put(FILM, LENGTH, part, content(FILM, part.start, part.size))
    cache.flush()
    found = cache.find(FILM, LENGTH, part.start + PIECE + 5)
    assert found is not None
    assert found[0] == Extent(part.start + PIECE, part.stop)
    assert bytes(found[1]) == content(FILM, found[0].start, PIECE)
    assert cache.find(FILM, LENGTH, 5 * CHUNK) is None


def test_changed_content_and_other_files_are_never_served(make_cache: MakeCache) -> None:
    cache = make_cache()
    fill(cache, 3)
    assert cache.find(FILM, LENGTH + 1, 3 * CHUNK) is None
    assert cache.find(SERIES, LENGTH, 3 * CHUNK) is None
    assert cache.find((FILM[0], FILM[1], "2"), LENGTH, 3 * CHUNK) is None


def test_the_next_start_goes_on_with_what_is_there(make_cache: MakeCache) -> None:
    fill(first := make_cache(), 1, 2, 3)
    first.close()
    second = make_cache()
    assert all(holds(second, chunk) for chunk in (1, 2, 3))
    assert second.stats().main == 3 * CHUNK


def test_only_the_owner_may_look(make_cache: MakeCache, folder: Path) -> None:
    fill(make_cache(), 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in chunk_files(folder)] == [0o600]


def test_a_cache_of_nothing_stores_nothing(make_cache: MakeCache, folder: Path) -> None:
    cache = make_cache(0)
    fill(cache, 1)
    cache.clear()
    assert not holds(cache, 1) and cache.holds(FILM, LENGTH, 0) is None
    assert cache.stats().main == 0
    assert not folder.exists()


def test_clear_removes_everything(make_cache: MakeCache, folder: Path) -> None:
    cache = make_cache()
    fill(cache, 0, 1, 2, 63)
    cache.clear()
    assert file_bytes(folder) == 0
    assert cache.stats().chunks == cache.stats().main == cache.stats().edges == 0
    fill(cache, 2)
    assert holds(cache, 2)


def test_closing_twice_and_reading_after_it_do_no_harm(make_cache: MakeCache) -> None:
    cache = make_cache()
    fill(cache, 1)
    cache.close()
    cache.close()
    cache.put(FILM, LENGTH, extent(2), bytes(CHUNK))
    assert not holds(cache, 1)


# The cap


def test_what_was_used_longest_ago_goes_first(make_cache: MakeCache) -> None:
    cache = make_cache(16 * CHUNK)  # 14 for the main tier
    fill(cache, *range(1, 15))
    assert holds(cache, 1)
    fill(cache, 15)
    assert holds(cache, 1) and holds(cache, 15)
    assert not holds(cache, 2)


def test_last_uses_are_remembered_over_a_restart(make_cache: MakeCache) -> None:
    first = make_cache(16 * CHUNK)
    fill(first, *range(1, 15))
    assert holds(first, 1)
    first.close()
    second = make_cache(16 * CHUNK)
    fill(second, 15)
    assert holds(second, 1) and not holds(second, 2)


def test_playback_does_not_evict_heads_and_tails(make_cache: MakeCache) -> None:
    cache = make_cache(32 * CHUNK)
    for chunk in (0, 63):
        cache.put(SERIES, LENGTH, extent(chunk), content(SERIES, chunk * CHUNK, CHUNK), probe=True)
    fill(cache, *range(64))
    assert holds(cache, 0, SERIES) and holds(cache, 63, SERIES)
    stats = cache.stats()
    assert stats.main <= 28 * CHUNK and stats.edges == 2 * CHUNK


def test_heads_and_tails_have_a_cap_of_their_own(make_cache: MakeCache) -> None:
    cache = make_cache(32 * CHUNK)
    for number in range(40):
        key = ("torrent", "series", str(number))
        cache.put(key, LENGTH, Extent(0, PIECE * 2), content(key, 0, 2 * PIECE), probe=True)
    cache.flush()
    assert 3 * CHUNK < cache.stats().edges <= 4 * CHUNK
    assert holds(cache, 0, key)
    assert not holds(cache, 0, ("torrent", "series", "0"))


def test_a_probe_of_the_middle_is_not_an_edge(make_cache: MakeCache) -> None:
    cache = make_cache()
    part = Extent(9 * CHUNK, 9 * CHUNK + PIECE)
    cache.put(FILM, LENGTH, part, content(FILM, part.start, PIECE), probe=True)
    cache.flush()
    assert cache.stats().edges == 0
    assert holds(cache, 9)


def test_the_cap_holds_during_a_storm(make_cache: MakeCache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cap = 24 * CHUNK
    cache = make_cache(cap)
    seen: list[int] = []  # by someone who looks from outside, while files come and go
    exact: list[int] = []  # after each file written
    over = threading.Event()
    write_file = tier_module.RawDisk._write_file

    def watched(disk: tier_module.RawDisk, path: str, value: tier_module.Buffer) -> None:
        write_file(disk, path, value)
        exact.append(file_bytes(folder))

    monkeypatch.setattr(tier_module.RawDisk, "_write_file", watched)

    def watch() -> None:
        while not over.is_set():
            seen.append(file_bytes(folder))

    def write(number: int) -> None:
        key = ("torrent", "storm", str(number))
        for chunk in range(40):
            cache.put(key, LENGTH, extent(chunk), content(key, chunk * CHUNK, CHUNK))
            cache.find(key, LENGTH, (chunk // 2) * CHUNK)

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in [watcher, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    cache.flush()
    over.set()
    watcher.join()
    assert cap - 12 * CHUNK <= max(exact) <= cap
    assert max(seen) <= cap + len(writers) * CHUNK
    stats = cache.stats()
    assert stats.main + stats.edges == file_bytes(folder) <= cap


def test_one_file_larger_than_the_cap(make_cache: MakeCache, folder: Path) -> None:
    cache = make_cache(8 * CHUNK)
    for chunk in range(1, 40):
        fill(cache, chunk)
        assert holds(cache, chunk)
        assert file_bytes(folder) <= 8 * CHUNK


def test_a_smaller_cap_is_kept_from_the_start(make_cache: MakeCache, folder: Path) -> None:
    fill(first := make_cache(64 * CHUNK), *range(1, 40))
    first.close()
    second = make_cache(8 * CHUNK)
    assert file_bytes(folder) <= 8 * CHUNK
    assert holds(second, 39)


def test_a_cap_below_one_chunk_stores_no_chunk(make_cache: MakeCache) -> None:
    cache = make_cache(CHUNK)
    fill(cache, 1)
    assert not holds(cache, 1)
    assert cache.stats().skipped == 1


def test_what_waits_is_stored_together_and_a_failure_leaves_nothing_of_it(
    make_cache: MakeCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache()
    gate, begun, commits = threading.Event(), threading.Event(), []
    add = Tier.add

    def watched(tier: Tier, rows: Mapping[bytes, Buffer]) -> None:
        begun.set()
        assert gate.wait(20)
        commits.append(len(rows))
        if len(commits) == 2:
            monkeypatch.setattr(RawDisk, "store", broken)
        add(tier, rows)

    store, stored = RawDisk.store, []

    def broken(disk: RawDisk, *args: Any, **options: Any) -> Any:
        stored.append(1)
        if len(stored) == 3:
            raise OSError(errno.ENOSPC, "full")
        return store(disk, *args, **options)

    monkeypatch.setattr(Tier, "add", watched)
    cache.put(FILM, LENGTH, extent(1), content(FILM, CHUNK, CHUNK))
    assert begun.wait(20)
    for chunk in range(2, 12):  # while the first one is being written
        cache.put(FILM, LENGTH, extent(chunk), content(FILM, chunk * CHUNK, CHUNK))
        assert holds(cache, chunk)
    gate.set()
    cache.flush()
    monkeypatch.undo()
    assert commits == [1, 8, 2], "one transaction for as many as eight chunks"
    assert [chunk for chunk in range(1, 12) if holds(cache, chunk)] == [1, 10, 11]
    assert len(chunk_files(folder)) == cache.stats().chunks == 3
    assert (cache.stats().stored, cache.stats().skipped) == (3, 8)


def test_what_is_not_stored_is_told_up_to_the_next_that_is(make_cache: MakeCache) -> None:
    cache = make_cache()
    rest = Extent(3 * CHUNK, 20 * CHUNK)
    assert cache.absent(FILM, LENGTH, rest) == rest
    fill(cache, 2, 9, 12, 20)
    fill(cache, 5, key=("torrent", "another", "1"))
    assert cache.absent(FILM, LENGTH, rest) == Extent(3 * CHUNK, 9 * CHUNK)
    assert cache.absent(FILM, LENGTH, Extent(10 * CHUNK, 12 * CHUNK)) == Extent(10 * CHUNK, 12 * CHUNK)


def test_a_full_filesystem_shrinks_the_cache_and_stops_it(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_cache(min_free=10 * CHUNK)
    fill(cache, *range(1, 11))
    room = os.statvfs_result((CHUNK, CHUNK, 100, 8, 8, 0, 0, 0, 0, 255))  # 8 chunks left for us
    monkeypatch.setattr(cache_module.os, "statvfs", lambda path: room)
    fill(cache, 20)
    fill(cache, 21)
    assert cache.stats().main == 6 * CHUNK, "each of the two missed 3 chunks of space, evicted them, and was stored"
    assert holds(cache, 20) and not holds(cache, 1)
    monkeypatch.setattr(cache_module.os, "statvfs", lambda path: os.statvfs_result((CHUNK, CHUNK, 100, *[0] * 7)))
    fill(cache, 30)
    assert not holds(cache, 30) and cache.stats().chunks == 0
    assert "storing nothing" in caplog.text


# Damage


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "remove", "longer"])
def test_a_damaged_chunk_is_dropped_and_counts_as_missing(make_cache: MakeCache, folder: Path, harm: str) -> None:
    cache = make_cache()
    fill(cache, 3)
    (path,) = chunk_files(folder)
    if harm == "remove":
        path.unlink()
    else:
        data = path.read_bytes()
        flipped = data[:500] + bytes([data[500] ^ 1]) + data[501:]
        path.write_bytes({"flip": flipped, "cut": data[:-1], "empty": b"", "longer": data + b"x"}[harm])
    assert not holds(cache, 3)
    cache.flush()
    stats = cache.stats()
    assert (stats.damaged, stats.main, stats.chunks) == (1, 0, 0)
    assert chunk_files(folder) == []
    fill(cache, 3)
    assert holds(cache, 3)


def test_being_out_of_descriptors_is_no_damage(make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make_cache()
    fill(cache, 3)

    def no_open(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(tier_module, "open", no_open, raising=False)
        assert not holds(cache, 3)
        cache.flush()
    assert holds(cache, 3)
    assert cache.stats().damaged == 0


class Bomb:
    """What a planted row would run when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("row", ["pickled value", "pickled file", "strange path"])
def test_nothing_planted_is_unpickled_or_opened(
    make_cache: MakeCache, folder: Path, row: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = make_cache()
    fill(cache, 3)
    (path,) = chunk_files(folder)
    change = {
        "pickled value": ("mode = 4, filename = NULL, value = ?", (pickle.dumps(Bomb()),)),
        "pickled file": ("mode = 4", ()),
        "strange path": ("filename = ?", ("../../../../etc/passwd",)),
    }[row]
    path.write_bytes(pickle.dumps(Bomb()))
    with contextlib.closing(sqlite3.connect(folder / "main" / "cache.db")) as planted, planted:
        planted.execute(f"UPDATE Cache SET {change[0]}", change[1])
    assert not holds(cache, 3)
    cache.flush()
    assert cache.stats().damaged == 1
    assert not Path("pwned").exists()


def test_only_bytes_can_be_stored() -> None:
    disk = tier_module.RawDisk("/nonexistent")
    for value in ("text", 7, None, {"a": 1}):
        with pytest.raises(TypeError):
            disk.store(value, False)
        with pytest.raises(TypeError):
            disk.put(value)
    with pytest.raises(tier_module.DamagedError):
        disk.get(b"pickled key", False)


def test_a_damaged_database_is_replaced_by_an_empty_cache(make_cache: MakeCache, folder: Path) -> None:
    fill(first := make_cache(), 1, 2)
    first.close()
    (folder / "main" / "cache.db").write_bytes(b"not a database" * 1000)
    second = make_cache()
    assert not holds(second, 1)
    assert file_bytes(folder) == 0
    fill(second, 1)
    assert holds(second, 1)


def test_errors_of_sqlite_mean_a_miss(make_cache: MakeCache, caplog: pytest.LogCaptureFixture) -> None:
    cache = make_cache()
    fill(cache, 1)
    with contextlib.closing(sqlite3.connect(cache._directory + "/main/cache.db")) as vandal:
        vandal.execute("DROP TABLE Cache")
    with caplog.at_level(logging.WARNING):
        for chunk in range(20):
            assert not holds(cache, chunk + 1)
            fill(cache, chunk + 1)
    assert len([record for record in caplog.records if "going on without it" in record.message]) == 1
    assert file_bytes(Path(cache._directory)) <= CHUNK, "what could not be entered was removed"


def test_a_full_disk_means_no_more_is_stored(
    make_cache: MakeCache, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_cache()
    real = os.write

    def write(fd: int, data: memoryview) -> int:
        if len(data) < CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: CHUNK // 2])

    monkeypatch.setattr(tier_module.os, "write", write)
    fill(cache, 1, 2, 3)
    assert not holds(cache, 1)
    assert file_bytes(folder) == 0, "half a chunk is not left behind"
    assert cache.stats().skipped == 3
    assert caplog.text.count("No space left") == 1
    monkeypatch.undo()
    fill(cache, 1)
    assert holds(cache, 1)


def test_a_disk_that_hangs_is_not_waited_for(make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PATIENCE", 0.05)
    cache = make_cache()
    blocker = threading.Event()
    cache._jobs.put(lambda: blocker.wait() and None)
    for chunk in range(1, 40):
        cache.put(FILM, LENGTH, extent(chunk), content(FILM, chunk * CHUNK, CHUNK))
    assert cache.stats().skipped >= 39 - cache_module.QUEUED - 1
    blocker.set()
    cache.flush()
    assert holds(cache, 1)


# Who may use it


HOLD = """
import sys, time
from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, Extent
cache = ChunkCache(sys.argv[1], int(sys.argv[2]))
print("ready", flush=True)
number = 1
while True:
    cache.put(("torrent", "killed", "1"), 1 << 40, Extent(number * CHUNK, (number + 1) * CHUNK), bytes(CHUNK))
    number += 1
    if number == 40:
        print("many", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextlib.contextmanager
def other_process(folder: Path, size: int, pause: float) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", HOLD, str(folder), str(size), str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_directory_in_use_is_refused_with_advice(folder: Path) -> None:
    with other_process(folder, 1 << 30, 1.0) as process:
        with pytest.raises(OSError, match=f"process {process.pid} uses this cache: stop it, or name") as caught:
            ChunkCache(str(folder), 1 << 30)
        assert caught.value.errno == errno.EBUSY


def test_a_folder_with_other_things_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "film.mkv").touch()
    with pytest.raises(OSError, match="name an empty one") as caught:
        ChunkCache(str(folder), 1 << 30)
    assert caught.value.errno == errno.ENOTEMPTY
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_after_a_kill_the_rest_is_used_and_the_cap_holds(make_cache: MakeCache, folder: Path) -> None:
    cap = 16 * CHUNK
    with other_process(folder, cap, 0.0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "many\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    stray = folder / "main" / "ab" / ("0" * 14 + "-" + "0" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(bytes(CHUNK))
    cache = make_cache(cap)
    assert not stray.exists()
    stats = cache.stats()
    assert 0 < stats.main == file_bytes(folder) <= cap
    found = [cache.find(("torrent", "killed", "1"), 1 << 40, number * CHUNK) for number in range(1, 1000)]
    assert sum(hit is not None for hit in found) == stats.chunks
    assert all(bytes(hit[1]) == bytes(CHUNK) for hit in found if hit)


def test_hundreds_of_threads_leave_no_connections(make_cache: MakeCache) -> None:
    cache = make_cache()
    fill(cache, *range(1, 9))
    count = len(os.listdir("/proc/self/fd"))

    def look() -> None:
        for chunk in range(1, 12):
            assert holds(cache, chunk) == (chunk < 9)

    for _ in range(10):
        threads = [threading.Thread(target=look) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # A connection has three descriptors: database, log and its index.
    assert len(os.listdir("/proc/self/fd")) <= count + 3 * tier_module.CONNECTIONS
    assert cache.stats().damaged == 0


def test_reading_goes_on_while_chunks_come_and_go(make_cache: MakeCache) -> None:
    cache = make_cache(16 * CHUNK)
    over = threading.Event()
    hits: list[int] = []

    def look() -> None:
        while not over.is_set():
            hits.append(sum(holds(cache, chunk) for chunk in range(1, 60)))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        fill(cache, *range(1, 60))
    eventually(lambda: len(hits) > 4)
    over.set()
    for thread in threads:
        thread.join()
    assert sum(hits) > 0
    assert cache.stats().damaged == 0, "an evicted chunk is not a damaged one"


def test_a_throttle_lets_one_warning_per_interval_pass(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(logging.getLogger("test"), interval=60)
    for number in range(5):
        throttle.warn("number %d", number)
    assert [record.message for record in caplog.records] == ["number 0"]
    throttle._next = 0.0
    throttle.warn("number %d", 9)
    assert caplog.records[-1].message == "number 9 (4 more since the last message)"
