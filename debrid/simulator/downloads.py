"""Rows of /downloads and the time-limited URLs they stand for."""

import threading
from dataclasses import dataclass, field

from debrid.simulator.ids import Ids
from debrid.simulator.links import Link


@dataclass(slots=True)
class Download:
    """One unrestricted link. `served` are the CDN hosts that have sent something of it already."""

    id: str
    code: str
    link: Link
    host: int
    made: float
    url: str
    listed_url: str
    filename: str
    filesize: int
    revoked: bool = False
    everywhere: bool = False  # revoked on every host, also where it was served
    served: set[int] = field(default_factory=set)


class Downloads:
    """All of them, newest last; a deleted row is kept for the hosts that do not notice."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._by_code: dict[str, Download] = {}
        self._lock = threading.Lock()

    def new_code(self, host: int) -> tuple[str, str]:
        return self._ids.new(), self._ids.code(host)

    def keep(self, download: Download) -> None:
        with self._lock:
            self._by_code[download.code] = download

    def rows(self, since: float) -> list[Download]:
        """The rows made at or after `since`, newest first."""
        with self._lock:
            return [row for row in reversed(self._by_code.values()) if not row.revoked and row.made >= since]

    def delete(self, ident: str) -> bool:
        """Drop a row: its URL dies, except on hosts that have served it (measured by zurg's author)."""
        with self._lock:
            for row in self._by_code.values():
                if row.id == ident and not row.revoked:
                    row.revoked = True
                    return True
        return False

    def find(self, ident: str) -> Download | None:
        with self._lock:
            return next((row for row in self._by_code.values() if row.id == ident and not row.revoked), None)

    def revoke_all(self) -> None:
        with self._lock:
            for row in self._by_code.values():
                row.revoked = row.everywhere = True

    def by_code(self, code: str) -> Download | None:
        return self._by_code.get(code)

    @staticmethod
    def answers(download: Download, host: int) -> bool:
        """Does this host still know the URL?"""
        return not download.revoked or (host in download.served and not download.everywhere)
