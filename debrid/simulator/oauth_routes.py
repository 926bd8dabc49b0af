"""Routes of /oauth/v2: the device flow, with and without a secret, the three-legged flow, and refreshing."""

from urllib.parse import urlencode

from debrid.simulator.routing import Call, Route
from debrid.simulator.site import Site
from debrid.simulator.tokens import DEVICE_SECONDS, Device
from debrid.simulator.wire import ApiError, Reply, missing

DEVICE_GRANT = "http://oauth.net/grant_type/device/1.0"
_GRANTS = (DEVICE_GRANT, "authorization_code", "refresh_token")
_INTERVAL = 5
_VERIFICATION = "https://real-debrid.com/device"


def _query(call: Call, name: str) -> str:
    value = call.query.get(name)
    if not value:
        raise missing(name)
    return value


def _client(site: Site, call: Call) -> str:
    client_id = _query(call, "client_id")
    if not site.tokens.knows(client_id):
        raise ApiError(9)
    return client_id


def _device_code(site: Site, call: Call) -> Reply:
    code, device = site.tokens.new_device(_client(site, call), site.faults.oauth_approve_after)
    return Reply(
        value={
            "device_code": code,
            "user_code": device.user_code,
            "interval": _INTERVAL,
            "expires_in": DEVICE_SECONDS,
            "verification_url": _VERIFICATION,
            "direct_verification_url": f"https://real-debrid.com/authorize?device_id={code}",
        }
    )


def _pending() -> Reply:
    """Clients take 403 without an error_code as "not yet"."""
    return Reply(403, {"error": "authorization_pending", "error_code": None})


def _waiting_device(site: Site, call: Call, code: str) -> Device:
    device = site.tokens.device(code)
    if device is None or site.faults.oauth_revoked:
        raise ApiError(9)
    return device


def _device_credentials(site: Site, call: Call) -> Reply:
    client_id, code = _client(site, call), _query(call, "code")
    device = _waiting_device(site, call, code)
    if device.client_id != client_id:
        raise ApiError(9)
    if not site.tokens.is_approved(device):
        return _pending()
    client_id, secret = site.tokens.new_credentials(code)
    return Reply(value={"client_id": client_id, "client_secret": secret})


def _token(site: Site, call: Call) -> Reply:
    client_id, code, grant = call.need("client_id"), call.need("code"), call.need("grant_type")
    if grant not in _GRANTS:
        raise ApiError(2, "{grant_type} is invalid")
    if site.faults.oauth_revoked or not site.tokens.secret_fits(client_id, call.form.get("client_secret", "")):
        raise ApiError(9)
    device = site.tokens.device(code)
    if device and not device.used and not site.tokens.is_approved(device):
        return _pending()
    seconds = site.faults.oauth_token_seconds
    pair = site.tokens.redeem(grant, client_id, code, seconds)
    if pair is None:
        raise ApiError(9)
    return Reply(
        value={
            "access_token": pair[0],
            "expires_in": seconds,
            "token_type": "Bearer",
            "refresh_token": pair[1],
        }
    )


def _authorize(site: Site, call: Call) -> Reply:
    """The user agrees at once; the application gets its code by the redirect."""
    client_id, target = _client(site, call), _query(call, "redirect_uri")
    if call.query.get("response_type") != "code":
        raise ApiError(2, "{response_type} is invalid")
    answer = {"code": site.tokens.new_code(client_id)}
    if "state" in call.query:
        answer["state"] = call.query["state"]
    joint = "&" if "?" in target else "?"
    return Reply(302, headers={"Location": target.replace("\r", "").replace("\n", "") + joint + urlencode(answer)})


ROUTES = (
    Route("GET", "/device/code", _device_code, open=True),
    Route("GET", "/device/credentials", _device_credentials, open=True),
    Route("POST", "/token", _token, open=True),
    Route("GET", "/auth", _authorize, open=True),
)
