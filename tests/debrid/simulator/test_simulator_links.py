"""Restricted links: their forms and order, RAR, losses, and every answer of /unrestrict."""

import re

import pytest

MIXED = {"/Season 1/e01.mkv": b"one" * 100, "/Season 1/e01.srt": b"text", "/Season 1/e02.mkv": b"two" * 50}
PLAIN = {"/b.mkv": b"bb", "/a.mkv": b"a", "/c.mp3": b"ccc"}
LINK = {
    "id": str,
    "filename": str,
    "mimeType": str,
    "filesize": int,
    "link": str,
    "host": str,
    "host_icon": str,
    "chunks": int,
    "crc": int,
    "download": str,
    "streamable": int,
}


def unrestrict(api, link):
    return api.post("/unrestrict/link", link=link)


# -- links of a torrent


def test_links_follow_the_selected_files_as_listed(sim, api) -> None:
    torrent = sim.add_torrent("Plain", PLAIN, selected=[1, 3])
    links = api.info(torrent.id)["links"]
    assert [api.unrestrict(link)["filename"] for link in links] == ["b.mkv", "c.mp3"]


@pytest.mark.parametrize("form", ["13", "16", "26"])
def test_only_the_first_13_characters_identify_a_link(sim, api, form) -> None:
    torrent = sim.add_torrent("Plain", PLAIN, links=form)
    for link in api.info(torrent.id)["links"]:
        ident = re.fullmatch(r"https://real-debrid\.com/d/([A-Z2-7]+)", link).group(1)
        assert len(ident) == int(form)
        full, cut = api.unrestrict(link), api.unrestrict(link[: 26 + 1 + 13])
        assert full["filename"] == cut["filename"]


def test_forms_can_be_mixed(sim, api) -> None:
    sim.faults.link_form = "mixed"
    files = {f"/{number}.mkv": b"x" for number in range(60)}
    links = api.info(api.add(sim.offer("Many", files), "all"))["links"]
    lengths = {len(link.rpartition("/")[2]) for link in links}
    assert lengths == {13, 16}


def test_a_mixed_selection_becomes_one_rar(sim, api, fetch) -> None:
    ident = api.add(sim.offer("Show", MIXED), "all")
    (link,) = api.info(ident)["links"]
    given = api.unrestrict(link)
    assert (given["filename"], given["mimeType"]) == ("Show.rar", "application/x-rar-compressed")
    body = fetch(given["download"]).body
    assert len(body) == given["filesize"]
    assert body.startswith(b"Rar!\x1a\x07\x00")
    assert all(data in body for data in MIXED.values())


def test_streamable_files_alone_are_not_packed(sim, api) -> None:
    ident = api.add(sim.offer("Show", MIXED), "1,3")
    assert len(api.info(ident)["links"]) == 2


def test_one_file_alone_is_never_packed(sim, api) -> None:
    ident = api.add(sim.offer("Show", MIXED), "2")
    (link,) = api.info(ident)["links"]
    assert api.unrestrict(link)["filename"] == "e01.srt"


def test_packing_can_be_switched_off(sim, api) -> None:
    assert len(api.info(api.add(sim.offer("Plain", MIXED, rar=False), "all"))["links"]) == 3
    sim.faults.rar_packing = False
    assert len(api.info(api.add(sim.offer("Other", MIXED), "all"))["links"]) == 3
    assert len(api.info(api.add(sim.offer("Packed", MIXED, rar=True), "all"))["links"]) == 1


def test_links_can_come_late(sim, api) -> None:
    sim.faults.late_links_seconds = 60.0
    ident = api.add(sim.offer("Plain", PLAIN), "all")
    early = api.info(ident)
    assert (early["status"], len(early["links"])) == ("downloaded", 1)
    sim.advance(60)
    late = api.info(ident)["links"]
    assert len(late) == 3
    assert late[0] == early["links"][0]


def test_links_can_be_lost(sim, api) -> None:
    torrent = sim.add_torrent("Plain", PLAIN)
    links = api.info(torrent.id)["links"]
    with sim.faults.set(links_missing=[0]):
        assert api.info(torrent.id)["links"] == links[1:]
        assert api.get("/torrents").json()[0]["links"] == links[1:]
    with sim.faults.set(links_empty=True):
        assert (api.info(torrent.id)["status"], api.info(torrent.id)["links"]) == ("downloaded", [])
    with sim.faults.set(links_shuffled=True):
        assert api.info(torrent.id)["links"] == links[::-1]
    with sim.faults.set(links_empty=True, torrents_only="Other*"):
        assert api.info(torrent.id)["links"] == links


def test_a_torrent_can_lose_links_for_good_and_gets_them_by_adding_again(sim, api) -> None:
    torrent = sim.add_torrent("Plain", PLAIN)
    links = api.info(torrent.id)["links"]
    sim.lose_links(torrent.id, [1])
    assert api.info(torrent.id)["links"] == [links[0], links[2]]
    sim.lose_links(torrent.id)
    assert api.info(torrent.id)["links"] == []
    assert len(api.info(api.add(torrent.hash, "all"))["links"]) == 3


def test_adding_again_gives_fresh_links_or_the_same(sim, api) -> None:
    info_hash = sim.offer("Plain", PLAIN)
    first = api.info(api.add(info_hash, "all"))["links"]
    assert not set(first) & set(api.info(api.add(info_hash, "all"))["links"])
    sim.faults.same_links = True
    same = api.info(api.add(info_hash, "all"))["links"]
    assert same == api.info(api.add(info_hash, "1,2,3"))["links"]
    assert not set(same) & set(api.info(api.add(info_hash, "1"))["links"])


# -- unrestrict/link


def test_an_unrestricted_link_has_the_documented_fields(api, film, film_bytes) -> None:
    given = api.unrestrict(film.links[0].url)
    assert {name: type(value) for name, value in given.items()} == LINK
    assert (given["filename"], given["filesize"]) == ("Film (2020).mkv", len(film_bytes))
    assert given["link"] == film.links[0].url
    assert (given["host"], given["chunks"]) == ("real-debrid.com", 32)
    assert (given["mimeType"], given["streamable"]) == ("video/x-matroska", 1)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/d/[A-Z0-9]{13}/Film%20%282020%29\.mkv", given["download"])


def test_each_time_gives_a_new_id_and_a_new_url(api, film) -> None:
    given = [api.unrestrict(film.links[0].url) for _ in range(5)]
    assert len({one["id"] for one in given}) == len({one["download"] for one in given}) == 5


def test_a_file_that_cannot_be_streamed(sim, api) -> None:
    torrent = sim.add_torrent("Disc", {"/disc.iso": b"x"})
    assert api.unrestrict(torrent.links[0].url)["streamable"] == 0


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ("https://real-debrid.com/d/AAAAAAAAAAAAA", (503, 24)),
        ("https://1fichier.com/?nothing", (503, 24)),
        ("https://unheard.example/x", (503, 16)),
    ],
)
def test_unknown_links(api, link, error) -> None:
    assert api.error(unrestrict(api, link)) == error


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("hoster_unavailable", (503, 19)),
        ("unavailable_file", (503, 24)),
        ("infringing_file", (451, 35)),
        ("fair_usage_limit", (503, 36)),
        ("traffic_exhausted", (503, 23)),
        ("ip_not_allowed", (403, 22)),
        ("too_many_requests", (429, 34)),
        ("hoster_not_free", (403, 20)),
        ("service_unavailable", (503, 25)),
    ],
)
def test_verdicts_by_name_path_or_link(sim, api, verdict, error) -> None:
    torrent = sim.add_torrent("Plain", PLAIN)
    first, second, third = (link.url for link in torrent.links)
    for glob in ("b.mkv", "/b.*", torrent.links[0].id):
        with sim.faults.set(link_verdicts={glob: verdict}):
            answer = unrestrict(api, first)
            assert api.error(answer) == error
            assert answer.json()["error"] == verdict
            assert unrestrict(api, second).status_code == 200
    assert unrestrict(api, first).status_code == 200


def test_the_status_of_an_error_can_be_changed(sim, api, film) -> None:
    sim.faults.set(link_verdicts={"*": "fair_usage_limit"}, error_status={"36": 429})
    assert api.error(unrestrict(api, film.links[0].url)) == (429, 36)


def test_an_empty_download(sim, api, film) -> None:
    sim.faults.link_verdicts = {"*": "empty_download"}
    assert api.unrestrict(film.links[0].url)["download"] == ""


def test_a_wrong_name_and_a_wrong_size(sim, api, film, film_bytes) -> None:
    with sim.faults.set(link_verdicts={"*": "wrong_name"}):
        assert api.unrestrict(film.links[0].url)["filename"] != "Film (2020).mkv"
    with sim.faults.set(link_verdicts={"*": "wrong_size"}):
        assert api.unrestrict(film.links[0].url)["filesize"] != len(film_bytes)


@pytest.mark.parametrize("form", ["16", "26"])
def test_a_foreign_link_works_only_when_cut_to_13(sim, api, form) -> None:
    torrent = sim.add_torrent("Plain", PLAIN, links=form)
    sim.faults.link_verdicts = {"*": "foreign"}
    link = torrent.links[0].url
    assert api.error(unrestrict(api, link)) == (503, 24)
    assert unrestrict(api, link[:39]).status_code == 200


def test_links_age_out_after_three_months(sim, api, film) -> None:
    sim.advance(60 * 86400)
    assert unrestrict(api, film.links[0].url).status_code == 200
    sim.advance(31 * 86400)
    assert api.error(unrestrict(api, film.links[0].url)) == (503, 19)
    assert unrestrict(api, api.info(api.add(film.hash, "all"))["links"][0]).status_code == 200


def test_links_can_be_aged_at_once(sim, api, film) -> None:
    sim.age_links(film.id)
    assert api.error(unrestrict(api, film.links[0].url)) == (503, 19)
    assert unrestrict(api, api.info(api.add(film.hash, "all"))["links"][0]).status_code == 200


def test_the_life_of_links_can_be_changed(sim, api, film) -> None:
    sim.faults.link_lifetime = 10.0
    sim.advance(11)
    assert api.error(unrestrict(api, film.links[0].url)) == (503, 19)


def test_evicted_content_must_be_downloaded_again(sim, api, film) -> None:
    sim.evict(film.hash)
    assert api.error(unrestrict(api, film.links[0].url)) == (503, 24)
    again = api.add(film.hash, "all")
    assert api.info(again)["status"] == "downloading"
    sim.advance(60)
    assert unrestrict(api, api.info(again)["links"][0]).status_code == 200


# -- unrestrict/check


def test_a_checked_link_has_the_documented_fields(api, film, film_bytes) -> None:
    given = api.post("/unrestrict/check", link=film.links[0].url).json()
    assert set(given) == {"host", "host_icon", "host_icon_big", "link", "filename", "filesize", "supported"}
    assert (given["filename"], given["filesize"], given["supported"]) == ("Film (2020).mkv", len(film_bytes), 1)
    assert api.get("/downloads").status_code == 204


def test_a_dead_link_is_404_or_503(sim, api, film) -> None:
    sim.age_links(film.id)
    assert api.error(api.post("/unrestrict/check", link=film.links[0].url)) == (404, 24)
    with sim.faults.set(check_status=503):
        assert api.error(api.post("/unrestrict/check", link=film.links[0].url)) == (503, 24)
    assert api.post("/unrestrict/check", link="https://unheard.example/x").status_code == 404
    assert api.error(api.post("/unrestrict/check")) == (400, 1)


def test_a_check_can_be_wrong(sim, api, film, film_bytes, fetch) -> None:
    with sim.faults.set(check_denies=True):
        assert api.post("/unrestrict/check", link=film.links[0].url).status_code == 404
        assert fetch(api.url(film)).body == film_bytes


# -- other hosters


def test_links_of_other_hosters(sim, api, fetch) -> None:
    sim.add_link("https://1fichier.com/?abc", "Ebook.zip", b"pages")
    given = api.unrestrict("https://1fichier.com/?abc")
    assert (given["host"], given["filename"], given["filesize"]) == ("1fichier.com", "Ebook.zip", 5)
    assert fetch(given["download"]).body == b"pages"
    sim.advance(100 * 86400)
    assert unrestrict(api, "https://1fichier.com/?abc").status_code == 200


def test_folders(sim, api) -> None:
    urls = ["https://mega.nz/file/1", "https://mega.nz/file/2"]
    sim.add_folder("https://mega.nz/folder/x", urls)
    assert api.post("/unrestrict/folder", link="https://mega.nz/folder/x").json() == urls
    other = api.post("/unrestrict/folder", link="https://mega.nz/folder/y")
    assert (other.status_code, other.json()) == (200, [])
    assert api.error(api.post("/unrestrict/folder")) == (400, 1)


def test_containers(sim, api) -> None:
    urls = ["https://mega.nz/file/1"]
    sim.add_container(b"DLC bytes", urls)
    sim.add_container("https://example.org/x.dlc", urls)
    assert api.put("/unrestrict/containerFile", b"DLC bytes").json() == urls
    assert api.post("/unrestrict/containerLink", link="https://example.org/x.dlc").json() == urls
    assert api.error(api.put("/unrestrict/containerFile")) == (400, 1)
    assert api.put("/unrestrict/containerFile", b"other").status_code == 503
    assert api.error(api.post("/unrestrict/containerLink")) == (400, 1)
    assert api.error(api.post("/unrestrict/containerLink", link="nonsense")) == (400, 2)
    assert api.post("/unrestrict/containerLink", link="https://example.org/y.dlc").status_code == 503
