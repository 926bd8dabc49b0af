"""The healthy CDN: whole files, ranges, many connections, speed limits."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from debrid.simulator import Simulator
from debrid.simulator.cdn import Part, part_of


@pytest.fixture
def url(api, film):
    return api.url(film)


def test_the_whole_file(url, film_bytes, fetch) -> None:
    answer = fetch(url)
    assert (answer.status, answer.body, answer.end) == (200, film_bytes, "whole")
    assert answer.headers["Content-Length"] == str(len(film_bytes))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "video/x-matroska"
    assert "Film (2020).mkv" in answer.headers["Content-Disposition"]
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 299_999),
        ("bytes=1000-1999", 1000, 1999),
        ("bytes=299999-", 299_999, 299_999),
        ("bytes=299000-999999", 299_000, 299_999),
        ("bytes=-100", 299_900, 299_999),
        ("bytes=-999999", 0, 299_999),
    ],
)
def test_a_range(url, film_bytes, fetch, text, first, last) -> None:
    answer = fetch(url, {"Range": text})
    assert (answer.status, answer.end) == (206, "whole")
    assert answer.body == film_bytes[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/300000"
    assert answer.headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("text", ["bytes=300000-", "bytes=300000-300001", "bytes=-0"])
def test_past_the_end_is_416(url, fetch, text) -> None:
    answer = fetch(url, {"Range": text})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */300000")


@pytest.mark.parametrize("text", ["bytes=5-1", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6"])
def test_an_unusable_range_gives_the_whole_file(url, film_bytes, fetch, text) -> None:
    answer = fetch(url, {"Range": text})
    assert (answer.status, answer.body) == (200, film_bytes)


@pytest.mark.parametrize(("text", "status", "length"), [("", 200, "300000"), ("bytes=0-9", 206, "10")])
def test_head(url, fetch, text, status, length) -> None:
    answer = fetch(url, {"Range": text} if text else {}, method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (status, length, b"")


def test_other_verbs_are_405(url, fetch) -> None:
    assert fetch(url, method="DELETE").status == 405


def test_unknown_paths_are_404_html(sim, fetch) -> None:
    for path in ("/", "/x", "/d/NOSUCHCODE000/film.mkv"):
        answer = fetch(sim.cdn_urls[0] + path)
        assert answer.status == 404
        assert b"<html>" in answer.body


def test_an_empty_file(sim, api, fetch) -> None:
    url = api.url(sim.add_torrent("Empty", {"/empty.mkv": b""}))
    assert fetch(url).body == b""
    assert fetch(url, {"Range": "bytes=0-"}).status == 416


def test_a_file_on_disk(tmp_path, sim, api, fetch) -> None:
    data = bytes(range(256)) * 40_000
    (tmp_path / "big.mkv").write_bytes(data)
    url = api.url(sim.add_torrent("Big", {"/big.mkv": tmp_path / "big.mkv"}))
    assert fetch(url).body == data
    assert fetch(url, {"Range": "bytes=5000000-5999999"}).body == data[5_000_000:6_000_000]


def test_a_file_that_shrank_gives_a_short_body(tmp_path, sim, api, fetch) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(bytes(1000))
    url = api.url(sim.add_torrent("Film", {"/film.mkv": path}))
    path.write_bytes(bytes(400))
    answer = fetch(url)
    assert (len(answer.body), answer.end) == (400, "closed")


def test_a_hostile_name_cannot_add_a_header(sim, api, fetch) -> None:
    url = api.url(sim.add_torrent("X", {'/a"\r\nX-Evil: 1\r\n é.mkv': b"x"}))
    answer = fetch(url)
    assert answer.status == 200
    assert "X-Evil" not in answer.headers


def test_one_connection_serves_many_ranges(sim, api, film, film_bytes) -> None:
    url = api.url(film)
    for first in (0, 1000, 250_000):
        answer = api.session.get(url, headers={"Range": f"bytes={first}-{first + 99}"}, timeout=5)
        assert answer.content == film_bytes[first : first + 100]
    assert len({request.path for request in sim.journal if request.port == "cdn"}) == 1


def test_no_token_is_needed_and_none_is_looked_at(api, film, fetch) -> None:
    assert fetch(api.url(film), {"Authorization": "Bearer WRONG"}).status == 200


def test_bytes_and_requests_are_counted(sim, url, fetch) -> None:
    fetch(url, {"Range": "bytes=0-99"})
    fetch(url)
    assert sim.cdn_bytes == 300_100
    assert sim.cdn_requests == sim.count(port="cdn") == sim.count("GET", "/d/") == 2
    first, second = (request for request in sim.journal if request.port == "cdn")
    assert (first.range, first.status, first.sent, first.ip) == ("bytes=0-99", 206, 100, "127.0.0.1")
    assert (second.range, second.status, second.sent) == (None, 200, 300_000)


def test_the_journal_tells_addresses_apart(sim, url, fetch) -> None:
    fetch(url)
    fetch(url, source="127.0.0.2")
    assert {request.ip for request in sim.journal if request.port == "cdn"} == {"127.0.0.1", "127.0.0.2"}


def test_eighty_bodies_at_once(sim, url, film_bytes, fetch) -> None:
    sim.faults.set(cdn_connection_limit=80, cdn_rate=1_000_000)
    with ThreadPoolExecutor(80) as pool:
        answers = list(pool.map(lambda _: fetch(url), range(80)))
    assert all(answer.body == film_bytes for answer in answers)
    assert max(request.parallel for request in sim.journal) > 60


def test_a_33rd_body_from_one_host_is_refused(sim, url, fetch) -> None:
    sim.faults.cdn_stall_after = 10
    with ThreadPoolExecutor(40) as pool:
        streams = [pool.submit(fetch, url, {}, "GET", 1.5) for _ in range(32)]
        while sum(request.sent == 10 for request in sim.journal if request.port == "cdn") < 32:
            time.sleep(0.01)
        assert fetch(url).status == 429
        with sim.faults.set(cdn_over_limit=503):
            assert fetch(url).status == 503
        with sim.faults.set(cdn_over_limit=0), pytest.raises(ConnectionError):
            fetch(url)
        assert {stream.result().end for stream in streams} == {"silent"}
    sim.faults.clear()
    assert fetch(url).status == 200


def test_the_limit_counts_per_host(fetch) -> None:
    with Simulator(cdn_hosts=2) as sim:
        link = sim.add_torrent("Film", {"/film.mkv": bytes(1000)}).links[0].url
        form, query = {"link": link}, {"auth_token": sim.token}
        url = requests.post(sim.api_url + "/unrestrict/link", form, params=query, timeout=5).json()["download"]
        sim.faults.set(cdn_connection_limit=1, cdn_stall_after=10, cdn_stall_times=1)
        thread = threading.Thread(target=fetch, args=(url, {}, "GET", 1.0))
        thread.start()
        while sim.cdn_bytes < 10:
            time.sleep(0.01)
        assert fetch(url).status == 429
        assert fetch(url.replace(sim.cdn_urls[0], sim.cdn_urls[1])).status == 200
        thread.join()


def test_a_rate_per_connection(sim, url, fetch) -> None:
    sim.faults.cdn_rate = 1_000_000.0
    begin = time.monotonic()
    assert fetch(url).end == "whole"
    assert 0.25 < time.monotonic() - begin < 2


def test_a_very_low_rate_sends_single_bytes(sim, url, film_bytes, fetch) -> None:
    sim.faults.cdn_rate = 20.0
    begin = time.monotonic()
    assert fetch(url, {"Range": "bytes=0-4"}).body == film_bytes[:5]
    assert time.monotonic() - begin >= 0.25
    assert [request.sent for request in sim.journal if request.port == "cdn"] == [5]


def test_a_rate_for_all_connections(sim, url, fetch) -> None:
    sim.faults.cdn_total_rate = 2_000_000.0
    begin = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        assert all(answer.end == "whole" for answer in pool.map(fetch, [url] * 3))
    assert 0.4 < time.monotonic() - begin < 3


def test_a_rate_can_be_lifted_in_the_middle(sim, url, fetch) -> None:
    sim.faults.cdn_rate = 100_000.0
    timer = threading.Timer(0.2, sim.faults.clear)
    timer.start()
    begin = time.monotonic()
    assert fetch(url).end == "whole"
    timer.join()
    assert time.monotonic() - begin < 2


def test_stopping_ends_bodies_and_leaves_no_thread(fetch) -> None:
    before = threading.active_count()
    sim = Simulator().start()
    try:
        link = sim.add_torrent("Film", {"/film.mkv": bytes(100_000)}).links[0].url
        form, query = {"link": link}, {"auth_token": sim.token}
        url = requests.post(sim.api_url + "/unrestrict/link", form, params=query, timeout=5).json()["download"]
        sim.faults.cdn_stall_after = 10
        results = []
        thread = threading.Thread(target=lambda: results.append(fetch(url, patience=30)))
        thread.start()
        while sim.cdn_bytes < 10:
            time.sleep(0.01)
    finally:
        sim.stop()
    thread.join()
    assert results[0].end in ("closed", "reset")
    assert threading.active_count() == before


def test_it_starts_again_at_the_same_ports(fetch) -> None:
    sim = Simulator()
    with sim:
        url, places = sim.api_url, sim.cdn_urls
        assert requests.get(url + "/time", timeout=5).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url + "/time", timeout=5)
    with sim:
        assert (sim.api_url, sim.cdn_urls) == (url, places)
        assert requests.get(url + "/time", timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("text", "size", "part"),
    [
        (None, 10, Part(0, 10, False)),
        ("bytes=2-4", 10, Part(2, 3, True)),
        ("bytes=9-", 10, Part(9, 1, True)),
        ("bytes=10-", 10, None),
        ("bytes=-3", 10, Part(7, 3, True)),
        ("bytes=0-", 0, None),
    ],
)
def test_ranges_are_plain_arithmetic(text, size, part) -> None:
    assert part_of(text, size) == part
