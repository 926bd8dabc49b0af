"""The CDN's ports: `/d/<code>/<name>` and `/d/<code>`, without any token."""

import re
import socket
import threading
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from debrid.simulator.delivery import Delivery, End, Flaws, Speed
from debrid.simulator.downloads import Download
from debrid.simulator.journal import Entry
from debrid.simulator.media import mime_type
from debrid.simulator.server import Address, Exchange
from debrid.simulator.site import Site
from debrid.simulator.wire import HTML, page

_PATH = re.compile(r"/d/([^/]+)(?:/.*)?", re.DOTALL)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
# A client that ends one body and starts the next may be seen in the wrong order; so long it may take.
_GRACE = 0.25


class Part(NamedTuple):
    """Bytes [first, first + length) of a file; `partial` if they are sent as 206."""

    first: int
    length: int
    partial: bool


def part_of(text: str | None, size: int) -> Part | None:
    """What a Range header asks for, the whole file without a usable one; None if it cannot be satisfied.

    Several ranges at once are answered with the whole file.
    """
    whole = Part(0, size, False)
    found = _RANGE.fullmatch(text.strip()) if text else None
    if not found or found.group(0) == "bytes=-":
        return whole
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return Part(size - length, length, True) if length else None
    if last and int(last) < int(first):
        return whole
    end = min(int(last) + 1 if last else size, size)
    return Part(int(first), end - int(first), True) if int(first) < size else None


class Host:
    """One CDN machine: counts the bodies it is sending."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._busy = 0
        self._changed = threading.Condition()

    def enter(self, limit: int) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._busy < limit, _GRACE):
                return False
            self._busy += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify()


class CdnExchange(Exchange):
    """A connection to one CDN host."""

    def __init__(self, site: Site, host: Host, connection: socket.socket, address: Address) -> None:
        self._site = site
        self._host = host
        super().__init__(connection, address)

    def respond(self) -> None:
        if self.read_body() is None:
            self._refuse(411, "")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = unquote(urlsplit(self.path).path, errors="surrogateescape")
        now = self._site.clock.now()
        entry = Entry(now, "cdn", self._host.number, self.command, path, {}, headers, self.ip)
        self._site.journal.begin(entry)
        try:
            self._answer(entry)
        finally:
            self._site.journal.end(entry)

    def _answer(self, entry: Entry) -> None:
        faults = self._site.faults
        if self.command not in ("GET", "HEAD"):
            return self._refuse(405, "", entry)
        found = _PATH.fullmatch(entry.path)
        download = self._site.downloads.by_code(found.group(1)) if found else None
        if self._meant(download):
            if faults.cdn_outage in ("closed", "refused"):
                return self.reset()
            if faults.cdn_outage == "html":
                return self._refuse(503, "", entry)
            if not self._site.wait(faults.cdn_first_byte, faults.cdn_jitter):
                self.close_connection = True
                return None
        if download is None or not self._site.downloads.answers(download, self._host.number):
            return self._refuse(404, "invalid_download_code", entry)
        if self._site.clock.now() > download.made + faults.cdn_url_lifetime:
            return self._refuse(404, "link_expired", entry)
        return self._admit(download, entry)

    def _meant(self, download: Download | None) -> bool:
        """Do the CDN's faults apply to this host and file?"""
        faults = self._site.faults
        name = download.link.name if download else ""
        here = faults.cdn_only_host in (None, self._host.number)
        return here and (faults.cdn_only == "*" or fnmatchcase(name, faults.cdn_only))

    def _admit(self, download: Download, entry: Entry) -> None:
        faults = self._site.faults
        if self._meant(download):
            if self.command == "HEAD" and faults.cdn_head_status is not None:
                return self._refuse(faults.cdn_head_status, "", entry)
            slug, kind = faults.cdn_error, faults.cdn_status_body
            status: int | None = faults.take("cdn_status")
            if status is not None:
                return self._refuse(status, slug, entry, html=kind == "html")
        if faults.cdn_quota is not None and self._site.traffic.today() >= faults.cdn_quota:
            return self._refuse(faults.cdn_quota_status, "bytes_limit_reached", entry)
        if not self._host.enter(faults.cdn_connection_limit):
            over = faults.cdn_over_limit
            return self._refuse(over, "too_many_connections", entry) if over else self.reset()
        try:
            return self._serve(download, entry)
        finally:
            self._host.leave()

    def _serve(self, download: Download, entry: Entry) -> None:
        content, meant = download.link.content, self._meant(download)
        text = None if meant and self._site.faults.cdn_ignore_range else self.headers.get("Range")
        part = part_of(text, content.size)
        if part is None:
            return self._unsatisfiable(content.size, entry)
        download.served.add(self._host.number)
        headers = self._headers(download)
        if part.partial:
            headers["Content-Range"] = f"bytes {part.first}-{part.first + part.length - 1}/{content.size}"
        entry.status = 206 if part.partial else 200
        self.head(entry.status, headers, part.length)
        if self.command == "HEAD":
            return None
        flaws = Flaws.taken(self._site.faults, part.first, part.length) if meant else Flaws()
        delivery = self._delivery(entry, download.link.host, meant)
        return self._finish(delivery.send(content, part.first, part.length, flaws))

    def _headers(self, download: Download) -> dict[str, str]:
        name = download.link.name
        plain = re.sub(r'[^ -~]|["\\]', "_", name)
        coded = quote(name, safe="", errors="replace")
        return {
            "Content-Type": mime_type(name),
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}",
        }

    def _delivery(self, entry: Entry, hoster: str, meant: bool) -> Delivery:
        site = self._site

        def counted(count: int) -> None:
            entry.sent += count
            site.traffic.add(hoster, count)

        def speed() -> Speed:
            return Speed(site.faults.cdn_rate, site.faults.cdn_total_rate) if meant else Speed()

        return Delivery(self.connection, speed, site.total_rate, site.stopping, counted)

    def _finish(self, end: End) -> None:
        if end is End.RESET:
            self.reset()
        elif end is End.SHORT:
            self.close_connection = True

    def _unsatisfiable(self, size: int, entry: Entry) -> None:
        entry.status = 416
        self.send(416, {"Content-Range": f"bytes */{size}", "Content-Type": HTML}, b"")

    def _refuse(self, status: int, slug: str, entry: Entry | None = None, html: bool = True) -> None:
        """An error page, its reason in X-Error."""
        if entry:
            entry.status = status
        headers = {"Content-Type": HTML} | ({"X-Error": slug} if slug else {})
        self.send(status, headers, page(status, "Error").encode() if html else b"")
