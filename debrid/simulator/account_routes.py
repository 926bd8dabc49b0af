"""Routes of time, user, traffic, hosts and settings."""

from datetime import date, timedelta

from debrid.simulator.clock import iso_text, local_day, local_text
from debrid.simulator.profile import LARGEST_AVATAR
from debrid.simulator.routing import Call, Route
from debrid.simulator.site import Site
from debrid.simulator.unrestrict import SUPPORTED
from debrid.simulator.wire import NOTHING, TEXT, ApiError, Reply, missing

_GIGABYTE = 1 << 30
_LONGEST_SPAN = 31  # days
_USUAL_SPAN = 7


def _time(site: Site, call: Call) -> Reply:
    return Reply(text=local_text(site.clock.now()), type=TEXT)


def _time_iso(site: Site, call: Call) -> Reply:
    return Reply(text=iso_text(site.clock.now()), type=TEXT)


def _disable(site: Site, call: Call) -> Reply:
    site.tokens.disable(call.token)
    return NOTHING


def _user(site: Site, call: Call) -> Reply:
    profile = site.profile
    left = 0 if site.faults.account == "free" else profile.premium_left
    return Reply(
        value={
            "id": 4711,
            "username": "simulator",
            "email": "si*****@example.org",
            "points": profile.points,
            "locale": profile.locale,
            "avatar": profile.avatar,
            "type": "premium" if left else "free",
            "premium": left,
            "expiration": site.views.date(profile.expires),
        }
    )


def _traffic(site: Site, call: Call) -> Reply:
    """Only hosters with a limit are shown; what the CDN sends counts for `remote`, which pays per byte."""
    used, limit = site.traffic.today(), 200 * _GIGABYTE
    remote = {"left": limit - used, "bytes": used, "links": 0, "limit": 200, "type": "gigabytes"}
    hoster = {"left": 100, "bytes": 0, "links": 0, "limit": 100, "type": "links"}
    rest: dict[str, object] = {"extra": 0, "reset": "daily"}
    return Reply(value={"remote": remote | rest, "turbobit.net": hoster | rest})


def _traffic_details(site: Site, call: Call) -> Reply:
    today = date.fromisoformat(local_day(site.clock.now()))
    end = _day(call, "end", today)
    start = _day(call, "start", end - timedelta(days=_USUAL_SPAN - 1))
    if not 0 <= (end - start).days <= _LONGEST_SPAN:
        raise ApiError(2, "{start} is invalid")
    days = site.traffic.days(start.isoformat(), end.isoformat())
    if not days and site.faults.empty_maps_as_lists:
        return Reply(value=[])
    return Reply(value=days)


def _day(call: Call, name: str, default: date) -> date:
    try:
        return date.fromisoformat(call.query[name]) if name in call.query else default
    except ValueError as problem:
        raise ApiError(2, f"{{{name}}} is invalid") from problem


def _host(number: int, name: str) -> dict[str, object]:
    return {
        "id": str(number),
        "name": name,
        "image": f"https://fcdn.real-debrid.com/images/hosters/{name}.png",
    }


def _hosts(site: Site, call: Call) -> Reply:
    return Reply(value={name: _host(number, name) for number, name in enumerate(SUPPORTED, 1)})


def _hosts_status(site: Site, call: Call) -> Reply:
    checked = site.views.date(site.clock.now())
    state = {"supported": 1, "status": "up", "check_time": checked}
    competitors = {"competitors_status": {"example.org": {"status": "up", "check_time": checked}}}
    return Reply(value={name: _host(number, name) | state | competitors for number, name in enumerate(SUPPORTED, 1)})


def _hosts_regex(site: Site, call: Call) -> Reply:
    escaped = [name.replace(".", r"\.") for name in SUPPORTED]
    return Reply(value=[rf"/(http|https):\/\/(\w+\.)?{name}\/.+/" for name in escaped])


def _hosts_regex_folder(site: Site, call: Call) -> Reply:
    return Reply(value=[r"/(http|https):\/\/(\w+\.)?mega\.nz\/folder\/.+/"])


def _hosts_domains(site: Site, call: Call) -> Reply:
    return Reply(value=list(SUPPORTED))


def _settings(site: Site, call: Call) -> Reply:
    return Reply(value=site.profile.settings())


def _update(site: Site, call: Call) -> Reply:
    name, value = call.need("setting_name"), call.need("setting_value")
    if not site.profile.update(name, value):
        raise ApiError(2, "{setting_value} is invalid")
    return NOTHING


def _convert(site: Site, call: Call) -> Reply:
    """Which error_code says that the points do not suffice is not documented; the status is."""
    if not site.profile.convert_points():
        raise ApiError(25)
    return NOTHING


def _password(site: Site, call: Call) -> Reply:
    """An e-mail would start the change."""
    return NOTHING


def _avatar(site: Site, call: Call) -> Reply:
    if not call.body:
        raise missing("avatar")
    if len(call.body) > LARGEST_AVATAR:
        raise ApiError(26)
    site.profile.set_avatar(len(call.body))
    return NOTHING


def _avatar_delete(site: Site, call: Call) -> Reply:
    site.profile.drop_avatar()
    return NOTHING


ROUTES = (
    Route("GET", "/disable_access_token", _disable, free=True),
    Route("GET", "/time", _time, open=True),
    Route("GET", "/time/iso", _time_iso, open=True),
    Route("GET", "/user", _user, free=True),
    Route("GET", "/traffic", _traffic, free=True),
    Route("GET", "/traffic/details", _traffic_details, free=True),
    Route("GET", "/hosts", _hosts, open=True),
    Route("GET", "/hosts/status", _hosts_status, free=True),
    Route("GET", "/hosts/regex", _hosts_regex, open=True),
    Route("GET", "/hosts/regexFolder", _hosts_regex_folder, open=True),
    Route("GET", "/hosts/domains", _hosts_domains, open=True),
    Route("GET", "/settings", _settings, free=True),
    Route("POST", "/settings/update", _update, free=True),
    Route("POST", "/settings/convertPoints", _convert, free=True),
    Route("POST", "/settings/changePassword", _password, free=True),
    Route("PUT", "/settings/avatarFile", _avatar, free=True),
    Route("DELETE", "/settings/avatarDelete", _avatar_delete, free=True),
)
