"""Plex Media Server.

Paths and fields as in its own documentation of the API and as other programs use them; it is closed source, and no
real one was asked. It answers in JSON where that is asked for.
"""

import base64
from collections.abc import Iterator, Sequence

from placement.services.calls import KeyWords
from placement.services.mediaserver import READS, Habit, Library, MediaServer, is_on
from placement.services.paths import within

# Settings that have whole files read: what the page calls them, and in which part of its settings.
_READING = {
    "GenerateBIFBehavior": ("Generate video preview thumbnails", "Library"),
    "GenerateChapterThumbBehavior": ("Generate chapter thumbnails", "Library"),
    "GenerateIntroMarkerBehavior": ("Generate intro video markers", "Library"),
    "GenerateCreditsMarkerBehavior": ("Generate credits video markers", "Library"),
    "GenerateAdMarkerBehavior": ("Generate ad video markers", "Library"),
    "GenerateVADBehavior": ("Generate voice activity data", "Library"),
    "LoudnessAnalysisBehavior": ("Analyze audio tracks for loudness", "Library"),
    "MusicAnalysisBehavior": ("Analyze audio tracks for sonic features", "Library"),
    "ButlerTaskDeepMediaAnalysis": ("Perform extensive media analysis during maintenance", "Scheduled Tasks"),
    "ButlerTaskUpgradeMediaAnalysis": ("Upgrade media analysis during maintenance", "Scheduled Tasks"),
}
_TRASH = ("Empty trash automatically after every scan", "Library")
_OFF = ("never", "false", "0", "")


class Plex(MediaServer):
    """Its libraries are called sections; each looks at folders by itself."""

    kind = "plex"
    words = KeyWords("X-Plex-Token", "{}", "token", "support.plex.tv, Finding an authentication token")

    def version(self) -> str:
        told = self._container("/")
        if "machineIdentifier" not in told:
            raise self._strange()
        return str(told.get("version", ""))

    def libraries(self) -> list[Library]:
        return [
            Library(
                str(one.get("key", "")),
                str(one.get("title", "")),
                tuple(str(each["path"]) for each in self._list(one.get("Location")) if each.get("path")),
            )
            for one in self._list(self._container("/library/sections").get("Directory"))
        ]

    def look_at(self, folders: Sequence[str]) -> None:
        libraries = self.libraries()
        wanted = [each for folder in folders for each in looking(libraries, folder)]
        for section, place in dict.fromkeys(wanted):
            self._api.get(f"/library/sections/{section}/refresh", {"path": place})

    def names_in(self, folder: str) -> set[str]:
        where = base64.urlsafe_b64encode(folder.encode("utf-8", "surrogateescape")).decode()
        told = self._container(f"/services/browse/{where}", {"includeFiles": "1"})
        return {str(one.get("title", "")) for kind in ("Path", "File") for one in self._list(told.get(kind))}

    def habits(self, libraries: Sequence[Library]) -> Iterator[Habit]:
        told = self._list(self._container("/:/prefs").get("Setting"))
        settings = {str(one.get("id")): one.get("value") for one in told}
        if is_on(settings.get("autoEmptyTrash", False)):
            yield Habit(*_TRASH, "on", "removes for good what cannot be seen for a moment", destroys=True)
        for key, (name, place) in _READING.items():
            value = str(settings.get(key, "never")).lower()
            if value not in _OFF:
                yield Habit(name, place, "on" if is_on(value) else value, READS)

    def _container(self, path: str, params: dict[str, str] | None = None) -> dict[str, object]:
        return self._object(self._object(self._api.get(path, params)).get("MediaContainer"))


def looking(libraries: Sequence[Library], folder: str) -> list[tuple[str, str]]:
    """Which sections have to look where when `folder` changed: (section, folder).

    Of the sections it lies in, those with the longest root; else those that lie below it, at their roots.
    """
    roots = [(one.id, root) for one in libraries for root in one.folders]
    holding = [(section, root) for section, root in roots if within(_plain(folder), _plain(root))]
    longest = max((len(_plain(root)) for _, root in holding), default=0)
    found = [(section, folder) for section, root in holding if len(_plain(root)) == longest]
    return found or [(section, root) for section, root in roots if within(_plain(root), _plain(folder))]


def _plain(path: str) -> str:
    """A path of any system with slashes, none of them at its end."""
    return (path if path.startswith("/") else path.replace("\\", "/")).rstrip("/")
