"""A faithful Real-Debrid for tests and for trying things out: REST API, OAuth and CDN over a folder of files.

    with Simulator(folder) as simulator:
        requests.get(simulator.api_url + "/torrents", params={"auth_token": simulator.token})

Nothing else of the project is imported here, so that a mistake in the client cannot be repeated in its judge.
Faults can be turned while it runs (`Simulator.faults`, every switch is explained in `switches.py`), also from
another process: GET, POST and DELETE /admin/faults, GET and DELETE /admin/journal, POST /admin/advance
({"seconds": n}), /admin/revoke and /admin/approve on the API's port.
"""

from debrid.simulator.faults import Faults
from debrid.simulator.journal import Request
from debrid.simulator.simulator import Simulator
from debrid.simulator.swarm import SimFile
from debrid.simulator.switches import ALWAYS
from debrid.simulator.torrents import SimTorrent

__all__ = ["ALWAYS", "Faults", "Request", "SimFile", "SimTorrent", "Simulator"]
