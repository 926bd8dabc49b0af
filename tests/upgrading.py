"""States that older versions left: made by their own code, kept small, and what was in the tree then.

    PYTHONPATH=. python tests/upgrading.py COMMIT...

makes tests/integration/upgrades/COMMIT.tar.xz, for which each commit is checked out and mounted. An account that never
changes lies beneath: the same one in the making and in the test.
"""

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mounting import ROOT, Mounted, wait_for

from debrid.simulator import Simulator

KEPT = ROOT / "tests/integration/upgrades"
ADDED = 1_700_000_000.0
FILMS = {f"Film.{number}": random.Random(number).randbytes(3000 + number) for number in range(4)}
SERIES = {f"/Season 1/e{number:02}.mkv": random.Random(f"e{number}").randbytes(2000 + number) for number in range(5)}
GRABBED = "Grabbed.2024.1080p"
GRABBED_HASH = "9" * 40
COMPLETE = "torrents/complete"

Entry = dict[str, Any]


@contextlib.contextmanager
def account(clip: bytes, grabbed: bool) -> Iterator[Simulator]:
    """The account; `clip` is a real one, which can be had by its magnet or, once `grabbed`, is in the account."""
    with Simulator() as simulator:
        for number, (name, content) in enumerate(FILMS.items()):
            files = {"/film.mkv": content, "/film.srt": content[:50]}
            simulator.add_torrent(name, files, hash=f"{number + 1:040x}", added=ADDED + number, rar=False)
        simulator.add_torrent("Show.S01", SERIES, hash="a" * 40, added=ADDED + 100)
        if grabbed:
            simulator.add_torrent(GRABBED, {"/grabbed.mkv": clip}, hash=GRABBED_HASH, added=ADDED + 200)
        else:
            simulator.offer(GRABBED, {"/grabbed.mkv": clip}, hash=GRABBED_HASH)
        yield simulator


def configured(mounted: Mounted, simulator: Simulator) -> None:
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\ndelete_after = "never"\n'
    mounted.write_config(debrid=debrid)


def entries(root: Path) -> dict[str, Entry]:
    """All in the tree by path: what must not change. Inode numbers and times of local files are those of the disk."""
    found: dict[str, Entry] = {}
    for place, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(place, name)
            stat = path.lstat()
            remote = source(path).startswith("Real-Debrid")
            entry: Entry = {"mode": stat.st_mode, "uid": stat.st_uid, "remote": remote}
            if not path.is_dir():
                entry |= {"size": stat.st_size, "nlink": stat.st_nlink}
                if remote:
                    entry |= {"ino": stat.st_ino, "mtime": stat.st_mtime_ns}
                entry["content"] = path.read_bytes()[:64].hex()
            found[str(path.relative_to(root))] = entry
    return found


def source(path: Path) -> str:
    try:
        return os.getxattr(path, "user.mediapool.source").decode()
    except OSError:
        return ""


def furnish(mounted: Mounted, clip: bytes) -> None:
    """What a pool has after a while: names that moved, went or were linked, local files, a pin, a grab."""
    tree = mounted.path
    wait_for(lambda: len(list((tree / COMPLETE).glob("*"))) == len(FILMS) + 1, "the torrents")
    (tree / "media/movies/Zero").mkdir(parents=True)
    os.link(tree / COMPLETE / "Film.0/film.mkv", tree / "media/movies/Zero/Zero.mkv")
    (tree / "media/movies/Zero/Zero.nfo").write_text("local beside remote")
    (tree / COMPLETE / "Film.1").rename(tree / "media/movies/One")
    (tree / COMPLETE / "Film.2/film.srt").unlink()
    os.chmod(tree / COMPLETE / "Film.2/film.mkv", 0o640)
    os.utime(tree / COMPLETE / "Film.2/film.mkv", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    os.setxattr(tree / COMPLETE / "Film.2/film.mkv", "user.note", b"kept")
    (tree / "media/tv/Show").mkdir(parents=True)
    for number in (1, 2):
        os.link(tree / COMPLETE / f"Show.S01/Season 1/e{number:02}.mkv", tree / f"media/tv/Show/e{number:02}.mkv")
    (tree / COMPLETE / "Show.S01/Season 1/e01.mkv").unlink()
    (tree / "personal").mkdir()
    (tree / "personal/notes.txt").write_text("local")
    os.link(tree / "personal/notes.txt", tree / "personal/also.txt")


def has(mounted: Mounted, *words: str) -> bool:
    return mounted.command(*words, "--help").returncode == 0


def make(commit: str) -> None:
    """Run an older mediapool and keep what it left behind."""
    with tempfile.TemporaryDirectory() as folder:
        base, code = Path(folder) / "pool", Path(folder) / "code"
        base.mkdir()
        code.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as checkout:
            checkout.extractall(code, filter="data")
        clip = base / "clip.mkv"
        _film(clip)
        mounted = Older(base, drives=2, code=code)
        with account(clip.read_bytes(), grabbed=False) as simulator:
            configured(mounted, simulator)
            mounted.start()
            try:
                furnish(mounted, clip.read_bytes())
                pins = has(mounted, "pin")
                if pins:
                    done = mounted.command("pin", str(mounted.path / COMPLETE / "Film.3/film.mkv"))
                    assert done.returncode == 0, done.stderr
                grabs = has(mounted, "debrid", "add")
                if grabs:
                    magnet = simulator.magnet(GRABBED_HASH)
                    done = mounted.command("debrid", "add", magnet, "--category", "radarr", "--wait")
                    assert done.returncode == 0, done.stderr
                jobs = has(mounted, "pool", "balance")
                if jobs:
                    mounted.command("pool", "drain", "drive2", "--yes", "--wait")
                    mounted.command("pool", "drain", "drive2", "--stop", "--yes")
                told: dict[str, Any] = {"pins": pins, "grabs": grabs, "jobs": jobs, "entries": entries(mounted.path)}
            finally:
                mounted.stop()
        files = (path for drive in mounted.drive_paths for path in sorted(drive.rglob("*")) if path.is_file())
        told["times"] = {str(path.relative_to(base)): path.stat().st_mtime_ns for path in files}
        (base / "told.json").write_text(json.dumps(told))
        KEPT.mkdir(exist_ok=True)
        with tarfile.open(KEPT / f"{commit}.tar.xz", "w:xz", preset=9) as kept:
            for name in ("told.json", "clip.mkv", "state", "drive1", "drive2"):
                kept.add(base / name, name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Nothing of the machine it was made on, and no log."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith((".log", "daemon.json", "lock")) else member


def _film(path: Path) -> None:
    pictures = ("-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=2", "-f", "lavfi", "-i", "sine=duration=2")
    subprocess.run(
        ["ffmpeg", "-v", "error", *pictures, "-c:v", "mpeg4", "-c:a", "mp2", "-b:a", "32k", path], check=True
    )


class Older(Mounted):
    """A mount by another checkout."""

    def __init__(self, base: Path, drives: int, code: Path) -> None:
        self.code = code
        super().__init__(base, drives=drives, environment={"PYTHONPATH": str(code), "HOME": str(base)})

    def start(self) -> "Older":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "mount", "--config", str(self.config)],
                cwd=self.code, env=self._environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: os.path.ismount(self.path), f"the mount of {self.code}")
        return self

    def command(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        config = () if "--help" in arguments else ("--config", str(self.config))
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments, *config],
            cwd=self.code, env=self._environment(), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip


if __name__ == "__main__":
    for commit in sys.argv[1:]:
        make(commit)
        print(f"{commit}: {(KEPT / f'{commit}.tar.xz').stat().st_size} bytes")
