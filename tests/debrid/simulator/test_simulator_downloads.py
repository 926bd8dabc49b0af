"""Rows of /downloads and the life of generated URLs."""

import re

import pytest
import requests

from debrid.simulator import Simulator

ROW = {
    "id",
    "filename",
    "mimeType",
    "filesize",
    "link",
    "host",
    "host_icon",
    "chunks",
    "download",
    "streamable",
    "generated",
}


@pytest.fixture
def machines():
    """A simulator with three CDN hosts and a film."""
    with Simulator(cdn_hosts=3) as simulator:
        simulator.add_torrent("Film", {"/film.mkv": b"content"})
        yield simulator


def code_of(url):
    return url.split("/")[4]


def test_no_rows_at_first(api) -> None:
    answer = api.get("/downloads")
    assert (answer.status_code, answer.content) == (204, b"")


def test_unrestricting_adds_a_row(api, film) -> None:
    given = api.unrestrict(film.links[0].url)
    answer = api.get("/downloads")
    (row,) = answer.json()
    assert set(row) == ROW
    assert answer.headers["X-Total-Count"] == "1"
    assert {name: row[name] for name in ROW - {"generated"}} == {name: given[name] for name in ROW - {"generated"}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", row["generated"])


def test_rows_are_paged_newest_first(api, film) -> None:
    made = [api.unrestrict(film.links[0].url)["id"] for _ in range(5)]
    rows = [row["id"] for row in api.get("/downloads").json()]
    assert rows == made[::-1]
    assert [row["id"] for row in api.get("/downloads", limit=2, page=2).json()] == rows[2:4]
    assert [row["id"] for row in api.get("/downloads", limit=2, offset=4).json()] == rows[4:]
    assert api.get("/downloads", offset=5).status_code == 204
    assert api.error(api.get("/downloads", limit=5001)) == (400, 2)


def test_a_code_names_its_machine_and_any_machine_serves_it(machines, fetch) -> None:
    link = machines.torrents[0].links[0].url
    query = {"auth_token": machines.token}
    urls = [
        requests.post(machines.api_url + "/unrestrict/link", {"link": link}, params=query, timeout=5).json()["download"]
        for _ in range(4)
    ]
    assert [code_of(url)[-4:] for url in urls] == ["4000", "4001", "4002", "4000"]
    assert [url.rpartition("/d/")[0] for url in urls[:3]] == machines.cdn_urls
    for base in machines.cdn_urls:
        assert fetch(f"{base}/d/{code_of(urls[0])}/film.mkv").body == b"content"
        assert fetch(f"{base}/d/{code_of(urls[0])}").body == b"content"
        assert fetch(f"{base}/d/{code_of(urls[0])}/any%20other%20name").body == b"content"


def test_deleting_a_row_revokes_its_url(api, film, fetch) -> None:
    given = api.unrestrict(film.links[0].url)
    assert api.delete(f"/downloads/delete/{given['id']}").status_code == 204
    assert api.get("/downloads").status_code == 204
    answer = fetch(given["download"])
    assert (answer.status, answer.headers["X-Error"]) == (404, "invalid_download_code")
    assert api.error(api.delete(f"/downloads/delete/{given['id']}")) == (404, 7)


def test_a_host_that_served_a_url_does_not_notice_its_end(machines, fetch) -> None:
    link, query = machines.torrents[0].links[0].url, {"auth_token": machines.token}
    given = requests.post(machines.api_url + "/unrestrict/link", {"link": link}, params=query, timeout=5).json()
    path = f"/d/{code_of(given['download'])}/film.mkv"
    assert fetch(machines.cdn_urls[1] + path).status == 200
    requests.delete(f"{machines.api_url}/downloads/delete/{given['id']}", params=query, timeout=5)
    assert [fetch(base + path).status for base in machines.cdn_urls] == [404, 200, 404]
    machines.revoke_urls()
    assert [fetch(base + path).status for base in machines.cdn_urls] == [404, 404, 404]


def test_urls_die_after_seven_days(sim, api, film, fetch) -> None:
    url = api.url(film)
    sim.advance(7 * 86400 - 10)
    assert fetch(url).status == 200
    sim.advance(20)
    answer = fetch(url)
    assert (answer.status, answer.headers["X-Error"]) == (404, "link_expired")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"<html>" in answer.body
    assert len(answer.body) > 2000
    assert api.get("/downloads").status_code == 204
    assert fetch(api.url(film)).status == 200


def test_the_life_of_urls_can_be_changed(sim, api, film, fetch) -> None:
    sim.faults.cdn_url_lifetime = 60.0
    url = api.url(film)
    sim.advance(61)
    assert fetch(url).status == 404


def test_all_urls_can_be_revoked_at_once(sim, api, film, fetch) -> None:
    url = api.url(film)
    assert fetch(url).status == 200
    sim.revoke_urls()
    answer = fetch(url)
    assert (answer.status, answer.headers["X-Error"]) == (404, "invalid_download_code")
    assert b"<html>" in answer.body
    assert fetch(api.url(film)).status == 200


def test_downloads_may_show_another_host(sim, api, film, fetch) -> None:
    sim.faults.numbered_hosts = True
    given = api.unrestrict(film.links[0].url)
    (row,) = api.get("/downloads").json()
    assert given["download"].startswith("http://localhost:")
    assert row["download"].startswith("http://127.0.0.1:")
    assert fetch(given["download"]).status == fetch(row["download"]).status == 200
