"""What the API does wrong, switch by switch."""

import threading
import time

import pytest
import requests


def timed(call, *arguments):
    begin = time.monotonic()
    call(*arguments)
    return time.monotonic() - begin


# -- latency


def test_latency_by_prefix_the_longest_wins(sim, api, film) -> None:
    sim.faults.set(api_latency=0.1, api_latency_by_prefix={"/torrents": 0.3, "/torrents/info": 0.0})
    assert 0.1 <= timed(api.get, "/user") < 0.3
    assert timed(api.get, "/torrents") >= 0.3
    assert timed(api.get, f"/torrents/info/{film.id}") < 0.1


def test_jitter(sim, api) -> None:
    sim.faults.api_jitter = 0.1
    assert 0.02 < sum(timed(api.get, "/time") for _ in range(5)) < 1


# -- forced answers


def test_429_always(sim, api) -> None:
    sim.faults.api_status = 429
    for path in ("/user", "/torrents", "/time"):
        answer = api.get(path)
        assert answer.json() == {"error": "too_many_requests", "error_code": 34}
        assert answer.status_code == 429
        assert "Retry-After" not in answer.headers


def test_429_for_the_next_calls_with_retry_after(sim, api) -> None:
    sim.faults.set(api_status=429, api_status_times=2, retry_after=30)
    answers = [api.get("/user") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "30"
    assert "Retry-After" not in answers[2].headers


def test_429_for_a_prefix(sim, api) -> None:
    sim.faults.set(api_status=429, api_status_prefix="/torrents", api_status_times=1)
    assert api.get("/user").status_code == 200
    assert api.get("/torrents/activeCount").status_code == 429
    assert api.get("/torrents/activeCount").status_code == 200


def test_slow_down_is_another_code(sim, api) -> None:
    sim.faults.set(api_status=429, api_status_code=5)
    assert api.get("/user").json() == {"error": "slow_down", "error_code": 5}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_gateways_answer_with_html(sim, api, status) -> None:
    sim.faults.api_status = status
    answer = api.get("/torrents")
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_gateways_may_answer_with_nothing_or_json(sim, api) -> None:
    sim.faults.set(api_status=503, api_status_body="empty")
    assert api.get("/user").content == b""
    sim.faults.set(api_status_body="json")
    assert api.get("/user").json() == {"error": "internal_error", "error_code": -1}
    sim.faults.set(api_status_code=6)
    assert api.error(api.get("/user")) == (503, 6)


# -- outages


def test_maintenance(sim, api) -> None:
    with sim.faults.set(api_outage="maintenance"):
        answer = api.get("/torrents")
        assert answer.json() == {"error": "service_unavailable", "error_code": 25}
        assert answer.status_code == 503
        assert api.get("/time").status_code == 503
    assert api.get("/time").status_code == 200


def test_an_outage_behind_html(sim, api) -> None:
    sim.faults.api_outage = "html"
    assert api.get("/torrents").text.startswith("<!DOCTYPE html>")


def test_connections_can_be_closed(sim, api) -> None:
    with sim.faults.set(api_outage="closed"), pytest.raises(requests.ConnectionError):
        api.get("/torrents")
    assert api.get("/user").status_code == 200


def test_connections_can_be_refused(sim, api) -> None:
    url = sim.api_url
    assert api.get("/user").status_code == 200
    with sim.faults.set(api_outage="refused"):
        with pytest.raises(requests.ConnectionError, match="refused"):
            requests.get(sim.api_url + "/time", timeout=5)
        with pytest.raises(requests.ConnectionError):
            api.get("/user")
    assert sim.api_url == url
    assert api.get("/user").status_code == 200


def test_a_reply_can_be_lost_although_the_request_was_carried_out(sim, api) -> None:
    info_hash = sim.offer("Film", {"/film.mkv": b"x"})
    sim.faults.set(api_lost_reply="/torrents/addMagnet", api_lost_reply_times=1)
    with pytest.raises(requests.ConnectionError):
        api.add(info_hash)
    assert [torrent.hash for torrent in sim.torrents] == [info_hash]
    api.add(info_hash)
    assert len(sim.torrents) == 2


# -- lists


def test_a_list_can_be_an_empty_object(sim, api, film) -> None:
    sim.faults.set(list_fault="object", list_fault_times=1)
    answer = api.get("/torrents")
    assert (answer.status_code, answer.json()) == (200, {})
    assert len(api.get("/torrents").json()) == 1


def test_a_list_can_be_204_although_there_are_torrents(sim, api, film) -> None:
    with sim.faults.set(list_fault="no_content"):
        answer = api.get("/torrents")
        assert (answer.status_code, answer.content) == (204, b"")
        assert api.info(film.id)["status"] == "downloaded"
    assert api.get("/torrents").status_code == 200


def test_a_list_can_be_an_empty_array(sim, api, film) -> None:
    sim.faults.list_fault = "empty_array"
    answer = api.get("/torrents")
    assert (answer.status_code, answer.json(), answer.headers["X-Total-Count"]) == (200, [], "0")


def test_a_list_can_shrink_to_half(sim, api) -> None:
    for number in range(8):
        sim.add_torrent(f"T{number}", {"/a.mkv": bytes([number])})
    with sim.faults.set(list_fault="half"):
        answer = api.get("/torrents")
        assert [row["filename"] for row in answer.json()] == ["T7", "T6", "T5", "T4"]
        assert answer.headers["X-Total-Count"] == "4"
        assert len(api.get("/torrents", limit=2, page=2).json()) == 2
        assert api.get("/torrents", limit=2, page=3).status_code == 204
    assert len(api.get("/torrents").json()) == 8


def pages(api):
    rows = []
    for page in range(1, 10):
        answer = api.get("/torrents", limit=2, page=page)
        if answer.status_code == 204:
            break
        rows += [row["filename"] for row in answer.json()]
    return rows


def test_a_torrent_added_between_two_pages_shows_a_row_twice(sim, api) -> None:
    for number in range(4):
        sim.add_torrent(f"T{number}", {"/a.mkv": bytes([number])})
    sim.faults.insert_between_pages = 1
    assert pages(api) == ["T3", "T2", "T2", "T1", "T0"]
    assert len(pages(api)) == 5


def test_a_torrent_removed_between_two_pages_hides_a_row(sim, api) -> None:
    for number in range(4):
        sim.add_torrent(f"T{number}", {"/a.mkv": bytes([number])})
    sim.faults.remove_between_pages = 1
    assert pages(api) == ["T3", "T2", "T0"]
    assert pages(api) == ["T2", "T1", "T0"]


# -- many at once


def test_many_clients_at_once(sim, api) -> None:
    info_hash = sim.offer("Film", {"/film.mkv": b"x"})

    def work() -> None:
        with requests.Session() as session:
            session.params = {"auth_token": sim.token}
            magnet = {"magnet": sim.magnet(info_hash)}
            ident = session.post(sim.api_url + "/torrents/addMagnet", magnet, timeout=10).json()["id"]
            session.post(f"{sim.api_url}/torrents/selectFiles/{ident}", {"files": "all"}, timeout=10)
            session.get(sim.api_url + "/torrents", timeout=10)

    threads = [threading.Thread(target=work) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = api.get("/torrents").json()
    assert len({row["id"] for row in rows}) == 24
    assert {row["status"] for row in rows} == {"downloaded"}
