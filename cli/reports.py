"""Failed downloads, told to Sonarr and Radarr by whoever speaks their API."""

from typing import Protocol


class Told(Protocol):
    """Tells services in the background; `placement.services.reporter.Reporter` is one."""

    def failed(self, download_id: str, reason: str) -> None:
        """Begin to tell of a download; returns at once."""
        ...

    def pending(self) -> dict[str, str]:
        """What is not told yet, by its id."""
        ...


class Reports:
    """As `debrid.downloads.ports.Reporter`, over one that tells in the background."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._asked: set[str] = set()

    def failed(self, info_hash: str, category: str, reason: str) -> bool:
        """Whether it is told; as long as it is not, the services find the download where they expect it."""
        known = info_hash.upper()
        if known not in self._asked:
            self._asked.add(known)
            self._told.failed(known, reason)
        if known in self._told.pending():
            return False
        self._asked.discard(known)
        return True
