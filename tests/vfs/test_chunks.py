"""The arithmetic of chunks and of reading ahead, for any file and any read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs import chunks
from vfs.chunks import CHUNK, PIECE, Extent, Run

LENGTHS = st.one_of(st.integers(1, 5 * CHUNK), st.integers(1, 1 << 45))


@given(offset=st.integers(0, 1 << 46), size=st.integers(0, 1 << 30), length=st.integers(0, 1 << 45))
def test_a_read_is_clamped_to_the_file(offset: int, size: int, length: int) -> None:
    extent = chunks.clamp(offset, size, length)
    assert extent.size == max(0, min(size, length - offset))
    assert extent.size == 0 or extent.start == offset


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    length = draw(LENGTHS)
    return draw(st.integers(0, length - 1)), length


@given(places())
def test_chunks_and_pieces_hold_their_byte_and_lie_in_each_other(place: tuple[int, int]) -> None:
    offset, length = place
    chunk, piece = chunks.chunk_at(offset, length), chunks.piece_at(offset, length)
    assert chunk.start <= piece.start <= offset < piece.stop <= chunk.stop <= length
    assert 0 < piece.size <= PIECE and 0 < chunk.size <= CHUNK
    assert chunk.start % CHUNK == 0 and piece.start % PIECE == 0


@given(places(), st.integers(0, 7), st.integers(1, 8))
def test_what_is_stored_is_found_from_each_of_its_bytes(place: tuple[int, int], first: int, count: int) -> None:
    offset, length = place
    chunk = chunks.chunk_at(offset, length)
    start = min(chunk.start + first * PIECE, chunks.piece_at(chunk.stop - 1, length).start)
    extent = Extent(start, min(start + count * PIECE, chunk.stop))
    for probe in (True, False):
        stored = chunks.stored_as(extent, length, probe)
        parts = [part for _, part in stored]
        assert parts[0].start == extent.start and parts[-1].stop == extent.stop
        assert all(before.stop == after.start for before, after in zip(parts, parts[1:], strict=False))
        assert probe or not any(edge for edge, _ in stored)
        for place in stored:
            assert place in chunks.stored_at(place.extent.start, length)
            assert place in chunks.stored_at(place.extent.stop - 1, length)


@given(places())
def test_a_chunk_is_an_edge_or_not_as_a_whole(place: tuple[int, int]) -> None:
    offset, length = place
    chunk = chunks.chunk_at(offset, length)
    assert chunks.is_edge(chunk.start, length) == chunks.is_edge(chunk.stop - 1, length)
    assert chunks.is_edge(0, length) and chunks.is_edge(length - 1, length)
    assert chunks.is_edge(max(0, length - chunks.TAIL), length)


def test_the_middle_of_a_film_is_no_edge() -> None:
    assert not chunks.is_edge(CHUNK, 1 << 33)
    assert not chunks.is_edge((1 << 33) - 2 * CHUNK, 1 << 33)


@given(st.integers(0, 1 << 40), st.sampled_from([PIECE, CHUNK]), st.integers(0, 1 << 40))
def test_rounding(offset: int, unit: int, length: int) -> None:
    assert chunks.floor(offset, unit) <= offset < chunks.floor(offset, unit) + unit
    assert chunks.ceil(offset, unit, length) == min(length, chunks.floor(offset + unit - 1, unit))


@given(places())
def test_pieces_are_numbered_by_their_place(place: tuple[int, int]) -> None:
    chunk = chunks.chunk_at(*place)
    assert [piece.start // PIECE for piece in chunks.pieces(chunk)] == list(chunks.numbers(chunk))


def read_on(count: int, size: int = PIECE, begin: int = 0) -> Run:
    run = Run.starting(Extent(begin, begin + size))
    run.missed = True
    for number in range(1, count):
        extent = Extent(begin + number * size, begin + (number + 1) * size)
        assert run.continues(extent.start)
        run.advance(extent)
    return run


@given(st.integers(0, 1 << 40), st.integers(1, CHUNK))
def test_reading_ahead_begins_on_a_piece(offset: int, size: int) -> None:
    assert Run.starting(Extent(offset, offset + size)).frontier == chunks.floor(offset, PIECE)


def test_a_first_read_asks_for_nothing_more() -> None:
    run = read_on(1)
    assert run.window(0.0, 1 << 40) == 0
    assert run.segment(0.0, 0, 4) == 0
    assert run.unit == PIECE


def test_a_probe_that_finds_everything_asks_for_nothing() -> None:
    for count, window in ((2, 0), (7, 0), (8, CHUNK // 2)):
        run = read_on(count)
        run.missed = False
        assert run.window(0.0, 1 << 40) == window


def test_reading_the_same_bytes_again_is_not_reading_on() -> None:
    run = read_on(1)
    run.advance(Extent(0, PIECE))
    run.advance(Extent(0, 10))
    assert run.window(0.0, 1 << 40) == 0


def test_the_window_grows_with_what_was_read_up_to_a_bound() -> None:
    windows = [read_on(count).window(0.0, 1 << 40) for count in (2, 8, 64, 256, 4096)]
    assert windows == sorted(windows)
    assert windows[0] <= 2 * PIECE
    assert windows[-1] == chunks.WINDOW


@settings(deadline=None)
@given(st.integers(2, 5000), st.integers(PIECE, 1 << 30))
def test_no_window_is_more_than_its_share(count: int, share: int) -> None:
    assert read_on(count).window(0.0, share) <= share


@given(st.integers(2, 5000))
def test_segments_are_bounded_and_cover_at_least_what_was_read(count: int) -> None:
    run = read_on(count)
    assert min(run.span, chunks.SEGMENT) <= run.segment(0.0, 0, 4) <= chunks.SEGMENT


def test_requests_of_the_kernel_may_arrive_out_of_order() -> None:
    run = read_on(4, CHUNK)
    for offset in (5 * CHUNK, 4 * CHUNK, 6 * CHUNK):
        assert run.continues(offset)
        run.advance(Extent(offset, offset + CHUNK))
    assert run.end == 7 * CHUNK


@pytest.mark.parametrize("offset", [3 * CHUNK, 1 << 33])
def test_a_far_seek_is_another_place(offset: int) -> None:
    assert not read_on(4).continues(offset)


def test_only_a_long_run_that_waits_again_and_again_is_starved() -> None:
    run = read_on(32, CHUNK)
    for number in range(3):
        run.wait(10.0 + number / 10)
    assert not run.starved(10.3)
    run.wait(10.3)
    assert run.starved(10.4)
    assert run.window(10.4, 1 << 40) == 80 * CHUNK
    assert run.segment(10.4, 64 * CHUNK, 4) == 16 * CHUNK
    assert run.segment(10.4, 8 * CHUNK, 4) == 6 * CHUNK
    assert not run.starved(13.0), "it has not waited for a while"


def test_a_run_that_is_over_reads_nothing_ahead() -> None:
    run = read_on(100)
    run.give_up()
    assert run.window(0.0, 1 << 40) == 0
