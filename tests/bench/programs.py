"""`scripts/bench programs`: real programs on a mounted library and on a plain folder with the same clips.

Half of the library lies on two drives, half at a simulated provider (80 ms to the first byte, 60 MB/s a connection),
linked into the library as an importer does. Each program must find the same on both; what it took, and what it had
fetched from the provider, is told. "again" is a second run that finds its bytes in mediapool's cache.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import report
import serving
import using
from clips import ClipMount, Clips, make
from ending import ended, undisturbed_end
from rich.table import Table
from simulated import Provider
from using import Place
from workloads import WrongResult

FIRST_BYTE, RATE = 0.08, 60e6


@dataclass(frozen=True)
class Trial:
    """A program at work: its name, the command that must be installed, and how it is used."""

    name: str
    command: str
    use: Callable[[Place], Any]
    again: bool = False


TRIALS = (
    Trial("minidlna scans", "minidlnad", serving.minidlna, again=True),
    Trial("gerbera scans", "gerbera", serving.gerbera, again=True),
    Trial("mediainfo", "mediainfo", using.mediainfo, again=True),
    Trial("mkvmerge -J", "mkvmerge", using.mkvmerge, again=True),
    Trial("mkvextract", "mkvextract", using.mkvextract),
    Trial("mkvpropedit", "mkvpropedit", using.mkvpropedit),
    Trial("mpv plays 12 clips", "mpv", using.mpv_plays),
    Trial("mpv, 60 seeks", "mpv", using.mpv_seeks, again=True),
    Trial("rsync out", "rsync", using.rsync_out),
    Trial("rsync in", "rsync", using.rsync_in),
    Trial("borg of the library", "borg", using.borg),
    Trial("borg into the tree", "borg", using.borg_repository),
    Trial("Samba and smbclient", "smbd", serving.samba),
)
PLAIN, MOUNT, AGAIN = "plain folder", "mediapool", "mediapool, again"


@dataclass
class Outcome:
    """One program on one side."""

    trial: str
    side: str
    worked: bool
    seconds: float
    fetched: int = 0
    """Bytes that the provider sent."""
    requests: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    trouble: str = ""


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    return ended(lambda: _run(options))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench programs", description="Real programs on a mount and on a plain folder.")
    parser.add_argument("--clips", type=int, default=60, help="clips in the library, half of them remote (60)")
    parser.add_argument("--seconds", type=int, default=16, help="length of each clip (16)")
    parser.add_argument("--only", action="append", choices=[trial.name for trial in TRIALS], help="may be repeated")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where everything lies (/var/tmp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    wanted = [trial for trial in TRIALS if not options.only or trial.name in options.only]
    missing = sorted({trial.command for trial in wanted if not shutil.which(trial.command)})
    if missing:
        print(f"not installed, so not tried: {', '.join(missing)}", file=sys.stderr)
    about = report.machine()
    with undisturbed_end(), ExitStack() as closing:
        base = Path(tempfile.mkdtemp(prefix="mediapool-bench.", dir=options.dir))
        closing.callback(shutil.rmtree, base, ignore_errors=True)
        clips = Clips(base, options.clips)
        print(f"filming {options.clips} clips", file=sys.stderr)
        make(clips, options.seconds)
        provider = closing.enter_context(Provider(clips.remote))
        mount = ClipMount(clips, provider)
        closing.callback(mount.stop)
        mount.start()
        _published(mount, clips)
        mount.import_remote()
        provider.behave(FIRST_BYTE, RATE)
        stand = Stand(clips, provider, mount)
        outcomes = [one for trial in wanted if trial.command not in missing for one in stand.outcomes(trial)]
        log = mount.log.read_text(errors="replace")
    report.console().print(_table(outcomes))
    if options.json:
        report.write_json(options.json, {"bench": "programs", "machine": about, "versions": _versions(wanted),
                          "clips": options.clips, "seconds": options.seconds, "first_byte": FIRST_BYTE, "rate": RATE,
                          "outcomes": [asdict(one) for one in outcomes]})  # fmt: skip
    bugs = [line for line in log.splitlines() if "bug in mediapool" in line or "Traceback" in line]
    print("\n".join(bugs), end="", file=sys.stderr)
    return 1 if bugs or not all(one.worked for one in outcomes) else 0


def _published(mount: ClipMount, clips: Clips) -> None:
    until = time.monotonic() + 120
    for path in filter(clips.is_remote, clips.paths):
        while not (mount.path / "torrents/complete" / clips.torrent(path)).exists():
            if time.monotonic() > until:
                raise WrongResult(f"{path} is not published: {mount.log.read_text(errors='replace')}")
            time.sleep(0.1)


class Stand:
    """Where programs are tried: both sides, and the provider that counts."""

    def __init__(self, clips: Clips, provider: Provider, mount: ClipMount) -> None:
        self._clips = clips
        self._provider = provider
        self._mount = mount

    def outcomes(self, trial: Trial) -> Iterator[Outcome]:
        """The plain folder first, then the mount with an empty cache, then perhaps with what that left."""
        plain, found = self._try(trial, PLAIN, self._clips.plain)
        yield plain
        self._forget()
        cold, seen = self._try(trial, MOUNT, self._mount.path)
        yield self._compared(cold, found, seen)
        if trial.again:
            warm, seen = self._try(trial, AGAIN, self._mount.path)
            yield self._compared(warm, found, seen)

    def _forget(self) -> None:
        """What the cache holds, and what the kernel holds of the clips."""
        self._mount.run("cache", "clear", "--yes")
        for path in self._clips.paths:
            with (self._mount.path / path).open("rb") as clip:
                os.posix_fadvise(clip.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _try(self, trial: Trial, side: str, root: Path) -> tuple[Outcome, Any]:
        print(f"{trial.name}: {side}", file=sys.stderr, flush=True)
        work = self._clips.base / "work"
        work.mkdir()
        place = Place(root, work, self._clips.paths, {})
        self._provider.forget()
        begun, trouble, found = time.monotonic(), "", None
        try:
            found = trial.use(place)
        except (WrongResult, OSError, subprocess.SubprocessError, StopIteration, KeyError, ValueError) as problem:
            trouble = f"{type(problem).__name__}: {problem}"
        seconds = time.monotonic() - begun
        traffic = self._provider.settled()
        shutil.rmtree(work)
        for left in ("rsynced", "backup", "shared"):
            shutil.rmtree(root / left, ignore_errors=True)
        if trouble:
            print(trouble, file=sys.stderr)
        return (
            Outcome(trial.name, side, not trouble, seconds, traffic.sent, traffic.requests, place.figures, trouble),
            found,
        )

    def _compared(self, outcome: Outcome, expected: Any, found: Any) -> Outcome:
        if outcome.worked and found != expected:
            outcome.worked = False
            outcome.trouble = f"on the plain folder it found {_short(expected)}, here {_short(found)}"
            print(outcome.trouble, file=sys.stderr)
        return outcome


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) < 2000 else f"{text[:1000]}...{text[-1000:]}"


def _versions(trials: Sequence[Trial]) -> dict[str, str]:
    """As the package manager knows them; programs have a dozen ways to say it."""
    names = {"minidlnad": "minidlna", "mkvmerge": "mkvtoolnix", "borg": "borgbackup", "smbd": "samba"}
    packages = {names.get(trial.command, trial.command) for trial in trials if not trial.command.startswith("mkve")}
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages - {"mkvpropedit"}],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return dict(line.split() for line in found.stdout.splitlines() if len(line.split()) == 2)


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Programs on a plain folder and on the mount", title_justify="left")
    for column in ("program", "on", "worked", "s", "fetched", "requests", "besides"):
        table.add_column(column, justify="right" if column in ("s", "fetched", "requests") else "left")
    for one in outcomes:
        besides = ", ".join(f"{name} {value:.3g}" for name, value in one.figures.items())
        fetched = "" if one.side == PLAIN else f"{one.fetched / 1e6:.1f} MB"
        table.add_row(one.trial, one.side, "yes" if one.worked else "NO", f"{one.seconds:.1f}", fetched,
                      "" if one.side == PLAIN else str(one.requests), besides or one.trouble[:80])  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
