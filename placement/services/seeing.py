"""Whether Sonarr, Radarr and the media servers see the same tree, and have settings that suit it.

Nothing is changed anywhere. What a service sees is compared with the mounted tree by what changes: the modification
time of a folder, as only the folder itself has it, or the names in it.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from placement.services.arr import Arr, Client, PathMapping
from placement.services.calls import Missing, ServiceError
from placement.services.mediaserver import Habit, Library, MediaServer

State = Literal["ok", "note", "problem"]

# Where the download client puts what is finished.
_DOWNLOADS = "torrents"
# What Sonarr and Radarr call the client that we are to them.
_IMPLEMENTATION = "QBittorrent"
# Seconds by which two times of one folder may differ: ours are in nanoseconds, theirs in steps of 100.
_TICK = 0.001
# So many names of a folder are compared.
_ENOUGH = 1000


class Finding(NamedTuple):
    """One check: what was looked at, how it is, and what to do about it ("" where nothing is)."""

    what: str
    state: State
    found: str
    remedy: str = ""


def look(tree: Path, arrs: Iterable[Arr], servers: Iterable[MediaServer], port: int | None = None) -> Iterator[Finding]:
    """All checks of all services, one after the other; a service that cannot be asked is one finding.

    `tree`: where the tree is mounted, which it must be; `port`: where our download client listens, None if it does
    not. Each call takes as long as its service was given.
    """
    for arr in arrs:
        yield from _asked(arr.name, partial(_arr, tree, arr, port))
    for server in servers:
        yield from _asked(server.name, partial(_server, tree, server))


def _asked(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except ServiceError as error:
        cause, _, remedy = str(error).partition(": ")
        yield Finding(name, "problem", cause, remedy or "is it running, and is url right?")


# Sonarr and Radarr.


def _arr(tree: Path, arr: Arr, port: int | None) -> Iterator[Finding]:
    yield Finding(arr.name, "ok", f"{arr.kind} {arr.version()}")
    clients = [one for one in arr.clients() if one.implementation == _IMPLEMENTATION]
    if port is not None:
        yield _client(arr, clients, port)
    yield _sees(tree, arr, {one.host for one in clients})
    yield from _root_folders(tree, arr)
    yield _hard_links(arr)


def _client(arr: Arr, clients: Sequence[Client], port: int) -> Finding:
    """Whether it has us for a download client. By which name it reaches us, only it knows."""
    what, where = f"{arr.name}: client", "Settings, Download Clients"
    ours = next((one for one in clients if one.port == port), None)
    if ours is None:
        others = ", ".join(f"{one.host}:{one.port}" for one in clients)
        found = f"its qBittorrent is {others}, not port {port}" if others else "it has no qBittorrent"
        return Finding(what, "note", found, f"{where}: add a qBittorrent with the address of this machine, port {port}")
    if not ours.removes:
        remedy = f"{where}, {ours.name}: turn on Remove Completed"
        return Finding(what, "note", f"{ours.name} keeps what was imported, in torrents/complete too", remedy)
    return Finding(what, "ok", f"{ours.name} at {ours.host}:{ours.port}")


def _sees(tree: Path, arr: Arr, hosts: Collection[str]) -> Finding:
    """Whether it has the tree, whole, under the path by which the download client at `hosts` speaks of it."""
    what, remedy = f"{arr.name}: tree", f"let it have the whole tree at {tree} as one mount (with :rslave in Docker)"
    mappings = [one for one in arr.path_mappings() if one.host in hosts or not hosts]
    mapping = _mapping_of(mappings, f"{tree}/{_DOWNLOADS}/")
    if mapping is None:
        return _compared(what, tree, arr, str(tree), remedy)
    found = _compared(what, Path(mapping.remote), arr, mapping.local, remedy)
    if found.state != "ok":
        return found
    remedy += ", and remove the mapping from Settings, Download Clients"
    return Finding(what, "note", f"{mapping.remote} is {mapping.local} there: no links into other mounts", remedy)


def _compared(what: str, folder: Path, arr: Arr, called: str, remedy: str) -> Finding:
    """Whether `folder` is what it calls `called`: told by the time of its last change, which both can say."""
    try:
        for _ in range(3):
            before = os.stat(folder).st_mtime
            seen = arr.folder_time(called)
            if before == os.stat(folder).st_mtime:
                break
    except OSError as error:
        return Finding(what, "problem", f"{folder} cannot be looked at: {error.strerror}", "mediapool mount")
    if seen is None:
        return Finding(what, "problem", f"it does not see {called}", remedy)
    if abs(seen - before) > _TICK:
        times = f"changed {_time(seen)}, and {folder} {_time(before)}"
        return Finding(what, "problem", f"its {called} is another folder: {times}", remedy)
    return Finding(what, "ok", f"it sees {called} as it is")


def _root_folders(tree: Path, arr: Arr) -> Iterator[Finding]:
    for root in arr.root_folders():
        what = f"{arr.name}: {root.path}"
        if not root.accessible:
            yield Finding(
                what, "problem", "it cannot use this root folder", "make it, or remove it in Media Management"
            )
        elif not Path(root.path).is_relative_to(tree):
            remedy = f"choose root folders below {tree}, and edit the series or films to move there"
            yield Finding(what, "note", "outside the tree: imports are copied there, whole", remedy)
        elif Path(root.path).is_relative_to(tree / _DOWNLOADS):
            remedy = f"choose a root folder such as {tree}/media, outside {_DOWNLOADS}"
            yield Finding(what, "problem", "a library among the downloads", remedy)
        elif not os.path.isdir(root.path):
            yield Finding(what, "problem", "there is no such folder in the tree", f"mount the tree at {tree} for it")
        else:
            yield _compared(
                what, Path(root.path), arr, root.path, f"let it have {tree} as one mount, with nothing mounted below"
            )


def _hard_links(arr: Arr) -> Finding:
    what = f"{arr.name}: links"
    if arr.uses_hard_links():
        return Finding(what, "ok", "imports are hard links")
    remedy = "Settings, Media Management, Show Advanced: turn on Use Hardlinks instead of Copy"
    return Finding(what, "problem", "it copies what it imports, which fetches all of it", remedy)


def _mapping_of(mappings: Iterable[PathMapping], folder: str) -> PathMapping | None:
    """The one that changes paths below `folder`, if any does."""
    return next(
        (one for one in mappings if folder.startswith(one.remote.rstrip("/") + "/") and one.local != one.remote), None
    )


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"


# Media servers.


def _server(tree: Path, server: MediaServer) -> Iterator[Finding]:
    yield Finding(server.name, "ok", f"{server.kind} {server.version()}")
    libraries = server.libraries()
    ours = [one for one in libraries if any(server.paths.in_tree(folder) is not None for folder in one.folders)]
    if ours:
        for library in ours:
            yield from _folders(tree, server, library)
    else:
        yield _nowhere(server, libraries)
    yield from _habits(server, list(server.habits(ours)))


def _nowhere(server: MediaServer, libraries: Sequence[Library]) -> Finding:
    folders = ", ".join(folder for one in libraries for folder in one.folders) or "none"
    remedy = f"set [[media_server]] paths to how {server.name} calls the tree, or add libraries there"
    found = f"no library below {', '.join(server.paths.roots())}; its folders: {folders}"
    return Finding(f"{server.name}: paths", "problem", found, remedy)


def _folders(tree: Path, server: MediaServer, library: Library) -> Iterator[Finding]:
    for folder in library.folders:
        path = server.paths.in_tree(folder)
        if path is None:
            continue
        what = f"{server.name}: {library.name}"
        names = _names(tree / path)
        if names is None:
            yield Finding(
                what, "problem", f"{folder} is {path or 'the root'}, which the tree lacks", "correct its paths"
            )
            continue
        remedy = f"let it have {tree} as one mount (with :rslave in Docker), and correct [[media_server]] paths"
        try:
            seen = server.names_in(folder)
        except Missing:
            seen = set()
        except ServiceError as error:
            yield Finding(what, "note", f"what it sees in {folder} could not be asked: {error}", remedy)
            continue
        if names and not names & seen:
            yield Finding(what, "problem", f"in {folder} it sees nothing of what is in {tree / path}", remedy)
        else:
            yield Finding(what, "ok", f"it sees {folder} as {tree / path}")


def _names(folder: Path) -> set[str] | None:
    """Names in a folder of the tree, not all if there are very many; None if it is no folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry, _ in zip(entries, range(_ENOUGH), strict=False) if entry.name[0] != "."}
    except OSError:
        return None


def _habits(server: MediaServer, habits: Sequence[Habit]) -> Iterator[Finding]:
    """One finding for all settings of the same effect."""
    for effect, destroys in dict.fromkeys((one.effect, one.destroys) for one in habits):
        alike = [one for one in habits if one.effect == effect]
        found = f"{effect}: " + ", ".join(f"{one.name} ({one.value})" for one in alike)
        remedy = "in its settings turn off " + "; ".join(f'{one.place}, "{one.name}"' for one in alike)
        yield Finding(f"{server.name}: settings", "problem" if destroys else "note", found, remedy)
    if not habits:
        yield Finding(f"{server.name}: settings", "ok", "nothing that destroys libraries or reads whole files")
