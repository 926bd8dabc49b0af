"""Programs that people run on their films, each on a folder of clips: what they find, and how they are run here.

Each function gets a `Place` and returns what the program found, which is the same on a plain folder and on a mount.
"""

import hashlib
import json
import os
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clips import LIBRARY
from workloads import WrongResult

_SEEKS = (50, 10, 90, 30, 75, 5, 60, 20, 95, 40)
_PATIENCE = 120.0
_MPV = ("--no-config", "--vo=null", "--ao=null", "--no-terminal", "--hwdec=no")


@dataclass
class Place:
    """Where a program looks: `root` has the library, `work` is an empty folder of the disk for what it writes."""

    root: Path
    work: Path
    paths: Sequence[str]
    figures: dict[str, float]
    """What a program measured by itself: a name with its unit, and a number."""

    @property
    def library(self) -> Path:
        return self.root / LIBRARY

    def clips(self, kind: str = "") -> list[Path]:
        return [self.root / path for path in self.paths if path.endswith(kind)]


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What a program says. Raises WrongResult with its own words if it fails."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=env and {**os.environ, **env}, capture_output=True, text=True,
        errors="replace", timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        raise WrongResult(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """All files below a folder by their path in it."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return {str(path.relative_to(folder)): digest(path) for path in sorted(found)}


def mediainfo(place: Place) -> Any:
    """As Sonarr, Radarr and many libraries ask it."""
    told = [json.loads(run("mediainfo", "--Output=JSON", clip))["media"]["track"] for clip in place.clips()]
    # The time of the inode's change is told as well, and that is not of the clip.
    return [[{key: value for key, value in track.items() if "Date" not in key} for track in tracks] for tracks in told]


def mkvmerge(place: Place) -> Any:
    """Identification of every clip, of any kind."""
    told = [json.loads(run("mkvmerge", "-J", clip)) for clip in place.clips()]
    return [{key: value for key, value in each.items() if key != "file_name"} for each in told]


def mkvextract(place: Place) -> Any:
    """The subtitles out of every Matroska file, for which all of it is read."""
    found = []
    for clip in place.clips("mkv"):
        run("mkvextract", clip, "tracks", f"2:{place.work / 'text.srt'}")
        found.append((place.work / "text.srt").read_text())
    return found


def mkvpropedit(place: Place) -> Any:
    """A local clip is copied and given another title in place, as tools that keep libraries tidy do."""
    clip = next(each for each in place.clips("mkv"))
    copy = clip.with_name("edited.mkv")
    run("cp", clip, copy)
    try:
        run("mkvpropedit", copy, "--edit", "info", "--set", "title=Another one")
        return json.loads(run("mkvmerge", "-J", copy))["container"]["properties"]["title"]
    finally:
        copy.unlink()


def mpv_plays(place: Place) -> Any:
    """Each kind from begin to end, as fast as it can be decoded."""
    frames = []
    for kind in ("mkv", "mp4", "avi"):
        for clip in place.clips(kind)[:4]:
            said = run("mpv", *_MPV, "--untimed", "--msg-level=all=error", "--term-status-msg=", clip)
            frames.append(said.strip())
    return frames


def mpv_seeks(place: Place) -> Any:
    """Ten seeks in one clip of each kind while it plays; a seek ends when pictures come again."""
    waits: list[float] = []
    reached = []
    for kind in ("mkv", "mp4", "avi"):
        # The second one of each kind is remote, the first local.
        for clip in (place.clips(kind)[0], place.clips(kind)[1]):
            with _Player(clip, place.work) as player:
                for percent in _SEEKS:
                    waits.append(player.seek(percent))
                    reached.append(round(player.position()))
    place.figures["seek, median ms"] = statistics.median(waits) * 1000
    place.figures["seek, worst ms"] = max(waits) * 1000
    return reached


class _Player:
    """mpv without picture or sound, told what to do through its socket."""

    def __init__(self, clip: Path, work: Path) -> None:
        self._path = work / "mpv"
        self._process = subprocess.Popen(
            ["mpv", *_MPV, "--pause", "--keep-open=always", f"--input-ipc-server={self._path}", clip],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + _PATIENCE
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        while self._socket.connect_ex(str(self._path)):
            if time.monotonic() > until or self._process.poll() is not None:
                raise WrongResult(f"mpv does not start with {clip}")
            time.sleep(0.01)
        self._lines = self._socket.makefile("r")
        # Until the first picture; asking is harmless if it was there already.
        while self._ask("get_property", "time-pos").get("error") != "success":
            time.sleep(0.01)

    def seek(self, percent: float) -> float:
        """Seconds until pictures come again."""
        begun = time.monotonic()
        self._ask("seek", percent, "absolute-percent+exact")
        for event in ("seek", "playback-restart"):
            while json.loads(self._line()).get("event") != event:
                pass
        return time.monotonic() - begun

    def position(self) -> float:
        return float(self._ask("get_property", "time-pos")["data"])

    def _ask(self, *command: object) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"command": command}).encode() + b"\n")
        while "error" not in (answer := json.loads(self._line())):
            pass
        return dict(answer)

    def _line(self) -> str:
        if not (line := self._lines.readline()):
            raise WrongResult("mpv has ended")
        return line

    def __enter__(self) -> "_Player":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._path.unlink(missing_ok=True)


def rsync_out(place: Place) -> Any:
    """The library to a disk, then compared byte by byte."""
    run("rsync", "-a", f"{place.library}/", f"{place.work}/out/")
    left = run("rsync", "-anc", "--delete", "--itemize-changes", f"{place.library}/", f"{place.work}/out/")
    return left, digests(place.work / "out")


def rsync_in(place: Place) -> Any:
    """A folder of clips into the tree, and once more, which must find nothing to do."""
    source, target = place.work / "in", place.root / "rsynced"
    source.mkdir()
    for clip in place.clips()[:9]:
        run("cp", "--preserve=timestamps", clip, source)
    os.link(source / place.clips()[0].name, source / "linked")
    os.symlink("linked", source / "symlink")
    run("setfattr", "-n", "user.from", "-v", "rsync", source / "linked")
    run("rsync", "-aHAX", f"{source}/", f"{target}/")
    again = run("rsync", "-aHAXnc", "--delete", "--itemize-changes", f"{source}/", f"{target}/")
    return again, digests(target), os.stat(target / "linked").st_nlink


def borg(place: Place) -> Any:
    """A backup of the library, a second one, a check, and everything back."""
    repository, env = place.work / "repo", {"BORG_BASE_DIR": str(place.work), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    run("borg", "init", "-e", "none", repository, env=env)
    run("borg", "create", f"{repository}::one", ".", cwd=place.library, env=env)
    begun = time.monotonic()
    # "M" is what was read again since it seems changed.
    second = run("borg", "create", "--list", "--filter=AME", f"{repository}::two", ".", cwd=place.library, env=env)
    place.figures["second backup, s"] = time.monotonic() - begun
    run("borg", "check", "--verify-data", repository, env=env)
    (place.work / "back").mkdir()
    run("borg", "extract", f"{repository}::two", cwd=place.work / "back", env=env)
    return second, digests(place.work / "back")


def borg_repository(place: Place) -> Any:
    """The other way round: the repository lies in the tree."""
    env = {"BORG_BASE_DIR": str(place.work)}
    repository = place.root / "backup"
    run("borg", "init", "-e", "none", repository, env=env)
    for name in ("one", "two"):
        run("borg", "create", f"{repository}::{name}", *place.clips()[:9], env=env)
    run("borg", "delete", f"{repository}::one", env=env)
    run("borg", "compact", repository, env=env)
    run("borg", "check", "--verify-data", repository, env=env)
    return len(re.findall(r"^two", run("borg", "list", repository, env=env), re.M))
