"""`mediapool jobs`: what moves in the background, and stopping, continuing or undoing it."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.moving import JOBS
from cli.options import ask, call, config_option, load, mounted
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_duration,
    human_size,
    human_time,
    json_option,
    print_json,
    print_table,
    say,
    yes_option,
)
from cli.state import StateFolder
from placement import jobs as stored

Job = Mapping[str, Any]


@click.group()
def jobs() -> None:
    """Moves of files between drives, which go on in the background."""


@jobs.command("list")
@config_option
@json_option
def list_jobs(config_file: Path | None, as_json: bool) -> None:
    """Show all jobs, how far they are, and what they wait for; also while nothing is mounted.

    \b
    Example:
      mediapool jobs list
    """
    config = load(config_file)
    found = ask(config, JOBS)
    standing = found is None
    if standing:
        try:
            found = stored.look(StateFolder(config.state.path).jobs)
        except sqlite3.Error as error:
            fail(f"The jobs in {config.state.path} cannot be read: {error}.", "Check the disk of the state folder.")
    if as_json:
        print_json(found)
        return
    if not found:
        say("There are no jobs.")
        return
    headers = ("Job", "What", "State", "Files", "Bytes", "Rate", "Left", "Since")
    print_table(headers, [_row(job, standing) for job in found], right=(0, 3, 4, 5, 6))
    for job in found:
        for line in _remarks(job):
            say(line)


def _row(job: Job, standing: bool) -> tuple[object, ...]:
    done, total = (_sums(job, key) for key in ("files", "bytes"))
    state = "waits for the mount" if standing and job["state"] in ("planning", "running") else _state(job)
    rate, left = job.get("rate"), job.get("left_seconds")
    return (
        job["id"],
        described(job),
        state,
        f"{done[0]} of {done[1]}",
        f"{human_size(total[0] + job.get('part', 0))} of {human_size(total[1])}",
        f"{human_size(int(rate))}/s" if rate else "-",
        human_duration(left) if left is not None and not standing else "-",
        human_time(job["created"]),
    )


def _state(job: Job) -> str:
    waiting = job["files"].get("waiting", 0)
    held_up = job["state"] == "running" and waiting and job["held_up"] == waiting
    return "waiting" if held_up else str(job["state"])


def _sums(job: Job, key: str) -> tuple[int, int]:
    """What is moved, and all there was to be moved."""
    counts = {state: count for state, count in job[key].items() if state != "gone"}
    return counts.get("moved", 0), sum(counts.values())


def described(job: Job) -> str:
    """What a job is about."""
    kind, spec = job["kind"], job["spec"]
    about = {
        "drain": lambda: f"drain {spec['drive']}",
        "tier": lambda: f"tier {spec['source']} to {spec['target']}",
        "undo": lambda: f"undo of {spec['of']}",
    }
    return about[kind]() if kind in about else kind


def _remarks(job: Job) -> list[str]:
    lines = [f"Job {job['id']}: {job['problem']}."] if job["problem"] else []
    for one in job["told"]:
        word = "waits" if one["state"] == "waiting" else one["state"]
        lines.append(f"Job {job['id']}: /{one['path']} {word}: {one['problem']}")
    return lines


@jobs.command()
@click.argument("job", type=int)
@config_option
def pause(job: int, config_file: Path | None) -> None:
    """Let JOB rest; the file under way is begun anew when it goes on.

    \b
    Example:
      mediapool jobs pause 3
    """
    call(mounted(load(config_file)), f"{JOBS}/pause", {"job": job})
    say(f"Job {job} rests. To go on: mediapool jobs resume {job}")


@jobs.command()
@click.argument("job", type=int)
@config_option
def resume(job: int, config_file: Path | None) -> None:
    """Go on with JOB, which was paused.

    \b
    Example:
      mediapool jobs resume 3
    """
    call(mounted(load(config_file)), f"{JOBS}/resume", {"job": job})
    say(f"Job {job} goes on.")


@jobs.command()
@click.argument("job", type=int)
@config_option
@dry_run_option
@yes_option
def undo(job: int, config_file: Path | None, dry_run: bool, yes: bool) -> None:
    """End JOB, and move back what it has moved, as a job of its own.

    \b
    Example:
      mediapool jobs undo 3
    """
    contact = mounted(load(config_file))
    found = next((one for one in call(contact, JOBS) if one["id"] == job), None)
    if found is None:
        fail(f"There is no job {job}.", "See: mediapool jobs list")
    files, size = (_sums(found, key)[0] for key in ("files", "bytes"))
    what = f"{files} files ({human_size(size)}) that job {job} ({described(found)}) has moved"
    if dry_run:
        say(f"Would move back {what}.")
        return
    confirm(f"Move back {what}?", yes)
    number = call(contact, f"{JOBS}/undo", {"job": job})["job"]
    say(f"Job {number} moves them back. To watch it: mediapool jobs list")


commands = [jobs]
