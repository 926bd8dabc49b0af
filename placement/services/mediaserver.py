"""What Plex, Jellyfin and Emby have in common: libraries in folders, and a call by which a folder is looked at anew."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from placement.services.calls import Api, KeyWords, ServiceError
from placement.services.paths import Paths


@dataclass(frozen=True, slots=True)
class Library:
    """One library: its folders as the server sees them, and its settings as the server names them."""

    id: str
    name: str
    folders: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Habit:
    """A setting that does harm here as it is: what the server's own page calls it, and in which part of its settings.

    `effect`: the harm; `destroys`: it is one that cannot be made good.
    """

    name: str
    place: str
    value: str
    effect: str
    destroys: bool = False


READS = "reads whole remote files"


class MediaServer(ABC):
    """One server. All calls raise ServiceError, in words and without the token. Paths are the server's own."""

    kind: ClassVar[str]
    words: ClassVar[KeyWords]

    def __init__(self, url: str, token: str, paths: Paths, name: str | None = None, *, seconds: float = 30.0) -> None:
        """`paths`: which folders of the tree it is told of; `name` for people; `seconds` that one call may take."""
        self.name = name or self.kind
        self.paths = paths
        self.url = url
        self._api = Api(self.name, url, token, seconds=seconds, words=self.words)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._api.url!r}, name={self.name!r})"

    @abstractmethod
    def version(self) -> str:
        """Its version; ServiceError if it is another program."""

    @abstractmethod
    def libraries(self) -> list[Library]:
        """All its libraries."""

    @abstractmethod
    def look_at(self, folders: Sequence[str]) -> None:
        """Have it look at these folders and all below them; it does that later, by itself."""

    @abstractmethod
    def names_in(self, folder: str) -> set[str]:
        """The names it sees in a folder; Missing, or none, if it sees no such folder."""

    @abstractmethod
    def habits(self, libraries: Sequence[Library]) -> Iterator[Habit]:
        """The settings, its own and those of these libraries, that do harm to libraries of remote files."""

    def _object(self, told: Any) -> dict[str, Any]:
        if not isinstance(told, dict):
            raise self._strange()
        return told

    def _list(self, told: Any) -> list[dict[str, Any]]:
        """None, where there is nothing, counts as an empty list."""
        if not isinstance(told or [], list):
            raise self._strange()
        return [self._object(one) for one in told or []]

    def _strange(self) -> ServiceError:
        return ServiceError(f"{self._api} answers in an unknown way: correct kind or url")


def is_on(value: object) -> bool:
    """Whether a setting is on: servers write that as true, 1 or a text of these."""
    return str(value).lower() in ("true", "1")
