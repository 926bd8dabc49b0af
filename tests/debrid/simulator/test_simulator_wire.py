"""The form of answers: JSON as PHP prints it, errors, ETag, verbs, paths, forms."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest


def test_json_has_tabs_and_escaped_slashes(sim, api, film) -> None:
    answer = api.get("/torrents")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text.startswith('[\n\t{\n\t\t"id": ')
    assert "https:\\/\\/real-debrid.com\\/d\\/" in answer.text
    assert answer.json()[0]["links"][0].startswith("https://real-debrid.com/d/")


def test_names_outside_ascii_are_escaped(sim, api) -> None:
    sim.add_torrent("Amélie 日本", {"/a.mkv": b"x"})
    answer = api.get("/torrents")
    assert "Am\\u00e9lie" in answer.text
    assert answer.json()[0]["filename"] == "Amélie 日本"


def test_hostile_names_come_through_as_they_are(sim, api) -> None:
    name = "../../etc\\\n\udc80\x07"
    sim.add_torrent(name, {"/../x/\udcff.mkv": b"x"})
    torrent = api.get("/torrents").json()[0]
    assert torrent["filename"] == name
    assert api.info(torrent["id"])["files"][0]["path"] == "/../x/\udcff.mkv"


def test_an_etag_saves_the_body(api, film) -> None:
    first = api.get("/torrents")
    again = api.call("GET", "/torrents", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = api.call("GET", "/torrents", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_an_etag_changes_with_the_body(sim, api, film) -> None:
    first = api.get("/torrents")
    sim.add_torrent("Another", {"/b.mkv": b"x"})
    again = api.call("GET", "/torrents", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200


def test_errors_are_json_with_a_slug_and_a_code(api) -> None:
    answer = api.get("/torrents/info/NOSUCHTORRENT")
    assert answer.status_code == 404
    assert answer.json() == {"error": "unknown_ressource", "error_code": 7}
    assert answer.text == '{\n\t"error": "unknown_ressource",\n\t"error_code": 7\n}'


def test_error_details_name_the_missing_parameter(api) -> None:
    answer = api.post("/unrestrict/link")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "parameter_missing",
        "error_details": "{link} is missing",
        "error_code": 1,
    }


@pytest.mark.parametrize("path", ["/nothing", "/TORRENTS", "/torrents/Info/X", "/user/more"])
def test_an_unknown_path_is_error_3_and_case_matters(api, path) -> None:
    assert api.error(api.get(path)) == (404, 3)


def test_a_path_outside_the_bases_is_error_3(sim, api) -> None:
    base = sim.api_url.removesuffix("/rest/1.0")
    assert api.error(api.session.get(base + "/torrents")) == (404, 3)
    assert api.error(api.session.get(base + "/rest/2.0/torrents")) == (404, 3)


def test_a_wrong_verb_is_error_4(api) -> None:
    assert api.error(api.post("/torrents")) == (405, 4)
    assert api.call("HEAD", "/torrents").status_code == 405


def test_a_slash_at_the_end_does_not_matter(api, film) -> None:
    assert api.post("/unrestrict/link/", link=film.links[0].url).status_code == 200


def test_the_verb_can_be_overridden(api, film) -> None:
    answer = api.call("POST", f"/torrents/delete/{film.id}", headers={"X-HTTP-Verb": "DELETE"})
    assert answer.status_code == 204
    assert api.get("/torrents").status_code == 204


def test_a_multipart_form_is_read_too(api, film) -> None:
    answer = api.call("POST", "/unrestrict/link", files={"link": (None, film.links[0].url)})
    assert answer.status_code == 200


def test_a_body_without_length_is_refused(sim, api) -> None:
    answer = api.call("PUT", "/torrents/addTorrent", data=iter([b"d", b"e"]))
    assert answer.status_code == 411


def test_a_connection_serves_many_requests(sim) -> None:
    parts = urlsplit(sim.api_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    try:
        for _ in range(3):
            connection.request("GET", "/rest/1.0/time")
            kept = connection.sock
            assert len(connection.getresponse().read()) == 19
        assert connection.sock is kept
    finally:
        connection.close()


def test_204_has_no_body_and_the_connection_goes_on(sim, api, film) -> None:
    answer = api.delete(f"/torrents/delete/{film.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Length" not in answer.headers
    assert api.get("/user").status_code == 200


def test_the_journal_shows_what_came_without_secrets(sim, api) -> None:
    sim.journal_clear()
    api.post("/torrents/addMagnet", magnet="magnet:?xt=urn:btih:" + "a" * 40, ip="198.51.100.7")
    api.get("/torrents", limit=5, auth_token="hidden")
    added, listed = sim.journal
    assert (added.port, added.method, added.path, added.status) == ("api", "POST", "/torrents/addMagnet", 201)
    assert added.form["ip"] == "198.51.100.7"
    assert added.ip == "127.0.0.1"
    assert added.headers["authorization"] == "***"
    assert listed.query == {"limit": "5", "auth_token": "***"}
    assert listed.sent > 0
    assert listed.parallel == 1
    assert sim.count("POST") == 1
    assert sim.count(path_prefix="/torrents") == 2
    assert sim.count("GET", "/torrents/info") == 0
    assert sim.token not in json.dumps([str(request) for request in sim.journal])


def test_the_journal_counts_parallel_requests(sim, api) -> None:
    sim.faults.api_latency = 1.0
    threads = [threading.Thread(target=api.call, args=("GET", "/time")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(request.parallel for request in sim.journal) == 3
