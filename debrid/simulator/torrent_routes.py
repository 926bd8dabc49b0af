"""Routes of /torrents."""

from debrid.simulator.lifecycle import ACTIVE, WAITING
from debrid.simulator.paging import Window, paged, window
from debrid.simulator.routing import Call, Route
from debrid.simulator.site import Site
from debrid.simulator.torrents import SimTorrent
from debrid.simulator.wire import NOTHING, ApiError, Reply, missing

# availableHosts gives no unit; clients do not use it.
_MAX_FILE_SIZE = 2000


def _list(site: Site, call: Call) -> Reply:
    site_faults = site.faults
    chosen = _filtered(site, call.query.get("filter"))
    fault = site_faults.take("list_fault")
    where = window(call.query, len(chosen), site_faults)
    if fault == "object":
        return Reply(value={})
    if fault == "empty_array":
        return Reply(value=[], headers={"X-Total-Count": "0"})
    if fault == "no_content":
        return NOTHING
    if fault == "half":
        chosen = chosen[: len(chosen) // 2]
        where = window(call.query, len(chosen), site_faults)
    rows = [site.views.torrent(torrent) for torrent in chosen[where.first : where.last]]
    _disturb(site, where, len(chosen))
    return paged(rows, len(chosen), site_faults)


def _filtered(site: Site, wanted: str | None) -> list[SimTorrent]:
    torrents = site.account.torrents()
    if wanted != "active":
        return torrents
    shown = ACTIVE | ({WAITING} if site.faults.waiting_is_active else frozenset())
    return [torrent for torrent in torrents if torrent.status in shown]


def _disturb(site: Site, where: Window, total: int) -> None:
    """Change the list between this page and the next, if a fault says so."""
    if where.last >= total:
        return
    if site.faults.spend("insert_between_pages"):
        site.account.insert_stranger()
    if site.faults.spend("remove_between_pages"):
        site.account.remove_newest()


def _info(site: Site, call: Call) -> Reply:
    return Reply(value=site.views.info(site.account.get(call.args[0])))


def _availability(site: Site, call: Call) -> Reply:
    """Switched off by Real-Debrid in November 2024."""
    raise ApiError(37)


def _active_count(site: Site, call: Call) -> Reply:
    active = site.account.active()
    hashes = [torrent.hash for torrent in active]
    return Reply(value={"nb": len(active), "limit": site.faults.active_limit, "list": hashes})


def _hosts(site: Site, call: Call) -> Reply:
    return Reply(value=[{"host": "real-debrid.com", "max_file_size": _MAX_FILE_SIZE}])


def _added(site: Site, torrent: SimTorrent) -> Reply:
    return Reply(201, {"id": torrent.id, "uri": f"{site.api_url()}/torrents/info/{torrent.id}"})


def _add_torrent(site: Site, call: Call) -> Reply:
    if not call.body:
        raise missing("torrent")
    return _added(site, site.account.add_metainfo(call.body, site.limiter.throttled()))


def _add_magnet(site: Site, call: Call) -> Reply:
    return _added(site, site.account.add_magnet(call.need("magnet"), site.limiter.throttled()))


def _select(site: Site, call: Call) -> Reply:
    site.account.select(call.args[0], call.form.get("files"))
    return NOTHING


def _delete(site: Site, call: Call) -> Reply:
    site.account.delete(call.args[0])
    return NOTHING


ROUTES = (
    Route("GET", "/torrents", _list),
    Route("GET", "/torrents/info/{id}", _info),
    Route("GET", "/torrents/instantAvailability{rest}", _availability),
    Route("GET", "/torrents/activeCount", _active_count),
    Route("GET", "/torrents/availableHosts", _hosts),
    Route("PUT", "/torrents/addTorrent", _add_torrent),
    Route("POST", "/torrents/addMagnet", _add_magnet),
    Route("POST", "/torrents/selectFiles/{id}", _select),
    Route("DELETE", "/torrents/delete/{id}", _delete),
)
