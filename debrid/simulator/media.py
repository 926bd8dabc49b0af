"""What a file's name says: its MIME type, and whether Real-Debrid can stream it (list from zurg's notes)."""

import posixpath
import re
from dataclasses import dataclass

_VIDEO = {
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".m2ts": "video/mp2t",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}
_AUDIO = {".mp3": "audio/mpeg", ".flac": "audio/flac", ".m4a": "audio/mp4"}
_OTHER = {
    ".iso": "application/x-iso9660-image",
    ".jpg": "image/jpeg",
    ".nfo": "text/plain",
    ".png": "image/png",
    ".rar": "application/x-rar-compressed",
    ".srt": "application/x-subrip",
    ".txt": "text/plain",
    ".zip": "application/zip",
}
_TYPES = {**_VIDEO, **_AUDIO, **_OTHER}


def extension(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def mime_type(name: str) -> str:
    return _TYPES.get(extension(name), "application/octet-stream")


def is_streamable(name: str) -> bool:
    return extension(name) in _VIDEO or extension(name) in _AUDIO


@dataclass(frozen=True, slots=True)
class Title:
    """What GET /streaming/mediaInfos reads from a release name."""

    kind: str  # movie, show or audio
    season: str | None
    episode: str | None
    year: str | None


def title_of(name: str) -> Title | None:
    """The title in a file name; None if it is no media file."""
    if not is_streamable(name):
        return None
    if extension(name) in _AUDIO:
        return Title("audio", None, None, None)
    year = re.search(r"(?<!\d)((?:19|20)\d\d)(?!\d)", name)
    episode = re.search(r"(?i)s(\d{1,2})e(\d{1,3})", name)
    return Title(
        "show" if episode else "movie",
        episode and episode.group(1),
        episode and episode.group(2),
        year and year.group(1),
    )
