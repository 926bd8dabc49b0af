"""Running the simulator on its own, until it is interrupted."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from debrid.simulator.simulator import Simulator

_log = logging.getLogger(__name__)


def serve(
    files: Path,
    *,
    host: str = "127.0.0.1",
    api_port: int,
    cdn_port: int,
    token: str,
    ready: Callable[[Simulator], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve the torrents in `files` until KeyboardInterrupt, or until `stop` is set.

    Port 0 takes a free one. Prints nothing: `ready` is called with the running simulator, the log has the
    addresses. Listens on loopback only, unless another `host` is given.
    """
    stop = stop or threading.Event()
    with Simulator(files, token=token, api_port=api_port, cdn_port=cdn_port, host=host) as simulator:
        _log.info("API at %s, CDN at %s", simulator.api_url, ", ".join(simulator.cdn_urls))
        _log.info("%d torrents from %s; switches at %s/faults", len(simulator.torrents), files, simulator.admin_url)
        if ready:
            ready(simulator)
        try:
            stop.wait()
        except KeyboardInterrupt:
            _log.info("interrupted")
