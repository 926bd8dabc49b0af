"""What the routes work with."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from debrid.downloads.downloads import Downloads
from debrid.downloads.ports import Tree
from debrid.downloads.record import Wanted
from debrid.downloads.words import Words
from debrid.qbittorrent.guard import Sessions
from debrid.qbittorrent.queries import Deltas
from debrid.qbittorrent.views import Paths


@dataclass(frozen=True)
class Desk:
    """`wanted` answers what is configured for a category; `free_space` in bytes.

    `hosts`: names by which this machine may be asked; `torrent_hosts`: those that .torrent files are fetched from.
    """

    downloads: Downloads
    words: Words
    sessions: Sessions
    tree: Tree
    paths: Paths
    wanted: Callable[[str], Wanted]
    free_space: Callable[[], int]
    hosts: Collection[str] = ()
    torrent_hosts: Collection[str] = ()
    deltas: Deltas = field(default_factory=Deltas)

    def make_category(self, name: str) -> None:
        """Keep a category, and have its folder: clients look for it before anything is in it.

        Raises BadWord, StoreError, OSError.
        """
        self.words.add_category(name)
        self.tree.folder("torrents", "complete", name)
