"""Categories and tags: the words by which clients tell their downloads apart. Exact in case, kept over restarts.

Lock order: `_lock`, then the store's.
"""

import re
import threading
from collections.abc import Iterable

from debrid.downloads.downloadlog import DownloadLog

# As Sonarr and Radarr check it: parts between single slashes, no backslash. Source: their category validators.
_CATEGORY = re.compile(r"[^\\/](/?[^\\/])*")
_LONGEST_CATEGORY = 200  # characters
_LONGEST_TAG = 100


class BadWord(ValueError):
    """It cannot be a category, or a tag."""


class Words:
    """Thread-safe; asking takes no lock."""

    def __init__(self, log: DownloadLog, configured: Iterable[str] = ()) -> None:
        """`configured`: categories that always exist. Raises StoreError."""
        self._log = log
        self._lock = threading.Lock()
        self._configured = frozenset(configured)
        self._categories = self._configured | frozenset(log.words("categories"))
        self._tags = frozenset(log.words("tags"))

    @property
    def categories(self) -> list[str]:
        """All of them, in order."""
        return sorted(self._categories)

    @property
    def tags(self) -> list[str]:
        """All of them, in order."""
        return sorted(self._tags)

    def has(self, category: str) -> bool:
        """Whether there is this category."""
        return category in self._categories

    def add_category(self, name: str) -> None:
        """Keep a category; nothing happens if it is there. Raises BadWord, StoreError."""
        check_category(name)
        with self._lock:
            if name not in self._categories:
                self._log.add_words("categories", [name])
                self._categories |= {name}

    def remove_categories(self, names: Iterable[str]) -> frozenset[str]:
        """Forget these, but for those of the configuration; which were forgotten. Raises StoreError."""
        with self._lock:
            gone = self._categories.intersection(names) - self._configured
            self._log.drop_words("categories", gone)
            self._categories -= gone
        return gone

    def add_tags(self, names: Iterable[str]) -> None:
        """Keep tags. Raises BadWord, StoreError."""
        new = {check_tag(name) for name in names}
        with self._lock:
            self._log.add_words("tags", new - self._tags)
            self._tags |= new

    def remove_tags(self, names: Iterable[str]) -> None:
        """Forget tags. Raises StoreError."""
        with self._lock:
            gone = self._tags.intersection(names)
            self._log.drop_words("tags", gone)
            self._tags -= gone


def check_category(name: str) -> str:
    """`name`, if it can be a category; it becomes folders. Raises BadWord."""
    if not _CATEGORY.fullmatch(name) or len(name) > _LONGEST_CATEGORY or not name.isprintable():
        raise BadWord("it cannot be a category")
    if any(part in (".", "..") for part in name.split("/")):
        raise BadWord('a category has no part "." or ".."')
    return name


def check_tag(name: str) -> str:
    """`name`, if it can be a tag. Raises BadWord."""
    if not name or "," in name or len(name) > _LONGEST_TAG or not name.isprintable():
        raise BadWord("it cannot be a tag")
    return name
