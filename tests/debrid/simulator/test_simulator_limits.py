"""The account's rate limits."""

import pytest
import requests

from debrid.simulator import Simulator


@pytest.fixture
def limited():
    """Limits on, and a clock that only moves by advance()."""
    with Simulator(rate_limits=True, clock=lambda: 1_720_785_791.0) as simulator:
        yield simulator


@pytest.fixture
def ask(limited):
    with requests.Session() as session:

        def ask(method, path, **form):
            query = {"auth_token": limited.token}
            return session.request(method, limited.api_url + path, params=query, data=form, timeout=5)

        yield ask


def refused(answers):
    """Which of the answers were refused."""
    return [number for number, answer in enumerate(answers) if answer.status_code == 429]


def test_250_calls_a_minute(limited, ask) -> None:
    answers = [ask("GET", "/user") for _ in range(252)]
    assert refused(answers) == [250, 251]
    assert answers[250].json() == {"error": "too_many_requests", "error_code": 34}
    limited.advance(60)
    assert ask("GET", "/user").status_code == 200


def test_refused_calls_count_too(limited, ask) -> None:
    limited.faults.limit_per_minute = 5
    for _ in range(5):
        ask("GET", "/user")
    for _ in range(3):
        limited.advance(25)
        answers = [ask("GET", "/user") for _ in range(4)]
    assert refused(answers) != []


def test_75_lists_a_minute(limited, ask) -> None:
    assert refused([ask("GET", "/torrents") for _ in range(76)]) == [75]
    assert ask("GET", "/user").status_code == 200
    limited.faults.limit_lists_per_minute = 80
    assert ask("GET", "/torrents").status_code == 204


def test_22_changes_in_ten_seconds(limited, ask) -> None:
    answers = [ask("DELETE", "/torrents/delete/X") for _ in range(23)]
    assert refused(answers) == [22]
    assert ask("GET", "/torrents/info/X").status_code == 404
    limited.advance(10)
    assert ask("DELETE", "/torrents/delete/X").status_code == 404
    limited.faults.limit_changes_per_10s = 1
    assert ask("DELETE", "/torrents/delete/X").status_code == 429


def test_unrestricting_too_fast_is_fair_usage(limited, ask) -> None:
    link = limited.add_torrent("Film", {"/film.mkv": b"x"}).links[0].url
    limited.faults.limit_unrestrict_per_minute = 3
    answers = [ask("POST", "/unrestrict/link", link=link) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
    assert answers[3].json() == {"error": "fair_usage_limit", "error_code": 36}


def test_retry_after_if_it_is_on(limited, ask) -> None:
    limited.faults.set(limit_per_minute=0, retry_after=2.5)
    assert ask("GET", "/user").headers["Retry-After"] == "2.5"


def test_hammering_leads_to_a_block(limited, ask) -> None:
    limited.faults.set(limit_per_minute=5, limit_block_after=10, limit_block_seconds=300.0)
    for _ in range(15):
        ask("GET", "/user")
    limited.advance(120)
    assert ask("GET", "/time").status_code == 429
    limited.advance(180)
    assert ask("GET", "/time").status_code == 200


def test_while_throttled_adding_may_be_called_infringing(limited, ask) -> None:
    limited.faults.spurious_infringing = True
    magnet = "magnet:?xt=urn:btih:" + "a" * 40
    assert ask("POST", "/torrents/addMagnet", magnet=magnet).status_code == 201
    limited.faults.set(api_status=429, api_status_times=1)
    ask("GET", "/user")
    answer = ask("POST", "/torrents/addMagnet", magnet=magnet)
    assert (answer.status_code, answer.json()["error_code"]) == (451, 35)
    limited.advance(30)
    assert ask("POST", "/torrents/addMagnet", magnet=magnet).status_code == 201


def test_limits_are_off_unless_asked_for(sim, api) -> None:
    sim.faults.limit_per_minute = 0
    assert api.get("/user").status_code == 200
    sim.faults.rate_limits = True
    assert api.get("/user").status_code == 429
    sim.faults.rate_limits = False
    assert api.get("/user").status_code == 200
