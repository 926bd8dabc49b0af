"""`mediapool debrid check` and `debrid repair`: which remote files can be read, and bringing the others back."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.config import Config
from cli.exitcodes import Exit
from cli.healing import CHECKUP
from cli.options import call, config_option, inside, load, mounted
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    json_option,
    print_json,
    print_table,
    progress,
    say,
    yes_option,
)
from cli.state import Contact

_LOOK = 0.2  # seconds
_FINE = ("ok", "repaired")

Job = Mapping[str, Any]


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@config_option
@dry_run_option
@json_option
def check(paths: tuple[str, ...], config_file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Read a byte of each remote file at or below PATH, of all without one, and tell which cannot be had.

    \b
    Example:
      mediapool debrid check /data/media/movies
    """
    config = load(config_file)
    contact = mounted(config)
    inner = _inner(config, paths) or [""]
    if dry_run:
        names = call(contact, f"{CHECKUP}/plan", {"paths": inner, "repair": False})
        if as_json:
            print_json(names)
        else:
            say("\n".join(f"would read a byte of {name}" for name in names) or "There is no remote file.")
        return
    _finish(_watched(contact, inner, repair=False), as_json)


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@config_option
@dry_run_option
@yes_option
@json_option
def repair(paths: tuple[str, ...], config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring dead remote files back: those at or below PATH, or without one all that are known to be dead.

    A byte of each is read first. The torrents of those that are dead are added again with the same files selected;
    names, inode numbers and times stay. With --dry-run nothing is added.

    \b
    Example:
      mediapool debrid repair --dry-run
    """
    config = load(config_file)
    contact = mounted(config)
    inner = _inner(config, paths) or call(contact, f"{CHECKUP}/failing", {})
    job = _watched(contact, inner, repair=False)
    dead = [each["path"] for each in job["files"] if each["state"] == "dead"]
    if not dead or dry_run or job["error"]:
        _finish(job, as_json)
        return
    if not as_json:
        _show(job)
    files = "file" if len(dead) == 1 else "files"
    confirm(f"Add the torrents of {len(dead)} dead {files} again, in place of those in the account?", yes)
    _finish(_watched(contact, dead, repair=True), as_json)


def _inner(config: Config, paths: Sequence[str]) -> list[str]:
    return [inside(config, path) for path in paths]


def _watched(contact: Contact, paths: Sequence[str], *, repair: bool) -> dict[str, Any]:
    """Begin a job and show how far it is until it has ended; Ctrl-C ends it."""
    job: dict[str, Any] = {}
    try:
        number = call(contact, f"{CHECKUP}/start", {"paths": list(paths), "repair": repair})["job"]
        while (job := dict(call(contact, CHECKUP)))["running"]:
            progress(f"{job['done']} of {job['total']}: /{job['path']}")
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        progress("")
        call(contact, f"{CHECKUP}/stop", {})
        fail("Interrupted. A repair that was begun goes on while the tree is mounted.")
    progress("")
    if job["job"] != number:
        fail("Another check was begun, which ended this one.")
    return job


def _finish(job: Job, as_json: bool) -> None:
    """Tell how it went, and end with the exit code for it."""
    bad = [each for each in job["files"] if each["state"] not in _FINE]
    if as_json:
        print_json({key: job[key] for key in ("total", "done", "error", "files")})
    else:
        _show(job)
    if job["error"]:
        fail(f"{job['done']} of {job['total']} files were looked at: {job['error']}.", code=Exit.PROVIDER)
    if bad:
        raise SystemExit(Exit.FAILED)


def _show(job: Job) -> None:
    rows = [(each["state"], each["path"], each["detail"]) for each in job["files"] if each["state"] != "ok"]
    if rows:
        print_table(("State", "Path", "Why"), rows)
    fine = sum(each["state"] in _FINE for each in job["files"])
    say(f"{fine} of {job['total']} remote files can be read.")


commands = [check, repair]
