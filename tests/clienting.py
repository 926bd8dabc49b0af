"""Talking to a mount as Sonarr and Radarr do: their transport, their sequences, their parsing."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

BOUNDARY = "-----------------------------8dc0ffee8dc0ffee"


@dataclass
class Reply:
    """One answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Arr:
    """Sonarr or Radarr. `basic`: Radarr sends Authorization with every request."""

    url: str
    category: str
    agent: str = "Sonarr/4.0.19.2979 (alpine 3.22)"
    basic: str = ""
    username: str = ""
    password: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str, int]] = field(default_factory=list)

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "", cookies: bool = True) -> Reply:
        """One request, byte for byte as .NET's HttpClient writes it."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.putrequest(method, "/api/v2/" + path, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": parts.netloc, "User-Agent": self.agent, "Accept-Encoding": "gzip, br", "Connection": "close"}
        if self.basic:
            headers["Authorization"] = f"Basic {self.basic}"
        if cookies and self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers |= {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.read(), dict(answer.getheaders()))
        connection.close()
        self.log.append((method, path.partition("?")[0], reply.status))
        return reply

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Reply:
        """With a login first where there is a password, and again after a 403."""
        if self.username and not self.cookies:
            self.login()
        reply = self.send(method, path, body, kind)
        if reply.status == 403 and self.username:
            self.cookies.clear()
            self.login()
            reply = self.send(method, path, body, kind)
        assert reply.status < 400, (path, reply.status, reply.text)
        return reply

    def login(self) -> None:
        reply = self.send("POST", "auth/login", *self.form(username=self.username, password=self.password))
        assert reply.status == 200 and reply.text == "Ok.", reply
        name, _, value = reply.headers["Set-Cookie"].partition(";")[0].partition("=")
        self.cookies[name] = value

    def get(self, path: str, **query: str) -> Reply:
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return self._call("GET", f"{path}?{text}" if text else path)

    def post(self, path: str, **fields: str) -> Reply:
        return self._call("POST", path, *self.form(**fields))

    def form(self, **fields: str) -> tuple[bytes, str]:
        """Multipart as soon as one value has more than 1024 bytes, as NzbDrone.Common does."""
        if any(len(value.encode()) > 1024 for value in fields.values()):
            return self.multipart(fields)
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        return text.encode(), "application/x-www-form-urlencoded"

    def multipart(self, fields: dict[str, str], torrent: tuple[str, bytes] | None = None) -> tuple[bytes, str]:
        parts = []
        if torrent is not None:
            head = f'Content-Disposition: form-data; name="torrents"; filename="{torrent[0]}"\r\n'
            parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + torrent[1])
        for name, value in fields.items():
            parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
        body = b"".join(b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts)
        return body + b"--" + BOUNDARY.encode() + b"--\r\n", f"multipart/form-data; boundary={BOUNDARY}"

    # -- situations, as in the clients' sources

    def probe(self) -> None:
        reply = self.send("GET", "app/webapiVersion", cookies=False)
        assert reply.status in (200, 403)

    def version(self) -> tuple[int, ...]:
        text = self.get("app/webapiVersion").text
        parts = tuple(int(part) for part in text.split("."))
        assert len(parts) == 3
        return parts

    def test_button(self) -> None:
        self.probe()
        self.version()
        assert self.version() >= (1, 5, 0)
        wanted = self.get("app/preferences").json()
        assert not (wanted["max_ratio_enabled"] or wanted["max_seeding_time_enabled"]) and wanted["queueing_enabled"]
        self.probe()
        self.version()
        self.version()
        if self.category not in self.get("torrents/categories").json():
            self.post("torrents/createCategory", category=self.category)
            assert self.category in self.get("torrents/categories").json()
        self.poll()

    def add_magnet(self, magnet: str, **more: str) -> str:
        assert self.get("app/preferences").json()["dht"] is True
        field = "stopped" if self.version() >= (2, 11, 0) else "paused"
        return self.post("torrents/add", urls=magnet, category=self.category, **{field: "False"}, **more).text

    def add_file(self, title: str, raw: bytes, **more: str) -> str:
        self.version()
        fields = {"category": self.category, "paused": "False", **more}
        return self._call("POST", "torrents/add", *self.multipart(fields, (f"{title}.torrent", raw))).text

    def poll(self) -> list[dict[str, Any]]:
        self.version()
        assert self.get("app/preferences").json()["save_path"]
        rows = self.get("torrents/info", category=self.category).json()
        assert isinstance(rows, list) and all(
            len(row["hash"]) == 40 and row["category"] == self.category for row in rows
        )
        return rows

    def status(self) -> str:
        """The folder that health checks look for."""
        self.version()
        preferences = self.get("app/preferences").json()
        return self.get("torrents/categories").json()[self.category]["savePath"] or preferences["save_path"]

    def imported(self, info_hash: str, category: str) -> None:
        self.post("torrents/setCategory", hashes=info_hash.lower(), category=category)

    def remove(self, info_hash: str) -> None:
        self.post("torrents/delete", hashes=info_hash.lower(), deleteFiles="true")


def can_move(row: dict[str, Any]) -> bool:
    """Whether they move rather than link, and remove afterwards."""
    limit: float = row["ratio_limit"]
    return row["state"] in ("pausedUP", "stoppedUP") and limit >= 0 and limit - row["ratio"] <= 0.001


def is_complete(row: dict[str, Any]) -> bool:
    """Whether they import."""
    return row["state"] in ("pausedUP", "stoppedUP", "uploading", "stalledUP", "queuedUP", "forcedUP")
