"""Store-mode RAR archives (format 3), laid around the files without copying them.

Real-Debrid packs a selection that contains any file it cannot stream into one such archive; since nothing is
compressed, a client that walks the headers can read inside it at any offset.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

from debrid.simulator.content import BytesContent, Content, JoinedContent, Span, read

MARKER = b"Rar!\x1a\x07\x00"
_MAIN, _FILE, _END = 0x73, 0x74, 0x7B
_LARGE, _UNICODE, _LONG_BLOCK = 0x0100, 0x0200, 0x8000
_UNIX, _VERSION, _STORE = 3, 20, 0x30
_DOS_TIME = (46 << 25) | (1 << 21) | (1 << 16)  # 2026-01-01 00:00, fixed: the same selection gives the same bytes
_FORBIDDEN = str.maketrans(dict.fromkeys('|"\\?*:<>', "_"))
_PIECE = 8 << 20


def sanitised(name: str) -> str:
    """A name as it stands inside the archive: what Windows forbids becomes `_` (seen by clients)."""
    return name.translate(_FORBIDDEN)


def pack(entries: Sequence[tuple[str, Content]]) -> Content:
    """An archive of (inner path, content), in this order."""
    parts: list[Content] = [BytesContent(MARKER + _block(_MAIN, 0, bytes(6)))]
    for path, content in entries:
        parts += [_FileHeader(path, content), content]
    parts.append(BytesContent(_block(_END, 0x4000, b"")))
    return JoinedContent(parts)


def _block(kind: int, flags: int, body: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


class _FileHeader:
    """The header before one file. Made when it is first read, because its checksum takes all of the file."""

    def __init__(self, path: str, content: Content) -> None:
        self._name = sanitised(path.lstrip("/")).replace("/", "\\").encode("utf-8", "replace")
        self._content = content
        self._size = len(self._build(0))
        self._made = b""

    @property
    def size(self) -> int:
        return self._size

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        self._made = self._made or self._build(_checksum(self._content))
        yield memoryview(self._made)[offset : offset + length]

    def _build(self, crc: int) -> bytes:
        low, high = self._content.size & 0xFFFFFFFF, self._content.size >> 32
        flags = _LONG_BLOCK | (0 if self._name.isascii() else _UNICODE) | (_LARGE if high else 0)
        sizes = struct.pack("<II", high, high) if high else b""
        fixed = struct.pack("<IIBIIBBHI", low, low, _UNIX, crc, _DOS_TIME, _VERSION, _STORE, len(self._name), 0o100644)
        return _block(_FILE, flags, fixed + sizes + self._name)


def _checksum(content: Content) -> int:
    crc = 0
    for offset in range(0, content.size, _PIECE):
        crc = zlib.crc32(read(content, offset, _PIECE), crc)
    return crc
