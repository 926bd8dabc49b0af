"""The HTTP side of a running mount: what commands ask it. Loopback only, unless the configuration says otherwise.

Flask for routes, waitress to serve them: both synchronous, as all the rest is. Every route wants the token that
stands in the state folder, readable by the mount's user alone, so no other user of the machine can ask.
"""

import hmac
import logging
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from waitress.server import create_server

from cli.state import Contact

log = logging.getLogger(__name__)

_THREADS = 8


class PortTaken(Exception):
    """Something else listens on the address of [http] listen."""


class Daemon:
    """Answers commands while the tree is mounted."""

    def __init__(
        self,
        address: tuple[str, int],
        status: Callable[[], dict[str, Any]],
        listing: Callable[[], list[dict[str, Any]]],
    ) -> None:
        """Listen at once, so that a taken port stops the mount before it begins; raises PortTaken."""
        self._token = secrets.token_urlsafe(32)
        self._app = self._routes(status, listing)
        host, port = address
        try:
            self._server = create_server(self._app, host=host, port=port, threads=_THREADS, ident=None)
        except OSError as cause:
            raise PortTaken(
                f"[http] listen = {host}:{port} cannot be used: {cause.strerror}; choose another port, or 0 for any"
            ) from cause
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def _routes(self, status: Callable[[], dict[str, Any]], listing: Callable[[], list[dict[str, Any]]]) -> Flask:
        app = Flask(__name__)
        app.before_request(self._check)
        app.add_url_rule("/api/status", "status", lambda: jsonify(status()))
        app.add_url_rule("/api/debrid/torrents", "torrents", lambda: jsonify(listing()))
        return app

    def _check(self) -> Response | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return Response("This address answers the mediapool command only.\n", 401, mimetype="text/plain")

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
        """Stop listening; returns when the last answer is on its way."""
        self._server.close()
        if self._thread.ident is not None:
            self._thread.join(5)
