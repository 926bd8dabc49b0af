"""The torrents of the account: adding, selecting, listing, losing them."""

import re
import threading
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from debrid.simulator import lifecycle
from debrid.simulator.clock import Clock
from debrid.simulator.content import BytesContent, Content
from debrid.simulator.faults import Faults
from debrid.simulator.ids import Ids
from debrid.simulator.links import EVICTED, Link, Links
from debrid.simulator.metainfo import Metainfo, read_magnet, read_metainfo
from debrid.simulator.rar import pack
from debrid.simulator.swarm import Offer, SimFile, Swarm
from debrid.simulator.switches import LinkForm
from debrid.simulator.torrents import SimTorrent, must_be_packed
from debrid.simulator.wire import ApiError, missing

# Published by debrid-media-manager: what the content filter of May 2026 refuses in release names.
_FILTERED = re.compile(
    r"web-dl|webrip|bdrip|hdrip|dvdrip|bluray\.x264|hdtv\.x264|hdtv\.xvid|web\.x264|web\.h264", re.IGNORECASE
)


class Account:
    """Thread-safe: one lock around everything that changes a torrent."""

    def __init__(self, clock: Clock, faults: Faults, ids: Ids, swarm: Swarm, links: Links) -> None:
        self._clock = clock
        self._faults = faults
        self._ids = ids
        self._swarm = swarm
        self._links = links
        self._torrents: dict[str, SimTorrent] = {}
        self._numbers = 0
        self._made: dict[tuple[str, frozenset[int]], list[Link]] = {}
        self._lock = threading.RLock()

    # -- what clients do

    def add_magnet(self, uri: str, throttled: bool) -> SimTorrent:
        try:
            magnet = read_magnet(uri)
        except ValueError as problem:
            raise ApiError(2, str(problem)) from problem
        with self._lock:
            offer = self._swarm.find(magnet.hash)
            self._admit(magnet.hash, throttled)
            self._filter([magnet.name, *(_names(offer) if offer else ())])
            name = offer.name if offer else magnet.name
            torrent = self._new(magnet.hash, name or magnet.hash, offer.files if offer else (), by_client=True)
            torrent.plan = self._conversion(offer)
            torrent.seeders = offer.pace.seeders if offer else 0
            return torrent

    def add_metainfo(self, raw: bytes, throttled: bool) -> SimTorrent:
        try:
            meta = read_metainfo(raw)
        except ValueError as problem:
            raise ApiError(30) from problem
        limit = self._faults.max_torrent_bytes
        if limit is not None and sum(size for _, size in meta.files) > limit:
            raise ApiError(29)
        with self._lock:
            self._admit(meta.hash, throttled)
            self._filter([meta.name, *(path for path, _ in meta.files)])
            offer = self._swarm.find(meta.hash)
            files = offer.files if offer else _files_without_content(meta)
            torrent = self._new(meta.hash, meta.name, files, by_client=True)
            torrent.seeders = offer.pace.seeders if offer else 0
            return torrent

    def select(self, ident: str, files: str | None) -> None:
        """`all` or a comma-separated list of file ids; only once per torrent."""
        with self._lock:
            torrent = self.get(ident)
            if not files:
                raise missing("files", 404)  # observed: this endpoint answers 404 where others say 400
            if torrent.selected:
                raise ApiError(31)
            if torrent.status != lifecycle.WAITING:
                raise ApiError(2, "{files} cannot be selected yet", 400)
            wanted = _selection(torrent, files)
            self._require_slot()
            self._choose(torrent, wanted)

    def delete(self, ident: str) -> None:
        """Its links stay usable."""
        with self._lock:
            torrent = self.get(ident)
            if torrent.selected:
                self._swarm.interrupt(torrent.hash, torrent.selected, self._clock.now())
            del self._torrents[ident]

    def get(self, ident: str) -> SimTorrent:
        with self._lock:
            self._delete_silently()
            if ident not in self._torrents:
                raise ApiError(7)
            return self._torrents[ident]

    def torrents(self) -> list[SimTorrent]:
        """Newest first."""
        with self._lock:
            self._delete_silently()
            return sorted(self._torrents.values(), key=lambda one: (one.added, one.number), reverse=True)

    def active(self) -> list[SimTorrent]:
        """Those that take a slot."""
        return [torrent for torrent in self.torrents() if torrent.status in lifecycle.ACTIVE]

    # -- what the person at the keyboard of the simulator does

    def put(
        self, offer: Offer, status: str, selected: Collection[int] | None, added: float | None, form: LinkForm
    ) -> SimTorrent:
        """A torrent that has been in the account since `added`, standing at `status` for good."""
        now = self._clock.now()
        with self._lock:
            torrent = self._new(offer.hash, offer.name, offer.files, by_client=False)
            torrent.added = now if added is None else added
            torrent.seeders = offer.pace.seeders
            done = status == lifecycle.DOWNLOADED
            torrent.plan = lifecycle.fixed(torrent.added, status, 100 if done else 0)
            if status not in (lifecycle.WAITING, lifecycle.CONVERTING, "magnet_error"):
                everything = {file.id for file in offer.files}
                torrent.selected = frozenset(everything if selected is None else selected)
            if done:
                torrent.links = self._make_links(torrent, offer.packed, form, now)
            return torrent

    def set_status(self, ident: str, status: str, progress: float) -> None:
        """Stop the torrent's plan at `status`; a finished one gets its links."""
        with self._lock:
            torrent = self.get(ident)
            if status == lifecycle.DOWNLOADED and not torrent.links:
                offer = self._swarm.find(torrent.hash)
                packed = offer.packed if offer else None
                torrent.links = self._make_links(torrent, packed, self._faults.link_form, self._clock.now())
            torrent.plan = lifecycle.fixed(self._clock.now(), status, progress)

    def offered(self, offer: Offer) -> None:
        """Magnets that have waited for this content begin to be converted."""
        with self._lock:
            for torrent in self._torrents.values():
                if torrent.hash == offer.hash and torrent.status == lifecycle.CONVERTING and not torrent.files:
                    torrent.name, torrent.files = offer.name, offer.files
                    torrent.seeders = offer.pace.seeders
                    torrent.plan = self._conversion(offer)

    def remove(self, ident: str) -> None:
        with self._lock:
            self._torrents.pop(ident, None)

    def insert_stranger(self) -> None:
        """Somebody else adds a small torrent, just now."""
        with self._lock:
            name = f"Added in between {self._numbers}.mkv"
            file = SimFile(1, "/" + name, 4, BytesContent(b"tiny"))
            info_hash = f"{self._numbers:040x}"
            offer = Offer(info_hash, name, (file,), b"", lifecycle.Pace())
            self.put(offer, lifecycle.DOWNLOADED, None, None, "13")

    def remove_newest(self) -> None:
        with self._lock:
            if torrents := self.torrents():
                self.remove(torrents[0].id)

    def evict(self, info_hash: str) -> None:
        """Real-Debrid no longer has the content: links answer 24, adding again means downloading again."""
        self._swarm.evict(info_hash)
        for link in self._links.of_hash(info_hash):
            link.dead = EVICTED

    # -- inside

    def _new(self, info_hash: str, name: str, files: Iterable[SimFile], by_client: bool) -> SimTorrent:
        now = self._clock.now()
        plan = lifecycle.fixed(now, lifecycle.WAITING, 0)
        self._numbers += 1
        torrent = SimTorrent(
            self._ids.new(),
            info_hash,
            name,
            tuple(files),
            now,
            self._numbers,
            self._clock,
            plan,
            by_client=by_client,
        )
        self._torrents[torrent.id] = torrent
        return torrent

    def _admit(self, info_hash: str, throttled: bool) -> None:
        if throttled and self._faults.spurious_infringing:
            raise ApiError(35)
        self._require_slot()
        if self._faults.refuse_active_duplicates and any(one.hash == info_hash for one in self.active()):
            raise ApiError(33)

    def _require_slot(self) -> None:
        if self._faults.slots_full or len(self.active()) >= self._faults.active_limit:
            raise ApiError(21)

    def _filter(self, names: Iterable[str]) -> None:
        if self._faults.name_filter and any(_FILTERED.search(name) for name in names):
            raise ApiError(35)

    def _conversion(self, offer: Offer | None) -> lifecycle.Plan:
        faults, now = self._faults, self._clock.now()
        seconds = faults.magnet_seconds
        if seconds is None:
            seconds = offer.pace.conversion if offer else 0.0
        if offer is None and faults.magnet_outcome == "converted":
            return lifecycle.conversion(now, seconds, "never")
        return lifecycle.conversion(now, seconds, faults.magnet_outcome)

    def _choose(self, torrent: SimTorrent, wanted: frozenset[int]) -> None:
        now = self._clock.now()
        torrent.selected = wanted
        offer = self._swarm.find(torrent.hash)
        if offer is None:
            torrent.plan = lifecycle.unreachable(now)
            return
        if self._swarm.is_cached(torrent.hash, wanted, now):
            torrent.plan = lifecycle.recognition(now, self._faults.settle_seconds)
        else:
            torrent.plan = self._fetching(torrent, offer, now)
        last = torrent.plan[-1]
        if last.status == lifecycle.DOWNLOADED:
            self._swarm.will_cache(torrent.hash, wanted, last.start)
            torrent.links = self._make_links(torrent, offer.packed, self._faults.link_form, last.start)

    def _fetching(self, torrent: SimTorrent, offer: Offer, now: float) -> lifecycle.Plan:
        outcome = self._faults.download_outcome
        if outcome == "downloaded":
            outcome = offer.pace.outcome
        return lifecycle.fetching(now, offer.pace, self._packs(torrent, offer.packed), outcome)

    def _packs(self, torrent: SimTorrent, packed: bool | None) -> bool:
        wanted = self._faults.rar_packing if packed is None else packed
        return wanted and must_be_packed(torrent.chosen)

    def _make_links(self, torrent: SimTorrent, packed: bool | None, form: LinkForm, made: float) -> list[Link]:
        key = (torrent.hash, torrent.selected)
        if self._faults.same_links and key in self._made:
            return list(self._made[key])
        files = [(file.path, file.content) for file in torrent.chosen if file.content is not None]
        if self._packs(torrent, packed):
            files = [("/" + torrent.name + ".rar", pack(files))]
        self._made[key] = [self._link(torrent, path, content, form, made) for path, content in files]
        return list(self._made[key])

    def _link(self, torrent: SimTorrent, path: str, content: Content, form: LinkForm, made: float) -> Link:
        return self._links.make(path.rpartition("/")[2], path, content, form, made, torrent.hash)

    def _delete_silently(self) -> None:
        after = self._faults.silent_delete_after
        if after is None:
            return
        now = self._clock.now()
        for torrent in list(self._torrents.values()):
            if torrent.by_client and torrent.added + after <= now:
                del self._torrents[torrent.id]


def _names(offer: Offer) -> list[str]:
    return [offer.name, *(file.path for file in offer.files)]


def _files_without_content(meta: Metainfo) -> list[SimFile]:
    return [SimFile(number, path, size) for number, (path, size) in enumerate(meta.files, 1)]


def _selection(torrent: SimTorrent, text: str) -> frozenset[int]:
    known = {file.id for file in torrent.files}
    if text.strip() == "all":
        return frozenset(known)
    try:
        wanted = {int(part) for part in text.split(",") if part.strip()}
    except ValueError as problem:
        raise ApiError(2, "{files} is invalid", 404) from problem
    if not wanted or not wanted <= known:
        raise ApiError(2, "{files} is invalid", 404)
    return frozenset(wanted)


def shown_links(torrent: SimTorrent, step: lifecycle.Step, faults: Faults, now: float) -> list[str]:
    """The links a listing shows at `step`: none before the end, and then what the faults leave of them."""
    if step.status != lifecycle.DOWNLOADED:
        return []
    meant = fnmatchcase(torrent.name, faults.torrents_only)
    gone = torrent.lost | (set(faults.links_missing) if meant else set())
    links = [link.url for index, link in enumerate(torrent.links) if index not in gone]
    if not meant:
        return links
    if faults.links_empty:
        return []
    if now < step.start + faults.late_links_seconds:
        links = links[:1]
    return links[::-1] if faults.links_shuffled else links
