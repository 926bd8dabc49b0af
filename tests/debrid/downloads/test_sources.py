"""Magnet links and .torrent files: what they name, and what is refused."""

import base64
import contextlib
import hashlib

import bencode2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debrid.downloads.sources import (
    LONGEST_MAGNET,
    LONGEST_METAINFO,
    NotATorrent,
    read_magnet,
    read_metainfo,
    trackers_of,
)

V1, V2 = "0123456789abcdef0123456789abcdef01234567", "ab" * 32
INFO = {b"name": "Fïlm".encode(), b"piece length": 1 << 18, b"pieces": b"x" * 20, b"length": 5}


@pytest.mark.parametrize(
    ("text", "info_hash", "v2"),
    [
        (f"magnet:?xt=urn:btih:{V1}", V1, ""),
        (f"MAGNET:?xt=URN:BTIH:{V1.upper()}&dn=x", V1, ""),
        (f"magnet:?dn=x&xt=urn:btih:{base64.b32encode(bytes.fromhex(V1)).decode()}", V1, ""),
        (f"magnet:?xt=urn:btih:{base64.b32encode(bytes.fromhex(V1)).decode().lower()}", V1, ""),
        (f"magnet:?xt=urn:sha1:{V1}", V1, ""),
        (f"magnet:?xt=urn:btmh:1220{V2}", V2, V2),
        (f"magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}", V1, V2),
        (f"magnet:?xt.1=urn:btih:{V1}&xt.2=urn:btmh:1220{V2}", V1, V2),
        (f"magnet:?xt=urn:btih:{V1}&xt=urn:btih:{V1.upper()}", V1, ""),
    ],
)
def test_what_magnets_name(text: str, info_hash: str, v2: str) -> None:
    source = read_magnet(text)
    assert (source.hash, source.v2) == (info_hash, v2)
    again = read_magnet(source.magnet)
    assert (again.hash, again.v2, again.magnet) == (info_hash, v2, source.magnet)


def test_name_and_trackers_survive() -> None:
    trackers = [f"udp://tracker{number}.example.org:80/a?b=c&d" for number in range(150)]
    text = f"magnet:?xt=urn:btih:{V1}&dn=A%20film%20%26%20more+2024&" + "&".join(f"tr={each}" for each in trackers)
    source = read_magnet(text.replace("?b=c&d", "%3Fb%3Dc%26d"))
    assert source.name == "A film & more 2024" and trackers_of(source.magnet) == tuple(trackers[:100])
    assert read_magnet(f"magnet:?xt=urn:btih:{V1}").name == V1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no magnet"),
        ("http://example.org", "no magnet"),
        ("magnet:?dn=x", "no info hash"),
        ("magnet:?xt=urn:btih:zz", "neither 40"),
        ("magnet:?xt=urn:btih:" + "1" * 32, "not base32"),
        (f"magnet:?xt=urn:btmh:1320{V2}", "SHA-256"),
        (f"magnet:?xt=urn:btih:{V1}&xt=urn:btih:{'f' * 40}", "two torrents"),
        (f"magnet:?xt=urn:btih:{V1}&dn=" + "x" * LONGEST_MAGNET, "characters"),
    ],
)
def test_what_is_no_magnet(text: str, why: str) -> None:
    with pytest.raises(NotATorrent, match=why):
        read_magnet(text)


def test_torrent_files() -> None:
    raw = bencode2.bencode({b"announce": b"udp://a", b"announce-list": [[b"udp://a"], [b"udp://b"]], b"info": INFO})
    source = read_metainfo(raw)
    assert source.hash == hashlib.sha1(bencode2.bencode(INFO)).hexdigest() and source.name == "Fïlm"
    assert trackers_of(source.magnet) == ("udp://a", "udp://b") and source.metainfo == raw
    hybrid = {**INFO, b"meta version": 2}
    both = read_metainfo(bencode2.bencode({b"info": hybrid}))
    assert both.hash == hashlib.sha1(bencode2.bencode(hybrid)).hexdigest()
    assert both.v2 == hashlib.sha256(bencode2.bencode(hybrid)).hexdigest()
    second = {b"name": b"x", b"meta version": 2, b"piece length": 1 << 18, b"file tree": {}}
    assert (
        read_metainfo(bencode2.bencode({b"info": second})).hash == hashlib.sha256(bencode2.bencode(second)).hexdigest()
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"i1e",
        b"de",
        b"d4:infodee",
        b"<html>",
        bencode2.bencode({b"info": {b"name": b"x"}}),
        bencode2.bencode({b"info": {b"name": 5, b"pieces": b""}}),
        b"l" * 100_000,
        b"d4:infod4:name1:x6:pieces0:1:ai1eee",  # keys out of order: which bytes would be hashed?
        b"0" * (LONGEST_METAINFO + 1),
    ],
)
def test_what_is_no_torrent_file(raw: bytes) -> None:
    with pytest.raises(NotATorrent):
        read_metainfo(raw)


@given(st.text() | st.text("magnet:?xt=urnbih&d%0123456789abcdef", max_size=120).map("magnet:?xt=urn:btih:".__add__))
def test_any_text_is_a_magnet_or_refused(text: str) -> None:
    with contextlib.suppress(NotATorrent):
        assert len(read_magnet(text).hash) in (40, 64)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda raw: b"d4:infod4:name1:x6:pieces" + raw))
def test_any_bytes_are_a_torrent_or_refused(raw: bytes) -> None:
    with contextlib.suppress(NotATorrent):
        assert len(read_metainfo(raw).hash) in (40, 64)
