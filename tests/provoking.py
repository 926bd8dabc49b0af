"""Things that `mediapool doctor` finds, made wrong and good again in a mount namespace of its own.

Run under `unshare -m` as `provoking.py CONFIG`, with a list of steps on the standard input. Each step makes something
wrong by a shell, asks the doctor, types the command that it names, or writes into the configuration what it says
(`clear`: what a person would do, where it is neither), and asks again. What is mounted here nobody else sees, and it
is gone with this process.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit
from click.testing import CliRunner

from cli.main import main

ROOT = Path(__file__).parent.parent


@dataclass
class Step:
    """`wrong`: shell that provokes the finding `what`; `clear`: the remedy where it is no command of the doctor's, or
    where there are two: "write" is what it says to write.

    `prefix`: run the doctor by this command, as another user or with other limits; `tidy`: shell, afterwards; `also`:
    other findings that this provokes, each with its own remedy.
    """

    what: str
    wrong: str = ""
    clear: str = ""
    prefix: str = ""
    arguments: Sequence[str] = ()
    tidy: str = ""
    also: Sequence[str] = ()


@dataclass
class Outcome:
    """What the doctor said before and after its remedy, and what typing that said."""

    what: str
    before: list[dict[str, str]]
    after: list[dict[str, str]]
    typed: str
    said: str


def provoke(config: Path, *steps: Step) -> list[Outcome]:
    """Each step in turn, with this configuration; an outcome for each finding of each."""
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, __file__, str(config)],
        input=json.dumps([asdict(step) for step in steps]), cwd=ROOT, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [Outcome(**one) for one in json.loads(done.stdout)]


def cured(outcome: Outcome, state: str) -> dict[str, str]:
    """The finding, which must have been there before the remedy, in this state, and not be there after it."""
    assert outcome.before, f"{outcome.what} was not found"
    first = outcome.before[0]
    assert first["state"] == state and first["remedy"], first
    assert outcome.after == [], f"{outcome.typed}\n{outcome.said}\n{outcome.after}"
    return first


def _asked(config: str, step: dict[str, Any]) -> list[dict[str, str]]:
    """The findings that are not ok."""
    named = [] if "--paths" in step["arguments"] else ["--config", config]
    words = ["doctor", "--json", *step["arguments"], *named]
    found: list[dict[str, str]] = json.loads(_by_others(step["prefix"], words) if step["prefix"] else _here(words))
    return [one for one in found if one["state"] != "ok"]


def _here(words: Sequence[str]) -> str:
    """In this process: most of what the command takes alone is importing."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code in (0, 1), (done.output, done.exception)
    return done.stdout


def _by_others(prefix: str, words: Sequence[str]) -> str:
    program = [*shlex.split(prefix), sys.executable, "-m", "cli", *words]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _shell(command: str) -> str:
    """Type a line for people: `mediapool` is this checkout's, and nobody has to become root."""
    command = re.sub(r"(?<![\w./])mediapool ", f"{shlex.quote(sys.executable)} -m cli ", command)
    command = command.removeprefix("sudo ")
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def _written(config: str, finding: dict[str, str]) -> str:
    """Write into the configuration what a remedy says: `write key = value in [section]`, or in its [[drive]]."""
    said = re.search(r"write (\w+) = (\S+) in (?:\[(\w+)\]|its \[\[drive\]\])", finding["remedy"])
    assert said, f"nothing to be done by a command or in the configuration: {finding}"
    key, value, section = said.groups()
    keys = tomlkit.parse(Path(config).read_text())
    drive = finding["what"].partition(":")[0].removeprefix("drive ")
    table: Any = keys[section] if section else next(one for one in keys["drive"] if one["name"] == drive)  # type: ignore[union-attr]
    table[key] = tomllib.loads(f"x = {value}")["x"]
    Path(config).write_text(tomlkit.dumps(keys))
    return f"{key} = {value}"


def _step(config: str, step: dict[str, Any]) -> list[Outcome]:
    made = _shell(step["wrong"])
    assert made.startswith("0:"), made
    before = _asked(config, step)
    outcomes = [_typed(config, what, before, step["clear"]) for what in (step["what"], *step["also"])]
    after = _asked(config, step)
    for outcome in outcomes:
        outcome.after = [one for one in after if one["what"] == outcome.what]
    if step["tidy"]:
        _shell(step["tidy"])
    return outcomes


def _typed(config: str, what: str, found: Sequence[dict[str, str]], clear: str) -> Outcome:
    """What was said of this, and its remedy, which is tried."""
    before = [one for one in found if one["what"] == what]
    typed = clear or next((one["command"] for one in before), "") or "write"
    said = _written(config, before[0]) if before and typed == "write" else _shell(typed)
    return Outcome(what, before, [], typed, said)


def run(config: str) -> None:
    # Mounts of other tests may be stuck, which is found too, and takes its time.
    subprocess.run("umount -l $(awk '$3 == \"fuse.mediapool\" { print $2 }' /proc/mounts) 2> /dev/null", shell=True)
    steps = json.load(sys.stdin)
    print(json.dumps([asdict(outcome) for step in steps for outcome in _step(config, step)]))


if __name__ == "__main__":
    run(sys.argv[1])
