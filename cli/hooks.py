"""What Sonarr and Radarr tell a running mount by their webhooks: /hooks/sonarr and /hooks/radarr.

Shapes as in the webhook payloads of Sonarr 4 and Radarr 6. Nothing they say changes a file: an import or a rename
has the heads and tails of remote files warmed, for the media server is about to look at them.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request

from cli.caching import Caching
from cli.config import HttpConfig
from cli.output import printable

log = logging.getLogger(__name__)

_LONGEST_BODY = 1 << 20  # bytes
# Of one event: files, and characters of a path.
_MOST_FILES, _LONGEST_PATH = 5000, 4096
# After these, files have a new place in the library.
_PLACED = ("Download", "Rename")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type, whose folder it is about, the files with their places now, and the download's info hash."""

    service: str
    type: str
    title: str = ""
    folder: str = ""
    paths: tuple[str, ...] = ()
    download_id: str = ""


@dataclass(frozen=True, slots=True)
class _Shape:
    item: str
    folder: str
    one: str
    several: str
    renamed: str


_SHAPES = {
    "sonarr": _Shape("series", "path", "episodeFile", "episodeFiles", "renamedEpisodeFiles"),
    "radarr": _Shape("movie", "folderPath", "movieFile", "movieFiles", "renamedMovieFiles"),
}


def event_of(service: str, body: object) -> Event:
    """The event in a payload; ValueError says what is wrong with it. Unknown types and keys are no error."""
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    shape = _SHAPES[service]
    item = _part(body, shape.item)
    files = [_part(body, shape.one), *_list(body, shape.several), *_list(body, shape.renamed)]
    return Event(
        service,
        _text(body, "eventType", required=True),
        _text(item, "title"),
        _path(item, shape.folder),
        tuple(path for file in files if (path := _path(file, "path"))),
        _text(body, "downloadId"),
    )


def _part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = body.get(key)
    if part is not None and not isinstance(part, dict):
        raise ValueError(f'"{key}" must be an object')
    return part or {}


def _list(body: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    parts = body.get(key)
    if parts is None:
        return ()
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError(f'"{key}" must be a list of objects')
    if len(parts) > _MOST_FILES:
        raise ValueError(f'"{key}" has more than {_MOST_FILES} files')
    return parts


def _text(part: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    text = part.get(key)
    if text is None and not required:
        return ""
    if not isinstance(text, str) or (required and not text) or len(text) > _LONGEST_PATH:
        raise ValueError(f'"{key}" must be a text')
    return text


def _path(part: Mapping[str, Any], key: str) -> str:
    path = _text(part, key)
    if "\0" in path:
        raise ValueError(f'"{key}" must be a path')
    return path


class Hooks:
    """What a mounted tree does about events."""

    def __init__(self, mount: Path, caching: Caching) -> None:
        self._mount = mount
        self._caching = caching

    def heard(self, event: Event) -> dict[str, Any]:
        """Log it, and have what is at a new place warmed; what was done, for the answer. Returns at once."""
        inside = [path for path in map(self._inside, event.paths) if path is not None]
        log.info(
            "%s: %s of %s: %s",
            event.service, printable(event.type), printable(event.title) or "nothing in particular",
            ", ".join(map(printable, event.paths)) or "no files",
        )  # fmt: skip
        warmed = sum(map(self._warm, inside)) if event.type in _PLACED else 0
        return {"event": event.type, "files": len(event.paths), "warmed": warmed, "note": self._note(event, inside)}

    def _inside(self, path: str) -> str | None:
        whole = Path(path)
        if ".." in whole.parts or not whole.is_relative_to(self._mount) or whole == self._mount:
            return None
        return whole.relative_to(self._mount).as_posix()

    def _warm(self, path: str) -> int:
        try:
            return self._caching.warm([path])["taken"]
        except (FileNotFoundError, NotADirectoryError):
            # It is a local file, or gone again.
            return 0

    def _note(self, event: Event, inside: Sequence[str]) -> str:
        if event.type == "Test":
            return "mediapool hears you"
        if len(inside) < len(event.paths):
            return f"not all files lie below {self._mount}: does {event.service} use the tree under another path?"
        return "" if event.type in _PLACED else "nothing is to be done: the mount places files itself"


def hooks(config: HttpConfig, is_own: Callable[[str], bool], heard: Hooks) -> Blueprint:
    """The routes. Who may ask: the user of `[http]`, or who knows the daemon's own token (`is_own`)."""
    routes = Blueprint("hooks", __name__, url_prefix="/hooks")

    @routes.before_request
    def check() -> Response | None:
        request.max_content_length = _LONGEST_BODY
        if is_own(request.headers.get("Authorization", "")) or is_user(config):
            return None
        remedy = "" if config.password else " (mediapool's configuration has none yet)"
        refusal = _refusal(f"Give the username and password of [http] in the webhook's settings{remedy}.", 401)
        refusal.headers["WWW-Authenticate"] = 'Basic realm="mediapool"'
        return refusal

    @routes.route("/<service>", methods=["POST", "PUT"])
    def hook(service: str) -> Response:
        if service not in _SHAPES:
            return _refusal(f"There are hooks for {' and '.join(_SHAPES)}.", 404)
        # A page in somebody's browser cannot send this kind of body elsewhere unasked.
        if not request.is_json:
            return _refusal("The body must be JSON, sent as application/json.", 400)
        try:
            event = event_of(service, request.get_json(silent=True))
        except ValueError as error:
            return _refusal(f"The payload cannot be read: {error}.", 400)
        except RecursionError:
            return _refusal("The payload cannot be read: it is nested too deeply.", 400)
        return jsonify(heard.heard(event))

    return routes


def is_user(config: HttpConfig) -> bool:
    """Whether the request under way carries name and password of `[http]`, as HTTP Basic."""
    given = request.authorization
    if config.username is None or config.password is None or given is None or given.type != "basic":
        return False
    # Both are compared, so that the time tells nothing.
    user = _same(given.username, config.username)
    password = _same(given.password, config.password.get_secret_value())
    return user and password


def _same(given: str | None, right: str) -> bool:
    return hmac.compare_digest((given or "").encode(errors="replace"), right.encode())


def _refusal(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
