"""The stations of a torrent, as a plan of steps that is fixed when the torrent enters it.

Nothing ticks: where a torrent is now follows from its plan and the clock. Plans are pure values.

    magnet_conversion -> waiting_files_selection -> queued -> downloading -> [compressing] -> uploading
            `-> magnet_error                                `-> error | virus | dead      `-> downloaded
"""

from collections.abc import Sequence
from dataclasses import dataclass

from debrid.simulator.switches import DownloadOutcome, MagnetOutcome

CONVERTING, WAITING, DOWNLOADED = "magnet_conversion", "waiting_files_selection", "downloaded"
STATES = (
    "magnet_error",
    CONVERTING,
    WAITING,
    "queued",
    "downloading",
    DOWNLOADED,
    "error",
    "virus",
    "compressing",
    "uploading",
    "dead",
)
ACTIVE = frozenset({CONVERTING, "queued", "downloading", "compressing", "uploading"})
WITH_SPEED = frozenset({"downloading", "compressing", "uploading"})
WITH_SEEDERS = frozenset({"downloading", CONVERTING})


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the stations of one torrent last, in seconds, and how its download ends."""

    conversion: float = 0.0
    queue: float = 0.0
    download: float = 0.0
    compress: float = 0.0
    upload: float = 0.0
    seeders: int = 12
    outcome: DownloadOutcome = "downloaded"
    stalls_at: float = 50.0  # percent, for the outcome `stalled`


@dataclass(frozen=True, slots=True)
class Step:
    """From `start` on the torrent has `status`, its progress running from `first` to `last` percent."""

    start: float
    status: str
    seconds: float = 0.0
    first: float = 0.0
    last: float = 0.0

    def progress(self, now: float) -> float:
        """Percent; a whole number is an int, because the service writes it so."""
        done = min(1.0, (now - self.start) / self.seconds) if self.seconds else 1.0
        percent = round(self.first + (self.last - self.first) * done, 2)
        return int(percent) if percent == int(percent) else percent

    def moving(self, now: float) -> bool:
        return self.seconds > 0 and self.start <= now < self.start + self.seconds


Plan = tuple[Step, ...]


def at(plan: Sequence[Step], now: float) -> Step:
    """The step that holds at `now`: the last one that has begun."""
    current = plan[0]
    for step in plan:
        if step.start <= now:
            current = step
    return current


def fixed(now: float, status: str, progress: float) -> Plan:
    return (Step(now, status, 0.0, progress, progress),)


def conversion(now: float, seconds: float, outcome: MagnetOutcome) -> Plan:
    converting = Step(now, CONVERTING)
    if outcome == "never":
        return (converting,)
    return (converting, Step(now + seconds, WAITING if outcome == "converted" else "magnet_error"))


def recognition(now: float, settle: float) -> Plan:
    """Cached content: downloaded at once, or queued for the seconds it takes to be recognised."""
    return (Step(now, "queued"), Step(now + settle, DOWNLOADED, 0.0, 100, 100))


def fetching(now: float, pace: Pace, packed: bool, outcome: DownloadOutcome) -> Plan:
    """Content from the swarm; `packed` adds the station where a RAR is made."""
    begin = now + pace.queue
    queued = Step(now, "queued")
    if outcome == "stalled":
        seconds = pace.download * pace.stalls_at / 100
        return (queued, Step(begin, "downloading", seconds, 0, pace.stalls_at))
    loaded = begin + pace.download
    downloading = Step(begin, "downloading", pace.download, 0, 100)
    if outcome != "downloaded":
        return (queued, downloading, Step(loaded, outcome, 0.0, 0, 0))
    packing = (Step(loaded, "compressing", pace.compress, 0, 100),) if packed else ()
    ready = loaded + (pace.compress if packed else 0.0)
    uploading = Step(ready, "uploading", pace.upload, 0, 100)
    return (queued, downloading, *packing, uploading, Step(ready + pace.upload, DOWNLOADED, 0.0, 100, 100))


def unreachable(now: float) -> Plan:
    """A torrent nobody shares: it downloads for ever and gets nothing."""
    return (Step(now, "queued"), Step(now, "downloading"))
