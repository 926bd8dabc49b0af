"""Memory for chunks is used again only when nobody sees it any more."""

from vfs.buffers import Buffers
from vfs.chunks import CHUNK, PIECE


def test_memory_is_used_again_once_the_last_view_is_gone() -> None:
    buffers = Buffers()
    whole = buffers.take(CHUNK)
    whole[5:8] = b"abc"
    part = memoryview(whole)[5:8].toreadonly()
    del whole
    other = buffers.take(CHUNK)
    other[:] = bytes(CHUNK)
    assert bytes(part) == b"abc", "a view keeps the memory from the next chunk"
    assert buffers.idle == 0
    del part
    assert buffers.idle == CHUNK
    again = buffers.take(CHUNK)
    assert bytes(again[5:8]) == b"abc" and buffers.idle == 0


def test_what_is_kept_idle_is_bounded_and_small_blocks_are_not_kept() -> None:
    buffers = Buffers(idle=2)
    held = [buffers.take(CHUNK) for _ in range(5)]
    small = buffers.take(PIECE)
    assert len(small) == PIECE and not small.readonly
    del held, small
    assert buffers.idle == 2 * CHUNK
