"""What `mediapool demo` shows: sample drives and clips, and the checks that `--once` makes of the tree."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from indexer.hashing import hash_file
from indexer.media import probe
from indexer.verdicts import NotMedia, ProbeTrouble

_MIB = 1 << 20
# Name and capacity in bytes of each sample drive.
DRIVES = {"small": 64 * _MIB, "middle": 128 * _MIB, "large": 256 * _MIB}
# Where a new download lies, and what it is made of: (torrent, file, seconds, test picture of ffmpeg).
CLIPS = (
    ("The.Sample.Show.S01.1080p", "The.Sample.Show.S01E01.mkv", 8, "testsrc2"),
    ("The.Sample.Show.S01.1080p", "The.Sample.Show.S01E02.mkv", 6, "smptehdbars"),
    ("A.Short.Film.2024.1080p", "A.Short.Film.2024.mkv", 10, "mandelbrot"),
)
LOCAL = {
    "small": {"personal/rip/notes.txt": "Ripped on a rainy Sunday.\n"},
    "middle": {"media/movies/Old Film (1999)/Old Film (1999).nfo": "<movie><title>Old Film</title></movie>\n"},
    "large": {"media/tv/The Sample Show/tvshow.nfo": "<tvshow><title>The Sample Show</title></tvshow>\n"},
}
REMOTE = "torrents/complete"


class CheckFailed(Exception):
    """A check of the demo did not find what it must find; the message says what was expected and found."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The folders of a running demo."""

    mount: Path
    drives: dict[str, Path]
    remote: Path  # what the simulator serves


def furnish(base: Path) -> Stage:
    """Make drives, their first files and the clips of the account below `base`. Raises ffmpeg.Error, OSError."""
    stage = Stage(base / "data", {name: base / "drives" / name for name in DRIVES}, base / "remote")
    for name, files in LOCAL.items():
        for path, text in files.items():
            file = stage.drives[name] / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    for torrent, name, seconds, picture in CLIPS:
        make_clip(stage.remote / torrent / name, seconds, picture)
    return stage


def make_clip(path: Path, seconds: int, picture: str) -> None:
    """A real video with sound, made by ffmpeg's test sources."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video = ffmpeg.input(f"{picture}=size=640x360:rate=25", f="lavfi", t=seconds)
    sound = ffmpeg.input("sine=frequency=440", f="lavfi", t=seconds)
    output = ffmpeg.output(video, sound, str(path), vcodec="mpeg4", acodec="aac", video_bitrate="1500k")
    output.run(quiet=True, overwrite_output=True)


def remote_files(stage: Stage) -> list[tuple[Path, Path]]:
    """Each remote file: where the tree shows it, and the source it must equal."""
    return [(stage.mount / REMOTE / torrent / name, stage.remote / torrent / name) for torrent, name, _, _ in CLIPS]


def check_remote(stage: Stage) -> str:
    """A remote file read through the tree equals its source, and ffprobe understands it."""
    shown, source = remote_files(stage)[0]
    expected, found = hash_file(source), hash_file(shown)
    if expected != found:
        raise CheckFailed(f"{shown} has hash {found}, its source has {expected}")
    try:
        length = probe(os.fsencode(shown), seconds=60).seconds or 0.0
    except (NotMedia, ProbeTrouble) as error:
        raise CheckFailed(f"ffprobe does not understand {shown}: {error.reason}") from error
    seconds = CLIPS[0][2]
    if not seconds - 1 < length < seconds + 1:
        raise CheckFailed(f"ffprobe finds {length} seconds in {shown}, not {seconds}")
    return f"read {shown.name} from Real-Debrid: hash {found[:8]}... equals its source, ffprobe plays {length:.1f} s"


def check_write(stage: Stage) -> str:
    """A file written into the tree lies on exactly one drive, with the same bytes."""
    path = "media/movies/New Film (2026)/New Film (2026).mkv"
    data = os.urandom(3_000_000)
    (stage.mount / path).parent.mkdir(parents=True)
    (stage.mount / path).write_bytes(data)
    holders = [name for name, drive in stage.drives.items() if (drive / path).exists()]
    if len(holders) != 1:
        raise CheckFailed(f"{path} lies on {len(holders)} drives ({', '.join(holders)}), not on one")
    if (stage.drives[holders[0]] / path).read_bytes() != data:
        raise CheckFailed(f"{path} has other bytes on drive {holders[0]} than were written")
    return f"wrote {path}: it lies on drive {holders[0]} alone"


def check_link(stage: Stage) -> str:
    """A hard link in the tree is the same file, and its count is right at once."""
    source = stage.mount / "media/movies/New Film (2026)/New Film (2026).mkv"
    link = stage.mount / "personal/remux/linked.mkv"
    link.parent.mkdir(parents=True)
    os.link(source, link)
    one, two = source.stat(), link.stat()
    if (one.st_ino, one.st_nlink) != (two.st_ino, 2):
        raise CheckFailed(f"{link} is not a second name of {source}: {one.st_ino, one.st_nlink} and {two.st_ino, 2}")
    return f"linked it to {link.relative_to(stage.mount)}: one file, {one.st_nlink} names"


def check_rename(stage: Stage) -> str:
    """A renamed file is there under its new name only, and is the same file."""
    old = stage.mount / "personal/remux/linked.mkv"
    new = stage.mount / "media/tv/renamed.mkv"
    before = old.stat().st_ino
    old.rename(new)
    if old.exists() or new.stat().st_ino != before:
        raise CheckFailed(f"{new} is not what {old} was, or {old} is still there")
    return f"renamed that to {new.relative_to(stage.mount)}: same file"


CHECKS: tuple[Callable[[Stage], str], ...] = (check_remote, check_write, check_link, check_rename)
