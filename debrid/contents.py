"""What is to be published of a finished addition: its files, with the keys and the times they get."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from debrid.archives import Archives, Shown
from debrid.client import Client
from debrid.errors import DebridError, Interrupted
from debrid.linking import match_links
from debrid.models import TorrentInfo
from debrid.store import PACK, Store, StoredFile, StoredTorrent
from debrid.transport import Budget
from debrid.urls import URL_SECONDS, Urls

log = logging.getLogger(__name__)

LATE_LINKS_SECONDS = 60.0
_RECHECK_SECONDS = 6 * 3600.0


class PublishedFile(NamedTuple):
    """One file of an addition: inner folders and name, raw as the provider gives them; size in bytes."""

    path: tuple[str, ...]
    key: tuple[str, str, str]
    size: int
    mtime_ns: int


class NotYet(Exception):
    """There is nothing to publish before `seconds` have passed; the text says why."""

    def __init__(self, problem: str, seconds: float) -> None:
        super().__init__(problem)
        self.seconds = seconds


class Contents:
    """Thread-safe; `clock`: seconds since 1970."""

    def __init__(self, client: Client, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._archives = Archives(client, store, Urls(client, store, URL_SECONDS, None, clock).get_fresh)
        self._offset_ns = 0
        self._offset_due = 0.0

    def files(self, torrent: StoredTorrent, budget: Budget) -> tuple[list[PublishedFile], str]:
        """The files of a finished addition, and what it lacks. Raises NotYet, DebridError."""
        if torrent.selection is None:
            self._learn(torrent, budget)
        selected = self._selected(torrent.id)
        shown, problem = self._archives.shown(torrent.hash, selected, budget)
        if not shown:
            raise NotYet("none of its files has a link", _RECHECK_SECONDS)
        packed = any(each.part == str(PACK) for each in shown)
        lost = "" if packed else self.lost(torrent)
        return self._published(torrent, shown, budget), lost or problem

    def lost(self, torrent: StoredTorrent) -> str:
        """Which of its selected files the provider gives no link for, in words; '' if it gives all."""
        return _lost([each for each in self._selected(torrent.id) if not self._has(each)])

    def true_ns(self, torrent: StoredTorrent, budget: Budget) -> int:
        """When its content was complete, in nanoseconds since 1970."""
        stamped = torrent.ended_ns if torrent.ended_ns is not None else torrent.added_ns
        if stamped is None:
            return int(self._clock() * 10**9)
        return max(0, stamped - self._clock_offset_ns(budget))

    def _selected(self, torrent_id: str) -> Sequence[StoredFile]:
        torrent = self._store.torrent(torrent_id)
        if torrent is None or torrent.selection is None:
            return []
        return [each for each in self._store.files(torrent.hash) if each.id in torrent.selection]

    def _has(self, file: StoredFile) -> bool:
        return bool(file.link or self._store.parts(file.hash, str(file.id)))

    def _published(self, torrent: StoredTorrent, shown: Sequence[Shown], budget: Budget) -> list[PublishedFile]:
        mtime_ns = self.true_ns(torrent, budget)
        return [
            PublishedFile(
                tuple(part for part in each.path.split("/") if part),
                ("torrent", torrent.hash, each.part),
                each.size,
                mtime_ns,
            )
            for each in shown
        ]

    def _learn(self, torrent: StoredTorrent, budget: Budget) -> None:
        """Get the files and links of a torrent into the store. Raises NotYet if it has none to show."""
        info = self._client.torrent(torrent.id, budget)
        self._store.saw([info], self._clock())
        if not info.is_finished:
            raise NotYet("", 0.0)
        links: Mapping[int, str] | None = info.links_by_file
        urls: Mapping[int, str] = {}
        problem = "none of its files is selected"
        if links is None:
            if (wait := self._late_seconds(torrent, info, budget)) > 0:
                raise NotYet("waiting for the rest of its links", min(wait, 10.0))
            links, urls, pack = match_links(self._client, info, budget)
            problem = _why_none(info)
            if pack is not None:
                self._store.record_pack(info.hash, f"/{pack.filename}", pack.filesize, links[PACK])
        if not links:
            raise NotYet(problem, _RECHECK_SECONDS)
        self._store.record(info, links)
        for file_id, url in urls.items():
            self._store.set_url(info.hash, file_id, url, self._clock() + URL_SECONDS)

    # -- times

    def _late_seconds(self, torrent: StoredTorrent, info: TorrentInfo, budget: Budget) -> float:
        """Seconds in which more links may yet come, going by the provider's `ended` or our first look."""
        since = [at for at in (torrent.done_at,) if at is not None]
        if info.ended_ns is not None:
            since.append((info.ended_ns - self._clock_offset_ns(budget)) / 10**9)
        return min(since, default=0.0) + LATE_LINKS_SECONDS - self._clock()

    def _clock_offset_ns(self, budget: Budget) -> int:
        """What the provider's dates are ahead of UTC; asked once a day, 0 if it cannot be had."""
        now = self._clock()
        if now >= self._offset_due:
            try:
                ahead = self._client.time(budget).utcoffset()
                self._offset_ns = int(ahead.total_seconds() * 10**9) if ahead else 0
                self._offset_due = now + 86_400
            except Interrupted:
                raise
            except DebridError as error:
                log.info("dates are taken as UTC: %s", error)
                self._offset_due = now + 600
        return self._offset_ns


def _why_none(info: TorrentInfo) -> str:
    if not info.links:
        return "Real-Debrid lost its content"
    return "none of its links leads to one of its files"


def _lost(lost: Sequence[StoredFile]) -> str:
    paths = [each.path for each in lost]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"Real-Debrid gives no link for {', '.join(paths[:3])}{more}" if paths else ""
