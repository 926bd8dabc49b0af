"""A library of real clips for programs that look into files: half on the drives, half at the simulated provider."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contenders import ROOT, Mount, environment
from simulated import Provider

KINDS = ("mkv", "mp4", "avi")
LIBRARY = "media/movies"
_SUBTITLES = "1\n00:00:00,500 --> 00:00:02,000\nFilm {number}\n\n2\n00:00:03,000 --> 00:00:04,000\nThe end\n"
# mp4 has its index at the end, mkv has text beside the pictures.
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "8M")
_CODED = {"mkv": (*_H264, "-c:a", "aac"), "mp4": (*_H264, "-c:a", "aac"),
          "avi": ("-c:v", "mpeg4", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "8M", "-c:a", "mp3")}  # fmt: skip


@dataclass(frozen=True)
class Clips:
    """The library twice: in `plain` whole, and in halves on the `drives` and in `remote`, where torrents lie."""

    base: Path
    number: int

    @property
    def plain(self) -> Path:
        return self.base / "plain"

    @property
    def drives(self) -> tuple[Path, ...]:
        return (self.base / "drive1", self.base / "drive2")

    @property
    def remote(self) -> Path:
        return self.base / "remote"

    @property
    def paths(self) -> list[str]:
        """Where the clips lie, below the root of either side."""
        return [f"{LIBRARY}/{name}/{name}.{kind}" for name, kind in map(_named, range(self.number))]

    def is_remote(self, path: str) -> bool:
        return self.paths.index(path) // len(KINDS) % 2 == 1

    def torrent(self, path: str) -> str:
        """Where a remote clip lies below `remote`, and below torrents/complete in the tree."""
        name = Path(path).stem.replace(" ", ".")
        return f"{name}/{name}{Path(path).suffix}"


def _named(number: int) -> tuple[str, str]:
    return f"Film {number:02} ({1960 + number})", KINDS[number % len(KINDS)]


def make(clips: Clips, seconds: int) -> None:
    """Film the clips, `seconds` long each, by ffmpeg; every one has bytes of its own."""
    masters = {kind: _film(clips.base, kind, seconds) for kind in KINDS}
    for folder in (*clips.drives, clips.remote):
        folder.mkdir()
    for number, path in enumerate(clips.paths):
        target = clips.plain / path
        target.parent.mkdir(parents=True)
        text = clips.base / "text.srt"
        text.write_text(_SUBTITLES.format(number=number))
        kind = KINDS[number % len(KINDS)]
        subtitles = ("-i", text, "-map", "0", "-map", "1", "-c:s", "srt") if kind == "mkv" else ("-map", "0")
        _ffmpeg(
            "-i", masters[kind], *subtitles, "-c:v", "copy", "-c:a", "copy", "-metadata", f"title={target.stem}", target
        )
        remote = clips.is_remote(path)
        copy = clips.remote / clips.torrent(path) if remote else clips.drives[number % 2] / path
        copy.parent.mkdir(parents=True)
        shutil.copy2(target, copy)


def _film(base: Path, kind: str, seconds: int) -> Path:
    master = base / f"master.{kind}"
    # Noise, so that a second of it has the bytes of a real one.
    pictures = f"testsrc2=size=1280x720:rate=25:duration={seconds},noise=alls=20:allf=t"
    inputs = ("-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}")
    _ffmpeg(*inputs, *_CODED[kind], "-shortest", master)
    return master


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], check=True, timeout=600)


class ClipMount(Mount):
    """mediapool over both halves, the remote one linked into the library as an importer does."""

    def __init__(self, clips: Clips, provider: Provider) -> None:
        super().__init__("mediapool", clips.base / "data", LIBRARY)
        self._clips = clips
        self._provider = provider
        self._config = clips.base / "mediapool.toml"

    def start(self) -> float:
        sections = {
            "mount": f'path = "{self.path}"\nallow_other = true',
            "debrid": f'token = "{self._provider.token}"\napi_url = "{self._provider.api}"\npoll_seconds = 1',
            "placement": 'policy = "mfs"\nmin_free = "1MiB"',
            "cache": f'path = "{self.path}.cache"\nmin_free = "1MiB"',
            "http": 'listen = "127.0.0.1:0"',
            "state": f'path = "{self.path}.state"',
        }
        text = "".join(f"[{section}]\n{lines}\n\n" for section, lines in sections.items())
        drives = (f'[[drive]]\nname = "{drive.name}"\npath = "{drive}"\n' for drive in self._clips.drives)
        self._config.write_text(text + "".join(drives))
        self._config.chmod(0o600)
        return super().start()

    def command(self) -> list[str | Path]:
        return [*self.cli, "mount", "--config", self._config]

    @property
    def cli(self) -> list[str | Path]:
        return [sys.executable, "-m", "cli"]

    def run(self, *words: str) -> None:
        """Another command of the same configuration."""
        subprocess.run([*self.cli, *words, "--config", self._config], cwd=ROOT, env=environment(), check=True,
                       capture_output=True, timeout=120)  # fmt: skip

    def import_remote(self) -> None:
        """Link every remote clip to its place in the library."""
        for path in filter(self._clips.is_remote, self._clips.paths):
            target = self.path / path
            target.parent.mkdir()
            os.link(self.path / "torrents/complete" / self._clips.torrent(path), target)
