"""The simulated provider of `bench stream`, in a process of its own: `Provider` starts it and asks it.

Run as a program it is that process. Beside API and CDN it has a third port, a plain list of the same files for
programs that know no debrid provider: each name leads to the very same delivery, with the same faults and journal.
"""

import html
import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from debrid.simulator import Simulator
from debrid.simulator.cdn import CdnExchange, Host
from debrid.simulator.server import Address, Listener
from debrid.simulator.site import Site

_SETTLED = 0.3  # s without a byte after which nothing more is expected
_PATIENCE = 15.0
# The list counts its connections for itself, as a CDN host of its own would.
_LIST_HOST = 99
# More than any contender opens, so that nobody is measured by how it bears refusals.
_CONNECTIONS = 64

Json = dict[str, Any]


class Traffic(NamedTuple):
    """What the provider was asked for: ranged answers, and bytes of their bodies."""

    requests: int
    sent: int


class Provider:
    """A running simulator over a folder of files; a context manager."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self.api = self.listing = self.token = ""
        self._admin = ""

    def __enter__(self) -> "Provider":
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._files],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.api, self.listing, self.token, self._admin = (told[key] for key in ("api", "list", "token", "admin"))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def behave(self, first_byte: float, rate: float | None) -> None:
        """`first_byte` s before each body, `rate` bytes per second for each connection, None for no limit."""
        switches = {"cdn_first_byte": first_byte, "cdn_rate": rate, "cdn_connection_limit": _CONNECTIONS}
        self._ask("POST", "/faults", switches)

    def forget(self) -> None:
        """Begin to count anew."""
        self._ask("DELETE", "/journal")

    def settled(self) -> Traffic:
        """What was asked for since `forget`, once nothing more comes."""
        until, before = time.monotonic() + _PATIENCE, self._traffic()
        while time.monotonic() < until:
            time.sleep(_SETTLED)
            if (now := self._traffic()) == before:
                break
            before = now
        return before

    def _traffic(self) -> Traffic:
        bodies = [one for one in self._ask("GET", "/journal") if one["port"] == "cdn" and one["method"] == "GET"]
        return Traffic(len(bodies), sum(one["sent"] for one in bodies))

    def _ask(self, method: str, path: str, values: Json | None = None) -> Any:
        body = None if values is None else json.dumps(values).encode()
        with urllib.request.urlopen(urllib.request.Request(self._admin + path, body, method=method), timeout=60) as got:
            return json.loads(got.read() or b"null")

    def url(self, name: str) -> str:
        """Where the plain list has file `name`."""
        return self.listing + quote(name)

    def curl(self, url: str, *options: str) -> float:
        """Seconds that curl needs for `url`."""
        done = subprocess.run(
            ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}", *options, url],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout)

    def call(self) -> float:
        """Seconds that curl needs for the API call that a new link takes."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.api}/torrents?limit=1", headers=headers)) as got:
            link = json.loads(got.read())[0]["links"][0]
        said = ("-H", f"Authorization: Bearer {self.token}", "-d", f"link={link}")
        return self.curl(f"{self.api}/unrestrict/link", *said)


class _Listed(Simulator):
    """The simulator with the plain list."""

    def __init__(self, files: Path) -> None:
        super().__init__(files)
        self._codes: dict[str, str] = {}
        self.list = Listener("127.0.0.1", 0, self._serve_list)

    def _serve_list(self, connection: Any, address: Address) -> None:
        _ListExchange(self._site, Host(_LIST_HOST), self._codes, connection, address)

    def fill(self) -> None:
        """Give every file its URL."""
        for torrent in self.torrents:
            for link in torrent.links:
                headers = {"Authorization": f"Bearer {self.token}"}
                asked = urllib.request.Request(f"{self.api_url}/unrestrict/link", f"link={link.url}".encode(), headers)
                with urllib.request.urlopen(asked) as got:
                    answer = json.loads(got.read())
                self._codes[answer["filename"]] = urlsplit(answer["download"]).path.split("/")[2]


class _ListExchange(CdnExchange):
    def __init__(self, site: Site, host: Host, codes: dict[str, str], *connection: Any) -> None:
        self._codes = codes
        super().__init__(site, host, *connection)

    def respond(self) -> None:
        name = unquote(self.path.lstrip("/"))
        if name:
            self.path = f"/d/{self._codes.get(name, '-')}/{quote(name)}"
            super().respond()
            return
        links = (f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in sorted(self._codes))
        self.send(200, {"Content-Type": "text/html"}, f"<html><body>\n{''.join(links)}</body></html>\n".encode())


def _serve(folder: Path) -> None:
    with _Listed(folder) as simulator:
        simulator.list.open()
        try:
            simulator.fill()
            where = {
                "api": simulator.api_url, "admin": simulator.admin_url, "token": simulator.token,
                "list": f"http://127.0.0.1:{simulator.list.port}/",
            }  # fmt: skip
            print(json.dumps(where), flush=True)
            ended = threading.Event()
            threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
            ended.wait()
        finally:
            simulator.list.close()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
