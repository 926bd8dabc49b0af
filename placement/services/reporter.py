"""Telling the services that a download failed, in the background, for as long as it takes.

qBittorrent has no state that Sonarr and Radarr take for failed, so it is said to their own API. Which of them
asked for a download is not known: each is asked whether it has it in its queue. One that is down is asked
again; what is not told yet is kept in a file, so a restart loses none of it.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from placement.services.arr import Arr
from placement.services.calls import ServiceError
from placement.services.kept import Kept

log = logging.getLogger(__name__)

# Seconds before each next try. The queue of a service shows a new download after up to a minute.
PAUSES = (5.0, 20.0, 60.0, 120.0, 300.0, 900.0)
# How many answers "not in my queue" of all services end it, and after how many seconds it is given up anyway.
_ABSENT = 5
_LONGEST = 86_400.0


@dataclass(slots=True)
class _Report:
    download_id: str
    reason: str
    since: float  # seconds since 1970
    tries: int = 0
    absent: int = 0
    due: float = 0.0  # as `since`


class Reporter:
    """Tells all services of failed downloads. Thread-safe; `failed` never waits."""

    def __init__(self, services: Sequence[Arr], file: Path | None = None, *, pauses: Sequence[float] = PAUSES) -> None:
        """`file`: where what is not told yet outlasts a restart; its folder must exist."""
        self._services = tuple(services)
        self._kept = Kept(file, "failed downloads")
        self._pauses = tuple(pauses)
        self._changed = threading.Condition()
        self._reports: dict[str, _Report] = {report.download_id: report for report in self._read()}
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="arr-reports", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def failed(self, download_id: str, reason: str) -> None:
        """Have the services search for something else than the torrent with this info hash; returns at once."""
        wanted = download_id.upper()
        if not self._services:
            log.info("download %s failed (%s); no [[arr]] is configured to be told", wanted, reason)
            return
        with self._changed:
            self._reports.setdefault(wanted, _Report(wanted, reason, time.time()))
            self._keep()
            self._changed.notify()

    def pending(self) -> dict[str, str]:
        """What is not told yet, and why each failed."""
        with self._changed:
            return {one.download_id: one.reason for one in self._reports.values()}

    def close(self) -> None:
        """Stop; a call under way is waited for, what is left is told after the next start."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (report := self._next()) is not None:
            done = self._tell(report)
            with self._changed:
                report.tries += 1
                report.due = time.time() + self._pauses[min(report.tries, len(self._pauses)) - 1]
                if done:
                    del self._reports[report.download_id]
                self._keep()

    def _next(self) -> _Report | None:
        """The next report that is due, waited for; None to stop."""
        with self._changed:
            while not self._stop:
                first = min(self._reports.values(), key=lambda one: one.due, default=None)
                pause = None if first is None else first.due - time.time()
                if first is not None and pause is not None and pause <= 0:
                    return first
                self._changed.wait(pause)
            return None

    def _tell(self, report: _Report) -> bool:
        """Whether there is nothing more to do."""
        troubles = []
        for service in self._services:
            if self._stop:
                return False
            try:
                if service.blocklist(report.download_id):
                    log.warning("%s searches for another release: %s", service.name, report.reason)
                    return True
                if not report.tries:
                    service.refresh_queue()
            except ServiceError as trouble:
                troubles.append(str(trouble))
        report.absent += not troubles
        what = f"download {report.download_id} failed ({report.reason})"
        if report.absent >= _ABSENT:
            log.warning("%s, and no configured service has it in its queue", what)
            return True
        if time.time() - report.since > _LONGEST:
            log.warning("%s, and that could not be told: %s", what, "; ".join(troubles))
            return True
        if troubles and not report.tries:
            log.warning("%s; that is told later: %s", what, "; ".join(troubles))
        return False

    def _read(self) -> list[_Report]:
        if not self._services:
            return []
        try:
            return [_Report(**fields) for fields in self._kept.read() or ()]
        except TypeError as cause:
            self._kept.damaged(cause)
            return []

    def _keep(self) -> None:
        self._kept.write([asdict(report) for report in self._reports.values()])
