"""Run the public suites below a mounted folder and compare what fails with the committed list.

Called by scripts/conformance, which makes the mount. Exit status 0: nothing failed but what the list names.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import moves

HERE = Path(__file__).resolve().parent
PINS = HERE.parent.parent / "docs" / "conformance.md"
KNOWN = HERE / "pjdfstest-known.txt"

# Fewer means that tests were skipped, which a list of failures alone would not show.
PJDFSTEST_PASSES = 8798
FSX_OPERATIONS, FSX_SEEDS = 20_000, (1, 2, 3)
STRESSORS = ("dentry", "dir", "link", "symlink", "rename", "flock", "mmap", "hdd", "fallocate")
STRESS_SECONDS = 20
# No single test or program takes longer; one that does hangs.
PATIENCE = 600


class NotPresentError(Exception):
    """A suite that this machine does not have; the message says what to set or install."""


@dataclass
class Result:
    """What one suite found: a line for the summary, and what is wrong beyond the committed list."""

    figures: str
    problems: list[str] = field(default_factory=list)


def main(mount: Path, wanted: list[str]) -> int:
    if unknown := set(wanted) - set(SUITES):
        print(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}", file=sys.stderr)
        return 2
    lines, failed = [], False
    for name in wanted or SUITES:
        begun = time.monotonic()
        try:
            result = SUITES[name](_folder(mount, name))
        except NotPresentError as cause:
            lines.append(f"{name}: NOT RUN, {cause}")
            failed |= bool(wanted)
            continue
        failed |= bool(result.problems)
        verdict = "FAILED" if result.problems else "passed"
        lines.append(f"{name}: {verdict}, {result.figures}, {time.monotonic() - begun:.0f} s")
        lines += [f"    {problem}" for problem in result.problems]
    print("\n== conformance\n" + "\n".join(lines))
    return int(failed)


def _folder(mount: Path, name: str) -> Path:
    """A folder for one suite: not the root of the mount, so that its longest paths are longer than one call takes."""
    folder = mount / "conformance" / name
    folder.mkdir(parents=True)
    # The suites act as other users, too.
    folder.chmod(0o777)
    return folder


def _program(variable: str, inside: str = "") -> Path:
    """The file that an environment variable names, or the one called `inside` in the folder that it names."""
    value = os.environ.get(variable)
    if not value:
        raise NotPresentError(f"{variable} is not set")
    path = Path(value).absolute() / inside
    if not os.access(path, os.X_OK) or not path.is_file():
        raise NotPresentError(f"{variable}: {path} is not a program")
    _tell_commit(path)
    return path


def _tell_commit(program: Path) -> None:
    found = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", program.parent, "rev-parse", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    commit = found.stdout.strip() or "an unknown commit"
    pinned = commit in PINS.read_text(encoding="utf-8")
    print(f"{program.name}: {commit}{'' if pinned else f', NOT the one of {PINS.name}: figures may differ'}")


def _run(*command: str | Path, cwd: Path) -> tuple[int, str]:
    """Exit status and output; 124 when it took longer than `PATIENCE`."""
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as cause:
        return 124, (cause.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout.decode(errors="replace")


# pjdfstest: its test files speak TAP, "ok 7" and "not ok 8", after or before a plan "1..N".


def pjdfstest(folder: Path) -> Result:
    """All test files; each assertion that fails is named as in "chmod/12:5"."""
    tests = _program("PJDFSTEST", "pjdfstest").parent / "tests"
    passed, failing = 0, []
    for test in sorted(tests.rglob("*.t")):
        name = str(test.relative_to(tests).with_suffix(""))
        good, bad = _assertions(name, _run("sh", test, cwd=folder)[1])
        passed += good
        failing += bad
        if bad:
            print(f"{name}: {len(bad)} of {good + len(bad)} assertions fail", flush=True)
    return _against_list(passed, failing)


def _assertions(name: str, output: str) -> tuple[int, list[str]]:
    """How many assertions passed, and the names of those that did not."""
    plan = re.search(r"^1\.\.(\d+)", output, re.M)
    if plan is None:
        return 0, [f"{name}:plan"]
    # "TODO" marks what the suite itself does not expect to pass.
    good = {int(number) for number in re.findall(r"^(?:ok (?=\d+)|not ok (?=\d+ # TODO))(\d+)", output, re.M)}
    planned = range(1, int(plan[1]) + 1)
    return len(good.intersection(planned)), [f"{name}:{number}" for number in planned if number not in good]


def _against_list(passed: int, failing: list[str]) -> Result:
    known = {line for line in KNOWN.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")}
    counts = Counter(name.split("/")[0] for name in failing)
    by_folder = "".join(f", {folder} {number}" for folder, number in counts.items())
    result = Result(f"{passed} of {passed + len(failing)} assertions{by_folder}")
    result.problems += [f"{name} fails and is not in {KNOWN.name}" for name in failing if name not in known]
    if passed < PJDFSTEST_PASSES:
        result.problems.append(f"fewer than {PJDFSTEST_PASSES} assertions passed")
    if better := sorted(known.difference(failing)):
        print(f"these pass now, take them out of {KNOWN.name}: {' '.join(better)}")
    return result


# fsx and fsstress, of xfstests.


def fsx(folder: Path) -> Result:
    """One file, random reads, writes, truncates, mappings, holes, copies; each byte compared."""
    program = _program("FSX")
    result = Result(f"{FSX_OPERATIONS} operations with mmap, seeds {' '.join(map(str, FSX_SEEDS))}")
    for seed in FSX_SEEDS:
        with tempfile.TemporaryDirectory() as own_files:
            options = ("-q", "-N", str(FSX_OPERATIONS), "-S", str(seed), "-P", own_files)
            status, output = _run(program, *options, folder / f"seed{seed}", cwd=folder)
        if status:
            print(output[-4000:])
            result.problems.append(f"seed {seed} ended with {status}")
    return result


def fsstress(folder: Path) -> Result:
    """Two processes, 1000 random calls each; then no link count may differ from the names found, at once."""
    program = _program("FSSTRESS")
    status, output = _run(program, "-d", folder, "-n", "1000", "-p", "2", "-s", "5", cwd=folder)
    links = Counter((st.st_dev, st.st_ino) for st in _files(folder))
    wrong = {st.st_ino: st.st_nlink for st in _files(folder) if st.st_nlink != links[st.st_dev, st.st_ino]}
    result = Result(f"1000 x 2 operations left {len(links)} files under {links.total()} names")
    if status:
        print(output[-4000:])
        result.problems.append(f"fsstress ended with {status}")
    result.problems += [f"inode {ino} shows {number} links" for ino, number in wrong.items()]
    return result


def _files(folder: Path) -> Iterator[os.stat_result]:
    """What lstat says of each name below that is no directory."""
    for here, folders, names in os.walk(folder):
        for name in names + folders:
            st = os.lstat(os.path.join(here, name))
            if not stat.S_ISDIR(st.st_mode):
                yield st


def stress_ng(folder: Path) -> Result:
    """Stressors that check what they read, one after the other."""
    if not shutil.which("stress-ng"):
        raise NotPresentError("stress-ng is not installed")
    print(_run("stress-ng", "--version", cwd=folder)[1].strip())
    result = Result(f"{STRESS_SECONDS} s each of {' '.join(STRESSORS)}")
    for stressor in STRESSORS:
        options = ("--temp-path", folder, f"--{stressor}", "1", "--verify", "--timeout", f"{STRESS_SECONDS}s")
        status, output = _run("stress-ng", *options, cwd=folder)
        if status:
            print(output[-4000:])
            result.problems.append(f"{stressor} ended with {status}")
    return result


def moving(folder: Path) -> Result:
    """A drive is drained, taken back and the pool balanced while fsstress and readers work in the tree."""
    program = _program("FSSTRESS")
    config = folder.parent.parent.parent / "mediapool.toml"
    planted = moves.plant(folder / "planted")
    readers = moves.Readers(planted)
    asked = ("--yes", "--wait")
    with moves.stressing(program, folder / "stress") as running, readers.reading():
        for words in (("drain", moves.DRAINED), ("drain", moves.DRAINED, "--stop"), ("balance",)):
            wait = () if "--stop" in words else asked
            print(f"pool {' '.join(words)}: {moves.pool(config, *words, *wait, patience=moves.UNDER_LOAD)}", flush=True)
        worked = running.poll() is None
    rounds = readers.rounds
    print(moves.pool(config, "drain", moves.DRAINED, *asked, patience=moves.AT_REST))
    result = Result(f"{len(planted)} names read {rounds} times over while fsstress and the moves went on")
    result.problems += readers.wrong[:20]
    if not worked:
        result.problems.append("fsstress ended before the moves did")
    if moves.facts(folder / "planted") != planted:
        result.problems.append("files are not what they were")
    drive = config.parent / moves.DRAINED
    result.problems += [f"left on the drained drive: {name}" for name in moves.left_on(drive, Path("conformance"))]
    return result


SUITES: dict[str, Callable[[Path], Result]] = {
    "pjdfstest": pjdfstest,
    "fsx": fsx,
    "fsstress": fsstress,
    "stress-ng": stress_ng,
    "moves": moving,
}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
