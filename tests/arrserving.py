"""Small real HTTP servers, and the API of Sonarr or Radarr as far as `placement.services` asks it."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "0123456789abcdef0123456789abcdef"


class Server:
    """What one was asked: (method, path, parameters, body), and what it shall answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        # Answers given instead of the right ones: (status, headers, body).
        self.instead: list[tuple[int, dict[str, str], bytes]] = []
        self.key = KEY
        self.url = ""  # once it is served
        self.asked = threading.Condition()

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        return headers.get("X-Api-Key") == self.key

    def answer(self, method: str, path: str, params: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status, and what is sent as JSON; bytes are sent as they are."""
        raise NotImplementedError


class ArrServer(Server):
    """What it holds, and what it was asked."""

    def __init__(self, kind: str = "Sonarr") -> None:
        super().__init__()
        self.kind = kind
        self.items: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.blocklisted: list[str] = []
        self.commands: list[dict[str, Any]] = []
        self.roots = [("/data/media/tv", True), ("/gone", False)]
        # What lies where, as it sees it; in a container that is not where it really lies.
        self.sees: dict[str, Path] = {}
        self.mappings: list[tuple[str, str]] = []
        self.links = True
        self.clients = [("mediapool", "QBittorrent", True, "pool", 8080, True)]

    @property
    def items_at(self) -> str:
        return "series" if self.kind == "Sonarr" else "movie"

    def add_item(self, number: int, path: str) -> None:
        root = path.rpartition("/")[0]
        told = {"id": number, "title": f"Title {number}", "path": path, "rootFolderPath": root, "tags": [7]}
        size = {"statistics": {"sizeOnDisk": 1234}} if self.kind == "Sonarr" else {"sizeOnDisk": 1234}
        self.items.append({**told, **size})

    def add_download(self, number: int, download_id: str | None) -> None:
        told = {"id": number, "title": f"Release {number}", "status": "downloading", "trackedDownloadStatus": "ok"}
        self.queue.append(told if download_id is None else {**told, "downloadId": download_id})

    def writes(self) -> list[tuple[str, str, dict[str, str], Any]]:
        """What it was asked besides reading."""
        return [call for call in self.calls if call[0] != "GET"]

    def answer(self, method: str, path: str, params: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        first, _, number = path.removeprefix("/api/v3/").partition("/")
        if (method, first) == ("GET", "system"):
            return 200, {"appName": self.kind, "version": "4.0.19.2979", "instanceName": self.kind}
        if (method, first) == ("GET", "rootfolder"):
            return 200, [self._root(number, *root) for number, root in enumerate(self.roots, 1)]
        if (method, path) == ("GET", "/api/v3/config/mediamanagement"):
            return 200, {"id": 1, "copyUsingHardlinks": self.links}
        if (method, first) == ("GET", "remotepathmapping"):
            rows = enumerate(self.mappings, 1)
            return 200, [{"id": row, "host": "pool", "remotePath": far, "localPath": near} for row, (far, near) in rows]
        if (method, first) == ("GET", "downloadclient"):
            return 200, [_client(number, *client) for number, client in enumerate(self.clients, 1)]
        if (method, first) == ("GET", "filesystem"):
            return 200, {"parent": "/", "directories": self._folders(params["path"]), "files": []}
        if first == self.items_at:
            return self._items(method, number, body)
        if first == "queue":
            return self._queue(method, number, params)
        if (method, first) == ("POST", "command"):
            self.commands.append(body)
            return 201, {"id": len(self.commands), "name": body["name"], "status": "queued"}
        if (method, first) == ("GET", "command"):
            return 200, {"id": int(number), "status": "completed"}
        return 404, {"message": "NotFound"}

    def _root(self, number: int, path: str, accessible: bool) -> dict[str, Any]:
        told = {"id": number, "path": path, "accessible": accessible}
        return {**told, "freeSpace": 5, "totalSpace": 9, "unmappedFolders": []} if accessible else told

    def _folders(self, path: str) -> list[dict[str, Any]]:
        """Those in the folder that the last slash ends, as it lists them."""
        above = path[: path.rindex("/") + 1]
        found = {place: real for place, real in self.sees.items() if place.rpartition("/")[0] + "/" == above}
        for place, real in self.sees.items():
            inside = real / above[len(place) + 1 :]
            if above.startswith(place + "/") and inside.is_dir():
                found |= {above + name: inside / name for name in os.listdir(inside)}
        return [_folder(place, real) for place, real in found.items() if real.is_dir()]

    def _items(self, method: str, number: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, self.items
        place = next(at for at, one in enumerate(self.items) if one["id"] == int(number))
        self.items[place] = body
        return 202, body

    def _queue(self, method: str, number: str, params: dict[str, str]) -> tuple[int, Any]:
        if method == "GET":
            size, page = int(params["pageSize"]), int(params["page"])
            records = self.queue[size * (page - 1) : size * page]
            return 200, {"page": page, "pageSize": size, "totalRecords": len(self.queue), "records": records}
        found = next((one for one in self.queue if one["id"] == int(number)), None)
        if found is None:
            return 404, {"message": "NotFound"}
        # All lines of one download go together.
        self.queue = [one for one in self.queue if one.get("downloadId") != found["downloadId"]]
        self.blocklisted.append(found["downloadId"])
        return 200, {}


def _client(number: int, name: str, kind: str, on: bool, host: str, port: int, removes: bool) -> dict[str, Any]:
    fields = [{"order": 0, "name": "host", "value": host}, {"name": "port", "value": port}, {"name": "password"}]
    told = {"id": number, "name": name, "implementation": kind, "enable": on, "fields": fields}
    return {**told, "removeCompletedDownloads": removes}


def _folder(path: str, real: Path) -> dict[str, Any]:
    ticks = real.stat().st_mtime_ns // 100  # as .NET counts
    told = f"{datetime.fromtimestamp(ticks // 10**7, UTC):%Y-%m-%dT%H:%M:%S}.{ticks % 10**7:07}Z"
    return {"type": "folder", "name": path.rpartition("/")[2], "path": path + "/", "lastModified": told}


@contextmanager
def serving(server: Server, port: int = 0) -> Iterator[str]:
    """Serve it for as long as the block lasts; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            params = dict(parse_qsl(parts.query))
            with server.asked:
                server.calls.append((self.command, parts.path, params, body))
                if server.instead:
                    status, headers, content = server.instead.pop(0)
                elif not server.lets_in(dict(self.headers)):
                    status, headers, content = 401, {}, b""
                else:
                    status, told = server.answer(self.command, parts.path, params, body)
                    kind = "application/octet-stream" if isinstance(told, bytes) else "application/json"
                    headers, content = (
                        {"Content-Type": kind},
                        told if isinstance(told, bytes) else json.dumps(told).encode(),
                    )
                server.asked.notify_all()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_any

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
