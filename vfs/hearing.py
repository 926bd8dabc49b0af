"""Who hears in which folders of the tree names have changed, such as those who tell media servers."""

from typing import Protocol


class Heard(Protocol):
    """Called after each change, on the path of whoever waits for it: it must not wait, look at files, or raise."""

    def __call__(self, *folders: str, unseen: bool = False) -> None:
        """Names in these folders, or the folders themselves, came or went; `unseen`: not through the mount."""
        ...


def unheard(*folders: str, unseen: bool = False) -> None:
    """A `Heard` for a tree whose changes nobody wants to hear of."""
