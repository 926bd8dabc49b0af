"""Parsing of answers: what is forgiven, what is refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debrid.errors import WrongShape
from debrid.models import (
    ActiveCount,
    Download,
    TorrentFile,
    TorrentInfo,
    TorrentItem,
    Unrestricted,
    User,
    match_file,
    short_link,
    stamped_ns,
)

ITEM: dict[str, Any] = {
    "id": "GGZIOQZAZHDIE",
    "filename": "A film",
    "hash": "ABCDEF" + "0" * 34,
    "bytes": 5_000_000_000,
    "host": "real-debrid.com",
    "split": 2000,
    "progress": 41.5,
    "status": "downloading",
    "added": "2025-03-14T14:16:27.000Z",
    "links": [],
    "speed": 12,
    "seeders": 3,
    "something_new": {"deep": [1]},
}
INFO: dict[str, Any] = {
    **ITEM,
    "original_filename": "A film",
    "original_bytes": 6_000_000_000,
    "files": [
        {"id": 1, "path": "/A film/film.mkv", "bytes": 4, "selected": 1},
        {"id": 2, "path": "/A film/readme.txt", "bytes": 2, "selected": 0},
        {"id": 3, "path": "/A film/extra.mkv", "bytes": 3, "selected": 1},
    ],
    "links": ["https://real-debrid.com/d/A", "https://real-debrid.com/d/B"],
}
UNRESTRICTED: dict[str, Any] = {
    "id": "F36NGHRDO5CZM",
    "filename": "film.mkv",
    "mimeType": "video/x-matroska",
    "filesize": 4,
    "link": "https://real-debrid.com/d/A",
    "host": "real-debrid.com",
    "chunks": 32,
    "crc": 1,
    "download": "https://20-4.download.real-debrid.com/d/CODE/film.mkv",
    "streamable": 1,
}


def test_a_torrent_with_unknown_keys_and_a_decimal_progress() -> None:
    item = TorrentItem.parse(ITEM)
    assert (item.id, item.progress, item.bytes) == ("GGZIOQZAZHDIE", 41.5, 5_000_000_000)
    assert item.hash == "abcdef" + "0" * 34
    assert item.ended_ns is None
    assert item.is_unfinished and not item.is_finished


def test_numbers_may_be_text_and_fields_absent() -> None:
    item = TorrentItem.parse(
        {"id": "X", "hash": "Y", "status": "queued", "bytes": "9007199254740993", "progress": "1.5"}
    )
    assert item.bytes == 9_007_199_254_740_993
    assert item.progress == 1.5
    assert item.links == () and item.filename == "" and item.added_ns is None


def test_a_status_nobody_knows_is_neither_finished_nor_on_its_way() -> None:
    item = TorrentItem.parse({**ITEM, "status": "levitating"})
    assert not item.is_finished and not item.is_unfinished


@pytest.mark.parametrize("empty", [[], {}, None])
def test_an_empty_map_may_be_a_list_and_the_other_way_round(empty: object) -> None:
    assert TorrentInfo.parse({**INFO, "files": empty}).files == ()
    assert TorrentItem.parse({**ITEM, "links": empty}).links == ()


def test_info_pairs_links_with_the_selected_files_in_order() -> None:
    info = TorrentInfo.parse(INFO)
    assert [file.id for file in info.selected] == [1, 3]
    assert info.links_by_file == {1: "https://real-debrid.com/d/A", 3: "https://real-debrid.com/d/B"}
    assert info.files[0].name == "film.mkv"


def test_info_with_fewer_links_than_files_pairs_nothing() -> None:
    assert TorrentInfo.parse({**INFO, "links": ["https://real-debrid.com/d/A"]}).links_by_file is None


def test_info_inside_a_list_as_the_documentation_shows_it() -> None:
    assert TorrentInfo.parse([INFO]) == TorrentInfo.parse(INFO)


def test_an_unrestricted_link_hides_its_url_from_logs() -> None:
    answer = Unrestricted.parse(UNRESTRICTED)
    assert answer.chunks == 32 and answer.streamable
    assert "CODE" not in repr(answer)


@pytest.mark.parametrize("download", ["", None])
def test_an_unrestricted_link_without_url_is_refused(download: object) -> None:
    with pytest.raises(WrongShape, match="download is missing"):
        Unrestricted.parse({**UNRESTRICTED, "download": download})


def test_user_active_count_and_download() -> None:
    user = User.parse({"id": 1, "username": "u", "premium": "60", "type": "premium", "email": "x"})
    assert (user.premium_seconds, user.expiration_ns) == (60, None)
    assert ActiveCount.parse({"nb": 3, "limit": "10", "list": ["AB"]}) == ActiveCount(3, 10, ("ab",))
    download = Download.parse({"id": "D", "filename": "f", "filesize": 1, "link": "l", "download": "secret"})
    assert "secret" not in repr(download)


@pytest.mark.parametrize("wrong", [[], {}, None, "text", 3, {"id": 5}])
def test_the_wrong_shape_is_said_clearly(wrong: object) -> None:
    for kind in (User, TorrentItem, TorrentInfo, Unrestricted, Download, ActiveCount):
        with pytest.raises(WrongShape):
            kind.parse(wrong)


@pytest.mark.parametrize(("key", "value"), [("bytes", "many"), ("progress", [1]), ("bytes", float("nan"))])
def test_a_number_that_is_none_names_its_key(key: str, value: object) -> None:
    with pytest.raises(WrongShape, match=key):
        TorrentItem.parse({**ITEM, key: value})


@pytest.mark.parametrize(
    ("link", "short"),
    [
        ("https://real-debrid.com/d/ABCDEFGHIJKLM", "https://real-debrid.com/d/ABCDEFGHIJKLM"),
        ("https://real-debrid.com/d/ABCDEFGHIJKLMNOP", "https://real-debrid.com/d/ABCDEFGHIJKLM"),
        ("https://real-debrid.com/d/ABCDEFGHIJKLM" + "N" * 13, "https://real-debrid.com/d/ABCDEFGHIJKLM"),
        ("https://real-debrid.com/d/ABCDEFGHIJKLM/name", "https://real-debrid.com/d/ABCDEFGHIJKLM"),
        ("https://1fichier.com/?abcdefghijklmnopqrst", "https://1fichier.com/?abcdefghijklmnopqrst"),
        ("https://mega.nz/d/ABCDEFGHIJKLMNOPQRST", "https://mega.nz/d/ABCDEFGHIJKLMNOPQRST"),
    ],
)
def test_links_are_cut_to_the_form_every_account_may_open(link: str, short: str) -> None:
    assert short_link(link) == short


def test_matching_by_size_and_name() -> None:
    files = [TorrentFile(1, "/x/a.mkv", 5, True), TorrentFile(2, "/x/b.mkv", 5, True), TorrentFile(3, "/c", 7, True)]

    def found(name: str, size: int) -> int | None:
        file = match_file(Unrestricted(id="D", filename=name, filesize=size, link="", download="u"), files)
        return file.id if file else None

    assert found("b.mkv", 5) == 2
    assert found("renamed", 7) == 3
    assert found("renamed", 5) is None
    assert found("a.mkv", 6) is None
    assert found("a.mkv", 0) == 1
    assert found("renamed", 0) is None


def test_dates() -> None:
    assert stamped_ns("1970-01-01T00:00:01.000Z") == 10**9
    assert stamped_ns("1970-01-01T01:00:01+01:00") == 10**9
    assert stamped_ns("1970-01-01T00:00:01") == 10**9
    assert stamped_ns("yesterday") is None
    assert stamped_ns("") is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(sorted(INFO)), value=_JSON)
def test_whatever_one_field_is_parsing_succeeds_or_says_wrong_shape(key: str, value: object) -> None:
    data = copy.deepcopy(INFO)
    data[key] = value
    try:
        info = TorrentInfo.parse(json.loads(json.dumps(data)))
    except WrongShape:
        return
    assert isinstance(info.id, str) and isinstance(info.bytes, int)
