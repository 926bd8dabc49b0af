"""One download: what was asked for, how far it is, and where it lies. Values; `downloadlog` keeps them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from debrid.downloads.selection import Files

TORRENT, LINK = "torrent", "link"


class Stage(StrEnum):
    """How far a download is; each is in debrid.db before the call it is about."""

    ADDING = "adding"  # not known to be in the account yet; also while no slot is free
    CONVERTING = "converting"  # in the account, its files not known or not selected yet
    FETCHING = "fetching"  # the provider downloads it
    PUBLISHING = "publishing"  # the provider has it; names are about to appear under incomplete
    CHECKING = "checking"  # its files are read through the tree
    MOVING = "moving"  # good; about to be renamed to `target`
    COMPLETE = "complete"
    FAILED = "failed"  # `problem` says why; what it left behind is being removed
    DELETING = "deleting"  # a client removed it


UNSETTLED = frozenset({Stage.ADDING, Stage.CONVERTING, Stage.FETCHING, Stage.PUBLISHING, Stage.CHECKING, Stage.MOVING})


class Item(NamedTuple):
    """A file of a torrent: the provider's id, raw path inside it, size in bytes, whether it is wanted."""

    id: int
    path: str
    bytes: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class Download:
    """A row of `downloads`, see `debriddb.SINCE_4`. Times in seconds since 1970, 0: not yet; sizes in bytes."""

    hash: str
    kind: str
    stage: Stage
    name: str
    source: str  # magnet link, or link of a hoster
    v2: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    folder: bool = False  # a single file has a folder as well
    paused: bool = False
    torrent: str = ""  # the provider's id of the addition
    content: str = ""  # by which the content is keyed; the provider's info hash of a torrent
    before: str = ""  # additions known before adding, comma separated, ends in a comma; '': nothing was tried
    items: tuple[Item, ...] = ()
    size: int = 0  # of what is wanted
    progress: float = 0.0  # 0 to 1
    speed: int = 0  # bytes a second
    seeders: int = 0
    path: str = ""  # where it is in the tree: a folder, or one file
    target: str = ""  # where it is about to be moved
    only: str = ""  # path in the tree of its one file, once it is complete; '': it has several
    added_at: float = 0.0
    changed_at: float = 0.0  # when this stage began
    done_at: float = 0.0
    problem: str = ""
    retry_at: float = 0.0
    tries: int = 0  # in this stage, in a row
    imported: bool = False  # all that matters of it has a name elsewhere in the tree
    copied: str = ""  # what was copied instead of linked, and the likely cause

    @property
    def wanted(self) -> tuple[Item, ...]:
        """The files that are downloaded."""
        return tuple(each for each in self.items if each.wanted)

    @property
    def single(self) -> bool:
        """Whether it is one file without a folder around it, as in a torrent of one file."""
        return len(self.items) == 1 and not self.folder

    @property
    def complete(self) -> bool:
        """All its files lie where clients are told."""
        return self.stage is Stage.COMPLETE


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration says about a category.

    `uncached`: "wait" for content the provider does not have yet, or "refuse" it; `keep`: "remote", "pin", "download";
    `importing`: "link" or "move", what clients are told about limits; `files`: a profile of `selection`.
    """

    uncached: str = "wait"
    keep: str = "remote"
    importing: str = "link"
    files: Files = "video"


class Verdict(NamedTuple):
    """What is known of a hash, since `at`: it will not become a download. `kind`: see `verdicts.AGES`."""

    kind: str
    reason: str
    at: float
