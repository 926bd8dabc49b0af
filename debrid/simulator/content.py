"""Bytes of a torrent's file, wherever they lie: in memory, in a file, or several of these in a row."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

Source = Path | bytes


class FileSpan(NamedTuple):
    """A piece of a file on disk, so that the sender can hand it to the kernel without reading it."""

    path: Path
    offset: int
    length: int


Span = FileSpan | memoryview


class Content(Protocol):
    """Something with a fixed size whose bytes can be had from any offset."""

    @property
    def size(self) -> int: ...

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        """The pieces of [offset, offset + length), in order; the range lies inside the content."""
        ...


class BytesContent:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        yield memoryview(self._data)[offset : offset + length]


class FileContent:
    """A file on disk. Its size is taken once: a torrent does not change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    @property
    def size(self) -> int:
        return self._size

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        yield FileSpan(self._path, offset, length)


class JoinedContent:
    """Several contents one after the other."""

    def __init__(self, parts: Sequence[Content]) -> None:
        self._parts = tuple(parts)
        self._size = sum(part.size for part in parts)

    @property
    def size(self) -> int:
        return self._size

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        start = 0
        for part in self._parts:
            first = max(offset - start, 0)
            last = min(offset + length - start, part.size)
            if first < last:
                yield from part.spans(first, last - first)
            start += part.size


def content_of(source: Source) -> Content:
    return BytesContent(source) if isinstance(source, bytes) else FileContent(source)


def read(content: Content, offset: int, length: int) -> bytes:
    """The bytes of a range; only for small ranges and checksums, bodies are sent span by span."""
    return b"".join(_load(span) for span in content.spans(offset, min(length, content.size - offset)))


def _load(span: Span) -> bytes:
    if isinstance(span, memoryview):
        return bytes(span)
    with span.path.open("rb") as file:
        file.seek(span.offset)
        return file.read(span.length)
