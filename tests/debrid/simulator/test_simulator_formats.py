"""RAR archives, .torrent files, magnet links, content and identifiers."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debrid.simulator.content import BytesContent, FileContent, JoinedContent, read
from debrid.simulator.ids import Ids
from debrid.simulator.metainfo import magnet_link, read_magnet, read_metainfo, write_metainfo
from debrid.simulator.rar import pack


def members(raw):
    """(name, data) of each file in a RAR of format 3, by walking its headers as a client does."""
    assert raw.startswith(b"Rar!\x1a\x07\x00")
    at, found = 7, []
    while at < len(raw):
        crc, kind, flags, size = struct.unpack_from("<HBHH", raw, at)
        assert crc == zlib.crc32(raw[at + 2 : at + size]) & 0xFFFF
        if kind != 0x74:
            at += size
            continue
        packed, unpacked, _, check = struct.unpack_from("<IIBI", raw, at + 7)
        method, length = struct.unpack_from("<BH", raw, at + 25)
        assert (method, packed) == (0x30, unpacked)
        start = at + 32 + (8 if flags & 0x100 else 0)
        data = raw[at + size : at + size + packed]
        assert zlib.crc32(data) == check
        found.append((raw[start : start + length].decode(), data))
        at += size + packed
    assert kind == 0x7B
    return found


FILES = {"/Season 1/e01.mkv": b"one" * 1000, "/notes.txt": b"", "/Ünï.srt": b"text"}


def test_a_rar_holds_its_files_stored() -> None:
    content = pack([(path, BytesContent(data)) for path, data in FILES.items()])
    raw = read(content, 0, content.size)
    assert len(raw) == content.size
    assert members(raw) == [("Season 1\\e01.mkv", b"one" * 1000), ("notes.txt", b""), ("Ünï.srt", b"text")]


def test_names_in_a_rar_are_those_windows_allows() -> None:
    content = pack([('/a|b"c\\d?e*f:g<h>i.mkv', BytesContent(b"x"))])
    assert members(read(content, 0, content.size))[0][0] == "a_b_c_d_e_f_g_h_i.mkv"


def test_a_rar_can_be_read_from_anywhere() -> None:
    content = pack([(path, BytesContent(data)) for path, data in FILES.items()])
    raw = read(content, 0, content.size)
    for first in range(0, content.size, 97):
        assert read(content, first, 150) == raw[first : first + 150]


def test_a_large_file_has_a_large_header(tmp_path) -> None:
    path = tmp_path / "large.mkv"
    with path.open("wb") as file:
        file.truncate((5 << 30) + 3)
    content = pack([("/large.mkv", FileContent(path))])
    assert content.size > 5 << 30
    assert content.size < (5 << 30) + 200


@given(
    st.lists(st.binary(max_size=20), max_size=5),
    st.integers(min_value=0, max_value=50),
    st.integers(min_value=1, max_value=50),
)
def test_joined_content_is_one_row_of_bytes(parts, first, length) -> None:
    whole = b"".join(parts)
    content = JoinedContent([BytesContent(part) for part in parts])
    assert content.size == len(whole)
    if first < len(whole):
        assert read(content, first, length) == whole[first : first + length]


PATHS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), st.integers(0, 1 << 36)
    ),
    min_size=1,
    max_size=4,
)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), PATHS)
def test_a_torrent_file_reads_as_it_was_written(name, files) -> None:
    listed = [("/" + path, size) for path, size in files]
    meta = read_metainfo(write_metainfo(name, listed, b"seed"))
    assert (meta.name, list(meta.files)) == (name, listed)


@given(st.binary(max_size=60))
def test_garbage_is_no_torrent_file(raw) -> None:
    with pytest.raises(ValueError):
        read_metainfo(raw)


@given(st.binary(min_size=20, max_size=20), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_magnet_link_reads_as_it_was_written(info_hash, name) -> None:
    magnet = read_magnet(magnet_link(info_hash.hex(), name))
    assert (magnet.hash, magnet.name) == (info_hash.hex(), name)


def test_ids_are_never_given_twice() -> None:
    ids = Ids(0)
    given_ids = [ids.new() for _ in range(2000)]
    assert len(set(given_ids)) == 2000
    assert {len(one) for one in given_ids} == {13}
    assert ids.code(128).endswith("4128")
