"""Streams fill what is planned on them, in order, and never hold up those who wait; memory stays bounded."""

import errno
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from remote_bytes import FILM, Source, content, eventually, nothing_left

from vfs.cache import ChunkCache
from vfs.chunks import CHUNK, PIECE, Extent
from vfs.memory import Memory
from vfs.stream import Block, OpenFile, Stream, Supply

LENGTH = 64 * CHUNK + 12345


class Bench:
    """One open file, its memory, and streams with their threads."""

    def __init__(self, limit: int = 16 * CHUNK, idle: float = 30.0) -> None:
        self.source = Source()
        self.memory = Memory(limit)
        self.file = OpenFile(FILM, LENGTH, self.memory)
        self.ended: list[Stream] = []
        self.supply = Supply(self.source, ChunkCache("", 0), idle, lambda seconds: None, self.ended.append)
        self.threads: list[threading.Thread] = []

    def stream(self, start: int, stop: int, *plan: tuple[int, int]) -> tuple[Stream, list[Block]]:
        with self.memory.lock:
            stream = Stream(self.file, start, stop, self.supply)
            blocks = [stream.plan(Extent(*extent)) for extent in plan]
        self.threads.append(threading.Thread(target=stream.work))
        self.threads[-1].start()
        return stream, blocks

    def bytes(self, block: Block, seconds: float = 20.0) -> bytes:
        with self.memory.lock:
            assert block.wait(block.extent.stop, time.monotonic() + seconds)
        return bytes(block.part(*block.extent))

    def abandon(self, stream: Stream) -> None:
        with self.memory.lock:
            source = stream.abandon()
        if source:
            source.close()

    def close(self) -> None:
        self.source.release()
        for stream in list(self.file.streams):
            self.abandon(stream)
        for thread in self.threads:
            thread.join()


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(**options: float) -> Bench:
        made.append(Bench(**options))  # type: ignore[arg-type]
        return made[-1]

    with nothing_left():
        yield make
        for bench in made:
            bench.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


def test_blocks_are_filled_in_order_from_one_response(bench: Bench) -> None:
    bench.source.most = 77_777  # bodies come in odd portions
    plan = ((PIECE, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 2 * CHUNK + PIECE))
    _, blocks = bench.stream(PIECE, 2 * CHUNK + PIECE, *plan)
    for block, (start, stop) in zip(blocks, plan, strict=True):
        assert bench.bytes(block) == content(FILM, start, stop - start)
    assert bench.source.calls == [(FILM, PIECE, 2 * CHUNK)]
    eventually(lambda: len(bench.ended) == 1)
    assert bench.source.open == 0


def test_nothing_is_read_that_was_not_planned(bench: Bench) -> None:
    stream, (block,) = bench.stream(0, LENGTH, (0, CHUNK))
    bench.bytes(block)
    time.sleep(0.05)
    assert bench.source.delivered == CHUNK
    with bench.memory.lock:
        block = stream.plan(Extent(CHUNK, 2 * CHUNK))
    assert bench.bytes(block) == content(FILM, CHUNK, CHUNK)
    assert bench.source.delivered == 2 * CHUNK


def test_first_bytes_are_there_before_the_block_is_complete(bench: Bench) -> None:
    portions = threading.Semaphore(2)  # one for the call of `stream`, one for the first piece
    bench.source.fail = lambda key, offset: None if portions.acquire(timeout=20) else OSError("stuck")
    bench.source.most = PIECE  # as from a connection that brings no more at once
    _, (block,) = bench.stream(0, CHUNK, (0, CHUNK))
    with bench.memory.lock:
        assert block.wait(PIECE, time.monotonic() + 20)
    assert block.filled == PIECE
    assert bytes(block.part(100, PIECE)) == content(FILM, 100, PIECE - 100)
    for _ in range(8):
        portions.release()
    assert bench.bytes(block) == content(FILM, 0, CHUNK)


def test_a_gap_is_read_over_on_the_same_response(bench: Bench) -> None:
    _, blocks = bench.stream(0, LENGTH, (0, PIECE), (4 * PIECE, CHUNK))
    assert bench.bytes(blocks[1]) == content(FILM, 4 * PIECE, CHUNK - 4 * PIECE)
    assert len(bench.source.calls) == 1


def test_a_stream_without_work_closes_after_a_while(make_bench: MakeBench) -> None:
    bench = make_bench(idle=0.05)
    _, (block,) = bench.stream(0, LENGTH, (0, CHUNK))
    bench.bytes(block)
    eventually(lambda: bench.ended != [])
    assert bench.source.open == 0
    assert bench.file.streams == [], "nobody can join it any more"


def test_an_error_reaches_whoever_waits(bench: Bench) -> None:
    bench.source.fail = lambda key, offset: OSError(errno.EIO, "gone") if offset >= PIECE else None
    bench.source.most = PIECE
    _, blocks = bench.stream(0, LENGTH, (0, CHUNK), (CHUNK, 2 * CHUNK))
    for block in blocks:
        with pytest.raises(OSError, match="gone") as caught:
            bench.bytes(block)
        assert caught.value.errno == errno.EIO
    with bench.memory.lock:
        assert blocks[0].wait(PIECE, 0.0), "what came before the error is good"
    eventually(lambda: bench.ended != [])
    assert bench.file.blocks == {}, "the next reader tries again"
    assert bench.memory.used == 0


def test_a_body_that_ends_early_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote_bytes.Response.readinto", lambda response, buffer: 0)
    _, (block,) = bench.stream(0, CHUNK, (0, CHUNK))
    with pytest.raises(OSError, match="the bytes end at 0, not at 1048576"):
        bench.bytes(block)


def test_a_mistake_in_the_library_is_an_error_and_not_a_hang(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(key: object, offset: int) -> OSError | None:
        raise ZeroDivisionError("oops")

    bench.source.fail = fail
    _, (block,) = bench.stream(0, CHUNK, (0, CHUNK))
    with pytest.raises(OSError, match="ZeroDivisionError: oops"):
        bench.bytes(block)
    eventually(lambda: "unexpected" in caplog.text)


def test_who_waits_for_a_silent_body_has_a_deadline(bench: Bench) -> None:
    bench.source.flow.clear()
    stream, (block,) = bench.stream(0, CHUNK, (0, CHUNK))
    with pytest.raises(TimeoutError), bench.memory.lock:
        block.wait(CHUNK, time.monotonic() + 0.02)
    bench.abandon(stream)
    with bench.memory.lock:
        assert not block.wait(CHUNK, time.monotonic() + 20), "it will not come any more"
    eventually(lambda: bench.ended == [stream])
    assert bench.memory.used == 0


def test_a_stream_that_hangs_before_its_response_can_be_abandoned(bench: Bench) -> None:
    bench.source.gate.clear()
    stream, (block,) = bench.stream(0, CHUNK, (0, CHUNK))
    eventually(lambda: len(bench.source.calls) == 1)
    bench.abandon(stream)
    assert block.lost and bench.file.blocks == {}
    assert bench.ended == []
    bench.source.release()
    eventually(lambda: bench.ended == [stream])
    assert bench.source.open == 0 and bench.source.delivered == 0


def test_full_memory_holds_a_stream_back_until_there_is_room(make_bench: MakeBench) -> None:
    bench = make_bench(limit=2 * CHUNK)
    bench.source.flow.clear()
    first, _ = bench.stream(0, CHUNK, (0, CHUNK))
    second, _ = bench.stream(CHUNK, 2 * CHUNK, (CHUNK, 2 * CHUNK))
    eventually(lambda: bench.memory.used == 2 * CHUNK)
    third, (block,) = bench.stream(2 * CHUNK, 3 * CHUNK, (2 * CHUNK, 3 * CHUNK))
    eventually(lambda: len(bench.source.calls) == 3)
    assert bench.memory.used == 2 * CHUNK
    bench.source.flow.set()
    assert bench.bytes(block) == content(FILM, 2 * CHUNK, CHUNK)
    assert bench.memory.used == 2 * CHUNK


def test_a_stream_that_waits_for_memory_can_be_abandoned(make_bench: MakeBench) -> None:
    bench = make_bench(limit=CHUNK)
    bench.source.flow.clear()
    bench.stream(0, CHUNK, (0, CHUNK))
    eventually(lambda: bench.memory.used == CHUNK)
    waiting, _ = bench.stream(CHUNK, 2 * CHUNK, (CHUNK, 2 * CHUNK))
    bench.abandon(waiting)
    eventually(lambda: bench.ended == [waiting])


def test_what_was_left_behind_is_dropped_first(bench: Bench) -> None:
    memory, file = bench.memory, bench.file
    blocks = [Block(file, Extent(i * CHUNK, (i + 1) * CHUNK), data=bytes(CHUNK)) for i in range(17)]
    with memory.lock:
        for block in blocks[:16]:
            memory.adopt(block)
        memory.touch(blocks[0], spent=False)
        memory.touch(blocks[9], spent=True)
        memory.adopt(blocks[16])
        assert memory.used == 16 * CHUNK
        assert 9 * CHUNK // PIECE not in file.blocks
        memory.adopt(blocks[9])
        assert 0 not in file.blocks, "read"
        memory.adopt(blocks[0])
        assert CHUNK // PIECE not in file.blocks, "fetched longest ago"
        memory.forget()
        assert memory.used == 0 and file.blocks == {}


def test_of_what_was_read_little_stays(bench: Bench) -> None:
    memory, file = bench.memory, bench.file
    blocks = [Block(file, Extent(i * CHUNK, (i + 1) * CHUNK), data=bytes(CHUNK)) for i in range(8)]
    with memory.lock:
        for block in blocks:
            memory.adopt(block)
        for block in blocks[:3]:
            memory.touch(block, spent=True)
            memory.touch(block, spent=False)  # its first half, read by another thread
        assert memory.used == (5 + memory.limit // 16 // CHUNK) * CHUNK
        assert [8 * i in file.blocks for i in range(4)] == [False, False, True, True], "left behind: a sixteenth"
        for block in blocks[3:6]:
            memory.touch(block, spent=False)
        assert memory.used == (2 + memory.limit // 8 // CHUNK) * CHUNK
        assert [8 * i in file.blocks for i in range(8)] == [False] * 4 + [True] * 4, "read at all: an eighth"


def test_of_a_file_that_nobody_reads_on_only_what_was_looked_at_stays(bench: Bench) -> None:
    memory, file = bench.memory, bench.file
    blocks = [Block(file, Extent(i * CHUNK, (i + 1) * CHUNK), data=bytes(CHUNK)) for i in range(4)]
    with memory.lock:
        for block in blocks:
            memory.adopt(block)
        memory.touch(blocks[0], spent=False)
        memory.touch(blocks[1], spent=True)
        memory.leave(list(file.blocks.values()))
        assert [8 * i in file.blocks for i in range(4)] == [True, False, False, False]
        assert memory.used == CHUNK
        memory.forget()
        assert memory.used == 0


def test_a_new_stream_leaves_out_what_others_bring(bench: Bench) -> None:
    bench.source.flow.clear()
    bench.stream(4 * PIECE, CHUNK, (4 * PIECE, 5 * PIECE))
    with bench.memory.lock:
        bench.memory.adopt(Block(bench.file, Extent(2 * PIECE, 3 * PIECE), data=content(FILM, 2 * PIECE, PIECE)))
        assert bench.file.lacking(0, CHUNK) == 4 * PIECE, "a little that is there is no reason to stop"
        assert bench.file.lacking(0, 3 * PIECE) == 3 * PIECE
        assert bench.file.lacking(5 * PIECE, CHUNK) == CHUNK
        for start in range(2 * CHUNK, 4 * CHUNK, CHUNK):
            bench.memory.adopt(Block(bench.file, Extent(start, start + CHUNK), data=content(FILM, start, CHUNK)))
        assert bench.file.lacking(CHUNK, 8 * CHUNK) == 2 * CHUNK, "more than it is worth to read anew"


def test_a_block_on_its_way_is_not_replaced(bench: Bench) -> None:
    bench.source.flow.clear()
    _, (block,) = bench.stream(PIECE, CHUNK, (PIECE, 2 * PIECE))
    with bench.memory.lock:
        bench.memory.adopt(Block(bench.file, Extent(0, CHUNK), data=content(FILM, 0, CHUNK)))
        assert bench.file.blocks[1] is block
        assert bench.file.blocks[0] is bench.file.blocks[2]


def test_missing_and_present_bytes(bench: Bench) -> None:
    file = bench.file
    with bench.memory.lock:
        for start, stop in ((PIECE, 2 * PIECE), (2 * PIECE, CHUNK)):
            bench.memory.adopt(Block(file, Extent(start, stop), data=bytes(stop - start)))
        assert list(file.missing(0, 3 * CHUNK)) == [Extent(0, PIECE)]
        assert list(file.missing(CHUNK, 2 * CHUNK + PIECE)) == [
            Extent(CHUNK, 2 * CHUNK),
            Extent(2 * CHUNK, 2 * CHUNK + PIECE),
        ]
        assert list(file.missing(PIECE, CHUNK)) == []
        assert list(file.missing(64 * CHUNK, LENGTH)) == [Extent(64 * CHUNK, LENGTH)]
        assert file.present(PIECE, LENGTH) == CHUNK
        assert file.present(0, LENGTH) == 0


def test_a_stream_is_joined_shortly_before_its_end_and_not_behind_it(bench: Bench) -> None:
    stream, _ = bench.stream(0, 8 * CHUNK, (0, CHUNK))
    with bench.memory.lock:
        assert bench.file.joinable(CHUNK) is stream
        assert bench.file.joinable(2 * CHUNK) is stream
        assert bench.file.joinable(2 * CHUNK + PIECE) is None
        assert bench.file.joinable(0) is None
        stream.plan(Extent(CHUNK, 2 * CHUNK))
        assert bench.file.joinable(8 * CHUNK) is None
