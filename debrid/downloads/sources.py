"""Magnet links and .torrent files: which torrent they mean. Pure, bounded, and strict about what identifies it.

Sources: BEP 9 (magnet links, hex and base32), BEP 52 (version 2 and hybrid torrents), and what Sonarr does with
both: it knows a torrent by its version 1 hash where there is one, else by the version 2 hash, and passes base32 on
as it came.
"""

import base64
import binascii
import functools
import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import bencode2

LONGEST_MAGNET = 64 << 10  # characters; a hundred trackers fit
LONGEST_METAINFO = 10 << 20  # bytes; a torrent of 10,000 files has about one million
_MOST_TRACKERS = 100
_MULTIHASH = "1220"  # sha2-256, 32 bytes


class NotATorrent(ValueError):
    """It names no torrent that can be downloaded; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A torrent as somebody named it. `hash` is how clients know it: version 1, 40 lower-case hex digits, else
    version 2, 64 of them; `magnet` what to add it by; `metainfo` the .torrent file, empty if there is none."""

    hash: str
    name: str
    magnet: str
    v2: str = ""
    metainfo: bytes = b""


def read_magnet(text: str) -> Source:
    """The torrent a magnet link names. Raises NotATorrent."""
    if len(text) > LONGEST_MAGNET:
        raise NotATorrent(f"the magnet link has more than {LONGEST_MAGNET} characters")
    parts = urlsplit(text.strip())
    if parts.scheme.lower() != "magnet":
        raise NotATorrent("it is no magnet link")
    pairs = parse_qsl(parts.query, max_num_fields=1000)
    topics = [value for key, value in pairs if re.fullmatch(r"xt(\.\d+)?", key)]
    v1 = {found for topic in topics if (found := _version_1(topic))}
    v2 = {found for topic in topics if (found := _version_2(topic))}
    if len(v1) > 1 or len(v2) > 1:
        raise NotATorrent("the magnet link names two torrents")
    first, second = next(iter(v1), ""), next(iter(v2), "")
    if not first and not second:
        raise NotATorrent("the magnet link has no info hash")
    name = next((value for key, value in pairs if key == "dn"), "").strip()
    trackers = [value for key, value in pairs if re.fullmatch(r"tr(\.\d+)?", key)]
    return Source(first or second, name or first or second, _magnet(first, second, name, trackers), second)


def read_metainfo(raw: bytes) -> Source:
    """The torrent a .torrent file describes. Raises NotATorrent."""
    if len(raw) > LONGEST_METAINFO:
        raise NotATorrent(f"the .torrent file has more than {LONGEST_METAINFO} bytes")
    top = _decoded(raw)
    info = top.get(b"info")
    if not isinstance(info, dict) or not isinstance(info.get(b"name"), bytes):
        raise NotATorrent("the .torrent file has no info dictionary")
    encoded = _raw_info(raw, info)
    v1 = hashlib.sha1(encoded).hexdigest() if b"pieces" in info else ""
    v2 = hashlib.sha256(encoded).hexdigest() if info.get(b"meta version") == 2 else ""
    if not v1 and not v2:
        raise NotATorrent("the .torrent file describes no content")
    name = info[b"name"].decode("utf-8", "replace").strip()
    magnet = _magnet(v1, v2, name, _announced(top))
    return Source(v1 or v2, name or v1 or v2, magnet, v2, raw)


@functools.lru_cache(maxsize=4096)
def trackers_of(magnet: str) -> tuple[str, ...]:
    """The trackers that a magnet link made here names. Remembered, as each listing asks for all of them."""
    return tuple(value for key, value in parse_qsl(urlsplit(magnet).query) if key == "tr")


def _version_1(topic: str) -> str:
    found = re.fullmatch(r"urn:(?:btih|sha1):([0-9a-z]+)", topic, re.IGNORECASE)
    if found is None:
        return ""
    text = found[1]
    if re.fullmatch(r"[0-9a-fA-F]{40}", text):
        return text.lower()
    if len(text) != 32:
        raise NotATorrent("the info hash has neither 40 hexadecimal digits nor 32 of base32")
    try:
        return base64.b32decode(text.upper()).hex()
    except binascii.Error:
        raise NotATorrent("the info hash is not base32") from None


def _version_2(topic: str) -> str:
    found = re.fullmatch(r"urn:btmh:([0-9a-f]+)", topic, re.IGNORECASE)
    if found is None:
        return ""
    text = found[1].lower()
    if len(text) != 68 or not text.startswith(_MULTIHASH):
        raise NotATorrent("the version 2 info hash is no SHA-256 multihash")
    return text.removeprefix(_MULTIHASH)


def _magnet(v1: str, v2: str, name: str, trackers: list[str]) -> str:
    topics = [f"xt=urn:btih:{v1}"] * bool(v1) + [f"xt=urn:btmh:{_MULTIHASH}{v2}"] * bool(v2)
    shown = [f"dn={quote(name, safe='')}"] * bool(name)
    more = [f"tr={quote(each, safe='')}" for each in dict.fromkeys(trackers)][:_MOST_TRACKERS]
    return "magnet:?" + "&".join([*topics, *shown, *more])


def _decoded(raw: bytes) -> dict[bytes, Any]:
    try:
        top = bencode2.bdecode(raw)
    except (bencode2.BencodeDecodeError, ValueError, TypeError, RecursionError, OverflowError) as problem:
        raise NotATorrent(f"the .torrent file cannot be read: {str(problem)[:100]}") from None
    if not isinstance(top, dict):
        raise NotATorrent("the .torrent file holds no dictionary")
    return top


def _raw_info(raw: bytes, info: dict[bytes, Any]) -> bytes:
    """The very bytes of the info dictionary, which are what is hashed."""
    encoded = bencode2.bencode(info)
    if b"4:info" + encoded not in raw:
        raise NotATorrent("the .torrent file is written in a way that leaves its info hash in doubt")
    return encoded


def _announced(top: dict[bytes, Any]) -> list[str]:
    tiers = top.get(b"announce-list")
    lists = [each for each in tiers if isinstance(each, list)] if isinstance(tiers, list) else []
    found = [top.get(b"announce"), *(one for each in lists for one in each)]
    return [each.decode("utf-8", "replace") for each in found if isinstance(each, bytes) and each]
