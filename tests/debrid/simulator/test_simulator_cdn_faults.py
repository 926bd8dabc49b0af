"""What the CDN does wrong, switch by switch."""

import threading
import time

import pytest
import requests

from debrid.simulator import Simulator


@pytest.fixture
def url(api, film):
    return api.url(film)


def test_a_first_byte_may_take_its_time(sim, url, fetch) -> None:
    sim.faults.cdn_first_byte = 0.2
    begin = time.monotonic()
    assert fetch(url, {"Range": "bytes=0-0"}).status == 206
    assert time.monotonic() - begin >= 0.2


def test_jitter_comes_on_top(sim, url, fetch) -> None:
    sim.faults.cdn_jitter = 0.2
    begin = time.monotonic()
    for _ in range(5):
        fetch(url, {"Range": "bytes=0-0"})
    assert 0.05 < time.monotonic() - begin < 2


def test_a_reset_in_the_middle_comes_after_exactly_so_many_bytes(sim, url, film_bytes, fetch) -> None:
    sim.faults.cdn_reset_after = 100_000
    answer = fetch(url)
    assert (answer.status, answer.end) == (200, "reset")
    assert answer.body == film_bytes[:100_000]
    assert answer.headers["Content-Length"] == "300000"
    assert fetch(url, {"Range": "bytes=250000-"}).end == "whole"  # shorter than that


def test_a_reset_may_come_a_few_times_only(sim, url, fetch) -> None:
    sim.faults.set(cdn_reset_after=10, cdn_reset_times=2)
    assert [fetch(url).end for _ in range(4)] == ["reset", "reset", "whole", "whole"]
    assert sim.faults.cdn_reset_after is None


def test_a_reset_before_the_first_byte(sim, url, fetch) -> None:
    sim.faults.cdn_reset_after = 0
    assert (fetch(url).end, fetch(url).body) == ("reset", b"")


def test_a_short_body_ends_in_order(sim, url, film_bytes, fetch) -> None:
    sim.faults.set(cdn_short_after=1234, cdn_short_times=1)
    answer = fetch(url)
    assert (answer.end, answer.body) == ("closed", film_bytes[:1234])
    assert answer.headers["Content-Length"] == "300000"
    assert fetch(url).end == "whole"


def test_a_stall_leaves_the_connection_open(sim, url, film_bytes, fetch) -> None:
    sim.faults.set(cdn_stall_after=5000, cdn_stall_times=1)
    answer = fetch(url, patience=0.3)
    assert (answer.end, answer.body) == ("silent", film_bytes[:5000])
    assert fetch(url).end == "whole"


def test_a_slow_loris_sends_byte_by_byte(sim, url, film_bytes, fetch) -> None:
    sim.faults.set(cdn_drip=0.02, cdn_drip_times=1)
    begin = time.monotonic()
    answer = fetch(url, {"Range": "bytes=0-9"})
    assert (answer.end, answer.body) == ("whole", film_bytes[:10])
    assert time.monotonic() - begin > 0.15
    assert fetch(url).end == "whole"


def test_a_slow_loris_of_a_file_on_disk(tmp_path, sim, api, fetch) -> None:
    (tmp_path / "film.mkv").write_bytes(b"0123456789")
    url = api.url(sim.add_torrent("Disk", {"/film.mkv": tmp_path / "film.mkv"}))
    sim.faults.cdn_drip = 0.01
    assert fetch(url, {"Range": "bytes=2-6"}).body == b"23456"


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_one_byte_is_corrupted(tmp_path, sim, api, film_bytes, fetch, where) -> None:
    (tmp_path / "film.mkv").write_bytes(film_bytes)
    source = film_bytes if where == "memory" else tmp_path / "film.mkv"
    url = api.url(sim.add_torrent("Copy", {"/film.mkv": source}))
    sim.faults.cdn_corrupt_at = 100_001
    body = fetch(url).body
    assert [index for index in range(300_000) if body[index] != film_bytes[index]] == [100_001]
    assert body[100_001] == film_bytes[100_001] ^ 0xFF
    assert fetch(url, {"Range": "bytes=100001-100003"}).body[0] == body[100_001]
    assert fetch(url, {"Range": "bytes=0-100000"}).body == film_bytes[:100_001]


def test_corruption_is_spent_where_it_shows(sim, url, film_bytes, fetch) -> None:
    sim.faults.set(cdn_corrupt_at=1000, cdn_corrupt_times=1)
    assert fetch(url, {"Range": "bytes=0-999"}).body == film_bytes[:1000]
    assert fetch(url).body != film_bytes
    assert fetch(url).body == film_bytes


def test_ranges_may_be_ignored(sim, url, film_bytes, fetch) -> None:
    sim.faults.cdn_ignore_range = True
    answer = fetch(url, {"Range": "bytes=1000-1999"})
    assert (answer.status, answer.body) == (200, film_bytes)
    assert "Content-Range" not in answer.headers


def test_head_may_be_broken(sim, url, fetch) -> None:
    sim.faults.cdn_head_status = 405
    assert fetch(url, method="HEAD").status == 405
    assert fetch(url, {"Range": "bytes=0-0"}).status == 206


@pytest.mark.parametrize("status", [403, 404, 410, 416, 429, 500, 502, 503, 504])
def test_any_status(sim, url, fetch, status) -> None:
    sim.faults.cdn_status = status
    for _ in range(2):
        answer = fetch(url, {"Range": "bytes=0-0"})
        assert answer.status == status
        assert b"<html>" in answer.body


def test_a_status_a_few_times_with_its_reason(sim, url, fetch) -> None:
    sim.faults.set(cdn_status=503, cdn_status_times=2, cdn_error="read_pxy_timeout", cdn_status_body="empty")
    answers = [fetch(url) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["X-Error"] == "read_pxy_timeout"
    assert answers[0].body == b""
    assert "X-Error" not in answers[2].headers


def test_faults_can_be_narrowed_to_a_file(sim, api, film, fetch) -> None:
    other = api.url(sim.add_torrent("Other", {"/other.mkv": bytes(1000)}))
    url = api.url(film)
    sim.faults.set(cdn_only="other*", cdn_status=502)
    assert (fetch(url).status, fetch(other).status) == (200, 502)
    sim.faults.set(cdn_status=None, cdn_reset_after=10, cdn_rate=1.0)
    assert (fetch(url).end, fetch(other, {"Range": "bytes=0-0"}, patience=0.3).end) == ("whole", "silent")


def test_faults_can_be_narrowed_to_a_host(fetch) -> None:
    with Simulator(cdn_hosts=2) as sim:
        link = sim.add_torrent("Film", {"/film.mkv": b"x"}).links[0].url
        form, query = {"link": link}, {"auth_token": sim.token}
        url = requests.post(sim.api_url + "/unrestrict/link", form, params=query, timeout=5).json()["download"]
        other = url.replace(sim.cdn_urls[0], sim.cdn_urls[1])
        with sim.faults.set(cdn_only_host=1, cdn_status=502):
            assert (fetch(url).status, fetch(other).status) == (200, 502)
        with sim.faults.set(cdn_only_host=0, cdn_outage="refused"):
            with pytest.raises(ConnectionRefusedError):
                fetch(url)
            assert fetch(other).status == 200
        assert fetch(url).status == 200


def test_the_cdn_may_be_out_of_order(sim, url, fetch) -> None:
    with sim.faults.set(cdn_outage="html"):
        assert fetch(url).status == 503
    with sim.faults.set(cdn_outage="closed"), pytest.raises(ConnectionError):
        fetch(url)
    with sim.faults.set(cdn_outage="refused"), pytest.raises(ConnectionRefusedError):
        fetch(url)
    assert fetch(url).status == 200


@pytest.mark.parametrize("outage", ["closed", "refused"])
def test_an_outage_cuts_running_bodies(sim, url, fetch, outage) -> None:
    sim.faults.cdn_rate = 10_000.0
    results = []
    thread = threading.Thread(target=lambda: results.append(fetch(url)))
    thread.start()
    while not sim.cdn_bytes:
        time.sleep(0.01)
    sim.faults.cdn_outage = outage
    thread.join()
    assert results[0].end in ("closed", "reset")
    assert len(results[0].body) < 100_000


def test_a_daily_quota_until_midnight_in_paris(fetch) -> None:
    noon = 1_720_785_791.0  # 2024-07-12 14:03:11 in Paris
    with Simulator(clock=lambda: noon) as sim:
        link = sim.add_torrent("Film", {"/film.mkv": bytes(1000)}).links[0].url
        form, query = {"link": link}, {"auth_token": sim.token}
        url = requests.post(sim.api_url + "/unrestrict/link", form, params=query, timeout=5).json()["download"]
        sim.faults.cdn_quota = 1500
        assert [fetch(url).status for _ in range(3)] == [200, 200, 503]
        assert fetch(url).headers["X-Error"] == "bytes_limit_reached"
        with sim.faults.set(cdn_quota_status=509):
            assert fetch(url).status == 509
        sim.advance(9.9 * 3600)
        assert fetch(url).status == 503
        sim.advance(0.1 * 3600)
        assert fetch(url).status == 200
