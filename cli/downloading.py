"""What clients download, as the App ties it together: the life of downloads, the Web API, and the command."""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flask import Blueprint

from cli.config import Config
from cli.pinning import PinJobs
from cli.routes import Post
from debrid.downloads.downloads import Downloads, Refused
from debrid.downloads.life import Parts
from debrid.downloads.record import Download, Stage
from debrid.downloads.sources import NotATorrent, Source, read_magnet, read_metainfo
from debrid.downloads.words import Words, check_category
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.guard import Sessions
from debrid.qbittorrent.routes import Api
from debrid.qbittorrent.views import Paths

DOWNLOADS = "/api/debrid/downloads"
ADD = "/api/debrid/add"


class PinKeeper:
    """Makes local copies of what is complete, by the jobs of `pin` and `download`."""

    def __init__(self, jobs: PinJobs) -> None:
        self._jobs = jobs

    def keep(self, goal: str, paths: Sequence[str]) -> None:
        """As `debrid.downloads.ports.Keeper`."""
        self._jobs.ask("pin" if goal == "pin" else "download", paths, False)


class DownloadClient:
    """The downloads of one mounted account."""

    def __init__(self, config: Config, parts: Parts, free_space: Callable[[], int]) -> None:
        """Raises StoreError."""
        self._config, self._tree = config, parts.tree
        log, password = parts.store.downloads, config.http.password
        self.downloads = Downloads(parts)
        self._words = Words(log, config.client)
        self._desk = Desk(
            downloads=self.downloads,
            words=self._words,
            sessions=Sessions(log, config.http.username, password.get_secret_value() if password else None),
            tree=parts.tree,
            paths=Paths(str(config.mount.path).rstrip("/\\")),
            wanted=config.wanted,
            free_space=free_space,
            hosts=(config.http.address[0], *config.http.hosts),
            torrent_hosts=config.http.torrent_hosts,
        )

    def blueprint(self) -> Blueprint:
        """The Web API."""
        return Api(self._desk).blueprint()

    @property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        return self._desk.sessions

    def posts(self) -> Mapping[str, Post]:
        """The routes of the command."""
        return {ADD: self._added}

    def start(self) -> None:
        """Have the folders that clients look for, and go on with everything."""
        for category in ("", *self._words.categories):
            self._tree.folder("torrents", "complete", category)
        self.downloads.start()

    def listing(self) -> list[dict[str, Any]]:
        """All downloads as plain values; times in seconds since 1970, sizes in bytes."""
        return [_plain(each) for each in self.downloads.all()]

    def status(self) -> dict[str, Any]:
        """For `mediapool status`: how many are at which stage, and which failed."""
        found = self.downloads.all()
        failed = [f"{each.name}: {each.problem}" for each in found if each.stage is Stage.FAILED]
        return {"stages": dict(Counter(str(each.stage) for each in found)), "failed": failed}

    def _added(self, body: object) -> dict[str, Any]:
        """Add what a command names; how each is known."""
        link, content, category = _wanted(body)
        try:
            if category:
                self._desk.make_category(check_category(category))
            if content:
                source: Source | None = read_metainfo(content)
            else:
                source = read_magnet(link) if link.lower().startswith("magnet:") else None
            if source is None:
                return {"hash": self.downloads.add_link(link, category=category)}
            self.downloads.add(source, category=category)
            return {"hash": source.hash}
        except NotATorrent as problem:
            raise ValueError(str(problem)) from None
        except Refused as reason:
            raise ValueError(f"it is not downloaded: {reason}") from None


def _plain(download: Download) -> dict[str, Any]:
    plain = asdict(download)
    for key in ("source", "before", "items", "retry_at", "tries"):
        del plain[key]
    return plain


def _wanted(body: object) -> tuple[str, bytes, str]:
    """A link, or the bytes of a .torrent file, and a category. Raises ValueError."""
    if not isinstance(body, dict) or set(body) != {"link", "torrent", "category"}:
        raise ValueError('the body must be a JSON object of "link", "torrent" and "category"')
    if not all(isinstance(each, str) for each in body.values()) or bool(body["link"]) == bool(body["torrent"]):
        raise ValueError('"link" must be a text, or "torrent" a file in base64')
    if body["link"] and not body["link"].lower().startswith(("magnet:", "http://", "https://")):
        raise ValueError("it is neither a magnet link nor the address of a file")
    try:
        return body["link"], base64.b64decode(body["torrent"], validate=True), body["category"]
    except binascii.Error:
        raise ValueError('"torrent" is not base64') from None
