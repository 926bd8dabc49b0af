"""What the life of downloads needs of its siblings: the tree, somebody who looks at files, and who is told of failures.

Satisfied by `vfs` and `cli`; each works without the others.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from debrid.contents import PublishedFile


class Tree(Protocol):
    """The tree as the life of downloads sees it. Paths are relative to its root. All methods may raise OSError."""

    def folder(self, *parts: str) -> str:
        """A folder, made if it is not there; its path."""
        ...

    def show(
        self, additions: Sequence[str], folder: str, name: str, files: Sequence[PublishedFile], single: bool
    ) -> str:
        """Show files below folder/name at once, or the one file (`single`) by that name; the path it got."""
        ...

    def free(self, folder: str, name: str, owner: str) -> str:
        """A path in `folder` that nothing has, `name` if possible."""
        ...

    def move(self, source: str, target: str) -> bool:
        """One rename, old name forgotten at once; False if `source` is not there, EEXIST if `target` is taken."""
        ...

    def contents(self, path: str, content: str) -> list[tuple[str, int]]:
        """The files of a content at or below `path`, with sizes in bytes."""
        ...

    def unlinked(self, path: str, content: str, local: Collection[tuple[str, int]] = ()) -> list[str]:
        """Those of them that have no name anywhere else; with local files of these names and sizes."""
        ...

    def withdraw(self, path: str, content: str, local: Collection[tuple[str, int]] = ()) -> list[str]:
        """Take away their names at or below `path`, and those of local files of these names and sizes."""
        ...


class Inspector(Protocol):
    """Looks at the content of a file of the tree."""

    def check(self, path: str, kind: str) -> str | None:
        """What is wrong with the content of a file, None if nothing is: its head and tail, of a "video" all it says.

        Raises OSError if it cannot be had just now, which says nothing about its content.
        """
        ...


class Reporter(Protocol):
    """Tells Sonarr and Radarr, by their own API, of a download that failed after they had handed it over."""

    def failed(self, info_hash: str, category: str, reason: str) -> bool:
        """Whether one of them knew the download, and has taken it for failed. Raises OSError: to be tried again."""
        ...


class Keeper(Protocol):
    """Makes local copies of remote files."""

    def keep(self, goal: str, paths: Sequence[str]) -> None:
        """Begin to "pin" or "download" what is at and below these paths. Raises OSError."""
        ...
