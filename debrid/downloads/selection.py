"""Which files of a torrent are wanted, by a profile of its category. Pure.

A profile is a word: "video" (films and episodes with their subtitles and the like), "audio", "books", "all". What
is wanted by none of them is what comes beside the content: samples, trailers, screenshots, links to web sites,
programs. Real-Debrid packs a selection with anything that cannot be streamed into one RAR; where that is stored its
files are shown one by one, so companions are worth having.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Literal, Protocol, TypeVar

Files = Literal["video", "audio", "books", "all"]


def _endings(text: str) -> frozenset[str]:
    return frozenset(text.split())


# As Sonarr and Radarr import them (their MediaFileExtensions).
VIDEO = _endings(
    ".3gp .asf .avi .bivx .divx .dvr-ms .evo .f4v .flv .img .iso .m2ts .m2v .m4v .mk3d .mkv .mov .mp4 .mpeg .mpg .mts"
    " .nsv .nuv .ogm .ogv .qt .rm .rmvb .strm .svq3 .ts .ty .viv .vob .vp3 .webm .wmv .wtv .xvid"
)
_NOT_PROBED = _endings(".img .iso .strm .vob")
_BESIDE_VIDEO = _endings(".ass .idx .mks .nfo .smi .srt .ssa .sub .sup .vtt")
_AUDIO = _endings(".aac .aif .aiff .alac .ape .dsf .flac .m4a .m4b .mka .mp3 .ogg .opus .wav .wma .wv")
_BESIDE_AUDIO = _endings(".cue .jpeg .jpg .log .lrc .m3u .nfo .png")
_BOOKS = _endings(".azw .azw3 .cb7 .cbr .cbt .cbz .chm .djvu .doc .docx .epub .fb2 .lit .mobi .pdf .prc .rtf .txt")
_BESIDE_BOOKS = _endings(".jpeg .jpg .nfo .opf .png")
_ARCHIVE = re.compile(r".*(\.rar|\.r\d\d|\.s\d\d|\.zip|\.7z|\.00\d)", re.IGNORECASE)
# Never wanted, by nobody: what Windows runs, and links to web sites.
_JUNK = _endings(".bat .cmd .com .exe .lnk .msi .ps1 .scr .url .vbs .website")
_EXTRA_FOLDERS = frozenset(
    ("sample", "samples", "trailer", "trailers", "extras", "featurettes", "interviews", "screens", "screenshots",
     "proof", "deleted scenes", "behind the scenes", "@eadir", "__macosx")
)  # fmt: skip
_SAMPLE = re.compile(r"(^|[ ._\-\[(!])(sample|trailer)([ ._\-\])!]|$)", re.IGNORECASE)
# Above this a file is content whatever it is called: samples are a minute long.
_LARGEST_SAMPLE = 300 << 20  # bytes

_MAIN: dict[Files, frozenset[str]] = {"video": VIDEO, "audio": _AUDIO, "books": _BOOKS}
_BESIDE: dict[Files, frozenset[str]] = {"video": _BESIDE_VIDEO, "audio": _BESIDE_AUDIO, "books": _BESIDE_BOOKS}


class Offered(Protocol):
    """A file of a torrent: `path` inside it, `bytes` its size."""

    @property
    def path(self) -> str: ...
    @property
    def bytes(self) -> int: ...


F = TypeVar("F", bound=Offered)


def select(files: Sequence[F], profile: Files) -> list[F]:
    """The files that are wanted, in their order; none if the torrent has nothing of what the profile is about."""
    useful = [each for each in files if not is_junk(each)]
    if profile == "all":
        return useful
    main = [each for each in useful if _ending(each.path) in _MAIN[profile]]
    if not main:
        # Scene releases come as volumes, whose content the tree may be able to show.
        return [each for each in useful if _ARCHIVE.fullmatch(each.path)]
    return [each for each in useful if _ending(each.path) in _MAIN[profile] | _BESIDE[profile]]


def is_junk(file: Offered) -> bool:
    """Whether it comes beside the content: samples, trailers, programs, links to web sites, hidden files."""
    parts = PurePosixPath(file.path.lower()).parts
    name = parts[-1] if parts else ""
    if _ending(name) in _JUNK or name.startswith(".") or name in ("thumbs.db", "desktop.ini"):
        return True
    if _ending(name) in VIDEO and file.bytes > _LARGEST_SAMPLE:
        return False
    return bool(_EXTRA_FOLDERS.intersection(parts[:-1])) or bool(_SAMPLE.search(PurePosixPath(name).stem))


def main_files(paths: Iterable[str], profile: Files) -> list[str]:
    """Those of these selected files that an importer is about; all, if none of them stands out."""
    paths = list(paths)
    return [each for each in paths if _ending(each) in _MAIN.get(profile, frozenset())] or paths


def is_probed(path: str) -> bool:
    """Whether a file is a video whose content can be proven by looking at it; images of discs cannot."""
    return _ending(path) in VIDEO - _NOT_PROBED


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
