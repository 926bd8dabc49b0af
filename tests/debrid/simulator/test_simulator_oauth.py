"""The OAuth2 flows."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

PUBLIC = "X245A4XAIBGVM"
GRANT = "http://oauth.net/grant_type/device/1.0"


@pytest.fixture
def oauth(sim):
    class OAuth:
        def get(self, path, **query):
            return requests.get(sim.oauth_url + path, params=query, timeout=5, allow_redirects=False)

        def token(self, **form):
            return requests.post(sim.oauth_url + "/token", data=form, timeout=5)

        def works(self, token):
            answer = requests.get(sim.api_url + "/user", headers={"Authorization": f"Bearer {token}"}, timeout=5)
            return answer.status_code == 200

    return OAuth()


@pytest.fixture
def credentials(sim, oauth):
    """A device that the user has approved: its code, id and secret."""
    code = oauth.get("/device/code", client_id=PUBLIC, new_credentials="yes").json()["device_code"]
    sim.approve_device()
    given = oauth.get("/device/credentials", client_id=PUBLIC, code=code).json()
    return {"client_id": given["client_id"], "client_secret": given["client_secret"], "code": code, "grant_type": GRANT}


def test_a_device_code_has_the_documented_fields(oauth) -> None:
    given = oauth.get("/device/code", client_id=PUBLIC, new_credentials="yes").json()
    assert set(given) == {
        "device_code",
        "user_code",
        "interval",
        "expires_in",
        "verification_url",
        "direct_verification_url",
    }
    assert (given["interval"], given["expires_in"]) == (5, 1800)
    assert given["verification_url"] == "https://real-debrid.com/device"


def test_credentials_are_403_without_a_code_until_the_user_agrees(sim, oauth) -> None:
    sim.faults.oauth_approve_after = 10.0
    code = oauth.get("/device/code", client_id=PUBLIC).json()["device_code"]
    waiting = oauth.get("/device/credentials", client_id=PUBLIC, code=code)
    assert waiting.status_code == 403
    assert waiting.json()["error_code"] is None
    sim.advance(10)
    assert set(oauth.get("/device/credentials", client_id=PUBLIC, code=code).json()) == {"client_id", "client_secret"}


def test_a_user_may_never_agree(sim, oauth) -> None:
    sim.faults.oauth_approve_after = None
    code = oauth.get("/device/code", client_id=PUBLIC).json()["device_code"]
    sim.advance(1799)
    assert oauth.get("/device/credentials", client_id=PUBLIC, code=code).json()["error_code"] is None
    sim.advance(1)
    assert oauth.get("/device/credentials", client_id=PUBLIC, code=code).json()["error_code"] == 9


def test_an_unknown_application_is_refused(oauth) -> None:
    assert oauth.get("/device/code", client_id="WHO").status_code == 403
    assert oauth.get("/device/code").status_code == 400


def test_a_device_gets_a_token_that_works(oauth, credentials) -> None:
    given = oauth.token(**credentials).json()
    assert set(given) == {"access_token", "expires_in", "token_type", "refresh_token"}
    assert (given["expires_in"], given["token_type"]) == (3600, "Bearer")
    assert oauth.works(given["access_token"])


def test_a_device_code_works_once(oauth, credentials) -> None:
    assert oauth.token(**credentials).status_code == 200
    assert oauth.token(**credentials).status_code == 403


def test_a_wrong_secret_is_refused(oauth, credentials) -> None:
    assert oauth.token(**(credentials | {"client_secret": "wrong"})).status_code == 403


def test_an_unknown_grant_is_refused(oauth, credentials) -> None:
    assert oauth.token(**(credentials | {"grant_type": "magic"})).status_code == 400


def test_an_access_token_expires_and_is_refreshed(sim, oauth, credentials) -> None:
    sim.faults.oauth_token_seconds = 600
    first = oauth.token(**credentials).json()
    assert first["expires_in"] == 600
    sim.advance(601)
    assert not oauth.works(first["access_token"])
    again = oauth.token(**(credentials | {"code": first["refresh_token"]})).json()
    assert oauth.works(again["access_token"])
    assert again["access_token"] != first["access_token"]


def test_a_withdrawn_application_is_403(sim, oauth, credentials) -> None:
    first = oauth.token(**credentials).json()
    sim.faults.oauth_revoked = True
    assert oauth.token(**(credentials | {"code": first["refresh_token"]})).status_code == 403
    code = oauth.get("/device/code", client_id=PUBLIC).json()["device_code"]
    assert oauth.get("/device/credentials", client_id=PUBLIC, code=code).status_code == 403


def test_an_application_with_a_secret_polls_the_token_itself(sim, oauth) -> None:
    code = oauth.get("/device/code", client_id="SIMULATEDAPP").json()["device_code"]
    form = {"client_id": "SIMULATEDAPP", "client_secret": "simulated-app-secret", "code": code, "grant_type": GRANT}
    waiting = oauth.token(**form)
    assert (waiting.status_code, waiting.json()["error_code"]) == (403, None)
    sim.approve_device()
    assert oauth.works(oauth.token(**form).json()["access_token"])


def test_three_legs(oauth) -> None:
    query = {"client_id": "SIMULATEDAPP", "redirect_uri": "https://app.example/back", "response_type": "code"}
    answer = oauth.get("/auth", **query, state="s1")
    assert answer.status_code == 302
    target = urlsplit(answer.headers["Location"])
    assert target.netloc == "app.example"
    values = parse_qs(target.query)
    assert values["state"] == ["s1"]
    form = {"client_id": "SIMULATEDAPP", "client_secret": "simulated-app-secret", "grant_type": "authorization_code"}
    code = values["code"][0]
    assert oauth.works(oauth.token(**form, code=code).json()["access_token"])
    assert oauth.token(**form, code=code).status_code == 403


def test_asking_for_tokens_too_often_is_429(sim, oauth, credentials) -> None:
    sim.faults.set(rate_limits=True, limit_tokens_per_minute=2)
    statuses = [oauth.token(**(credentials | {"code": "X"})).status_code for _ in range(3)]
    assert statuses == [403, 403, 429]


def test_faults_reach_oauth_by_its_own_prefix(sim, oauth) -> None:
    with sim.faults.set(api_status=502, api_status_prefix="/oauth/v2"):
        assert oauth.get("/device/code", client_id=PUBLIC).status_code == 502
        assert requests.get(sim.api_url + "/time", timeout=5).status_code == 200
