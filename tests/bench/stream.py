"""`scripts/bench stream`: remote files through mediapool and rclone, side by side over one simulated provider.

Each round gives every mount its turn at every workload, with files it has not seen, before the next round begins. The
provider's own speed is measured beside it by curl. Needs no network and no account.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import report
import streaming
from ending import ended, undisturbed_end
from figures import Figures, Row, Target, Verdict
from local import MEMORY
from simulated import Provider
from stage import may_drop_caches, spread
from streaming import FREE, LIMITED, SEEKS, WORKLOADS, Plan, Round, Speed
from streammounts import MEDIAPOOL, RCLONE, RCLONE_TUNED, Mediapool, Rclone, StreamMount, rclone_binary, rclone_version

from cli.sizes import parse_size

ONE, EIGHT = "provider, 1 connection", "provider, 8 connections"
_CEILINGS = {"one": ONE, "eight": EIGHT}
# Of the provider's own delay; as a ratio of speeds.
_ITS_DELAY = 1 / 1.1
TARGETS = (
    Target("first byte", MEDIAPOOL, ONE, _ITS_DELAY),
    Target("seek", MEDIAPOOL, ONE, _ITS_DELAY),
    Target("probe fetched", MEDIAPOOL, limit=1.0),
    Target("probe again fetched", MEDIAPOOL, limit=0.0),
    Target("mediainfo requests", MEDIAPOOL, limit=10.0),
    Target("mediainfo again requests", MEDIAPOOL, limit=0.0),
    Target("limited order", MEDIAPOOL, ONE, 6.0),
    Target("free order", MEDIAPOOL, RCLONE, 2.0),
    Target("free order", MEDIAPOOL, RCLONE_TUNED, 2.0),
    *(
        Target(f"{speed.name} {row}", MEDIAPOOL, rclone, 1.0)
        for speed in (LIMITED, FREE)
        for row in ("again", "again cold")
        for rclone in (RCLONE, RCLONE_TUNED)
    ),
    Target("stalls", MEDIAPOOL, limit=0.0),
    Target("memory", MEDIAPOOL, limit=200.0),
)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    return ended(lambda: _run(options))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench stream", description="Remote files: mediapool, rclone, the provider.")
    parser.add_argument("--quick", action="store_true", help="two minutes instead of a quarter of an hour")
    parser.add_argument("--size", type=parse_size, help="length of each big file (1GiB)")
    parser.add_argument("--clip", type=parse_size, help="length of each clip that is probed, about (40MiB)")
    parser.add_argument("--clips", type=int, help="clips that are probed (20)")
    parser.add_argument("--play", type=float, help="seconds that the players play (20)")
    parser.add_argument("--rounds", type=int, help="how often each measurement is made (3)")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="measure this alone; may be repeated")
    parser.add_argument("--without-rclone", action="store_true", help="mediapool alone")
    parser.add_argument("--rclone", type=Path, metavar="PATH", help="the rclone to compare with")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where files and caches lie (/var/tmp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--keep", action="store_true", help="leave files and logs where they are, unmounted")
    options = parser.parse_args(arguments)
    chosen = options.only or list(WORKLOADS)
    options.only = [name for name in chosen if name != "mediainfo" or shutil.which("mediainfo")]
    full = {"size": 1 << 30, "clip": 40 << 20, "clips": 20, "play": 20.0, "rounds": 3}
    quick = {"size": 1 << 28, "clip": 20 << 20, "clips": 5, "play": 10.0, "rounds": 1}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _run(options: argparse.Namespace) -> int:
    about = report.machine()
    console = report.console()
    plan = Plan(options.size, options.clips, options.play, options.rounds)
    base = Path(tempfile.mkdtemp(prefix="mediapool-bench.", dir=options.dir))
    spread(base)
    with ExitStack() as closing:
        if not options.keep:
            closing.callback(shutil.rmtree, base, ignore_errors=True)
        closing.enter_context(undisturbed_end())
        console.print(f"{about['system']}, Linux {about['kernel']}, {about['cpus']} cores, load {about['load']}")
        names = _fill(base, plan, options.clip)
        provider = closing.enter_context(Provider(base / "files"))
        mounts = [*_mounts(base, provider, names, options, closing)]
        for mount in mounts:
            console.print(f"{mount.column}: {mount.options or 'as it is'}", soft_wrap=True)
        measured = [*streaming.rows(options.only), MEMORY]
        figures = Figures(row.key for row in measured if not row.higher_is_better)
        _measure(mounts, provider, plan, options.only, figures)
        for mount in mounts:
            figures.add(MEMORY.key, mount.column, "", mount.memory("VmHWM") / 1e6)
        if options.keep:
            console.print(f"kept: {base}")
    columns = [MEDIAPOOL, *(mount.column for mount in mounts[1:]), ONE, EIGHT]
    verdicts = [verdict for target in TARGETS if (verdict := figures.verdict(target)) is not None]
    console.print()
    title = "Medians of all rounds; a ratio is one of speeds, the median of that within each round"
    console.print(report.speeds(title, measured, columns, figures, verdicts))
    console.print(_explanation(len(mounts) > 1))
    console.print(report.summary(verdicts))
    if options.json:
        report.write_json(options.json, _content(options, about, mounts, measured, columns, figures, verdicts))
    return 0


def _explanation(compared: bool) -> str:
    said = [f"provider: {LIMITED.first_byte * 1000:.0f} ms to the first byte, 60 MB/s a connection; or no limits"]
    if not compared:
        said.append("rclone is not installed, so nothing is compared with it")
    if not may_drop_caches():
        said.append("no figures with the page cache dropped: only root can make the kernel do that")
    return "\n".join(said)


def _fill(base: Path, plan: Plan, clip: int) -> list[str]:
    """Put the files where the provider finds them; their names. Files of one kind are hard links of one."""
    folder, made = base / "files", base / "made"
    folder.mkdir()
    made.mkdir()
    big = made / "big"
    block = os.urandom(1 << 20)
    with big.open("wb") as file:
        for offset in range(0, plan.big, len(block)):
            file.write(block[: plan.big - offset])
    names = []
    for number in range(plan.rounds):
        for speed in (LIMITED, FREE):
            names += [name for some in plan.big_names(speed, number).values() for name in some]
    for name in names:
        (folder / name).hardlink_to(big)
    clips = {kind: _make_clip(made / f"clip.{kind}", clip) for kind in ("mkv", "mp4")}
    for name in (name for number in range(plan.rounds) for name in plan.clip_names(number)):
        (folder / name).hardlink_to(clips[name[-3:]])
        names.append(name)
    return names


def _make_clip(path: Path, size: int) -> Path:
    """A film of about `size` bytes with picture and sound: a second of it, over and over."""
    second = path.with_name(f"second.{path.suffix[1:]}")
    sources = ("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=24:d=1", "-f", "lavfi", "-i", "sine=d=1")
    _ffmpeg(*sources, "-c:v", "mpeg4", "-q:v", "2", "-c:a", "aac", second)
    _ffmpeg("-stream_loop", str(max(1, size // second.stat().st_size)), "-i", second, "-c", "copy", path)
    return path


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def _mounts(
    base: Path, provider: Provider, names: Sequence[str], options: argparse.Namespace, closing: ExitStack
) -> Iterator[StreamMount]:
    """All that take part, started; `closing` stops them."""
    found: list[StreamMount] = [Mediapool(base, provider, names)]
    binary = None if options.without_rclone else rclone_binary(options.rclone)
    if binary:
        print(f"rclone {rclone_version(binary)}, {binary}", file=sys.stderr)
        found.append(Rclone(RCLONE, (), binary, base, provider, names))
        found.append(Rclone(RCLONE_TUNED, ("--vfs-read-chunk-streams", "8"), binary, base, provider, names))
    for mount in found:
        closing.callback(mount.stop)
        mount.start()
        yield mount


def _measure(
    mounts: Sequence[StreamMount], provider: Provider, plan: Plan, only: Sequence[str], figures: Figures
) -> None:
    for number in range(plan.rounds):
        for speed in (LIMITED, FREE):
            provider.behave(speed.first_byte, speed.rate)
            turn = Round(provider, speed, plan, number)
            for column, sample in streaming.ceiling(turn):
                figures.add(sample.row, _CEILINGS[column], "", sample.value)
            for name in only:
                if speed in WORKLOADS[name][1]:
                    _turns(name, _turned(mounts, number), turn, figures)


def _turns(name: str, mounts: Sequence[StreamMount], turn: Round, figures: Figures) -> None:
    for mount in mounts:
        print(f"round {turn.number + 1}: {name}, {turn.speed.name}: {mount.column}", file=sys.stderr, flush=True)
        for sample in WORKLOADS[name][0](mount, turn):
            figures.add(sample.row, mount.column, "", sample.value)


def _turned(mounts: Sequence[StreamMount], number: int) -> list[StreamMount]:
    """Another one first in each round, so that none always follows the same one."""
    first = number % len(mounts)
    return [*mounts[first:], *mounts[:first]]


def _content(
    options: argparse.Namespace, about: dict[str, Any], mounts: Sequence[StreamMount], measured: Sequence[Row],
    columns: Sequence[str], figures: Figures, verdicts: Sequence[Verdict],
) -> dict[str, Any]:  # fmt: skip
    speeds: list[Speed] = [LIMITED, FREE]
    return {
        "bench": "stream",
        "machine": about,
        "provider": [vars(speed) for speed in speeds],
        "options": {"size": options.size, "clip": options.clip, "clips": options.clips, "play": options.play,
                    "rounds": options.rounds, "seeks": SEEKS},
        "contenders": [{"column": mount.column, "options": mount.options} for mount in mounts],
        "rows": [{**row._asdict(), "columns": figures.as_json(row.key, columns)} for row in measured],
        "targets": [{**verdict.target._asdict(), "reached": verdict.reached, "ok": verdict.ok} for verdict in verdicts],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
