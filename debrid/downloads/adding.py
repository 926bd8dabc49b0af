"""Getting a torrent into the account, once, and having the right files of it selected.

What is in the account already is taken if it has, or can get, the files that are wanted; what people added stays
theirs. Adding again after a lost answer would add twice, so the additions known before are recorded first, and what is
there beyond those afterwards is the one.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from debrid import errors
from debrid.client import Client
from debrid.downloads.record import LINK, Download, Item, Stage
from debrid.downloads.selection import Files, select
from debrid.downloads.verdicts import Failed
from debrid.errors import DebridError, Reaction
from debrid.models import FAILED, TorrentInfo, Unrestricted
from debrid.store import Store
from debrid.transport import Budget
from debrid.urls import GONE, URL_SECONDS

log = logging.getLogger(__name__)

_LONGEST_CONVERSION = 3600.0  # seconds without anybody who has the metadata
_FILTERED_WITHIN = 600.0
_CHOOSING = ("magnet_conversion", "waiting_files_selection")


class Waiting(Exception):
    """It cannot go on before `seconds` have passed; the text says why, '' if nothing is wrong."""

    def __init__(self, problem: str, seconds: float) -> None:
        super().__init__(problem)
        self.seconds = seconds


class Adding:
    """Thread-safe, as long as no two threads work on one download. `put` records a download at once."""

    def __init__(
        self, client: Client, store: Store, put: Callable[[Download], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._client, self._store, self._put, self._clock = client, store, put, clock

    # -- torrents

    def add(self, download: Download, profile: Files, budget: Budget) -> Download:
        """Have it in the account. Raises Failed, Waiting, DebridError."""
        if download.kind == LINK:
            return self._unrestricted(download, budget)
        found = self._known(download, profile, budget)
        if found is None and download.before:
            found = self._lately_added(download, budget)
        if found is not None:
            log.info("torrent %s is in the account already as %s", download.hash, found.id)
            if self._store.added_here(found.id):
                self._store.mark_added_here(found.id, found.hash)  # so it does not leave, if it was about to
            return self._joined(download, found.id, found.hash)
        download = replace(
            download, before="".join(f"{each.id}," for each in self._store.additions_of(download.hash)) or ","
        )
        self._put(download)
        try:
            torrent = self._sent(download, budget)
        except errors.AlreadyActive:
            raise Waiting("this torrent is being added already", 5.0) from None
        except errors.Infringing as error:
            raise Failed("infringing", str(error)) from None
        except errors.Rejected as error:
            raise Failed("invalid", str(error)) from None
        except DebridError as error:
            if error.reaction is not Reaction.REPEAT:  # refused, so not done
                self._put(replace(download, before=""))
            raise
        self._store.mark_added_here(torrent, download.hash)
        log.info("added torrent %s as %s", download.hash, torrent)
        return self._joined(download, torrent, "")

    def _sent(self, download: Download, budget: Budget) -> str:
        metainfo = self._store.downloads.metainfo(download.hash)
        if metainfo:
            return self._client.add_torrent(metainfo, budget)
        return self._client.add_magnet(download.source, budget)

    def _joined(self, download: Download, torrent: str, content: str) -> Download:
        return replace(
            download,
            stage=Stage.CONVERTING,
            torrent=torrent,
            content=content or download.content,
            before="",
            problem="",
        )

    def _known(self, download: Download, profile: Files, budget: Budget) -> TorrentInfo | None:
        """An addition that was there before and has what is wanted, or can get it."""
        for each in self._store.additions_of(download.content or download.hash):
            if each.missing or each.status in FAILED:
                continue
            try:
                info = self._client.torrent(each.id, budget)
            except errors.NotFound:
                self._store.set_missing(each.id, GONE, self._clock())
                continue
            chosen = {file.id for file in info.selected}
            wanted = {file.id for file in select(info.files, profile)}
            if info.status in _CHOOSING or (info.status not in FAILED and wanted and wanted <= chosen):
                return info
        return None

    def _lately_added(self, download: Download, budget: Budget) -> TorrentInfo | None:
        """What was added before the answer was lost."""
        listing = self._client.torrents(budget)
        if not listing.complete:
            raise errors.Unavailable("the list of torrents is not complete", reaction=Reaction.LATER)
        known = download.before.split(",")
        same = (each for each in listing.items if each.hash == download.hash and each.id not in known)
        found = next((each for each in same if each.status not in FAILED), None)
        # Whose it is, is not sure, so it is not taken for ours: it stays in the account.
        return None if found is None else self._client.torrent(found.id, budget)

    # -- its files

    def convert(self, download: Download, profile: Files, budget: Budget) -> Download:
        """Have the wanted files selected. Raises Failed, Waiting, DebridError."""
        info = self.info(download, budget)
        if info.status == "magnet_conversion":
            age = self._clock() - download.changed_at
            if age > _LONGEST_CONVERSION:
                raise Failed("dead", "nobody shares it: its files are not known after an hour")
            raise Waiting("", min(1.0 + age / 10, 15.0))
        if not info.files:
            raise Failed("dead", f"Real-Debrid knows no file of it ({info.status})")
        if info.status in _CHOOSING:
            wanted = [file.id for file in select(info.files, profile)]
            if not wanted:
                raise Failed("invalid", f'none of its {len(info.files)} files is wanted (files = "{profile}")')
            self._select(download, wanted, budget)
        else:
            wanted = [file.id for file in select(info.selected, profile)]
        items = tuple(Item(each.id, each.path, each.bytes, each.id in wanted) for each in info.files)
        name = info.original_filename or info.filename
        # A torrent of one file is called as the file is, one of a folder as the folder.
        foldered = [each.path.lstrip("/") for each in info.files] != [name]
        return replace(
            download,
            stage=Stage.FETCHING,
            content=info.hash,
            name=download.name if download.name != download.hash else name,
            items=items,
            folder=download.folder or foldered,
            size=sum(each.bytes for each in items if each.wanted),
        )

    def _select(self, download: Download, wanted: list[int], budget: Budget) -> None:
        try:
            self._client.select_files(download.torrent, wanted, budget)
        except errors.Infringing as error:
            raise Failed("infringing", str(error)) from None
        except errors.AlreadyDone:
            log.debug("torrent %s was selected before", download.torrent)

    def info(self, download: Download, budget: Budget) -> TorrentInfo:
        """What the provider says of it. Raises Failed if it removed it, or gave it up."""
        try:
            info = self._client.torrent(download.torrent, budget)
        except errors.NotFound:
            if self._clock() > download.added_at + _FILTERED_WITHIN:
                raise Failed("dead", "it was removed from the Real-Debrid account") from None
            # Its content filter removes some torrents without a word, shortly after they were added.
            reason = "Real-Debrid removed it from the account at once, as it does with filtered releases"
            raise Failed("infringing", reason) from None
        if info.status in FAILED or not (info.is_finished or info.is_unfinished):
            raise Failed("dead", f"Real-Debrid gave it up: {info.status}")
        self._store.saw([info], self._clock())
        return info

    # -- links of hosters

    def _unrestricted(self, download: Download, budget: Budget) -> Download:
        try:
            found = self._client.unrestrict(download.source, budget)
        except (errors.ContentGone, errors.Infringing, errors.Rejected) as error:
            raise Failed("dead", str(error)) from None
        if not found.filesize:
            raise Failed("invalid", "Real-Debrid does not say how large the file is")
        self._store.record_link(download.hash, found, self._clock() + URL_SECONDS)
        return _of_link(download, found)


def _of_link(download: Download, found: Unrestricted) -> Download:
    name = found.filename.rpartition("/")[2] or download.hash
    return replace(
        download,
        stage=Stage.PUBLISHING,
        content=download.hash,
        name=name,
        items=(Item(1, f"/{name}", found.filesize, True),),
        size=found.filesize,
        progress=1.0,
    )
