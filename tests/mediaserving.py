"""Real HTTP servers that answer as Plex, Jellyfin and Emby do, as far as they are asked, and look at real folders.

What is known of these: `placement.services.plex` and `jellyfin`. A server that is told to look at a folder lists it,
there and then, and takes what it finds for its library below that folder; so what is missing then is gone from it.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arrserving import Server


class MediaServer(Server):
    """One server. `sees`: what lies where, as it sees it; `library`: the files that it has, by the paths it knows."""

    token_header: str

    def __init__(self, **sees: Path) -> None:
        super().__init__()
        self.sees: dict[str, Path] = {}
        self.libraries: dict[str, tuple[str, ...]] = {}  # name -> folders
        self.library: set[str] = set()
        self.told: list[str] = []  # folders, in the order in which it was told to look at them
        self.headers: Mapping[str, str] = {}

    def real(self, path: str) -> Path | None:
        for place, real in self.sees.items():
            if path == place or path.startswith(place + "/"):
                return real / path[len(place) + 1 :]
        return None

    def look(self, path: str) -> None:
        """Scan one folder and all below it."""
        self.told.append(path)
        self.library = {one for one in self.library if not one.startswith(path + "/")}
        real = self.real(path)
        if real is None:
            return
        for folder, _, files in os.walk(real):
            inside = os.path.relpath(folder, real)
            self.library |= {os.path.normpath(f"{path}/{inside}/{file}") for file in files}

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files."""
        real = self.real(path)
        names = sorted(os.listdir(real)) if real is not None and real.is_dir() else []
        folders = [name for name in names if real is not None and (real / name).is_dir()]
        return folders, [name for name in names if name not in folders]


class PlexServer(MediaServer):
    """Sections have numbers from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.prefs: dict[str, Any] = {"autoEmptyTrash": False, "GenerateBIFBehavior": "never"}
        self.sections: list[tuple[str, str]] = []  # (section, folder) it was told to look at

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        self.headers = headers
        return headers.get("X-Plex-Token") == self.key

    def answer(self, method: str, path: str, params: dict[str, str], body: Any) -> tuple[int, Any]:
        if method != "GET":
            return 404, b""
        if self.headers.get("Accept") != "application/json":
            return 200, b'<?xml version="1.0" encoding="UTF-8"?><MediaContainer/>'
        numbers = {str(number): name for number, name in enumerate(self.libraries, 1)}
        parts = path.strip("/").split("/")
        if path == "/":
            return 200, {"MediaContainer": {"machineIdentifier": "abc", "version": "1.43.4.10000-abc"}}
        if path == "/library/sections":
            return 200, {"MediaContainer": {"size": len(numbers), **self._sections(numbers)}}
        if path == "/:/prefs":
            settings = [{"id": key, "value": value, "type": "text"} for key, value in self.prefs.items()]
            return 200, {"MediaContainer": {"Setting": settings}}
        if parts[:2] == ["services", "browse"]:
            folders, files = self.listing(base64.urlsafe_b64decode(parts[2]).decode())
            told = {"Path": [{"title": one} for one in folders], "File": [{"title": one} for one in files]}
            return 200, {"MediaContainer": told}
        if parts[:2] == ["library", "sections"] and parts[3:] == ["refresh"] and parts[2] in numbers:
            self.sections.append((parts[2], params["path"]))
            self.look(params["path"])
            return 200, b""
        return 404, b"<html><head><title>Not Found</title></head></html>"

    def _sections(self, numbers: dict[str, str]) -> dict[str, Any]:
        # It leaves out what would be empty.
        rows = [
            {
                "key": number,
                "title": name,
                "Location": [{"id": at, "path": path} for at, path in enumerate(self.libraries[name])],
            }
            for number, name in numbers.items()
        ]
        return {"Directory": rows} if rows else {}


class JellyfinServer(MediaServer):
    """Answers 204 where there is nothing to say, and takes any path."""

    base = ""
    product: Mapping[str, str] = {"ProductName": "Jellyfin Server", "Version": "10.11.6"}

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"EnableRealtimeMonitor": False}
        self.updates: list[dict[str, str]] = []

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == f'MediaBrowser Token="{self.key}"'

    def answer(self, method: str, path: str, params: dict[str, str], body: Any) -> tuple[int, Any]:
        match method, path.removeprefix(self.base) if path.startswith(self.base) else "":
            case "GET", "/System/Info":
                return 200, {**self.product, "ServerName": "home"}
            case "GET", "/Library/VirtualFolders":
                return 200, [
                    {"Name": name, "Locations": list(folders), "LibraryOptions": self.options, "ItemId": name * 2}
                    for name, folders in self.libraries.items()
                ]
            case "GET", "/Environment/DirectoryContents":
                folders, files = self.listing(params["path"])
                return 200, [{"Name": name, "Path": f"{params['path']}/{name}"} for name in [*folders, *files]]
            case "POST", "/Library/Media/Updated":
                self.updates += body["Updates"]
                for update in body["Updates"]:
                    self.look(update["Path"])
                return 204, b""
        return 404, b""


class EmbyServer(JellyfinServer):
    """As Jellyfin, below /emby and with another header."""

    base = "/emby"
    product: Mapping[str, str] = {"Version": "4.9.1.90"}

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        return headers.get("X-Emby-Token") == self.key
