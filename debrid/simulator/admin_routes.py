"""The surface for another process: faults, journal and clock over HTTP, under /admin on the API's port."""

import ipaddress
import json
from dataclasses import asdict
from typing import Any

from debrid.simulator import routing
from debrid.simulator.routing import Call, Route
from debrid.simulator.site import Site
from debrid.simulator.wire import NOTHING, ApiError, Reply


def answer(site: Site, call: Call, ip: str) -> Reply:
    """Only for this machine, whatever the simulator listens on. No token, no faults, not in the journal."""
    if not ipaddress.ip_address(ip).is_loopback:
        return _problem(403, "only from this machine")
    try:
        route, args = routing.find(ROUTES, call.method, call.path)
        return route.handler(site, call)
    except ApiError as problem:
        return problem.reply({})
    except (ValueError, TypeError, AttributeError) as problem:
        return _problem(400, str(problem))


def _problem(status: int, text: str) -> Reply:
    return Reply(status, {"error": text})


def _values(call: Call) -> dict[str, Any]:
    values = json.loads(call.body or b"{}")
    if not isinstance(values, dict):
        raise ValueError("expected a JSON object")
    return values


def _show_faults(site: Site, call: Call) -> Reply:
    return Reply(value=site.faults.values())


def _turn_faults(site: Site, call: Call) -> Reply:
    values = _values(call)
    if values.get("api_outage") == "refused":
        raise ValueError("nobody could turn it off again over HTTP; use closed")
    site.faults.put(values)
    return _show_faults(site, call)


def _clear_faults(site: Site, call: Call) -> Reply:
    site.faults.clear()
    return NOTHING


def _show_journal(site: Site, call: Call) -> Reply:
    return Reply(value=[asdict(request) for request in site.journal.requests()])


def _clear_journal(site: Site, call: Call) -> Reply:
    site.journal.clear()
    return NOTHING


def _advance(site: Site, call: Call) -> Reply:
    seconds = _values(call).get("seconds")
    if not isinstance(seconds, (int, float)):
        raise ValueError('expected {"seconds": a number}')
    site.clock.advance(seconds)
    return Reply(value={"now": site.clock.now()})


def _revoke(site: Site, call: Call) -> Reply:
    site.downloads.revoke_all()
    return NOTHING


def _approve(site: Site, call: Call) -> Reply:
    site.tokens.approve()
    return NOTHING


ROUTES = (
    Route("GET", "/admin/faults", _show_faults),
    Route("POST", "/admin/faults", _turn_faults),
    Route("DELETE", "/admin/faults", _clear_faults),
    Route("GET", "/admin/journal", _show_journal),
    Route("DELETE", "/admin/journal", _clear_journal),
    Route("POST", "/admin/advance", _advance),
    Route("POST", "/admin/revoke", _revoke),
    Route("POST", "/admin/approve", _approve),
)
