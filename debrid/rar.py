"""Where the files inside stored RAR archives lie, from their headers alone (formats 4 and 5, also in volumes).

Written by hand: the well-kept library for this, rarfile, opens sets of volumes by file names only, while here each
volume is a range of bytes at the provider. The formats are published; only what is stored can be read by ranges, so
compressed, encrypted and damaged archives are all the same here: `NotStored`.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

RAR4, RAR5 = b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"
_MOST_ENTRIES = 5000
_LONGEST_HEADER = 2 << 20  # bytes, as the format says
_WINDOW = 16 << 10

_MAIN4, _FILE4, _END4 = 0x73, 0x74, 0x7B
_FILE5, _CRYPT5, _END5 = 2, 4, 5


class NotStored(Exception):
    """Its files cannot be read by ranges; the text says why."""


class Volume(NamedTuple):
    """One archive file: its size, and how bytes [offset, offset + length) of it are read."""

    size: int
    read: Callable[[int, int], bytes]


class Piece(NamedTuple):
    """Consecutive bytes of an inner file, in volume number `volume` from `start` on."""

    volume: int
    start: int
    length: int


@dataclass(slots=True)
class Inner:
    """A file inside: its path with slashes, as stored, and where its bytes are, in order."""

    path: str
    size: int
    pieces: list[Piece] = field(default_factory=list)


class _Entry(NamedTuple):
    path: str
    size: int
    start: int
    length: int
    continues: bool
    goes_on: bool


def inner_files(volumes: Sequence[Volume]) -> list[Inner]:
    """The files in a set of volumes, in order; raises NotStored, and what reading raises."""
    try:
        return _inner_files(volumes)
    except struct.error:
        raise NotStored("the archive is damaged: a header is too short") from None


def _inner_files(volumes: Sequence[Volume]) -> list[Inner]:
    found: list[Inner] = []
    unfinished: Inner | None = None
    for number, volume in enumerate(volumes):
        for entry in _entries(volume):
            if entry.continues != (unfinished is not None) or (unfinished and unfinished.path != entry.path):
                raise NotStored("a volume of the archive is missing or in the wrong order")
            inner = unfinished or Inner(entry.path, entry.size)
            inner.pieces.append(Piece(number, entry.start, entry.length))
            unfinished = inner if entry.goes_on else None
            if unfinished is None:
                found.append(inner)
            if len(found) > _MOST_ENTRIES:
                raise NotStored("the archive holds too many files")
    if unfinished is not None:
        raise NotStored("the last volumes of the archive are missing")
    for inner in found:
        if sum(piece.length for piece in inner.pieces) != inner.size:
            raise NotStored(f"{inner.path} is not stored in its full size")
    return found


class _Bytes:
    """Reads headers in windows, so that most take one request."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._start = 0
        self._window = b""

    def at(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > self._volume.size or length > _LONGEST_HEADER:
            raise NotStored("the archive is damaged: a header lies beyond its end")
        if not (self._start <= offset and offset + length <= self._start + len(self._window)):
            size = min(max(length, _WINDOW), self._volume.size - offset)
            self._start, self._window = offset, self._volume.read(offset, size)
        return self._window[offset - self._start : offset - self._start + length]


def _entries(volume: Volume) -> Iterator[_Entry]:
    source = _Bytes(volume)
    if volume.size >= len(RAR5) and source.at(0, len(RAR5)) == RAR5:
        return _entries5(source, volume.size)
    if volume.size >= len(RAR4) and source.at(0, len(RAR4)) == RAR4:
        return _entries4(source, volume.size)
    raise NotStored("it is no RAR archive")


def _entries4(source: _Bytes, size: int) -> Iterator[_Entry]:
    at = len(RAR4)
    while at + 7 <= size:
        crc, kind, flags, length = struct.unpack("<HBHH", source.at(at, 7))
        block = source.at(at, length) if length >= 7 else b""
        if not block or zlib.crc32(block[2:]) & 0xFFFF != crc:
            raise NotStored("the archive is damaged: a header's checksum is wrong")
        if kind == _END4:
            return
        if kind == _MAIN4 and flags & 0x80:
            raise NotStored("the archive is encrypted")
        if kind == _FILE4:
            entry = _file4(block, flags, at + length)
            at += length + entry.length
            if flags & 0xE0 != 0xE0:
                yield entry
            continue
        at += length + (struct.unpack_from("<I", block, 7)[0] if flags & 0x8000 else 0)


def _file4(block: bytes, flags: int, start: int) -> _Entry:
    if len(block) < 32:
        raise NotStored("the archive is damaged: a header is too short")
    packed, size, _, _, _, _, method, name_size, _ = struct.unpack_from("<IIBIIBBHI", block, 7)
    at = 32
    if flags & 0x100:
        high_packed, high_size = struct.unpack_from("<II", block, at)
        packed, size, at = packed | high_packed << 32, size | high_size << 32, at + 8
    _check_stored(method == 0x30 or flags & 0xE0 == 0xE0, bool(flags & 0x04))
    path = _name4(block[at : at + name_size], bool(flags & 0x200))
    return _Entry(path.replace("\\", "/"), size, start, packed, bool(flags & 0x01), bool(flags & 0x02))


def _name4(raw: bytes, is_unicode: bool) -> str:
    plain, mark, coded = raw.partition(b"\0")
    if not is_unicode or not mark or not coded:
        return plain.decode("utf-8", "replace")
    return _decoded4(plain, coded)


def _decoded4(plain: bytes, coded: bytes) -> str:
    """Format 4 writes names of 16 bits as differences from a plain one: two bits say how each is made."""
    out: list[int] = []
    high, at, flags, bits = coded[0] << 8, 1, 0, 0
    while at < len(coded):
        if bits == 0:
            flags, at, bits = coded[at], at + 1, 8
        bits -= 2
        how, rest = flags >> bits & 3, coded[at:]
        if how < 2 and rest:
            out.append(rest[0] | (high if how else 0))
            at += 1
        elif how == 2 and len(rest) > 1:
            out.append(rest[0] | rest[1] << 8)
            at += 2
        elif how == 3 and rest:
            repeated = bool(rest[0] & 0x80) and len(rest) > 1
            count = (rest[0] & 0x7F) + 2
            for byte in plain[len(out) : len(out) + count]:
                out.append((byte + rest[1]) & 0xFF | high if repeated else byte)
            at += 2 if repeated else 1
        else:
            break
    return struct.pack(f"<{len(out)}H", *out).decode("utf-16-le", "replace")


def _entries5(source: _Bytes, size: int) -> Iterator[_Entry]:
    at = len(RAR5)
    while at + 7 <= size:
        head = source.at(at, min(7, size - at))
        length, first = _vint(head, 4)
        block = source.at(at, first + length)
        if zlib.crc32(block[4:]) != struct.unpack_from("<I", block)[0]:
            raise NotStored("the archive is damaged: a header's checksum is wrong")
        kind, pos = _vint(block, first)
        flags, pos = _vint(block, pos)
        extra, pos = _vint(block, pos) if flags & 1 else (0, pos)
        packed, pos = _vint(block, pos) if flags & 2 else (0, pos)
        at += first + length
        if kind == _CRYPT5:
            raise NotStored("the archive is encrypted")
        if kind == _END5:
            return
        if kind == _FILE5:
            entry = _file5(block, pos, extra, (flags, at, packed))
            if entry is not None:
                yield entry
        at += packed


def _file5(block: bytes, pos: int, extra: int, data: tuple[int, int, int]) -> _Entry | None:
    flags, start, packed = data
    about, pos = _vint(block, pos)
    size, pos = _vint(block, pos)
    _, pos = _vint(block, pos)  # attributes
    pos += (4 if about & 2 else 0) + (4 if about & 4 else 0)  # time, checksum
    method, pos = _vint(block, pos)
    _, pos = _vint(block, pos)  # operating system
    length, pos = _vint(block, pos)
    if about & 1:
        return None  # a folder
    records = block[len(block) - extra :] if extra else b""
    _check_stored(not method >> 7 & 7, _is_encrypted5(records))
    if about & 8:
        raise NotStored("the archive does not say how long its files are")
    path = block[pos : pos + length].decode("utf-8", "replace")
    return _Entry(path, size, start, packed, bool(flags & 0x08), bool(flags & 0x10))


def _is_encrypted5(records: bytes) -> bool:
    at = 0
    while at < len(records):
        length, at = _vint(records, at)
        kind, _ = _vint(records, at)
        if kind == 1:
            return True
        at += max(length, 1)
    return False


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    value = 0
    for number in range(10):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            return value, at
    raise NotStored("the archive is damaged: a number has no end")


def _check_stored(stored: bool, encrypted: bool) -> None:
    if encrypted:
        raise NotStored("the archive is encrypted")
    if not stored:
        raise NotStored("the archive is compressed")
