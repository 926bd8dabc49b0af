"""Who may call what."""

import pytest
import requests

OPEN = ["/time", "/time/iso", "/hosts", "/hosts/regex", "/hosts/regexFolder", "/hosts/domains"]
CLOSED = [
    ("GET", "/disable_access_token"),
    ("GET", "/user"),
    ("POST", "/unrestrict/link"),
    ("POST", "/unrestrict/folder"),
    ("PUT", "/unrestrict/containerFile"),
    ("POST", "/unrestrict/containerLink"),
    ("GET", "/traffic"),
    ("GET", "/traffic/details"),
    ("GET", "/streaming/transcode/X"),
    ("GET", "/streaming/mediaInfos/X"),
    ("GET", "/downloads"),
    ("DELETE", "/downloads/delete/X"),
    ("GET", "/torrents"),
    ("GET", "/torrents/info/X"),
    ("GET", "/torrents/instantAvailability/" + "a" * 40),
    ("GET", "/torrents/activeCount"),
    ("GET", "/torrents/availableHosts"),
    ("PUT", "/torrents/addTorrent"),
    ("POST", "/torrents/addMagnet"),
    ("POST", "/torrents/selectFiles/X"),
    ("DELETE", "/torrents/delete/X"),
    ("GET", "/hosts/status"),
    ("GET", "/settings"),
    ("POST", "/settings/update"),
    ("POST", "/settings/convertPoints"),
    ("POST", "/settings/changePassword"),
    ("PUT", "/settings/avatarFile"),
    ("DELETE", "/settings/avatarDelete"),
]


@pytest.mark.parametrize("path", OPEN)
def test_open_endpoints_need_no_token(sim, path) -> None:
    assert requests.get(sim.api_url + path, timeout=5).status_code == 200


def test_checking_a_link_needs_no_token(sim, film) -> None:
    answer = requests.post(sim.api_url + "/unrestrict/check", data={"link": film.links[0].url}, timeout=5)
    assert answer.status_code == 200


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer WRONG"}], ids=["none", "wrong"])
def test_all_others_do(sim, api, method, path, headers) -> None:
    answer = requests.request(method, sim.api_url + path, headers=headers, timeout=5)
    assert answer.status_code == 401
    assert answer.json() == {"error": "bad_token", "error_code": 8}


def test_the_token_may_stand_in_the_query(sim) -> None:
    good = requests.get(sim.api_url + "/user", params={"auth_token": sim.token}, timeout=5)
    bad = requests.get(sim.api_url + "/user", params={"auth_token": "WRONG"}, timeout=5)
    assert (good.status_code, bad.status_code) == (200, 401)


def test_a_disabled_token_is_refused_afterwards(api) -> None:
    assert api.get("/disable_access_token").status_code == 204
    assert api.error(api.get("/user")) == (401, 8)


@pytest.mark.parametrize(
    ("state", "error"),
    [("locked", (403, 14)), ("bad_token", (401, 8)), ("free", (403, 20)), ("permission_denied", (403, 9))],
)
def test_the_state_of_the_account_can_be_switched(sim, api, state, error) -> None:
    with sim.faults.set(account=state):
        assert api.error(api.get("/torrents")) == error
        assert api.error(api.post("/unrestrict/link", link="x")) == error
    assert api.get("/torrents").status_code == 204


def test_a_token_may_be_refused_only_a_few_times(sim, api) -> None:
    sim.faults.set(account="bad_token", account_times=2)
    assert [api.get("/torrents").status_code for _ in range(4)] == [401, 401, 204, 204]


def test_a_free_account_still_sees_its_user(sim, api) -> None:
    with sim.faults.set(account="free"):
        user = api.get("/user").json()
    assert (user["type"], user["premium"]) == ("free", 0)
    assert api.get("/user").json()["type"] == "premium"


def test_the_subscription_runs_out_with_the_clock(sim, api) -> None:
    sim.advance(181 * 86400)
    assert api.get("/user").json()["type"] == "free"
    assert api.error(api.get("/torrents")) == (403, 20)
