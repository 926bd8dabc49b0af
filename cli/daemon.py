"""The HTTP side of a running mount: what commands ask it, and clients of its Web API.

Loopback only, unless the configuration says otherwise. Flask for routes, waitress to serve them: both synchronous, as
all the rest is. Every route of the commands wants the token that stands in the state folder, readable by the mount's
user alone, so no other user of the machine can ask; the Web API has sessions of its own.
"""

import hmac
import logging
import os
import re
import secrets
import select
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flask import Blueprint, Flask, Response, jsonify, request
from waitress import wasyncore
from waitress.server import create_server

from cli.routes import Get, Post
from cli.state import Contact
from debrid.errors import DebridError

log = logging.getLogger(__name__)

# Downloads that clients add wait for a verdict of the provider, some at a time.
_THREADS = 16
_LONGEST_BODY = 1 << 20  # bytes; blueprints have limits of their own, below this one
_LONGEST_OF_ALL = 16 << 20

_HASH = re.compile("[0-9a-fA-F]{40}")


class PortTaken(Exception):
    """Something else listens on the address of [http] listen."""


class Daemon:
    """Answers commands while the tree is mounted."""

    def __init__(
        self,
        address: tuple[str, int],
        gets: Mapping[str, Get],
        posts: Mapping[str, Post],
        others: Sequence[Blueprint] = (),
    ) -> None:
        """Listen at once, so that a taken port stops the mount before it begins; raises PortTaken.

        `gets` and `posts`: what answers at which path; `others`: routes that see to it themselves who may ask.
        """
        self._token = secrets.token_urlsafe(32)
        self._others = others
        self._app = self._routes(gets, posts)
        host, port = address
        try:
            self._server = create_server(
                # Poll, since select knows no descriptors over 1024 and a busy tree has more open; Windows has none.
                self._app,
                host=host,
                port=port,
                threads=_THREADS,
                ident=None,
                max_request_body_size=_LONGEST_OF_ALL,
                asyncore_use_poll=hasattr(select, "poll"),
            )
        except OSError as cause:
            raise PortTaken(
                f"[http] listen = {host}:{port} cannot be used: {cause.strerror}; choose another port, or 0 for any"
            ) from cause
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def _routes(self, gets: Mapping[str, Get], posts: Mapping[str, Post]) -> Flask:
        app = Flask(__name__)
        app.config["MAX_CONTENT_LENGTH"] = _LONGEST_BODY
        # A client that is sent elsewhere does not go there.
        app.url_map.strict_slashes = False
        app.url_map.merge_slashes = False
        app.before_request(self._check)
        for other in self._others:
            app.register_blueprint(other)
        for path, get in gets.items():
            app.add_url_rule(path, path, lambda get=get: jsonify(get()))
        for path, post in posts.items():
            app.add_url_rule(path, path, lambda post=post: _posted(post), methods=["POST"])
        return app

    def _check(self) -> Response | None:
        if request.blueprint in {other.name for other in self._others}:
            return None
        if self.is_own(request.headers.get("Authorization", "")):
            return None
        return Response("This address answers the mediapool command only.\n", 401, mimetype="text/plain")

    def is_own(self, authorization: str) -> bool:
        """Whether this header carries the token of the state folder."""
        given = authorization.removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._token.encode())

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        self._server.run()

    def contact(self, mount: Path) -> Contact:
        """How commands of the same user reach this process."""
        host, port = self._server.effective_host, self._server.effective_port
        shown = f"[{host}]" if ":" in host else host
        return Contact(os.getpid(), f"http://{shown}:{port}", self._token, str(mount))

    def close(self) -> None:
        """Stop listening; returns when the last answer is on its way. What is asked afterwards is not answered."""
        if self._thread.ident is None:
            self._server.close()
            return
        # In its own thread, which might be polling what is closed.
        self._server.trigger.pull_trigger(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown(timeout=5)
        # It may do so before we have woken it, since any answer that ends wakes it as well.
        with suppress(OSError):
            self._server.trigger.pull_trigger(self._hang_up)
        self._thread.join(5)

    def _hang_up(self) -> None:
        """Close all connections, which browsers keep to ask again, once what was said is sent."""
        for channel in list(self._server.active_channels.values()):
            channel.close_when_flushed = True
        self._server.trigger.close()


def _posted(post: Post) -> Response:
    try:
        return jsonify(post(request.get_json(silent=True)))
    except ValueError as error:
        return _refusal(str(error), 400)
    except (DebridError, OSError) as error:
        log.warning("%s failed: %s", request.path, error)
        return _refusal(str(error), 500)


def prune_wanted(body: object) -> tuple[list[str] | None, bool]:
    """The hashes, None for all, and whether only to tell. Raises ValueError, naming what is wrong.

    Strict, as what is left out or misspelt must not come to mean "all" or "really".
    """
    if not isinstance(body, dict) or set(body) != {"hashes", "dry_run"}:
        raise ValueError('the body must be a JSON object of "hashes" and "dry_run"')
    hashes, dry_run = body["hashes"], body["dry_run"]
    if not isinstance(dry_run, bool):
        raise ValueError('"dry_run" must be true or false')
    if hashes is None:
        return None, dry_run
    if not isinstance(hashes, list) or not all(isinstance(each, str) and _HASH.fullmatch(each) for each in hashes):
        raise ValueError('"hashes" must be null, for all, or a list of info hashes of 40 hexadecimal digits')
    return [each.lower() for each in hashes], dry_run


def explain_wanted(body: object) -> tuple[list[str], int | None]:
    """Paths in the tree, and the size in bytes of a new file if one is given. Raises ValueError."""
    if not isinstance(body, dict) or set(body) != {"paths", "size"}:
        raise ValueError('the body must be a JSON object of "paths" and "size"')
    paths, size = body["paths"], body["size"]
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError('"paths" must be a list of texts')
    if any(part in ("..", ".", "") for path in paths if path for part in path.split("/")):
        raise ValueError('"paths" must be relative to the root of the tree, without "." and ".."')
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise ValueError('"size" must be null or a number of bytes')
    return paths, size


def _refusal(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
