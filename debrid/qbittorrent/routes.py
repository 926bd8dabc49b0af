"""The Web API of qBittorrent 4.6.7 (2.9.3), which all versions of Sonarr and Radarr know how to use.

Each route is a line of a table: what reads takes GET and POST, what changes POST alone. Nothing here waits for the
provider but torrents/add; rows are made from memory.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, make_response, request
from werkzeug.exceptions import HTTPException

from debrid.downloads.sources import LONGEST_METAINFO
from debrid.downloads.words import BadWord
from debrid.errors import StoreError
from debrid.qbittorrent import torrents, words
from debrid.qbittorrent.call import Bad, Call
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.guard import Banned, host_allowed, origin_allowed
from debrid.qbittorrent.torrents import rows
from debrid.qbittorrent.views import category, preferences

log = logging.getLogger(__name__)

PREFIX = "/api/v2"
VERSION, API_VERSION = "v4.6.7", "2.9.3"
LONGEST_BODY = LONGEST_METAINFO + (2 << 20)  # bytes
_LONGEST_FORM = 4 << 20
_MOST_PARTS = 1000
COOKIE = "SID"
"""In which a session is kept; the status page uses the same ones."""

Answer = str | dict[str, Any] | list[Any]
Route = Callable[[Desk, Call], Answer]

# Calls that change nothing here: there is no queue, no peer, no limit and no piece. Clients make them all the same.
_NO_EFFECT = (
    "app/setPreferences", "torrents/topPrio", "torrents/bottomPrio", "torrents/increasePrio", "torrents/decreasePrio",
    "torrents/setForceStart", "torrents/setAutoManagement", "torrents/setSuperSeeding", "torrents/filePrio",
    "torrents/recheck", "torrents/reannounce", "torrents/setShareLimits", "torrents/setDownloadLimit",
    "torrents/setUploadLimit", "torrents/setLocation", "torrents/setSavePath", "torrents/setDownloadPath",
    "torrents/rename", "torrents/renameFile", "torrents/renameFolder", "torrents/toggleSequentialDownload",
    "torrents/toggleFirstLastPiecePrio", "torrents/addTrackers", "torrents/editTracker", "torrents/removeTrackers",
    "torrents/editCategory", "transfer/toggleSpeedLimitsMode", "transfer/setSpeedLimitsMode",
    "transfer/setDownloadLimit", "transfer/setUploadLimit", "transfer/banPeers",
)  # fmt: skip

# What there is nothing to say about.
_NOTHING: Mapping[str, Answer] = {
    "app/cookies": [],
    "app/networkInterfaceList": [],
    "app/networkInterfaceAddressList": [],
    "log/main": [],
    "log/peers": [],
    "torrents/webseeds": [],
    "torrents/pieceStates": [],
    "torrents/pieceHashes": [],
    "torrents/downloadLimit": {},
    "torrents/uploadLimit": {},
    "transfer/speedLimitsMode": "0",
    "transfer/downloadLimit": "0",
    "transfer/uploadLimit": "0",
    "sync/torrentPeers": {"full_update": True, "rid": 1, "peers": {}},
}

_BUILD = {"qt": "6.4.3", "libtorrent": "1.2.19.0", "boost": "1.83.0", "openssl": "3.1.4", "zlib": "1.3", "bitness": 64}


def _transfer(desk: Desk) -> dict[str, Any]:
    speed = sum(each.speed for each in desk.downloads.all() if not each.complete)
    return {
        "connection_status": "connected",
        "dht_nodes": 0,
        "dl_info_data": 0,
        "dl_info_speed": speed,
        "dl_rate_limit": 0,
        "up_info_data": 0,
        "up_info_speed": 0,
        "up_rate_limit": 0,
    }


def _maindata(desk: Desk, call: Call) -> Answer:
    state = {
        **_transfer(desk),
        "alltime_dl": 0,
        "alltime_ul": 0,
        "free_space_on_disk": desk.free_space(),
        "global_ratio": "0.00",
        "queueing": True,
        "refresh_interval": 1500,
        "use_alt_speed_limits": False,
    }
    torrents_now = {row.pop("hash"): row for row in rows(desk)}
    categories = {name: category(name, desk.paths) for name in desk.words.categories}
    now = {"torrents": torrents_now, "categories": categories, "tags": desk.words.tags, "server_state": state}
    return desk.deltas.answer(call.number("rid"), now)


def _always(answer: Answer) -> Route:
    return lambda desk, call: answer


_READ: Mapping[str, Route] = {
    "app/version": lambda desk, call: VERSION,
    "app/webapiVersion": lambda desk, call: API_VERSION,
    "app/buildInfo": lambda desk, call: _BUILD,
    "app/preferences": lambda desk, call: preferences(desk.paths),
    "app/defaultSavePath": lambda desk, call: desk.paths.save(""),
    "torrents/info": torrents.info,
    "torrents/count": torrents.count,
    "torrents/properties": torrents.properties,
    "torrents/files": torrents.files,
    "torrents/trackers": torrents.trackers,
    "torrents/categories": words.categories,
    "torrents/tags": words.tags,
    "transfer/info": lambda desk, call: _transfer(desk),
    "sync/maindata": _maindata,
    **{path: _always(answer) for path, answer in _NOTHING.items()},
}

_CHANGE: Mapping[str, Route] = {
    "torrents/add": torrents.add,
    "torrents/delete": torrents.delete,
    "torrents/pause": torrents.pause,
    "torrents/stop": torrents.pause,
    "torrents/resume": torrents.resume,
    "torrents/start": torrents.resume,
    "torrents/setCategory": words.set_category,
    "torrents/createCategory": words.create_category,
    "torrents/removeCategories": words.remove_categories,
    "torrents/addTags": words.add_tags,
    "torrents/removeTags": words.remove_tags,
    "torrents/createTags": words.create_tags,
    "torrents/deleteTags": words.delete_tags,
    **dict.fromkeys(_NO_EFFECT, _always("")),
    "torrents/addPeers": _always({}),
}


class Api:
    """The routes over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._call = Call()

    def blueprint(self) -> Blueprint:
        """What Flask serves."""
        made = Blueprint("qbittorrent", __name__, url_prefix=PREFIX)
        made.before_request(self._check)
        made.register_error_handler(Exception, _refusal)
        for path, route in _READ.items():
            made.add_url_rule(f"/{path}", path.replace("/", "_"), self._view(route), methods=["GET", "POST"])
        for path, route in _CHANGE.items():
            made.add_url_rule(f"/{path}", path.replace("/", "_"), self._view(route), methods=["POST"])
        made.add_url_rule("/auth/login", "login", self._login, methods=["POST"])
        made.add_url_rule("/auth/logout", "logout", self._logout, methods=["POST"])
        # Or the guard of the commands would answer, in its own words.
        made.add_url_rule("/<path:rest>", "unknown", _unknown, methods=["GET", "POST"])
        return made

    def _view(self, route: Route) -> Callable[[], Response]:
        return lambda: _answered(route(self._desk, self._call))

    def _check(self) -> Response | None:
        request.max_content_length = LONGEST_BODY
        request.max_form_memory_size = _LONGEST_FORM
        request.max_form_parts = _MOST_PARTS
        desk, host = self._desk, request.headers.get("Host", "")
        origin = request.headers.get("Origin") or request.headers.get("Referer")
        if not host_allowed(host, desk.hosts) or not origin_allowed(origin, host):
            log.warning("a request for host %.100r is refused: is it missing in [http] hosts?", host)
            return _text("Unauthorized", 401)
        if request.path == f"{PREFIX}/auth/login" or desk.sessions.allows(request.cookies.get(COOKIE, "")):
            return None
        return _text("Forbidden", 403)

    def _login(self) -> Response:
        name, password = self._call.text("username"), self._call.text("password")
        try:
            session = self._desk.sessions.login(name, password, request.remote_addr or "")
        except Banned:
            log.warning("too many wrong passwords from %s", request.remote_addr)
            return _text("Your IP address has been banned after too many failed authentication attempts.", 403)
        if session is None:
            log.warning("wrong user name or password from %s", request.remote_addr)
            return _text("Fails.")
        answer = _text("Ok.")
        answer.set_cookie(COOKIE, session, path="/", httponly=True, samesite="Strict")
        return answer

    def _logout(self) -> Response:
        self._desk.sessions.logout(request.cookies.get(COOKIE, ""))
        answer = _text("")
        answer.delete_cookie(COOKIE, path="/")
        return answer


def _answered(answer: Answer) -> Response:
    if isinstance(answer, str):
        return _text(answer)
    return Response(json.dumps(answer), mimetype="application/json")


def _text(text: str, status: int = 200) -> Response:
    return make_response((text, status, {"Content-Type": "text/plain; charset=UTF-8"}))


def _unknown(rest: str) -> Response:
    changes = rest in _CHANGE or rest in ("auth/login", "auth/logout")
    return _text("Method Not Allowed", 405) if changes else _text("Not Found", 404)


def _refusal(error: Exception) -> Response:
    """Never a path outside of the tree, and nothing of the account: those texts are for the log."""
    if isinstance(error, Bad):
        return _text(str(error), error.status)
    if isinstance(error, BadWord):
        return _text(str(error), 409)
    if isinstance(error, HTTPException):
        return _text(error.name, error.code or 400)
    known = isinstance(error, StoreError | OSError)
    log.error("%s failed: %s", request.path, error, exc_info=not known)
    return _text("It failed; the log of mediapool says why.", 503 if known else 500)
