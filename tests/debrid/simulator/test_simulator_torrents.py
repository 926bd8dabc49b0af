"""Routes of /torrents: fields, pages, adding, selecting, deleting."""

import base64
import hashlib
import re

import pytest

from debrid.simulator import Simulator
from debrid.simulator.metainfo import write_metainfo

ID = re.compile(r"[A-Z2-7]{13}")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z")
ROW = {"id", "filename", "hash", "bytes", "host", "split", "progress", "status", "added", "links"}
SERIES = {"/Season 1/e01.mkv": b"one", "/Season 1/e02.mkv": b"two!!", "/extras/sample.mp4": b"s"}


@pytest.fixture
def series(sim):
    """The hash of a series that is cached, but not in the account."""
    return sim.offer("Series", SERIES)


def test_a_row_has_the_documented_fields(api, film, film_bytes) -> None:
    (row,) = api.get("/torrents").json()
    assert set(row) == ROW | {"ended"}
    assert ID.fullmatch(row["id"])
    assert re.fullmatch(r"[0-9a-f]{40}", row["hash"])
    assert (row["filename"], row["bytes"]) == ("Film (2020)", len(film_bytes))
    assert (row["host"], row["split"]) == ("real-debrid.com", 2000)
    assert (row["status"], row["progress"]) == ("downloaded", 100)
    assert DATE.fullmatch(row["added"])
    assert DATE.fullmatch(row["ended"])
    assert [re.fullmatch(r"https://real-debrid\.com/d/[A-Z2-7]{13}", link) is not None for link in row["links"]] == [
        True
    ]


def test_info_is_one_object_with_files(api, film, film_bytes) -> None:
    info = api.info(film.id)
    assert set(info) == ROW | {"ended", "original_filename", "original_bytes", "files"}
    assert info["original_filename"] == "Film (2020)"
    assert info["original_bytes"] == len(film_bytes)
    assert info["files"] == [{"id": 1, "path": "/Film (2020).mkv", "bytes": len(film_bytes), "selected": 1}]


def test_bytes_count_the_selected_files_only(sim, api) -> None:
    torrent = sim.add_torrent("Series", SERIES, selected=[2])
    info = api.info(torrent.id)
    assert (info["bytes"], info["original_bytes"]) == (5, 9)
    assert [file["selected"] for file in info["files"]] == [0, 1, 0]
    assert [file["id"] for file in info["files"]] == [1, 2, 3]
    assert len(info["links"]) == 1


def test_an_unknown_torrent_is_404_error_7(api) -> None:
    assert api.error(api.get("/torrents/info/AAAAAAAAAAAAA")) == (404, 7)
    assert api.error(api.delete("/torrents/delete/AAAAAAAAAAAAA")) == (404, 7)
    assert api.error(api.post("/torrents/selectFiles/AAAAAAAAAAAAA", files="all")) == (404, 7)


# -- pages


@pytest.fixture
def seven(sim):
    """Seven torrents, T6 the newest."""
    for number in range(7):
        sim.add_torrent(f"T{number}", {f"/{number}.mkv": b"x"}, added=sim.now() - 100 + number)


def names(answer):
    return [row["filename"] for row in answer.json()]


def test_the_newest_comes_first_and_the_total_is_in_a_header(api, seven) -> None:
    answer = api.get("/torrents")
    assert names(answer) == [f"T{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert answer.headers["X-Total-Count"] == "7"


def test_limit_offset_and_page(api, seven) -> None:
    assert names(api.get("/torrents", limit=2)) == ["T6", "T5"]
    assert names(api.get("/torrents", limit=2, offset=3)) == ["T3", "T2"]
    assert names(api.get("/torrents", limit=2, page=1)) == ["T6", "T5"]
    assert names(api.get("/torrents", limit=3, page=3)) == ["T0"]
    assert names(api.get("/torrents", limit=2, page=2, offset=6)) == ["T4", "T3"]
    assert api.get("/torrents", limit=2, page=2).headers["X-Total-Count"] == "7"


def test_past_the_end_is_204_without_body(sim, api, seven) -> None:
    for query in ({"offset": 7}, {"offset": 100}, {"limit": 7, "page": 2}):
        answer = api.get("/torrents", **query)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "X-Total-Count" not in answer.headers
    with sim.faults.set(total_count_on_204=True):
        assert api.get("/torrents", offset=7).headers["X-Total-Count"] == "7"
    with sim.faults.set(past_end_status=400):
        assert api.error(api.get("/torrents", offset=8)) == (400, 2)


def test_an_empty_account_is_204(api) -> None:
    assert api.get("/torrents").status_code == 204


@pytest.mark.parametrize("query", [{"limit": 5001}, {"limit": "x"}, {"limit": -1}, {"offset": -1}, {"page": 0}])
def test_wrong_paging_is_error_2(api, seven, query) -> None:
    assert api.error(api.get("/torrents", **query)) == (400, 2)


def test_a_hundred_rows_unless_asked_otherwise(sim, api) -> None:
    for number in range(101):
        sim.add_torrent(f"T{number}", {f"/{number}.mkv": b"x"})
    assert len(api.get("/torrents").json()) == 100
    assert len(api.get("/torrents", limit=5000).json()) == 101


def test_only_the_active_ones(sim, api) -> None:
    for status in ("downloaded", "downloading", "queued", "dead", "waiting_files_selection"):
        sim.add_torrent(status, {f"/{status}.mkv": b"x"}, status=status)
    answer = api.get("/torrents", filter="active")
    assert sorted(names(answer)) == ["downloading", "queued"]
    assert answer.headers["X-Total-Count"] == "2"
    with sim.faults.set(waiting_is_active=True):
        assert "waiting_files_selection" in names(api.get("/torrents", filter="active"))


# -- adding


def test_add_magnet_gives_an_id_and_a_uri(sim, api, series) -> None:
    answer = api.post("/torrents/addMagnet", magnet=sim.magnet(series), host="real-debrid.com")
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "uri"}
    ident = answer.json()["id"]
    assert ID.fullmatch(ident)
    assert answer.json()["uri"] == f"{sim.api_url}/torrents/info/{ident}"
    assert api.info(ident)["status"] == "waiting_files_selection"


def test_a_bare_hash_in_any_case_or_base32_works(api, series) -> None:

    for text in (series, series.upper(), base64.b32encode(bytes.fromhex(series)).decode()):
        assert api.info(api.add(text))["filename"] == "Series"


@pytest.mark.parametrize(
    "magnet", ["magnet:?dn=x", "magnet:?xt=urn:btih:xyz", "https://example.org", "magnet:?xt=urn:btmh:1220aa"]
)
def test_a_wrong_magnet_is_error_2(api, magnet) -> None:
    assert api.error(api.post("/torrents/addMagnet", magnet=magnet)) == (400, 2)


def test_a_missing_magnet_is_error_1(api) -> None:
    assert api.error(api.post("/torrents/addMagnet")) == (400, 1)


def test_adding_a_hash_again_makes_a_second_torrent(api, series) -> None:
    first, second = api.add(series, "all"), api.add(series, "all")
    assert first != second
    assert api.info(first)["hash"] == api.info(second)["hash"] == series


def test_an_active_hash_may_be_refused_with_33(sim, api, series) -> None:
    sim.add_torrent("Series", SERIES, hash=series, status="downloading")
    with sim.faults.set(refuse_active_duplicates=True):
        assert api.error(api.post("/torrents/addMagnet", magnet=sim.magnet(series))) == (400, 33)


def test_add_torrent_takes_the_raw_file(sim, api, series) -> None:
    answer = api.put("/torrents/addTorrent?host=real-debrid.com", sim.torrent_file(series))
    assert answer.status_code == 201
    info = api.info(answer.json()["id"])
    assert (info["hash"], info["status"]) == (series, "waiting_files_selection")
    assert [file["path"] for file in info["files"]] == list(SERIES)


def test_a_torrent_file_nobody_offered_shows_its_files(api) -> None:
    raw = write_metainfo("Unknown", [("/a.mkv", 5), ("/b.mkv", 7)], b"seed")
    info = api.info(api.put("/torrents/addTorrent", raw).json()["id"])
    start = raw.index(b"4:info") + 6
    assert info["hash"] == hashlib.sha1(raw[start:-1]).hexdigest()
    assert [(file["path"], file["bytes"]) for file in info["files"]] == [("/a.mkv", 5), ("/b.mkv", 7)]


@pytest.mark.parametrize("raw", [b"garbage", b"d4:infoi5ee", b"d", b"<html>", b"d4:infod4:name1:xee"])
def test_a_wrong_torrent_file_is_error_30(api, raw) -> None:
    assert api.error(api.put("/torrents/addTorrent", raw)) == (400, 30)


def test_no_torrent_file_is_error_1(api) -> None:
    assert api.error(api.put("/torrents/addTorrent")) == (400, 1)


def test_a_torrent_may_be_too_big(sim, api, series) -> None:
    sim.faults.max_torrent_bytes = 8
    assert api.error(api.put("/torrents/addTorrent", sim.torrent_file(series))) == (400, 29)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("Show.S01.1080p.WEB-DL.x265", True),
        ("show.webrip", True),
        ("A.BDRip.B", True),
        ("Film.2020.BluRay.x264-GRP", True),
        ("Film.WEB.h264", True),
        ("Film.2020.BluRay.x265-GRP", False),
        ("Film (2020) BluRay x264", False),
    ],
)
def test_the_name_filter_refuses_release_names(sim, api, name, refused) -> None:
    info_hash = sim.offer(name, {"/a.mkv": b"x"})
    magnet, raw = f"magnet:?xt=urn:btih:{info_hash}", sim.torrent_file(info_hash)
    assert api.post("/torrents/addMagnet", magnet=magnet).status_code == 201
    sim.faults.name_filter = True
    for answer in (api.post("/torrents/addMagnet", magnet=magnet), api.put("/torrents/addTorrent", raw)):
        if refused:
            assert answer.json()["error"] == "infringing_file"
            assert api.error(answer) == (451, 35)
        else:
            assert answer.status_code == 201


def test_the_name_filter_looks_at_files_and_display_names(sim, api) -> None:
    sim.faults.name_filter = True
    info_hash = sim.offer("Innocent", {"/Film.HDRip.mkv": b"x"})
    assert api.post("/torrents/addMagnet", magnet=sim.magnet(info_hash)).status_code == 451
    magnet = "magnet:?xt=urn:btih:" + "b" * 40 + "&dn=Film.DVDRip"
    assert api.post("/torrents/addMagnet", magnet=magnet).status_code == 451


# -- selecting


def test_selecting_is_204_and_then_202(api, series) -> None:
    ident = api.add(series)
    first = api.post(f"/torrents/selectFiles/{ident}", files="1,3")
    assert (first.status_code, first.content) == (204, b"")
    assert [file["selected"] for file in api.info(ident)["files"]] == [1, 0, 1]
    again = api.post(f"/torrents/selectFiles/{ident}", files="2")
    assert api.error(again) == (202, 31)
    assert [file["selected"] for file in api.info(ident)["files"]] == [1, 0, 1]


@pytest.mark.parametrize(("files", "code"), [(None, 1), ("", 1), ("4", 2), ("0", 2), ("1,x", 2), (",", 2)])
def test_a_wrong_selection_is_404(api, series, files, code) -> None:
    ident = api.add(series)
    form = {} if files is None else {"files": files}
    answer = api.post(f"/torrents/selectFiles/{ident}", **form)
    assert api.error(answer) == (404, code)
    if code == 1:
        assert answer.json()["error_details"] == "{files} is missing"
    assert api.info(ident)["status"] == "waiting_files_selection"


def test_files_cannot_be_selected_before_the_magnet_is_converted(sim, api) -> None:
    ident = api.add("c" * 40)
    assert api.post(f"/torrents/selectFiles/{ident}", files="all").status_code == 400


# -- deleting


def test_deleting_is_204_then_404(api, film) -> None:
    assert api.delete(f"/torrents/delete/{film.id}").status_code == 204
    assert api.error(api.get(f"/torrents/info/{film.id}")) == (404, 7)
    assert api.error(api.delete(f"/torrents/delete/{film.id}")) == (404, 7)


def test_links_and_urls_outlive_the_torrent(api, film, film_bytes, fetch) -> None:
    url = api.url(film)
    api.delete(f"/torrents/delete/{film.id}")
    assert fetch(url).body == film_bytes
    assert fetch(api.unrestrict(film.links[0].url)["download"]).body == film_bytes


def test_a_torrent_can_vanish_at_the_web_site(sim, api, film) -> None:
    sim.remove_torrent(film.id)
    assert api.error(api.get(f"/torrents/info/{film.id}")) == (404, 7)
    assert sim.torrents == []


def test_a_torrent_can_be_deleted_silently_some_time_after_adding(sim, api, film, series) -> None:
    sim.faults.silent_delete_after = 30.0
    ident = api.add(series, "all")
    sim.advance(29)
    assert api.info(ident)["status"] == "downloaded"
    sim.advance(1)
    assert api.error(api.get(f"/torrents/info/{ident}")) == (404, 7)
    assert names(api.get("/torrents")) == ["Film (2020)"]


# -- the rest


def test_instant_availability_is_disabled(api, series) -> None:
    for path in (f"/{series}", f"/{series}/{series}", ""):
        answer = api.get("/torrents/instantAvailability" + path)
        assert answer.json() == {"error": "disabled_endpoint", "error_code": 37}
        assert answer.status_code == 403


def test_active_count(sim, api, film) -> None:
    sim.faults.active_limit = 10
    assert api.get("/torrents/activeCount").json() == {"nb": 0, "limit": 10, "list": []}
    torrent = sim.add_torrent("Busy", {"/b.mkv": b"x"}, status="downloading")
    assert api.get("/torrents/activeCount").json() == {"nb": 1, "limit": 10, "list": [torrent.hash]}


def test_available_hosts(api) -> None:
    (host,) = api.get("/torrents/availableHosts").json()
    assert host["host"] == "real-debrid.com"
    assert isinstance(host["max_file_size"], int)


# -- the folder


def test_each_entry_of_a_folder_is_a_torrent(tmp_path) -> None:
    (tmp_path / "Show" / "Season 1").mkdir(parents=True)
    (tmp_path / "Show" / "Season 1" / "e01.mkv").write_bytes(b"one")
    (tmp_path / "Show" / "e00.srt").write_bytes(b"text")
    (tmp_path / "Show" / ".hidden").write_bytes(b"no")
    (tmp_path / "Film.mkv").write_bytes(b"film")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x").write_bytes(b"no")
    (tmp_path / "empty").mkdir()
    with Simulator(tmp_path) as simulator:
        show, film = simulator.torrents
        assert (show.name, film.name) == ("Show", "Film.mkv")
        assert [file.path for file in show.files] == ["/e00.srt", "/Season 1/e01.mkv"]
        assert [file.path for file in film.files] == ["/Film.mkv"]
        assert {torrent.status for torrent in (show, film)} == {"downloaded"}
        assert len(show.links) == 2


def test_a_folder_can_be_packed_as_real_debrid_would(tmp_path) -> None:
    (tmp_path / "Show").mkdir()
    (tmp_path / "Show" / "e01.mkv").write_bytes(b"one")
    (tmp_path / "Show" / "e01.srt").write_bytes(b"text")
    simulator = Simulator(tmp_path, rar_packing=True)
    assert [link.name for link in simulator.torrents[0].links] == ["Show.rar"]


def test_the_same_seed_gives_the_same_ids(tmp_path) -> None:
    (tmp_path / "Film.mkv").write_bytes(b"film")
    (one,), (same,), (other,) = (Simulator(tmp_path, seed=seed).torrents for seed in (1, 1, 2))
    assert (one.id, one.links[0].url) == (same.id, same.links[0].url)
    assert one.id != other.id
    assert one.hash == same.hash == other.hash


def test_the_hash_depends_on_the_content(sim) -> None:
    hashes = {sim.offer("N", {"/a.mkv": b"x"}), sim.offer("N", {"/a.mkv": b"y"}), sim.offer("M", {"/a.mkv": b"x"})}
    assert len(hashes) == 3
    assert sim.offer("N", {"/a.mkv": b"x"}) in hashes


def test_a_status_must_exist(sim, film) -> None:
    with pytest.raises(ValueError):
        sim.add_torrent("X", {"/x.mkv": b"x"}, status="finished")
    with pytest.raises(ValueError):
        sim.set_status(film.id, "finished")
