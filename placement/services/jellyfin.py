"""Jellyfin, and Emby, which it came from.

Source: the controllers and LibraryMonitor of Jellyfin (2026-08). It takes a path it has no item for to the next
folder above that it has, waits a minute for more, and looks there and below. Emby is closed source: what is known of
it is what other programs send it.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from placement.services.calls import KeyWords
from placement.services.mediaserver import READS, Habit, Library, MediaServer, is_on

_WATCHING = ("EnableRealtimeMonitor", "Enable real time monitoring")


class Jellyfin(MediaServer):
    """Paths are told to the server as a whole; which library they are in, it finds by itself."""

    kind = "jellyfin"
    words = KeyWords("Authorization", 'MediaBrowser Token="{}"', "token", "its Dashboard, API Keys")
    base: ClassVar[str] = ""
    update: ClassVar[str] = "Modified"
    # Settings of a library that have whole files read.
    reading: ClassVar[dict[str, str]] = {
        "EnableTrickplayImageExtraction": "Enable trickplay image extraction",
        "EnableChapterImageExtraction": "Enable chapter image extraction",
        "EnableLUFSScan": "Enable LUFS scan",
    }

    def version(self) -> str:
        told = self._object(self._api.get(f"{self.base}/System/Info"))
        is_jellyfin = "jellyfin" in str(told.get("ProductName", "")).lower()
        if is_jellyfin is not (self.kind == "jellyfin") or "Version" not in told:
            raise self._strange()
        return str(told["Version"])

    def libraries(self) -> list[Library]:
        return [
            Library(
                str(one.get("ItemId", "")),
                str(one.get("Name", "")),
                tuple(map(str, one.get("Locations") or ())),
                self._object(one.get("LibraryOptions") or {}),
            )
            for one in self._list(self._api.get(f"{self.base}/Library/VirtualFolders"))
        ]

    def look_at(self, folders: Sequence[str]) -> None:
        updates = [{"Path": folder, "UpdateType": self.update} for folder in folders]
        self._api.post(f"{self.base}/Library/Media/Updated", {"Updates": updates})

    def names_in(self, folder: str) -> set[str]:
        params = {"path": folder, "includeFiles": "true", "includeDirectories": "true"}
        told = self._list(self._api.get(f"{self.base}/Environment/DirectoryContents", params))
        return {str(one.get("Name", "")) for one in told}

    def habits(self, libraries: Sequence[Library]) -> Iterator[Habit]:
        for library in libraries:
            effects = {**dict.fromkeys(self.reading.items(), READS), _WATCHING: "is not told of remote files by it"}
            for (key, name), effect in effects.items():
                if is_on(library.settings.get(key, False)):
                    yield Habit(name, f"Libraries, {library.name}", "on", effect)


class Emby(Jellyfin):
    """As its descendant, with an older header and a base path of its own."""

    kind = "emby"
    words = KeyWords("X-Emby-Token", "{}", "token", "its settings, API Keys")
    base = "/emby"
    update = "Created"
    reading: ClassVar[dict[str, str]] = {
        "EnableChapterImageExtraction": "Enable video preview thumbnail extraction",
        "EnableMarkerDetection": "Enable intro detection",
    }
