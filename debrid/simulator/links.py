"""Restricted links: `https://real-debrid.com/d/<id>`, and links of other hosters."""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from debrid.simulator.content import Content
from debrid.simulator.ids import Ids
from debrid.simulator.switches import LinkForm, Verdict

_FORM = re.compile(r"https?://(?:www\.)?real-debrid\.com/d/([A-Z0-9]{13})([A-Z0-9]*)(?:/.*)?")
_PREFIX = "https://real-debrid.com/d/"
_TAIL = {"13": 0, "16": 3, "26": 13}
# Measured in 2026: about three links of ten have 16 characters.
_SHARE_OF_16 = 0.3

AGED, EVICTED = 19, 24
HOST = "real-debrid.com"


@dataclass(slots=True)
class Link:
    """One restricted link. `dead` is the error code it answers with for good, 0 while it works."""

    id: str
    url: str
    host: str
    name: str
    path: str
    content: Content
    made: float
    hash: str = ""
    dead: int = 0
    ages: bool = True


class Links:
    """All links there ever were; they outlive the torrent they came with."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._links: dict[str, Link] = {}
        self._folders: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def make(self, name: str, path: str, content: Content, form: LinkForm, made: float, info_hash: str) -> Link:
        ident = self._ids.new()
        url = _PREFIX + ident + self._ids.letters(self._tail(form))
        link = Link(ident, url, HOST, name, path, content, made, info_hash)
        with self._lock:
            self._links[ident] = link
        return link

    def _tail(self, form: LinkForm) -> int:
        if form == "mixed":
            return _TAIL["16"] if self._ids.between(0, 1) < _SHARE_OF_16 else 0
        return _TAIL[form]

    def make_foreign(self, url: str, name: str, content: Content, made: float) -> Link:
        """A link of another hoster, e.g. https://1fichier.com/?x; it never ages."""
        link = Link(url, url, host_of(url), name, "/" + name, content, made, ages=False)
        with self._lock:
            self._links[url] = link
        return link

    def make_folder(self, url: str, urls: Iterable[str]) -> None:
        with self._lock:
            self._folders[url] = list(urls)

    def find(self, url: str) -> tuple[Link | None, bool]:
        """The link behind `url`, and whether more than the 13 characters that identify it were given."""
        if form := _FORM.fullmatch(url):
            return self._links.get(form.group(1)), bool(form.group(2))
        return self._links.get(url), False

    def folder(self, url: str) -> list[str]:
        return self._folders.get(url, [])

    def of_hash(self, info_hash: str) -> list[Link]:
        with self._lock:
            return [link for link in self._links.values() if link.hash == info_hash]


def host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def verdict_on(link: Link, verdicts: dict[str, Verdict]) -> Verdict | None:
    """The first verdict whose glob fits the link's id, its file's name or inner path."""
    for glob, verdict in verdicts.copy().items():
        if any(fnmatchcase(text, glob) for text in (link.id, link.name, link.path)):
            return verdict
    return None
