"""A running simulator, a plain HTTP client for it, and a socket that shows how an answer really ends."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from debrid.simulator import SimTorrent, Simulator


class Api:
    """The account's owner: requests with the token, paths below /rest/1.0."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {sim.token}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.sim.api_url + path, timeout=10, **more)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.call("GET", path, params=query)

    def post(self, path: str, **form: Any) -> requests.Response:
        return self.call("POST", path, data=form)

    def put(self, path: str, body: bytes = b"") -> requests.Response:
        return self.call("PUT", path, data=body)

    def delete(self, path: str) -> requests.Response:
        return self.call("DELETE", path)

    def info(self, ident: str) -> dict[str, Any]:
        return self.get(f"/torrents/info/{ident}").json()

    def add(self, info_hash: str, files: str | None = None) -> str:
        """Add by magnet, select if `files` is given; the id."""
        answer = self.post("/torrents/addMagnet", magnet=f"magnet:?xt=urn:btih:{info_hash}")
        assert answer.status_code == 201, answer.text
        ident = answer.json()["id"]
        if files is not None:
            assert self.post(f"/torrents/selectFiles/{ident}", files=files).status_code == 204
        return ident

    def unrestrict(self, link: str) -> dict[str, Any]:
        answer = self.post("/unrestrict/link", link=link)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @staticmethod
    def error(answer: requests.Response) -> tuple[int, int | None]:
        """(HTTP status, error_code)."""
        return answer.status_code, answer.json()["error_code"]

    def url(self, torrent: SimTorrent, index: int = 0) -> str:
        """A download URL of a torrent's link."""
        return self.unrestrict(torrent.links[index].url)["download"]


FILM = b"".join(number.to_bytes(4, "big") for number in range(75_000))


@dataclass
class Raw:
    """An answer as it came through the socket. `end`: whole, closed, reset, silent."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    end: str


NO_HEADERS: Mapping[str, str] = {}


def _fetch(
    url: str,
    headers: Mapping[str, str] = NO_HEADERS,
    method: str = "GET",
    patience: float = 5.0,
    source: str = "",
) -> Raw:
    """One request on a connection of its own, read until it ends or nothing comes for `patience` seconds."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    place = (parts.hostname or "", parts.port or 0)
    bind = (source, 0) if source else None
    with socket.create_connection(place, timeout=patience, source_address=bind) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        with HTTPResponse(connection, method=method) as answer:
            answer.begin()
            body = bytearray()
            end = _read(answer, body)
            return Raw(answer.status, dict(answer.headers.items()), bytes(body), end)


def _read(answer: HTTPResponse, body: bytearray) -> str:
    wanted = answer.length or 0
    try:
        while len(body) < wanted:
            piece = answer.fp.read1(65536)
            if not piece:
                return "closed"
            body += piece
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silent"
    return "whole"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=1) as simulator:
        yield simulator


@pytest.fixture
def api(sim: Simulator) -> Iterator[Api]:
    owner = Api(sim)
    with owner.session:
        yield owner


@pytest.fixture
def film(sim: Simulator) -> SimTorrent:
    """A torrent of one file of 300,000 bytes, no two pieces of it alike."""
    return sim.add_torrent("Film (2020)", {"/Film (2020).mkv": FILM})


@pytest.fixture
def film_bytes() -> bytes:
    return FILM


@pytest.fixture
def fetch() -> Callable[..., Raw]:
    return _fetch
