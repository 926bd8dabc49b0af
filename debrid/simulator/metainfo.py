"""Reading and writing of .torrent files and magnet links, as far as Real-Debrid needs them."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

_PIECE = 16 << 20


@dataclass(frozen=True, slots=True)
class Metainfo:
    """What a .torrent file says: the info hash in lower-case hex, and the files as (inner path, bytes)."""

    hash: str
    name: str
    files: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Magnet:
    """A magnet link: the info hash in lower-case hex and the display name, which may be empty."""

    hash: str
    name: str


def read_magnet(uri: str) -> Magnet:
    """Parse a magnet link with a version 1 hash (40 hex or 32 base32 characters); ValueError otherwise."""
    parts = urlsplit(uri.strip())
    if parts.scheme.lower() != "magnet":
        raise ValueError("not a magnet link")
    pairs = parse_qsl(parts.query)
    for key, value in pairs:
        if key == "xt" and (found := re.fullmatch(r"urn:btih:([0-9A-Za-z]+)", value, re.IGNORECASE)):
            name = next((value for key, value in pairs if key == "dn"), "")
            return Magnet(_hex(found.group(1)), name)
    raise ValueError("no info hash in the magnet link")


def _hex(text: str) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]{40}", text):
        return text.lower()
    if len(text) == 32:
        return base64.b32decode(text.upper()).hex()
    raise ValueError("not an info hash")


def magnet_link(info_hash: str, name: str = "") -> str:
    return f"magnet:?xt=urn:btih:{info_hash}" + (f"&dn={quote(name, errors='replace')}" if name else "")


def read_metainfo(raw: bytes) -> Metainfo:
    """Parse a .torrent file; ValueError if it is none."""
    decoder = _Decoder(raw)
    try:
        top = decoder.value()
        info = top[b"info"]
        name = _text(info[b"name"])
        files = tuple(_files(info, name))
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as problem:
        raise ValueError("not a torrent file") from problem
    start, end = decoder.info
    return Metainfo(hashlib.sha1(raw[start:end]).hexdigest(), name, files)


def _files(info: dict[bytes, Any], name: str) -> Sequence[tuple[str, int]]:
    if b"files" not in info:
        return [("/" + name, int(info[b"length"]))]
    return [("/" + "/".join(map(_text, file[b"path"])), int(file[b"length"])) for file in info[b"files"]]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class _Decoder:
    """Bencode, keeping where the value of `info` lies: the hash is of those very bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self.info = (0, 0)

    def value(self) -> Any:
        mark = self._raw[self._at : self._at + 1]
        if mark == b"i":
            return int(self._until(b"e", 1))
        if mark == b"l":
            return self._list()
        if mark == b"d":
            return self._dict()
        return self._string()

    def _until(self, end: bytes, skip: int) -> bytes:
        stop = self._raw.index(end, self._at)
        text = self._raw[self._at + skip : stop]
        self._at = stop + 1
        return text

    def _string(self) -> bytes:
        length = int(self._until(b":", 0))
        text = self._raw[self._at : self._at + length]
        if length < 0 or len(text) < length:
            raise ValueError("string runs past the end")
        self._at += length
        return text

    def _list(self) -> list[Any]:
        self._at += 1
        items = []
        while self._raw[self._at] != ord("e"):
            items.append(self.value())
        self._at += 1
        return items

    def _dict(self) -> dict[bytes, Any]:
        self._at += 1
        items: dict[bytes, Any] = {}
        while self._raw[self._at] != ord("e"):
            key = self._string()
            start = self._at
            items[key] = self.value()
            if key == b"info":
                self.info = (start, self._at)
        self._at += 1
        return items


def write_metainfo(name: str, files: Sequence[tuple[str, int]], fingerprint: bytes) -> bytes:
    """A .torrent of these files.

    The piece hashes are derived from `fingerprint` instead of all the bytes: nobody checks them here, but the
    info hash must depend on the content.
    """
    pieces = -(-sum(size for _, size in files) // _PIECE)
    info: dict[bytes, Any] = {
        b"name": _raw(name),
        b"piece length": _PIECE,
        b"pieces": hashlib.shake_128(fingerprint).digest(20 * max(pieces, 1)),
    }
    if len(files) == 1 and files[0][0] == "/" + name:
        info[b"length"] = files[0][1]
    else:
        info[b"files"] = [
            {b"length": size, b"path": [_raw(part) for part in path.lstrip("/").split("/")]} for path, size in files
        ]
    return _encode({b"info": info})


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encode(value: Any) -> bytes:
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, list):
        return b"l" + b"".join(map(_encode, value)) + b"e"
    return b"d" + b"".join(_encode(key) + _encode(value[key]) for key in sorted(value)) + b"e"
