"""`Simulator`: a Real-Debrid of one's own, on two ports of this machine."""

import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from debrid.simulator.api import OAUTH, REST, ApiExchange
from debrid.simulator.cdn import CdnExchange, Host
from debrid.simulator.clock import Clock
from debrid.simulator.content import Source, content_of
from debrid.simulator.faults import Faults
from debrid.simulator.folder import torrents_in
from debrid.simulator.journal import Port, Request
from debrid.simulator.lifecycle import DOWNLOADED, STATES, Pace
from debrid.simulator.link_routes import container_key
from debrid.simulator.links import AGED
from debrid.simulator.metainfo import magnet_link
from debrid.simulator.server import Address, Listener
from debrid.simulator.site import Site
from debrid.simulator.swarm import Offer, make_offer
from debrid.simulator.switches import DownloadOutcome, LinkForm
from debrid.simulator.torrents import SimTorrent

_MINUTE = 60.0


class Simulator:
    """Serves a folder of files as the finished torrents of an account; also a context manager.

    Each entry of `files`, folder or single file, is one torrent; hidden entries are skipped. With
    `rar_packing` these torrents are delivered as Real-Debrid would, several files with one that cannot be
    streamed as one RAR; for all others `faults.rar_packing` decides. `clock` gives seconds since 1970.
    `cdn_hosts` CDN machines have a port each; any of them serves any URL. `host` is the address to listen on,
    and the one that URLs name.
    """

    def __init__(
        self,
        files: Path | None = None,
        *,
        token: str = "SIMULATORTOKEN",
        api_port: int = 0,
        cdn_port: int = 0,
        seed: int = 0,
        clock: Callable[[], float] | None = None,
        rate_limits: bool = False,
        rar_packing: bool = False,
        cdn_hosts: int = 1,
        host: str = "127.0.0.1",
    ) -> None:
        self.token = token
        self._host = host
        self._site = Site(Clock(clock), seed, token, rate_limits, cdn_hosts, self._place, lambda: self.api_url)
        self._api = Listener(host, api_port, self._serve_api)
        self._cdn = [
            Listener(host, cdn_port + number if cdn_port else 0, partial(self._serve_cdn, Host(number)))
            for number in range(cdn_hosts)
        ]
        self.faults: Faults = self._site.faults
        self.faults.listen(self._on_fault)
        self._running = False
        if files is not None:
            self._load(files, rar_packing)

    # -- running

    def start(self) -> Self:
        """Open the ports; their numbers are known from now on."""
        self._running = True
        self._site.stopping.clear()
        self._api.open()
        for listener in self._cdn:
            listener.open()
        self._on_fault("api_outage")
        self._on_fault("cdn_outage")
        return self

    def stop(self) -> None:
        """Close the ports and all connections, and wait for their threads. May be started again."""
        self._running = False
        self._site.stopping.set()
        for listener in (self._api, *self._cdn):
            listener.close()
            listener.cut()
            listener.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def api_url(self) -> str:
        return f"http://{self._shown}:{self._api.port}{REST}"

    @property
    def oauth_url(self) -> str:
        return f"http://{self._shown}:{self._api.port}{OAUTH}"

    @property
    def admin_url(self) -> str:
        return f"http://{self._shown}:{self._api.port}/admin"

    @property
    def cdn_urls(self) -> list[str]:
        """The address of each CDN host, without a slash at the end."""
        return [f"http://{self._place(number)}" for number in range(len(self._cdn))]

    # -- torrents

    def add_torrent(
        self,
        name: str,
        files: Mapping[str, Source],
        *,
        status: str = DOWNLOADED,
        selected: Collection[int] | None = None,
        hash: str | None = None,
        added: float | None = None,
        links: LinkForm = "13",
        cached: bool = True,
        rar: bool | None = None,
    ) -> SimTorrent:
        """Put a torrent into the account, at `status` until it is acted on.

        `files` maps inner paths, as Real-Debrid lists them ("/Season 1/e01.mkv"), to contents. `selected` are
        1-based ids, all by default; `added` is seconds since 1970; `links` is the form of its links;
        `cached`: can be added again at once, else after a download of a minute; `rar`: packed if mixed, None
        leaves it to the switch.
        """
        if status not in STATES:
            raise ValueError(f"no such status: {status}")
        offer = make_offer(name, files, Pace(download=_MINUTE), hash, rar)
        if self._site.swarm.find(offer.hash) is None:
            self._site.swarm.add(offer, cached, ())
        return self._site.account.put(offer, status, selected, added, links)

    def remove_torrent(self, ident: str) -> None:
        """It vanishes, as if deleted at the web site."""
        self._site.account.remove(ident)

    def set_status(self, ident: str, status: str, progress: float = 0) -> None:
        """Put a torrent at `status` until it is acted on."""
        if status not in STATES:
            raise ValueError(f"no such status: {status}")
        self._site.account.set_status(ident, status, 100 if status == DOWNLOADED else progress)

    @property
    def torrents(self) -> list[SimTorrent]:
        """Newest first."""
        return self._site.account.torrents()

    def offer(
        self,
        name: str,
        files: Mapping[str, Source],
        *,
        cached: bool = True,
        cached_selections: Iterable[Collection[int]] = (),
        hash: str | None = None,
        conversion_seconds: float = 0,
        queue_seconds: float = 0,
        download_seconds: float = 0,
        compress_seconds: float = 0,
        upload_seconds: float = 0,
        seeders: int = 12,
        outcome: DownloadOutcome = "downloaded",
        stalls_at: float = 50,
        rar: bool | None = None,
    ) -> str:
        """Make content known to the world outside the account; its info hash. Waiting magnets find it.

        `cached_selections` narrows `cached` to these sets of file ids. Times are of the virtual clock.
        """
        pace = Pace(
            conversion_seconds,
            queue_seconds,
            download_seconds,
            compress_seconds,
            upload_seconds,
            seeders,
            outcome,
            stalls_at,
        )
        offer = make_offer(name, files, pace, hash, rar)
        self._site.swarm.add(offer, cached, list(cached_selections))
        self._site.account.offered(offer)
        return offer.hash

    def magnet(self, info_hash: str) -> str:
        """A magnet link of something offered, with its name."""
        return magnet_link(info_hash, self._offer(info_hash).name)

    def torrent_file(self, info_hash: str) -> bytes:
        """A .torrent of something offered. Its info hash is the offer's, unless that was given by hand."""
        return self._offer(info_hash).metainfo

    def evict(self, info_hash: str) -> None:
        """Real-Debrid drops the content: links answer unavailable_file (24), the cache no longer has it."""
        self._site.account.evict(info_hash)

    def age_links(self, ident: str) -> None:
        """The links of a torrent answer hoster_unavailable (19) now; adding it again gives fresh ones."""
        for link in self._site.account.get(ident).links:
            link.dead = AGED

    def lose_links(self, ident: str, indices: Iterable[int] | None = None) -> None:
        """A torrent no longer lists these links (all by default); adding again gives them all."""
        torrent = self._site.account.get(ident)
        torrent.lost |= set(range(len(torrent.links)) if indices is None else indices)

    # -- links of other hosters

    def add_link(self, url: str, name: str, source: Source) -> None:
        """A file at another hoster, which can be unrestricted by `url`."""
        self._site.links.make_foreign(url, name, content_of(source), self._site.clock.now())

    def add_folder(self, url: str, urls: Iterable[str]) -> None:
        """A folder link of another hoster."""
        self._site.links.make_folder(url, urls)

    def add_container(self, container: bytes | str, urls: Iterable[str]) -> None:
        """A container (DLC and the like) by its bytes, or by the URL it lies at."""
        raw = container.encode() if isinstance(container, str) else container
        self._site.containers[container_key(raw)] = list(urls)

    # -- what happened

    @property
    def journal(self) -> list[Request]:
        """All requests in order of arrival, without those to /admin."""
        return self._site.journal.requests()

    def journal_clear(self) -> None:
        self._site.journal.clear()

    def count(self, method: str | None = None, path_prefix: str = "/", port: Port | None = None) -> int:
        """How many requests of the journal have this method and a path that begins so."""
        return self._site.journal.count(method, path_prefix, port)

    @property
    def cdn_bytes(self) -> int:
        """Bytes of all CDN bodies so far; some may still be on their way."""
        return self._site.traffic.total

    @property
    def cdn_requests(self) -> int:
        """Requests of the journal that came to the CDN."""
        return self._site.journal.count(None, "", "cdn")

    # -- time

    def now(self) -> float:
        """The virtual clock, seconds since 1970."""
        return self._site.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the virtual clock forward; real delays (latency, throttling) are not affected."""
        self._site.clock.advance(seconds)

    def revoke_urls(self) -> None:
        """Every generated URL dies, on every host; unrestricting again makes new ones."""
        self._site.downloads.revoke_all()

    def approve_device(self) -> None:
        """The user types the codes of all devices that wait for it."""
        self._site.tokens.approve()

    # -- inside

    @property
    def _shown(self) -> str:
        """A wildcard address cannot be connected to everywhere."""
        return "127.0.0.1" if self._host == "0.0.0.0" else self._host

    def _place(self, number: int) -> str:
        return f"{self._shown}:{self._cdn[number].port}"

    def _serve_api(self, connection: socket.socket, address: Address) -> None:
        ApiExchange(self._site, connection, address)

    def _serve_cdn(self, host: Host, connection: socket.socket, address: Address) -> None:
        CdnExchange(self._site, host, connection, address)

    def _on_fault(self, name: str) -> None:
        """Ports that refuse are closed, and opened again afterwards."""
        if not self._running:
            return
        if name == "api_outage":
            _set_open(self._api, self.faults.api_outage != "refused")
        if name in ("cdn_outage", "cdn_only_host"):
            for number, listener in enumerate(self._cdn):
                meant = self.faults.cdn_only_host in (None, number)
                _set_open(listener, not (meant and self.faults.cdn_outage == "refused"))
                if meant and self.faults.cdn_outage == "closed":
                    listener.cut()

    def _offer(self, info_hash: str) -> Offer:
        offer = self._site.swarm.find(info_hash)
        if offer is None:
            raise KeyError(info_hash)
        return offer

    def _load(self, folder: Path, rar_packing: bool) -> None:
        """The later in the alphabet, the newer: one minute apart."""
        entries = torrents_in(folder)
        begin = self._site.clock.now() - _MINUTE * len(entries)
        for number, (name, files) in enumerate(entries):
            self.add_torrent(name, files, added=begin + _MINUTE * number, rar=rar_packing)


def _set_open(listener: Listener, wanted: bool) -> None:
    if wanted:
        listener.open()
    else:
        listener.close()
