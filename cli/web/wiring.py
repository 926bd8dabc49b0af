"""The web side of one mount, put together: the page, /metrics, /healthz, and what they watch."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Blueprint

from cli.web.actions import actions
from cli.web.facts import Gatherer, Lately
from cli.web.guard import Guard
from cli.web.health import Health
from cli.web.metrics import Gathered, MountCollector, metrics
from cli.web.pages import Pages
from cli.web.recent import Recent
from debrid.qbittorrent.guard import Sessions

if TYPE_CHECKING:
    from cli.app import App

log = logging.getLogger(__name__)

_HOLDS = 1.0  # seconds for which what /metrics tells is told again


class Web:
    """`blueprints` once all parts are there, `start` once the tree answers; a context manager that ends all of it.

    Without an account the page has sessions of its own, with one those of the Web API.
    """

    def __init__(self, app: "App") -> None:
        """Warnings are remembered from now on."""
        self._app, config = app, app.config
        services = (*(one.api_key for one in config.arr), *(one.token for one in config.media_server))
        secrets = (config.debrid.token, config.http.password, *services)
        self._recent = Recent([each.get_secret_value() for each in secrets if each is not None])
        logging.getLogger().addHandler(self._recent)
        self._gatherer = Gatherer(app, self._recent)
        self._health = Health(config.mount.path, lambda: [drive.path for drive in app.drives if drive.present])

    def _sessions(self) -> Sessions:
        if self._app.client is not None:
            return self._app.client.sessions
        http = self._app.config.http
        return Sessions(None, http.username, http.password.get_secret_value() if http.password else None)

    def blueprints(self) -> Sequence[Blueprint]:
        """What Flask serves; each sees to it itself who may ask."""
        app, http = self._app, self._app.config.http
        guard = Guard(self._sessions(), (http.address[0], *http.hosts))
        pages = Pages(guard, self._gatherer.facts, actions(app), str(app.config.mount.path))
        own = metrics(
            MountCollector(Lately(_HOLDS, self._gathered)), guard, http, lambda given: app.daemon.is_own(given)
        )
        return [pages.blueprint(), own, self._health.blueprint()]

    def _gathered(self) -> Gathered:
        app = self._app
        return Gathered(
            status=app.answers.status(),
            traffic=app.filesystem.traffic.totals(),
            waits=app.reader.waits,
            responses=app.reader.responses,
            failed=dict(app.reader.failed),
            errors={} if app.library is None else dict(app.library.failures),
            jobs=app.moves.list(),
            warming=app.warmer.status().queued,
            logged=dict(self._recent.counted),
        )

    def start(self) -> None:
        """Begin to watch the throughput, and say where the page is."""
        log.info("the status page is at %s", self._app.daemon.contact(self._app.config.mount.path).url)
        self._gatherer.sampler.start()

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        """The log goes on without us."""
        logging.getLogger().removeHandler(self._recent)
        self._gatherer.sampler.close()
        self._health.close()
