"""Reading remote files: the right bytes, each asked for once, within the deadline, whatever the library does."""

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote_bytes import FILM, SERIES, Source, content, eventually, file_bytes, nothing_left

from vfs import cache as cache_module
from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, PIECE
from vfs.library import Key
from vfs.reader import Reader, RemoteReader

LENGTH = 40 * CHUNK + 54321


class Setup:
    """A library, a cache and a reader; `reader` can be replaced, as by a restart."""

    def __init__(self, folder: Path, cache: int, **options: float) -> None:
        self.source = Source()
        self.folder = folder
        self.cache = ChunkCache(str(folder), cache)
        self.options = options
        self.reader = self.another()

    def another(self) -> Reader:
        return Reader(self.source, self.cache, **self.options)  # type: ignore[arg-type]

    def restart(self) -> None:
        """A new reader with nothing in memory, and new counters of the library."""
        self.reader.close()
        self.cache.flush()
        self.reader = self.another()
        self.source.calls.clear()
        self.source.delivered = 0

    def open(self, key: Key = FILM, length: int = LENGTH) -> RemoteReader:
        return self.reader.open(key, length)

    def close(self) -> None:
        self.source.release()
        self.reader.close()
        self.cache.close()


MakeSetup = Callable[..., Setup]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any disk may be slow; here everything is stored all the same."""
    monkeypatch.setattr(cache_module, "PATIENCE", 60.0)


@pytest.fixture
def make_setup(tmp_path: Path) -> Iterator[MakeSetup]:
    made: list[Setup] = []

    def make(cache: int = 1 << 30, **options: float) -> Setup:
        made.append(Setup(tmp_path / f"cache{len(made)}", cache, **options))
        return made[-1]

    with nothing_left():
        yield make
        for setup in made:
            setup.close()


@pytest.fixture
def setup(make_setup: MakeSetup) -> Setup:
    return make_setup()


def right(handle: RemoteReader, size: int, offset: int, key: Key = FILM, length: int = LENGTH) -> None:
    assert handle.read(size, offset) == content(key, offset, max(0, min(size, length - offset)))


def read_through(handle: RemoteReader, step: int, begin: int = 0, end: int = LENGTH, key: Key = FILM) -> None:
    for offset in range(begin, end, step):
        right(handle, step, offset, key)


def together(work: Callable[[int], None], count: int) -> list[BaseException]:
    """Do something in many threads; what went wrong in them."""
    wrong: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


# The right bytes


@pytest.mark.parametrize("step", [PIECE, CHUNK, 100_003])
@pytest.mark.parametrize("cache", [0, 1 << 30])
def test_in_order(make_setup: MakeSetup, step: int, cache: int) -> None:
    setup = make_setup(cache)
    read_through(setup.open(), step)
    assert setup.source.delivered == LENGTH, "every byte came once"
    assert len(setup.source.calls) < 20


def test_again_from_the_disk(setup: Setup) -> None:
    read_through(setup.open(), CHUNK)
    setup.restart()
    read_through(setup.open(), PIECE)
    assert setup.source.calls == []
    assert setup.reader.stats().from_network == 0


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 7])
def test_files_of_any_length(setup: Setup, length: int) -> None:
    handle = setup.open(length=length)
    right(handle, 1 << 20, 0, length=length)
    right(handle, 100, max(0, length - 50), length=length)
    right(handle, 100, length, length=length)
    right(handle, 100, length + 5, length=length)
    right(handle, 0, 0, length=length)
    for offset in range(0, length, PIECE):
        right(handle, PIECE, offset, length=length)


def test_reads_at_the_end(setup: Setup) -> None:
    handle = setup.open()
    for size, offset in ((10, LENGTH - 10), (CHUNK, LENGTH - 1), (2 * CHUNK, LENGTH - CHUNK), (1, LENGTH)):
        right(handle, size, offset)


def test_impossible_arguments(setup: Setup) -> None:
    for size, offset in ((-1, 0), (1, -1)):
        with pytest.raises(OSError) as caught:
            setup.open().read(size, offset)
        assert caught.value.errno == errno.EINVAL


READS = st.lists(
    st.tuples(
        st.integers(0, 3 * CHUNK),
        st.one_of(
            st.integers(0, LENGTH + 100),
            st.integers(0, 40).map(lambda chunk: chunk * CHUNK),
            st.integers(0, 8).map(lambda piece: piece * PIECE),
        ),
    ),
    max_size=25,
)


@given(reads=READS, two=st.booleans(), cached=st.booleans(), most=st.integers(1000, CHUNK))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_reads(make_setup: MakeSetup, reads: list[tuple[int, int]], two: bool, cached: bool, most: int) -> None:
    setup = make_setup(24 * CHUNK if cached else 0, memory=8 * CHUNK)
    setup.source.most = most
    handles = [setup.open(), setup.open() if two else setup.open(SERIES)]
    for number, (size, offset) in enumerate(reads):
        which = number % 2
        right(handles[which], size, offset, FILM if two or not which else SERIES)
    for handle in handles:
        handle.close()
    setup.close()


@pytest.mark.parametrize(("cache", "memory"), [(64 * CHUNK, 16 * CHUNK), (0, 8 * CHUNK)])
def test_many_readers_of_many_files(make_setup: MakeSetup, cache: int, memory: int) -> None:
    setup = make_setup(cache, memory=memory)

    def work(number: int) -> None:
        chance = random.Random(number)
        key = ("torrent", "many", str(number % 5))
        handle = setup.open(key)
        position = 0
        for _ in range(40):
            if chance.random() < 0.2:
                position = chance.randrange(LENGTH)
            size = chance.choice([4096, PIECE, CHUNK])
            right(handle, size, position, key)
            position += size
        handle.close()

    assert together(work, 16) == []
    assert file_bytes(setup.folder) <= 64 * CHUNK
    eventually(lambda: setup.reader.stats().streams == 0)


def test_what_was_read_may_be_dropped_at_any_time(make_setup: MakeSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block that a read waited for may be out of memory again before the read goes on to read ahead."""
    setup = make_setup(0, memory=8 * CHUNK)
    read_ahead = Reader._read_ahead

    def dropped(reader: Reader, *args: object) -> None:
        reader._fetcher.settle()
        eventually(lambda: all(block.filled == block.extent.size for block in list(handle.file.blocks.values())))
        with reader._lock:
            reader._memory.forget()
        read_ahead(reader, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "_read_ahead", dropped)
    handle = setup.open()
    for begin in (10_000, 9 * CHUNK + 77, 20 * CHUNK + PIECE - 1):
        for size in (4096, PIECE, CHUNK):
            read_through(handle, size, begin, begin + 12 * size)


def test_many_threads_of_one_handle(setup: Setup) -> None:
    handle = setup.open()

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(30):
            right(handle, PIECE, chance.randrange(LENGTH))

    assert together(work, 12) == []


def test_parallel_requests_of_the_kernel(setup: Setup) -> None:
    """Read-ahead of the kernel: neighbouring requests at the same time, in any order, again and again."""
    handle = setup.open()
    for base in range(0, 32 * CHUNK, 4 * CHUNK):
        offsets = [base + number * PIECE for number in range(32)]
        random.Random(base).shuffle(offsets)

        def work(number: int, offsets: list[int] = offsets) -> None:
            right(handle, PIECE, offsets[number])

        assert together(work, 32) == []
    assert setup.source.delivered <= 1.5 * LENGTH


# How much is asked for


def test_one_download_for_fifty_readers(setup: Setup) -> None:
    setup.source.flow.clear()
    handles = [setup.open() for _ in range(50)]
    released = threading.Timer(0.2, setup.source.flow.set)
    released.start()
    assert together(lambda number: right(handles[number], PIECE, 9 * CHUNK), 50) == []
    assert setup.source.calls == [(FILM, 9 * CHUNK, PIECE)]
    released.join()


def test_a_first_read_asks_for_exactly_its_pieces(setup: Setup) -> None:
    right(setup.open(), 64 * 1024, 0)
    right(setup.open(), 4096, 20 * CHUNK - 100)
    assert setup.source.calls == [(FILM, 0, PIECE), (FILM, 20 * CHUNK - PIECE, 2 * PIECE)]
    assert setup.source.delivered == 3 * PIECE


def test_seeks_ask_for_little(setup: Setup) -> None:
    handle = setup.open()
    for chunk in (3, 30, 12, 25, 7, 18, 36, 21, 9, 33, 15, 5):
        right(handle, 64 * 1024, chunk * CHUNK)
    assert setup.source.delivered == 12 * PIECE == setup.source.asked


def test_a_probe_of_head_and_tail_costs_nothing_the_second_time(setup: Setup) -> None:
    def probe() -> None:
        handle = setup.open()
        for offset in (0, PIECE, 2 * PIECE, LENGTH - 70_000, LENGTH - 4096):
            right(handle, 32 * 1024, offset)
        handle.close()

    probe()
    assert setup.source.delivered <= 6 * PIECE + PIECE
    setup.restart()
    probe()
    assert setup.source.calls == []


def test_playback_of_other_films_keeps_heads_and_tails(make_setup: MakeSetup) -> None:
    setup = make_setup(16 * CHUNK)
    handle = setup.open(SERIES)
    right(handle, PIECE, 0, SERIES)
    right(handle, PIECE, LENGTH - PIECE, SERIES)
    read_through(setup.open(), CHUNK)
    setup.restart()
    handle = setup.open(SERIES)
    right(handle, PIECE, 0, SERIES)
    right(handle, PIECE, LENGTH - PIECE, SERIES)
    assert setup.source.calls == []


def test_the_window_ahead_is_bounded(setup: Setup) -> None:
    handle = setup.open()
    read_through(handle, CHUNK, 0, 4 * CHUNK)
    time.sleep(0.05)
    assert 4 * CHUNK < setup.source.delivered <= 8 * CHUNK


def test_reading_on_needs_few_responses(make_setup: MakeSetup) -> None:
    setup = make_setup(0, parallel=2)
    read_through(setup.open(), PIECE)
    assert len(setup.source.calls) <= 12
    assert setup.source.most_open <= 2


def test_a_starved_reader_gets_several_streams(make_setup: MakeSetup) -> None:
    setup = make_setup(0, parallel=4)
    setup.source.pace = 0.002
    read_through(setup.open(), PIECE)
    assert 2 < setup.source.most_open <= 4
    assert setup.source.delivered == LENGTH


def test_two_places_in_one_file(make_setup: MakeSetup) -> None:
    setup = make_setup(0)
    handle = setup.open()
    # Not as far as 8 chunks: from there on a reader that waits on a slow machine is given a long window.
    for offset in range(0, 7 * CHUNK, PIECE):
        right(handle, PIECE, offset)
        right(handle, PIECE, 25 * CHUNK + offset)
    assert setup.source.delivered < 24 * CHUNK
    assert len(setup.source.calls) < 30


def test_two_handles_close_together_share_their_bytes(make_setup: MakeSetup) -> None:
    setup = make_setup(0)
    first, second = setup.open(), setup.open()
    for offset in range(0, 20 * CHUNK, PIECE):
        right(first, PIECE, offset)
        if offset >= 3 * CHUNK:
            right(second, PIECE, offset - 3 * CHUNK)
    assert setup.source.delivered <= LENGTH


def test_a_seek_a_little_forward_stays_on_its_stream(make_setup: MakeSetup) -> None:
    setup = make_setup(0)
    handle = setup.open()
    read_through(handle, PIECE, 0, 4 * CHUNK)
    eventually(lambda: setup.reader.stats().streams == setup.source.open)  # what was planned, was asked for
    calls = len(setup.source.calls)
    right(handle, PIECE, 4 * CHUNK + 6 * PIECE)
    assert len(setup.source.calls) == calls


def test_what_is_on_the_disk_is_not_fetched_by_reading_ahead(setup: Setup) -> None:
    read_through(setup.open(), CHUNK, 10 * CHUNK, 20 * CHUNK)
    eventually(lambda: setup.reader.stats().waiting == 0)
    setup.restart()
    had = sum(setup.cache.holds(FILM, LENGTH, chunk * CHUNK) is not None for chunk in range(41))
    assert had >= 10
    read_through(setup.open(), CHUNK)
    assert setup.source.delivered <= LENGTH - 10 * CHUNK


def test_closing_stops_the_download(setup: Setup) -> None:
    handle = setup.open()
    read_through(handle, PIECE, 0, 4 * CHUNK)
    handle.close()
    handle.close()
    eventually(lambda: setup.reader.stats().streams == 0 and setup.source.open == 0)
    delivered = setup.source.delivered
    time.sleep(0.05)
    assert setup.source.delivered == delivered < 10 * CHUNK
    with pytest.raises(OSError) as caught:
        handle.read(1, 0)
    assert caught.value.errno == errno.EBADF


def test_closing_one_of_two_handles_does_not_disturb_the_other(setup: Setup) -> None:
    setup.source.flow.clear()
    first, second = setup.open(), setup.open()
    assert_first = threading.Thread(target=lambda: together(lambda _: first.read(PIECE, 0), 1))
    assert_first.start()
    eventually(lambda: setup.reader.stats().waiting == 1)
    wrong: list[BaseException] = []
    other = threading.Thread(target=lambda: wrong.extend(together(lambda _: right(second, PIECE, 0), 1)))
    other.start()
    eventually(lambda: setup.reader.stats().waiting == 2)
    first.close()
    setup.source.flow.set()
    other.join()
    assert_first.join()
    assert wrong == []
    assert len(setup.source.calls) == 1


def test_an_idle_stream_closes_and_reading_goes_on_later(make_setup: MakeSetup) -> None:
    setup = make_setup(0, idle=0.05)
    handle = setup.open()
    read_through(handle, PIECE, 0, 8 * CHUNK)
    eventually(lambda: setup.reader.stats().streams == 0 and setup.source.open == 0)
    read_through(handle, PIECE, 8 * CHUNK, 16 * CHUNK)


# Trouble


def test_a_failing_library_fails_every_waiter_and_is_tried_again(setup: Setup) -> None:
    setup.source.flow.clear()
    setup.source.fail = lambda key, offset: OSError(errno.EIO, "dead") if setup.source.flow.is_set() else None
    handles = [setup.open() for _ in range(10)]
    results: list[list[BaseException]] = []
    readers = threading.Thread(
        target=lambda: results.append(together(lambda number: right(handles[number], PIECE, 0), 10))
    )
    readers.start()
    eventually(lambda: setup.reader.stats().waiting == 10)
    setup.source.flow.set()
    readers.join()
    assert [error.errno for error in results[0] if isinstance(error, OSError)] == [errno.EIO] * 10
    assert len(setup.source.calls) == 1
    setup.source.fail = lambda key, offset: None
    right(handles[0], PIECE, 0)


def test_a_failure_in_the_middle(setup: Setup) -> None:
    handle = setup.open()
    setup.source.fail = lambda key, offset: OSError(errno.EIO, "lost") if offset >= 10 * CHUNK else None
    read_through(handle, PIECE, 0, 10 * CHUNK)
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            handle.read(PIECE, 10 * CHUNK)
        assert caught.value.errno == errno.EIO
    setup.source.fail = lambda key, offset: None
    read_through(handle, PIECE, 10 * CHUNK)


def test_a_failure_to_read_ahead_is_no_failure_to_read(setup: Setup) -> None:
    handle = setup.open()
    failed: list[int] = []

    def fail(key: Key, offset: int) -> OSError | None:
        if offset >= 4 * CHUNK and not failed:
            failed.append(offset)
            return OSError(errno.EIO, "too many connections just now")
        return None

    setup.source.fail = fail
    read_through(handle, PIECE, 0, 3 * CHUNK)
    eventually(lambda: failed != [])
    read_through(handle, PIECE, 3 * CHUNK)


def test_a_read_larger_than_the_memory(make_setup: MakeSetup) -> None:
    setup = make_setup(0, memory=8 * CHUNK)
    right(setup.open(), LENGTH, 0)
    assert setup.source.delivered == LENGTH


def test_the_errno_of_the_library_is_kept(setup: Setup) -> None:
    setup.source.fail = lambda key, offset: OSError(errno.ETIMEDOUT, "slow")
    with pytest.raises(OSError) as caught:
        setup.open().read(10, 0)
    assert caught.value.errno == errno.ETIMEDOUT


def hung_up(setup: Setup, handle: RemoteReader) -> bool:
    """Whether the silent response was closed; one that is new is given half a deadline, so it may take two."""
    if setup.source.open:
        with pytest.raises(OSError):
            handle.read(PIECE, 0)
    return setup.source.open == 0


@pytest.mark.parametrize("where", ["gate", "flow"])
def test_a_stalled_library_costs_no_more_than_the_deadline(make_setup: MakeSetup, where: str) -> None:
    setup = make_setup(deadline=0.1)
    getattr(setup.source, where).clear()
    handle = setup.open()
    with pytest.raises(OSError) as caught:
        handle.read(PIECE, 0)
    assert caught.value.errno == errno.EIO
    if where == "flow":
        eventually(lambda: hung_up(setup, handle))
    setup.source.release()
    right(handle, PIECE, 0)
    eventually(lambda: setup.reader.stats().streams == 0)


def test_a_slow_body_is_not_taken_for_a_stalled_one(make_setup: MakeSetup) -> None:
    setup = make_setup(deadline=20.0)
    setup.source.most = 4096
    right(setup.open(), 2 * CHUNK, 0)
    assert len(setup.source.calls) == 1


def test_stalled_reads_are_counted_refused_and_never_in_the_way(make_setup: MakeSetup) -> None:
    setup = make_setup(deadline=60.0)
    cached = setup.open(SERIES)
    read_through(cached, CHUNK, 0, 8 * CHUNK, SERIES)
    setup.cache.flush()
    setup.source.gate.clear()
    setup.source.flow.clear()
    refused: list[int] = []
    others = [setup.open(("torrent", "stalled", str(number))) for number in range(200)]

    def work(number: int) -> None:
        try:
            others[number].read(PIECE, CHUNK)
        except OSError as error:
            refused.append(error.errno or 0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    eventually(lambda: setup.reader.stats().waiting == 192)
    eventually(lambda: len(refused) == 8)
    assert refused == [errno.EIO] * 8
    calls = len(setup.source.calls)
    for offset in range(0, 8 * CHUNK, PIECE):
        right(cached, PIECE, offset, SERIES)
    fresh = setup.open(SERIES)
    right(fresh, PIECE, 3 * CHUNK, SERIES)
    assert len(setup.source.calls) == calls, "cached bytes need no library"
    setup.source.release()
    for thread in threads:
        thread.join()
    assert setup.reader.stats().waiting == 0


def test_calls_that_never_return_are_bounded(make_setup: MakeSetup) -> None:
    setup = make_setup(0, deadline=0.02, max_waiting=4)
    setup.source.gate.clear()
    handle = setup.open()
    for chunk in range(60):
        with pytest.raises(OSError):
            handle.read(PIECE, (chunk % 20) * 2 * CHUNK)
    assert len(setup.source.calls) <= 4 + 32
    setup.source.release()


def test_a_reader_that_is_closed_lets_its_reads_go(make_setup: MakeSetup) -> None:
    setup = make_setup(deadline=60.0)
    setup.source.flow.clear()
    handle = setup.open()
    wrong: list[BaseException] = []
    waiting = threading.Thread(target=lambda: wrong.extend(together(lambda _: right(handle, PIECE, 0), 1)))
    waiting.start()
    eventually(lambda: setup.reader.stats().waiting == 1)
    setup.reader.close()
    waiting.join()
    assert isinstance(wrong[0], OSError)
    assert setup.reader.stats().memory == 0


# Damage, caps and bounds


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_chunk_is_fetched_again(setup: Setup, harm: str) -> None:
    read_through(setup.open(), CHUNK, 0, 8 * CHUNK)
    setup.restart()
    for path in setup.folder.glob("main/??/*"):
        data = bytearray(path.read_bytes())
        data[1000] ^= 255
        if harm == "remove":
            path.unlink()
        else:
            path.write_bytes(data if harm == "flip" else data[:-5])
    read_through(setup.open(), CHUNK, 0, 8 * CHUNK)
    assert setup.source.delivered >= 7 * CHUNK
    setup.cache.flush()
    assert setup.cache.stats().damaged >= 7
    setup.restart()
    read_through(setup.open(), CHUNK, 0, 8 * CHUNK)
    assert setup.source.delivered <= 8 * CHUNK
    assert setup.cache.holds(FILM, LENGTH, 2 * CHUNK)


def test_a_film_larger_than_the_cap(make_setup: MakeSetup) -> None:
    setup = make_setup(8 * CHUNK)
    for _ in range(2):
        read_through(setup.open(), CHUNK)
        setup.cache.flush()
        assert file_bytes(setup.folder) <= 8 * CHUNK


def test_memory_is_bounded_with_fifty_handles(make_setup: MakeSetup) -> None:
    setup = make_setup(0, memory=32 * CHUNK)
    most: list[int] = []

    def work(number: int) -> None:
        key = ("torrent", "fifty", str(number))
        handle = setup.open(key)
        for offset in range(0, 6 * CHUNK, CHUNK):
            right(handle, CHUNK, offset, key)
            most.append(setup.reader.stats().memory)
        handle.close()

    assert together(work, 50) == []
    assert max(most) <= 32 * CHUNK
    eventually(lambda: setup.reader.stats().streams == 0)
    blocks = [block for file in setup.reader._files.values() for block in set(file.blocks.values())]
    assert sum(len(block.data) for block in blocks) == setup.reader.stats().memory


def test_too_little_memory_is_refused(setup: Setup) -> None:
    with pytest.raises(ValueError, match="at least 8388608 bytes of memory"):
        Reader(setup.source, setup.cache, memory=CHUNK)


def test_closed_files_are_forgotten(make_setup: MakeSetup) -> None:
    setup = make_setup(0, memory=8 * CHUNK)
    for number in range(100):
        key = ("torrent", "closed", str(number))
        handle = setup.open(key)
        right(handle, PIECE, 0, key)
        handle.close()
    assert len(setup.reader._files) <= 8 * CHUNK // PIECE + 1


def test_statistics_tell_where_bytes_came_from(setup: Setup) -> None:
    # The first read waits for its bytes, however slow its thread is.
    setup.source.fail = lambda key, offset: eventually(lambda: setup.reader.stats().waiting)
    handle = setup.open()
    right(handle, PIECE, 9 * CHUNK)
    setup.source.fail = lambda key, offset: None
    right(handle, PIECE, 9 * CHUNK)
    setup.cache.flush()
    first = setup.reader.stats()
    assert (first.fetched, first.from_network, first.from_memory, first.from_disk) == (PIECE, PIECE, PIECE, 0)
    assert (first.from_provider, first.from_cache) == (2 * PIECE, 0), "whoever had it, whatever lay in memory"
    assert (handle.file.from_provider, handle.file.from_cache) == (2 * PIECE, 0)
    assert sum(setup.reader.responses.counts) == 1 and setup.reader.responses.total > 0
    assert sum(setup.reader.waits.counts) == 1
    setup.restart()
    again = setup.open()
    right(again, PIECE, 9 * CHUNK)
    right(again, PIECE, 9 * CHUNK)
    second = setup.reader.stats()
    assert (second.fetched, second.from_network, second.from_disk) == (0, 0, PIECE)
    assert (second.from_provider, second.from_cache) == (0, 2 * PIECE) == (0, again.file.from_cache)
    assert sum(setup.reader.waits.counts) == 0 and not setup.reader.failed
    assert second.memory == PIECE and second.waiting == 0


def test_without_threads_a_read_fails_and_nothing_hangs(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    handle = setup.open()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(OSError) as caught:
            handle.read(PIECE, 0)
    assert caught.value.errno == errno.EAGAIN
    right(handle, PIECE, 0)
    assert os.getpid()
