"""The journal of requests: what came in on both ports, in order of arrival."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Port = Literal["api", "cdn"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the journal shows it; secrets are blotted out.

    `path` is relative to /rest/1.0; OAuth paths keep their /oauth/v2 and CDN paths their /d. `status` is 0
    while no answer was given. `sent` counts bytes of the body. `parallel` is how many requests of the same
    port and host were in the works when it came, itself included.
    """

    time: float
    port: Port
    host: int
    method: str
    path: str
    status: int
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    ip: str
    range: str | None
    sent: int
    parallel: int


@dataclass(slots=True)
class Entry:
    """A request that is being answered; the handler fills in what becomes known."""

    time: float
    port: Port
    host: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    ip: str
    status: int = 0
    form: Mapping[str, str] = field(default_factory=dict)
    sent: int = 0
    parallel: int = 1

    def request(self) -> Request:
        return Request(
            self.time,
            self.port,
            self.host,
            self.method,
            self.path,
            self.status,
            blotted(self.query),
            blotted(self.form),
            blotted(self.headers),
            self.ip,
            self.headers.get("range"),
            self.sent,
            self.parallel,
        )


_SECRETS = frozenset({"authorization", "auth_token", "client_secret", "password", "refresh_token"})


def blotted(values: Mapping[str, str]) -> dict[str, str]:
    return {key: "***" if key.lower() in _SECRETS else value for key, value in values.items()}


class Journal:
    """Grows until cleared."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._running: dict[tuple[Port, int], int] = {}
        self._lock = threading.Lock()

    def begin(self, entry: Entry) -> None:
        place = (entry.port, entry.host)
        with self._lock:
            entry.parallel = self._running[place] = self._running.get(place, 0) + 1
            self._entries.append(entry)

    def end(self, entry: Entry) -> None:
        with self._lock:
            self._running[(entry.port, entry.host)] -= 1

    def requests(self) -> list[Request]:
        with self._lock:
            return [entry.request() for entry in self._entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def count(self, method: str | None, path_prefix: str, port: Port | None) -> int:
        with self._lock:
            return sum(
                (method is None or entry.method == method)
                and (port is None or entry.port == port)
                and entry.path.startswith(path_prefix)
                for entry in self._entries
            )
