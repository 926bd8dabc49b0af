"""`Site`: everything the two servers share, wired once per simulator."""

import threading
from collections.abc import Callable

from debrid.simulator.account import Account
from debrid.simulator.clock import Clock
from debrid.simulator.delivery import Pacer
from debrid.simulator.downloads import Downloads
from debrid.simulator.faults import Faults
from debrid.simulator.ids import Ids
from debrid.simulator.journal import Journal
from debrid.simulator.limits import RateLimiter
from debrid.simulator.links import Links
from debrid.simulator.profile import Profile
from debrid.simulator.swarm import Swarm
from debrid.simulator.tokens import Tokens
from debrid.simulator.traffic import Traffic
from debrid.simulator.unrestrict import Unrestrict
from debrid.simulator.views import Views


class Site:
    """The parts of the service. `place(host)` is the `address:port` of a CDN host."""

    def __init__(
        self,
        clock: Clock,
        seed: int,
        token: str,
        rate_limits: bool,
        cdn_hosts: int,
        place: Callable[[int], str],
        api_url: Callable[[], str],
    ) -> None:
        self.clock = clock
        self.ids = Ids(seed)
        self.faults = Faults()
        self.journal = Journal()
        self.swarm = Swarm()
        self.links = Links(self.ids)
        self.downloads = Downloads(self.ids)
        self.account = Account(clock, self.faults, self.ids, self.swarm, self.links)
        self.unrestrict = Unrestrict(clock, self.faults, self.links, self.downloads, cdn_hosts, place)
        self.views = Views(clock, self.faults)
        self.limiter = RateLimiter(clock, self.faults, rate_limits)
        self.tokens = Tokens(clock, self.ids, token)
        self.profile = Profile(clock)
        self.traffic = Traffic(clock)
        self.total_rate = Pacer()
        self.containers: dict[bytes, list[str]] = {}
        self.api_url = api_url
        self.stopping = threading.Event()

    def wait(self, seconds: float, jitter: float) -> bool:
        """Let time pass, really; False if the simulator stops meanwhile."""
        seconds += self.ids.between(0, jitter) if jitter else 0.0
        return seconds <= 0 or not self.stopping.wait(seconds)
