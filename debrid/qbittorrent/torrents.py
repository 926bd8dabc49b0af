"""Routes of torrents: listing, adding, removing."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from debrid.downloads.downloads import Refused
from debrid.downloads.record import TORRENT, Download
from debrid.downloads.sources import LONGEST_METAINFO, NotATorrent, Source, read_magnet, read_metainfo
from debrid.downloads.words import BadWord, check_category, check_tag
from debrid.qbittorrent import views
from debrid.qbittorrent.call import Bad, Call
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.fetching import fetched
from debrid.qbittorrent.queries import BadSort, arranged, filtered

log = logging.getLogger(__name__)

_MOST_URLS = 100
_LONGEST_NAME = 255  # characters


def rows(desk: Desk, chosen: Callable[[Download], bool] = lambda each: True) -> list[dict[str, Any]]:
    """The rows of all torrents that are chosen, made from memory."""
    now = time.time()
    return [
        views.torrent(each, desk.wanted(each.category), desk.paths, now)
        for each in desk.downloads.all()
        if each.kind == TORRENT and chosen(each)
    ]


def info(desk: Desk, call: Call) -> list[Any]:
    """torrents/info, with all its parameters."""
    category, tag, hashes = call.given("category"), call.given("tag"), call.given("hashes")
    named = set(hashes.lower().split("|")) if hashes else None

    def chosen(each: Download) -> bool:
        return (
            (category is None or each.category == category)
            and (tag is None or (tag in each.tags if tag else not each.tags))
            and (named is None or "all" in named or each.hash in named)
        )

    found = filtered(rows(desk, chosen), call.text("filter"))
    try:
        reverse = call.flag("reverse") is True
        return arranged(found, call.text("sort"), reverse, call.number("limit"), call.number("offset"))
    except BadSort:
        raise Bad(400, "there is no such key to sort by") from None


def count(desk: Desk, call: Call) -> str:
    """How many torrents there are."""
    return str(sum(each.kind == TORRENT for each in desk.downloads.all()))


def properties(desk: Desk, call: Call) -> dict[str, Any]:
    """One torrent in detail."""
    found = _one(desk, call)
    return views.properties(found, desk.wanted(found.category), desk.paths, time.time())


def files(desk: Desk, call: Call) -> list[Any]:
    """The files of one torrent."""
    found, indexes = views.files(_one(desk, call)), call.given("indexes")
    if not indexes:
        return found
    wanted = set(indexes.split("|"))
    if not wanted <= {str(each["index"]) for each in found}:
        raise Bad(409, "there is no such file")
    return [each for each in found if str(each["index"]) in wanted]


def trackers(desk: Desk, call: Call) -> list[Any]:
    """The trackers of one torrent."""
    return views.trackers(_one(desk, call))


def _one(desk: Desk, call: Call) -> Download:
    found = desk.downloads.get(call.need("hash").lower())
    if found is None or found.kind != TORRENT:
        raise Bad(404, "there is no such torrent")
    return found


def hashes_of(desk: Desk, call: Call) -> list[str]:
    """The torrents that a call names and that are there."""
    named = set(call.need("hashes").lower().split("|"))
    return [
        each.hash for each in desk.downloads.all() if each.kind == TORRENT and (each.hash in named or "all" in named)
    ]


def delete(desk: Desk, call: Call) -> str:
    """Remove torrents; what is not there counts as removed."""
    hashes, with_files = hashes_of(desk, call), call.flag("deleteFiles")
    if with_files is None:
        raise Bad(400, "deleteFiles is missing")
    desk.downloads.delete(hashes, with_files)
    return ""


def pause(desk: Desk, call: Call) -> str:
    """Go no further."""
    desk.downloads.pause(hashes_of(desk, call), True)
    return ""


def resume(desk: Desk, call: Call) -> str:
    """Go on."""
    desk.downloads.pause(hashes_of(desk, call), False)
    return ""


def add(desk: Desk, call: Call) -> str:
    """Download what the addresses and files name: "Ok." if anything of it may be had."""
    category = call.text("category").strip()
    tags = [word.strip() for word in call.text("tags").split(",") if word.strip()]
    try:
        if category:
            check_category(category)
        for tag in tags:
            check_tag(tag)
    except BadWord as error:
        raise Bad(400, str(error)) from None
    sources = list(_sources(desk, call))
    if not sources:
        return "Fails."
    if category and not desk.words.has(category):
        desk.make_category(category)
    desk.words.add_tags(tags)
    paused = call.flag("stopped") is True or call.flag("paused") is True
    folder = call.text("contentLayout") == "Subfolder"
    name = call.text("rename").strip()[:_LONGEST_NAME] if len(sources) == 1 else ""
    taken = 0
    for source in sources:
        try:
            desk.downloads.add(source, category=category, tags=tags, paused=paused, folder=folder, name=name)
            taken += 1
        except Refused as reason:
            log.warning("%s is not downloaded: %s", source.name, reason)
    return "Ok." if taken else "Fails."


def _sources(desk: Desk, call: Call) -> Iterator[Source]:
    """What can be read of what was given. 415 for a file that is no .torrent file."""
    for raw in call.files(LONGEST_METAINFO):
        try:
            yield read_metainfo(raw)
        except NotATorrent as problem:
            log.warning("a .torrent file is refused: %s", problem)
            raise Bad(415, "it is not a valid torrent file") from None
    for url in [line.strip() for line in call.text("urls").splitlines() if line.strip()][:_MOST_URLS]:
        try:
            yield _source(url, desk)
        except NotATorrent as problem:
            log.warning("an address is not added: %s", problem)


def _source(url: str, desk: Desk) -> Source:
    if url.lower().startswith(("http://", "https://")):
        return read_metainfo(fetched(url, desk.torrent_hosts))
    return read_magnet(f"magnet:?xt=urn:btih:{url}" if re.fullmatch(r"[0-9a-fA-F]{40}|[A-Za-z2-7]{32}", url) else url)
