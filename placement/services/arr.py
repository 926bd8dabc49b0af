"""What Sonarr, Radarr and their kin have in common: one REST API over a library of folders.

Source of paths, fields and meanings: the controllers of Sonarr (v4, develop of June 2026) and Radarr (v6). A
kin differs in some words only, which its class gives: see `sonarr` for all that is needed.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from placement.services.calls import Api, Missing, ServiceError

_PAGE = 1000
# States of a command that do not change any more.
_ENDED = frozenset({"completed", "failed", "aborted", "cancelled", "orphaned"})
_POLL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class RootFolder:
    """A folder that a service keeps a library in; sizes in bytes, None if it cannot say."""

    id: int
    path: str
    accessible: bool
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One series, film, artist, ... of the library: its folder, and `size` in bytes.

    `resource` is all that the service said of it, which it wants back whole when something changes.
    """

    id: int
    title: str
    path: str
    root: str
    size: int
    resource: dict[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """One line of the queue: part of a download. `download_id`: the info hash in upper case, "" if there is none."""

    id: int
    title: str
    download_id: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class PathMapping:
    """What the download client at `host` calls `remote`, this service looks for at `local`."""

    host: str
    remote: str
    local: str


@dataclass(frozen=True, slots=True)
class Client:
    """One of its download clients that is turned on; `removes`: what was imported is removed there."""

    name: str
    implementation: str
    host: str
    port: int
    removes: bool


class Arr:
    """One service of that family. All calls raise ServiceError, in words and without the key."""

    # What the service calls itself, where its API lies, and the words by which the kin differ.
    kind: ClassVar[str]
    api: ClassVar[str] = "/api/v3"
    items_at: ClassVar[str]
    id_field: ClassVar[str]
    rescan_command: ClassVar[str]
    refresh_command: ClassVar[str]
    unknown_items: ClassVar[str]
    title_field: ClassVar[str] = "title"

    def __init__(self, url: str, api_key: str, name: str | None = None, *, seconds: float = 30.0) -> None:
        """`url` with its URL base if it has one; `name` for people; `seconds` that one call may take."""
        self.name = name or self.kind
        self._api = Api(self.name, url, api_key, seconds=seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._api.url!r}, name={self.name!r})"

    def version(self) -> str:
        """Its version; ServiceError if it is another program."""
        told = self._object(self._get("/system/status"))
        called = str(told.get("appName", ""))
        if called.lower() != self.kind:
            raise ServiceError(f"{self._api} is {called or 'something else'}, not {self.kind}: correct kind or url")
        return str(told.get("version", ""))

    def root_folders(self) -> list[RootFolder]:
        """The folders it keeps its library in."""
        return [
            RootFolder(
                one["id"],
                str(one.get("path", "")),
                bool(one.get("accessible")),
                one.get("freeSpace"),
                one.get("totalSpace"),
            )
            for one in self._list(self._get("/rootfolder"))
        ]

    def path_mappings(self) -> list[PathMapping]:
        """Its remote path mappings."""
        return [
            PathMapping(*(str(one.get(key, "")) for key in ("host", "remotePath", "localPath")))
            for one in self._list(self._get("/remotepathmapping"))
        ]

    def clients(self) -> list[Client]:
        """Its download clients that are turned on."""
        return [_client(one) for one in self._list(self._get("/downloadclient")) if one.get("enable")]

    def folder_time(self, path: str) -> float | None:
        """When the folder at this absolute path was changed, as it sees it: seconds since 1970; None if it does not.

        It lists what is in the folder above; some names, such as "cache" and "boot", it never shows.
        """
        parent, _, name = path.rstrip("/").rpartition("/")
        told = self._object(self._get("/filesystem", {"path": parent + "/", "includeFiles": "false"}))
        for one in told.get("directories") or ():
            if self._object(one).get("name") == name:
                try:
                    return datetime.fromisoformat(str(one.get("lastModified"))).timestamp()
                except ValueError:
                    break
        return None

    def uses_hard_links(self) -> bool:
        """Whether it links what it imports, where it can, rather than copying it."""
        return bool(self._object(self._get("/config/mediamanagement")).get("copyUsingHardlinks", True))

    def items(self) -> list[Item]:
        """All it has, with their folders."""
        return [self._item(one) for one in self._list(self._get(f"/{self.items_at}"))]

    def queue(self) -> list[Queued]:
        """What it waits for, also what belongs to nothing in its library."""
        found: list[Queued] = []
        for page in range(1, 1000):
            params = {"page": str(page), "pageSize": str(_PAGE), self.unknown_items: "true"}
            told = self._object(self._get("/queue", params))
            records = self._list(told.get("records"))
            found += [_queued(one) for one in records]
            total = told.get("totalRecords")
            if not records or (isinstance(total, int) and len(found) >= total):
                break
        return found

    def blocklist(self, download_id: str) -> bool:
        """Have the download with this info hash count as failed, so that another release is searched for.

        False if it is not in the queue (yet: the queue is made anew each minute). The download client is left
        alone. One download has a line for each of its episodes; failing one of them fails it whole.
        """
        wanted = download_id.upper()
        line = next((one for one in self.queue() if one.download_id == wanted), None)
        if line is None:
            return False
        params = {"removeFromClient": "false", "blocklist": "true", "skipRedownload": "false"}
        try:
            self._api.delete(f"{self.api}/queue/{line.id}", params)
        except Missing:
            return False
        return True

    def refresh_queue(self) -> None:
        """Have it ask its download clients now, rather than within the minute."""
        self._command({"name": "RefreshMonitoredDownloads"})

    def relocated(self, renamed: Callable[[str], str]) -> list[Item]:
        """Tell it that folders have moved: `renamed` gives the new path of each; the items that changed.

        The files lie there already. Each item whose path changes is written back and scanned; nothing else is
        called, and without such an item nothing but the list.
        """
        changed = []
        for item in self.items():
            path = renamed(item.path)
            if path != item.path:
                changed.append(self._relocate(item, path))
        return changed

    def _relocate(self, item: Item, path: str) -> Item:
        body = {**item.resource, "path": path}
        self._api.put(f"{self.api}/{self.items_at}/{item.id}", body, {"moveFiles": "false"})
        self.rescan(item.id)
        return Item(item.id, item.title, path, path.rpartition("/")[0], item.size, body)

    def rescan(self, item_id: int) -> int:
        """Have it look at the files of one item; the number of that command."""
        return self._command({"name": self.rescan_command, self.id_field: item_id})

    def refresh(self, item_ids: Iterable[int]) -> int:
        """Have it fetch what is known of these items, and look at their files; the number of that command."""
        return self._command({"name": self.refresh_command, f"{self.id_field}s": list(item_ids)})

    def wait(self, command: int, *, seconds: float, stop: threading.Event | None = None) -> str:
        """How a command ended ("completed", "failed", ...); ServiceError if it has not after `seconds`."""
        deadline = time.monotonic() + seconds
        stop = stop or threading.Event()
        while True:
            state = str(self._object(self._get(f"/command/{command}")).get("status", ""))
            if state in _ENDED:
                return state
            if time.monotonic() >= deadline or stop.wait(_POLL):
                raise ServiceError(f"{self._api} has not finished its work ({state}) yet")

    def _command(self, body: dict[str, Any]) -> int:
        (told,) = self._list([self._api.post(f"{self.api}/command", body)])
        return int(told["id"])

    def _get(self, path: str, params: dict[str, str] | None = None) -> Any:
        return self._api.get(self.api + path, params)

    def _item(self, told: dict[str, Any]) -> Item:
        path = str(told.get("path", ""))
        root = str(told.get("rootFolderPath") or path.rpartition("/")[0])
        statistics = told.get("statistics")
        size = (statistics if isinstance(statistics, dict) else told).get("sizeOnDisk")
        return Item(
            told["id"], str(told.get(self.title_field, "")), path, root, size if isinstance(size, int) else 0, told
        )

    def _object(self, told: Any) -> dict[str, Any]:
        if not isinstance(told, dict):
            raise ServiceError(f"{self._api} answers in an unknown way: is it a {self.kind} of another version?")
        return told

    def _list(self, told: Any) -> list[dict[str, Any]]:
        if not isinstance(told, list) or not all(isinstance(self._object(one).get("id"), int) for one in told):
            raise ServiceError(f"{self._api} answers in an unknown way: is it a {self.kind} of another version?")
        return told


def _client(told: dict[str, Any]) -> Client:
    fields = {one.get("name"): one.get("value") for one in told.get("fields") or () if isinstance(one, dict)}
    port = fields.get("port")
    return Client(
        str(told.get("name", "")),
        str(told.get("implementation", "")),
        str(fields.get("host") or ""),
        port if isinstance(port, int) else 0,
        bool(told.get("removeCompletedDownloads", True)),
    )


def _queued(told: dict[str, Any]) -> Queued:
    return Queued(
        told["id"],
        str(told.get("title", "")),
        str(told.get("downloadId") or "").upper(),
        str(told.get("trackedDownloadStatus") or told.get("status") or ""),
        str(told.get("errorMessage") or ""),
    )
