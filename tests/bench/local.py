"""`scripts/bench local`: local files through mediapool, mergerfs and the bare disk, side by side in one run.

Each round gives every contender its turn at every workload before the next round begins, so a machine that grows
faster or slower meanwhile does so for all. Needs no network. Root for cold figures and for drives on loop devices.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import remotenames
import report
from contenders import BareDisk, Contender, Mediapool, Mergerfs, Settings, mergerfs_variants
from ending import ended, undisturbed_end
from figures import Figures, Row, Target, Verdict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from stage import Stage, fill, may_drop_caches, stage
from workloads import WORKLOADS, Sizes, rows

from cli.sizes import parse_size

PASSTHROUGH, PLAIN = "mediapool passthrough", "mediapool plain"
MEMORY = Row("memory", "memory at the peak (VmHWM)", "MB", False)
_IN_ORDER = ("read cold", "read drives warm", "read warm", "write", "write and sync")
_SMALL_FILES = ("create", "rename", "unlink")
_COLD_SCANS = ("scan cold",)


def targets(mediapools: Sequence[str], bare: str, mergerfs: str | None) -> list[Target]:
    """What is demanded of the columns that are mediapool; `mergerfs` is the column of the system's own."""
    found = []
    for column in mediapools:
        if column == PASSTHROUGH:
            found += [Target(row, column, bare, 0.9) for row in _IN_ORDER]
        elif mergerfs:
            found += [Target(row, column, mergerfs, 1.0) for row in _IN_ORDER]
        if mergerfs:
            found += [Target(row, column, mergerfs, 3.0) for row in _COLD_SCANS]
            found += [Target(row, column, mergerfs, 0.5) for row in _SMALL_FILES]
        found += [Target("start", column, limit=2.0), Target("start memory", column, limit=200.0)]
    return found


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    return ended(lambda: _run(options))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench local", description="Local files: mediapool, mergerfs, the bare disk.")
    parser.add_argument("--quick", action="store_true", help="a minute instead of a quarter of an hour: small sizes")
    parser.add_argument("--size", type=parse_size, help="length of the big file (1GiB)")
    parser.add_argument("--files", type=int, help="files of the library that is scanned (30000)")
    parser.add_argument("--small", type=int, help="small files that are created, renamed, removed (10000)")
    parser.add_argument("--reads", type=int, help="random reads (20000; a tenth of it cold)")
    parser.add_argument("--names", type=int, help="remote names that mediapool has loaded (100000)")
    parser.add_argument("--rounds", type=int, help="how often each measurement is made (5)")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="measure this alone; may be repeated")
    parser.add_argument("--cache-seconds", type=int, default=60, help="how long mounts let the kernel keep names (60)")
    parser.add_argument("--mergerfs", type=Path, action="append", default=[], metavar="PATH", help="one more mergerfs")
    parser.add_argument("--loop", action="store_true", help="each drive an ext4 image on a loop device; root only")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where the drives are made (/var/tmp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--keep", action="store_true", help="leave drives and logs where they are, unmounted")
    options = parser.parse_args(arguments)
    options.only = options.only or list(WORKLOADS)
    full = {"size": 1 << 30, "files": 30_000, "small": 10_000, "reads": 20_000, "names": 100_000, "rounds": 5}
    quick = {"size": 1 << 27, "files": 6_000, "small": 1_000, "reads": 4_000, "names": 100_000, "rounds": 2}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _run(options: argparse.Namespace) -> int:
    about = report.machine()
    console = report.console()
    sizes = Sizes(options.size, options.files, options.small, options.reads)
    drive_size = 3 * options.size + (1 << 30) if options.loop else None
    with stage(options.dir, drive_size, options.keep) as ground, ExitStack() as closing, undisturbed_end():
        console.print(f"{about['system']}, Linux {about['kernel']}, {about['cpus']} cores, load {about['load']}")
        console.print(f"drives: {ground.describe()}")
        fill(ground, sizes.library, sizes.big)
        contenders = [*_contenders(ground, options, closing)]
        for contender in contenders:
            name = f"{contender.column} {contender.variant}".strip()
            console.print(f"{name}: {contender.options or 'as it is'}", soft_wrap=True)
        measured = rows(options.only)
        figures = Figures(row.key for row in (*measured, MEMORY) if not row.higher_is_better)
        _measure(contenders, options, sizes, figures)
        for contender in contenders:
            if memory := contender.memory("VmHWM"):
                figures.add(MEMORY.key, contender.column, contender.variant, memory / 1e6)
        if options.keep:
            console.print(f"kept: {ground.base}")
    columns = list(dict.fromkeys(contender.column for contender in contenders))
    verdicts = _verdicts(columns, figures)
    _show(console, [*measured, MEMORY], columns, figures, verdicts)
    if options.json:
        report.write_json(
            options.json, _content(options, about, ground, contenders, [*measured, MEMORY], figures, verdicts)
        )
    return 0


def _contenders(ground: Stage, options: argparse.Namespace, closing: ExitStack) -> Iterator[Contender]:
    """All that take part, started; `closing` stops them."""
    names = ground.base / "names.db"
    settings = Settings(options.cache_seconds, remotenames.load(names, options.names), names)

    def started(contender: Contender) -> Contender:
        closing.callback(contender.stop)
        contender.start()
        return contender

    yield BareDisk(ground)
    mediapool = Mediapool(ground, "mediapool", settings)
    started(mediapool)
    on = mediapool.passthrough()
    mediapool.column = PASSTHROUGH if on else PLAIN
    yield mediapool
    if on:
        plain = Mediapool(ground, "mediapool-plain", settings, passthrough="off")
        plain.column = PLAIN
        yield started(plain)
    own = shutil.which("mergerfs")
    for number, binary in enumerate([*([Path(own)] if own else []), *options.mergerfs]):
        for variant in mergerfs_variants(binary):
            mergerfs = Mergerfs(ground, f"mergerfs{number}-{variant}", binary, variant, settings)
            if number or not own:
                mergerfs.column += f" ({binary})"
            yield started(mergerfs)


def _measure(contenders: Sequence[Contender], options: argparse.Namespace, sizes: Sizes, figures: Figures) -> None:
    bare = contenders[0]
    assert isinstance(bare, BareDisk)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=options.rounds * len(options.only) * len(contenders))
        for number in range(options.rounds):
            if not progress.console.is_terminal:
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            for name in options.only:
                for contender in _turned(contenders, number):
                    progress.update(task, description=f"{name}: {contender.column} {contender.variant}")
                    for sample in WORKLOADS[name](contender, bare, sizes):
                        figures.add(sample.row, contender.column, contender.variant, *sample[1:])
                    progress.advance(task)


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Another one first in each round, so that none always follows the same one."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _verdicts(columns: Sequence[str], figures: Figures) -> list[Verdict]:
    mediapools = [column for column in columns if column in (PASSTHROUGH, PLAIN)]
    # That of the system comes without a path.
    mergerfs = next((column for column in columns if column.startswith("mergerfs") and "(" not in column), None)
    found = (figures.verdict(target) for target in targets(mediapools, BareDisk.column, mergerfs))
    return [verdict for verdict in found if verdict is not None]


def _show(
    console: Console, measured: Sequence[Row], columns: Sequence[str], figures: Figures, verdicts: list[Verdict]
) -> None:
    title = "Medians of all rounds; a ratio is one of speeds, the median of that within each round"
    console.print()
    console.print(report.speeds(title, measured, columns, figures, verdicts))
    console.print(report.costs(measured[:-1], columns, figures))
    console.print("mergerfs has several option sets; each row shows the best of them, which it names")
    if not may_drop_caches():
        console.print("no cold figures: only root can make the kernel drop its caches")
    if not any(column.startswith("mergerfs") for column in columns):
        console.print("mergerfs is not installed, so nothing is compared with it")
    if PASSTHROUGH not in columns:
        console.print("this mount has no kernel passthrough, so there is no column of it")
    console.print(report.summary(verdicts))


def _content(
    options: argparse.Namespace, about: dict[str, Any], ground: Stage, contenders: Sequence[Contender],
    measured: Sequence[Row], figures: Figures, verdicts: Sequence[Verdict],
) -> dict[str, Any]:  # fmt: skip
    columns = list(dict.fromkeys(contender.column for contender in contenders))
    return {
        "bench": "local",
        "machine": about,
        "drives": ground.describe(),
        "options": {"size": options.size, "files": options.files, "small": options.small, "reads": options.reads,
                    "names": options.names, "rounds": options.rounds, "cache_seconds": options.cache_seconds},
        "contenders": [_told(contender) for contender in contenders],
        "rows": [{**row._asdict(), "columns": figures.as_json(row.key, columns)} for row in measured],
        "targets": [{**verdict.target._asdict(), "reached": verdict.reached, "ok": verdict.ok} for verdict in verdicts],
    }  # fmt: skip


def _told(contender: Contender) -> dict[str, str]:
    return {"column": contender.column, "set": contender.variant, "options": contender.options}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
