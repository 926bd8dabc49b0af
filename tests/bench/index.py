"""`scripts/bench index`: finding duplicates with mediapool, jdupes, fdupes and rmlint, side by side in one run.

Everybody searches the same generated tree, and what each says is compared with the truth about it. In each round every
program has its turn at a row before the next row begins. Root for cold figures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import report
from ending import ended, undisturbed_end
from figures import Figures, Row, Target, Verdict
from indextree import Truth, make_tree
from stage import drop_caches, may_drop_caches
from workloads import WrongResult

from cli.sizes import parse_size

ROOT = Path(__file__).resolve().parents[2]
MEDIAPOOL, JDUPES = "mediapool", "jdupes"
COLD = Row("cold", "first run, nothing cached", "s", False)
AGAIN_COLD = Row("again cold", "second run, nothing cached", "s", False)
WARM = Row("warm", "first run, files in the page cache", "s", False)
AGAIN_WARM = Row("again warm", "second run, files in the page cache", "s", False)
READ = Row("read", "first run: read from the disk", "MB", False)
READ_AGAIN = Row("read again", "second run: read from the disk", "MB", False)
ROWS = (COLD, AGAIN_COLD, WARM, AGAIN_WARM, READ, READ_AGAIN)
# A set of inodes is a group: which name of an inode is printed is a matter of taste.
Groups = frozenset[frozenset[int]]


class Run(NamedTuple):
    """One run: seconds, CPU seconds, bytes read from the disk."""

    wall: float
    cpu: float
    read: int


@dataclass
class Finder:
    """A program that finds duplicates: how it is called for a tree, and how its answer is read.

    `remembers`: it has something to remember between two runs, which is in `memory` or in its own `tree`.
    """

    column: str
    command: list[str]
    parse: Callable[[bytes], Iterable[list[bytes]]]
    tree: Path
    memory: Path | None = None
    remembers: bool = False
    exact: bool | None = None

    def forget(self) -> None:
        if self.memory is not None:
            shutil.rmtree(self.memory, ignore_errors=True)

    def run(self, output: Path) -> Run:
        """Once, its answer to `output`."""
        with output.open("wb") as file:
            before = time.perf_counter()
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(
                [*self.command, str(self.tree)], stdout=file, stderr=subprocess.DEVNULL, env=environment
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise WrongResult(f"{self.column} ended with {process.returncode}")
        return Run(wall, used.ru_utime + used.ru_stime, used.ru_inblock * 512)

    def check(self, output: Path, truth: Groups) -> None:
        """Note whether the answer is the truth; WrongResult where it is mediapool's and is not."""
        found = _as_inodes(self.parse(output.read_bytes()))
        self.exact = found == truth
        if self.column == MEDIAPOOL and not self.exact:
            raise WrongResult(f"mediapool: {len(found - truth)} groups too many, {len(truth - found)} too few")


def _as_inodes(groups: Iterable[Iterable[bytes]]) -> Groups:
    found = (frozenset(os.lstat(path).st_ino for path in group if os.path.lexists(path)) for group in groups)
    return frozenset(group for group in found if len(group) > 1)


def _of_mediapool(output: bytes) -> Iterator[list[bytes]]:
    import base64

    for group in json.loads(output)["groups"]:
        yield [
            base64.b64decode(one["path_b64"]) if "path_b64" in one else one["path"].encode() for one in group["files"]
        ]


def _of_jdupes(output: bytes) -> Iterator[list[bytes]]:
    for group in output.split(b"\0\0"):
        yield [path for path in group.split(b"\0") if path]


def _of_fdupes(tree: bytes) -> Callable[[bytes], Iterator[list[bytes]]]:
    """Lines; one that does not begin with the tree goes on with the name before it, which has a line break."""

    def parse(output: bytes) -> Iterator[list[bytes]]:
        for block in output.split(b"\n\n"):
            group: list[bytes] = []
            for line in block.split(b"\n"):
                if line.startswith(tree + b"/"):
                    group.append(line)
                elif group:
                    group[-1] += b"\n" + line
            yield group

    return parse


def _of_rmlint(output: bytes) -> Iterator[list[bytes]]:
    """Its JSON holds the bytes of names as they are."""
    groups: dict[str, list[bytes]] = {}
    for one in json.loads(output.decode(errors="surrogateescape"), strict=False):
        if one.get("type") == "duplicate_file":
            groups.setdefault(one["checksum"], []).append(os.fsencode(one["path"]))
    yield from groups.values()


def finders(base: Path, tree: Path, own_tree: Path) -> list[Finder]:
    """All that take part and are installed; `own_tree` is the copy in which rmlint may leave what it remembers."""
    state = base / "state"
    python = [sys.executable, "-m", "cli", "index", "duplicates", "--json", "--state", str(state)]
    rmlint = ["rmlint", "-T", "df", "--hidden", "-o", "json:stdout"]
    found = [
        Finder(MEDIAPOOL, python, _of_mediapool, tree, memory=state, remembers=True),
        Finder(JDUPES, ["jdupes", "-r", "-q", "-0"], _of_jdupes, tree),
        Finder("fdupes", ["fdupes", "-r", "-q", "-n"], _of_fdupes(os.fsencode(tree)), tree),
        Finder("rmlint", rmlint, _of_rmlint, tree),
        Finder("rmlint --xattr", [*rmlint, "--xattr"], _of_rmlint, own_tree, remembers=True),
    ]
    return [one for one in found if one.column == MEDIAPOOL or shutil.which(one.command[0])]


def targets(columns: Sequence[str]) -> list[Target]:
    """As quick as jdupes at first; the second time twice as quick as whoever is best, so as each of the others."""
    others = [column for column in columns if column != MEDIAPOOL]
    again = [Target(row.key, MEDIAPOOL, other, 2.0) for row in (AGAIN_COLD, AGAIN_WARM) for other in others]
    return [*([Target(COLD.key, MEDIAPOOL, JDUPES, 1.0)] if JDUPES in others else []), *again]


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    return ended(lambda: _run(options))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench index", description="Duplicates: mediapool, jdupes, fdupes, rmlint.")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: a small tree")
    parser.add_argument("--files", type=int, help="files of the tree (20000)")
    parser.add_argument("--size", type=parse_size, help="bytes of the tree (3GB)")
    parser.add_argument("--rounds", type=int, help="how often each measurement is made (5)")
    parser.add_argument("--seed", type=int, default=1, help="another tree (1)")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where the tree is made (/var/tmp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    options = parser.parse_args(arguments)
    full = {"files": 20_000, "size": 3_000_000_000, "rounds": 5}
    quick = {"files": 2_000, "size": 100_000_000, "rounds": 2}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _run(options: argparse.Namespace) -> int:
    about = report.machine()
    console = report.console()
    with ExitStack() as closing, undisturbed_end():
        base = Path(tempfile.mkdtemp(prefix="mediapool-bench.", dir=options.dir))
        closing.callback(shutil.rmtree, base)
        console.print(f"{about['system']}, Linux {about['kernel']}, {about['cpus']} cores, load {about['load']}")
        for name in ("tree", "own"):
            (base / name).mkdir()
        truth = make_tree(base / "tree", options.files, options.size, options.seed)
        make_tree(base / "own", options.files, options.size, options.seed)
        console.print(f"{truth.files} files, {truth.size / 1e6:,.0f} MB, {len(truth.groups)} groups of duplicates")
        taking_part = finders(base, base / "tree", base / "own")
        figures = Figures(row.key for row in ROWS)
        _measure(taking_part, options.rounds, base / "output", truth, figures)
    columns = [one.column for one in taking_part]
    verdicts = [verdict for target in targets(columns) if (verdict := figures.verdict(target)) is not None]
    rows = [row for row in ROWS if figures.best(row.key, MEDIAPOOL)]
    title = "Medians of all rounds; a ratio is one of speeds, the median of that within each round"
    console.print(report.speeds(title, rows, columns, figures, verdicts))
    console.print(report.costs([row for row in rows if row.unit == "s"], columns, figures))
    console.print("groups exact: " + ", ".join(f"{one.column} {'yes' if one.exact else 'NO'}" for one in taking_part))
    if not may_drop_caches():
        console.print("no cold figures: only root can make the kernel drop its caches")
    console.print(report.summary(verdicts))
    if options.json:
        report.write_json(options.json, _content(options, about, truth, taking_part, rows, figures, verdicts))
    return 0


def _measure(taking_part: Sequence[Finder], rounds: int, output: Path, truth: Truth, figures: Figures) -> None:
    first_tree = os.fsencode(taking_part[0].tree)
    wanted = {
        one.tree: _as_inodes(
            [os.fsencode(one.tree) + path.removeprefix(first_tree) for path in group] for group in truth.groups
        )
        for one in taking_part
    }
    for finder in taking_part:
        if finder.remembers:
            finder.run(output)
    cold = (COLD, AGAIN_COLD) if may_drop_caches() else ()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for row in (*cold, WARM, AGAIN_WARM):
            first = number % len(taking_part)
            for finder in [*taking_part[first:], *taking_part[:first]]:
                # What is remembered in the files themselves cannot be forgotten: no first run.
                if row in (AGAIN_COLD, AGAIN_WARM) or not finder.remembers or finder.memory is not None:
                    _measure_one(row, finder, output, figures)
                    finder.check(output, wanted[finder.tree])


def _measure_one(row: Row, finder: Finder, output: Path, figures: Figures) -> None:
    if row in (COLD, AGAIN_COLD):
        drop_caches()
    else:
        # Now all that it reads is in the page cache.
        finder.run(output)
    if row in (COLD, WARM):
        finder.forget()
    done = finder.run(output)
    figures.add(row.key, finder.column, "", done.wall, program=done.cpu)
    if row in (COLD, AGAIN_COLD):
        figures.add((READ if row is COLD else READ_AGAIN).key, finder.column, "", done.read / 1e6)


def _content(
    options: argparse.Namespace, about: dict[str, Any], truth: Truth, taking_part: Sequence[Finder],
    rows: Sequence[Row], figures: Figures, verdicts: Sequence[Verdict],
) -> dict[str, Any]:  # fmt: skip
    columns = [one.column for one in taking_part]
    return {
        "bench": "index",
        "machine": about,
        "options": {"files": options.files, "size": options.size, "rounds": options.rounds, "seed": options.seed},
        "tree": {"files": truth.files, "bytes": truth.size, "groups": len(truth.groups)},
        "contenders": [{"column": one.column, "command": one.command[-6:], "exact": one.exact} for one in taking_part],
        "rows": [{**row._asdict(), "columns": figures.as_json(row.key, columns)} for row in rows],
        "targets": [{**verdict.target._asdict(), "reached": verdict.reached, "ok": verdict.ok} for verdict in verdicts],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
