"""A .torrent file by its address: only from hosts that the configuration names, and nowhere they send us."""

from collections.abc import Collection
from urllib.parse import urlsplit

import requests

from debrid.downloads.sources import LONGEST_METAINFO, NotATorrent

_SECONDS = (5, 20)


def fetched(url: str, hosts: Collection[str]) -> bytes:
    """The .torrent file at `url`. Raises NotATorrent, whose text does not repeat the address: it may hold a key."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        host = ""
    if host not in {each.lower() for each in hosts}:
        raise NotATorrent(f"addresses at {host[:100]!r} are not fetched: [http] torrent_hosts does not name it")
    try:
        with requests.get(url, stream=True, timeout=_SECONDS, allow_redirects=False) as answer:
            if answer.status_code != 200:
                raise NotATorrent(f"{host} answered {answer.status_code} instead of a .torrent file")
            raw: bytes = answer.raw.read(LONGEST_METAINFO + 1, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise NotATorrent(f"{host} cannot be asked: {type(error).__name__}") from None
    return raw
