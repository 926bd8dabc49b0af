"""Stored RAR archives of both formats, made of bytes."""

import struct
import zlib

from debrid.rar import RAR4, RAR5


def block4(kind: int, flags: int, body: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


def file4(name: bytes, size: int, data: bytes, *, flags: int = 0, method: int = 0x30) -> bytes:
    fixed = struct.pack("<IIBIIBBHI", len(data), size, 3, 0, 0, 20, method, len(name), 0o100644)
    return block4(0x74, 0x8000 | flags, fixed + name) + data


def rar4(*parts: bytes, main: int = 0) -> bytes:
    return RAR4 + block4(0x73, main, bytes(6)) + b"".join(parts) + block4(0x7B, 0x4000, b"")


def vint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block5(kind: int, flags: int, body: bytes, data: bytes = b"", extra: bytes = b"") -> bytes:
    flags |= (1 if extra else 0) | (2 if data or kind == 2 else 0)
    sizes = (vint(len(extra)) if extra else b"") + (vint(len(data)) if flags & 2 else b"")
    rest = vint(kind) + vint(flags) + sizes + body + extra
    rest = vint(len(rest)) + rest
    return struct.pack("<I", zlib.crc32(rest)) + rest + data


def file5(
    name: str, size: int, data: bytes, *, flags: int = 0, about: int = 4, method: int = 0, extra: bytes = b""
) -> bytes:
    raw = name.encode()
    crc = bytes(4) if about & 4 else b""
    body = vint(about) + vint(size) + vint(0o100644) + crc + vint(method << 7) + vint(1) + vint(len(raw)) + raw
    return block5(2, flags, body, data, extra)


def rar5(*parts: bytes) -> bytes:
    return RAR5 + block5(1, 0, vint(0)) + b"".join(parts) + block5(5, 0, vint(0))
