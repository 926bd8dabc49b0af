"""`SimTorrent`: a torrent in the account."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from debrid.simulator.clock import Clock
from debrid.simulator.lifecycle import CONVERTING, DOWNLOADED, Plan, Step, at
from debrid.simulator.links import Link
from debrid.simulator.media import is_streamable
from debrid.simulator.swarm import SimFile


@dataclass(slots=True, eq=False)
class SimTorrent:
    """One torrent of the account, live: `status`, `progress` and `ended` follow the clock.

    `links` are those that were made for the selection, whatever faults hide of them; `lost` are indices that
    the service no longer lists. `number` orders torrents added in the same second.
    """

    id: str
    hash: str
    name: str
    files: tuple[SimFile, ...]
    added: float
    number: int
    clock: Clock
    plan: Plan
    seeders: int = 0
    by_client: bool = False
    selected: frozenset[int] = frozenset()
    links: list[Link] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    @property
    def step(self) -> Step:
        return at(self.plan, self.clock.now())

    @property
    def status(self) -> str:
        return self.step.status

    @property
    def progress(self) -> float:
        return self.step.progress(self.clock.now())

    @property
    def ended(self) -> float | None:
        return self.step.start if self.status == DOWNLOADED else None

    @property
    def converted(self) -> bool:
        return self.status not in (CONVERTING, "magnet_error")

    @property
    def chosen(self) -> tuple[SimFile, ...]:
        """The selected files, in the order of `files`."""
        return tuple(file for file in self.files if file.id in self.selected)


def must_be_packed(files: Sequence[SimFile]) -> bool:
    """Real-Debrid makes one RAR of several files as soon as one of them cannot be streamed."""
    return len(files) > 1 and not all(is_streamable(file.name) for file in files)
