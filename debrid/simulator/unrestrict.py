"""Turning restricted links into time-limited URLs, with everything that can be wrong with a link."""

from collections.abc import Callable
from urllib.parse import quote

from debrid.simulator.clock import Clock
from debrid.simulator.downloads import Download, Downloads
from debrid.simulator.faults import Faults
from debrid.simulator.links import AGED, EVICTED, Link, Links, host_of, verdict_on
from debrid.simulator.switches import Verdict
from debrid.simulator.wire import CODES, ApiError

SUPPORTED = ("1fichier.com", "mega.nz", "rapidgator.net", "real-debrid.com", "turbobit.net")
_UNSUPPORTED = 16


class Unrestrict:
    """`place(host)` is the address `127.0.0.1:port` of a CDN host; a new URL names the next of `hosts`."""

    def __init__(
        self,
        clock: Clock,
        faults: Faults,
        links: Links,
        downloads: Downloads,
        hosts: int,
        place: Callable[[int], str],
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._links = links
        self._downloads = downloads
        self._hosts = hosts
        self._place = place
        self._turn = 0

    def check(self, url: str) -> Link:
        """The link, if /unrestrict/check calls it alive; it can be wrong in both directions."""
        dead = ApiError(EVICTED, status=self._faults.check_status)
        link, _ = self._links.find(url)
        if link is None or self._faults.check_denies or self._code(link, False) in (AGED, EVICTED):
            raise dead
        return link

    def unrestrict(self, url: str) -> Download:
        """A new row of /downloads each time, with a new id and a new code."""
        link, long_form = self._links.find(url)
        if link is None:
            raise ApiError(EVICTED if host_of(url) in SUPPORTED else _UNSUPPORTED)
        if code := self._code(link, long_form):
            raise ApiError(code)
        return self._mint(link, verdict_on(link, self._faults.link_verdicts))

    def _code(self, link: Link, long_form: bool) -> int:
        """The error code this link answers with, 0 for none."""
        verdict = verdict_on(link, self._faults.link_verdicts)
        if verdict == "foreign" and long_form:
            return EVICTED
        if verdict is not None and verdict in CODES:
            return CODES[verdict]
        if link.ages and self._clock.now() > link.made + self._faults.link_lifetime:
            return AGED
        return link.dead

    def _mint(self, link: Link, verdict: Verdict | None) -> Download:
        host, self._turn = self._turn % self._hosts, self._turn + 1
        ident, code = self._downloads.new_code(host)
        listed = f"http://{self._place(host)}/d/{code}/{quote(link.name, safe='', errors='replace')}"
        shown = listed.replace("127.0.0.1", "localhost", 1) if self._faults.numbered_hosts else listed
        download = Download(
            ident,
            code,
            link,
            host,
            self._clock.now(),
            "" if verdict == "empty_download" else shown,
            listed,
            "Something.Else.mkv" if verdict == "wrong_name" else link.name,
            link.content.size + (1 if verdict == "wrong_size" else 0),
        )
        self._downloads.keep(download)
        return download
