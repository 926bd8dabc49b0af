"""`mediapool pin`, `unpin` and `download`: local copies of remote files, and ordinary files in their place."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.config import Config
from cli.options import call, config_option, expanded, inside, load, mounted
from cli.output import (
    busy,
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    print_table,
    say,
    short_name,
    transfer_bar,
    yes_option,
)
from cli.pinning import PINS
from cli.state import Contact

_LOOK = 0.2  # seconds
_IDLE = ("pinned", "unpinned", "local")

Answer = Mapping[str, Any]


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of all three."""
    for decorate in (json_option, yes_option, dry_run_option, config_option):
        command = decorate(command)
    return click.argument("paths", metavar="PATH...", nargs=-1, required=True)(command)


@click.command()
@_shared
def pin(paths: tuple[str, ...], config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Keep a whole local copy of the remote files PATH, or of all below a folder. Names stay as they are.

    PATH may be a pattern such as '/data/media/**/*.mkv'; "-" reads a list from the standard input. Ctrl-C leaves the
    work to the running mount; `mediapool unpin` stops it.

    \b
    Example:
      mediapool pin /data/media/movies/Film
    """
    _run("pin", paths, load(config_file), "", (dry_run, yes, as_json))


@click.command()
@_shared
def unpin(paths: tuple[str, ...], config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the local copies of the remote files PATH, each once the provider has proven that it has the bytes.

    \b
    Example:
      mediapool unpin /data/media/movies/Film
    """
    _run("unpin", paths, load(config_file), "Remove the local copies of {}?", (dry_run, yes, as_json))


@click.command()
@_shared
def download(paths: tuple[str, ...], config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make the remote files PATH ordinary local ones, with all their names, and let the provider go.

    \b
    Example:
      mediapool download /data/media/movies/Film --dry-run
    """
    question = "Make local files of {}? A torrent that mediapool added leaves the account with its last name."
    _run("download", paths, load(config_file), question, (dry_run, yes, as_json))


def _run(goal: str, words: Sequence[str], config: Config, question: str, options: tuple[bool, bool, bool]) -> None:
    dry_run, yes, as_json = options
    contact = mounted(config)
    wanted = {"goal": goal, "paths": [inside(config, path) for path in expanded(words)]}
    with busy("looking for remote files"):
        answers = call(contact, f"{PINS}/ask", {**wanted, "dry_run": True})
    work = [answer for answer in answers if answer["state"] not in (*_IDLE, "failed")]
    if work and not dry_run:
        if question:
            confirm(question.format(_count(work)), yes)
        answers = call(contact, f"{PINS}/ask", {**wanted, "dry_run": False})
        answers = _watched(contact, answers, quiet=as_json)
    if as_json:
        print_json(answers)
    else:
        _show(goal, answers, dry_run)
    if any(answer["problem"] for answer in answers):
        raise SystemExit(1)


def _watched(contact: Contact, answers: Sequence[Answer], quiet: bool) -> list[Answer]:
    """The answers once all their jobs have ended; a bar meanwhile, if people look on."""
    wanted = {answer["file"] for answer in answers if answer["file"]}
    try:
        with transfer_bar(quiet) as bar:
            task = bar.add_task("", total=sum(answer["size"] for answer in answers if answer["file"]))
            while True:
                jobs = {job["file"]: job for job in call(contact, PINS)["jobs"] if job["file"] in wanted}
                done = sum(job["size"] if job["state"] == "done" else job["done"] for job in jobs.values())
                bar.update(task, completed=done, description=_description(jobs))
                if all(job["state"] in ("done", "failed") for job in jobs.values()):
                    return [jobs.get(answer["file"], answer) for answer in answers]
                time.sleep(_LOOK)
    except KeyboardInterrupt:
        fail("The running mount goes on with it.", "To look again, repeat the command; to stop it: mediapool unpin.")


def _description(jobs: Mapping[int, Answer]) -> str:
    busy = next((job for job in jobs.values() if job["state"] not in ("waiting", "done", "failed")), None)
    if busy is None:
        return "waiting"
    return f"{busy['state']} {short_name(busy['path'])}"


def _count(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} file{'s' if len(answers) > 1 else ''} ({human_size(sum(a['size'] for a in answers))})"


def _show(goal: str, answers: Sequence[Answer], dry_run: bool) -> None:
    if not answers:
        say("There are no remote files.")
        return
    planned = {"waiting": f"to be {_past(goal)}", "done": _past(goal), "local": "a local file already"}
    planned |= {"pinned": "pinned already", "unpinned": "not pinned"}
    rows = [
        (planned.get(one["state"], one["state"]), human_size(one["size"]), f"/{one['path']}", one["problem"])
        for one in answers
    ]
    print_table(("State", "Size", "Path", ""), rows, right=(1,))
    if dry_run:
        say("Nothing was done.")


def _past(goal: str) -> str:
    return {"pin": "pinned", "unpin": "unpinned", "download": "downloaded"}[goal]


commands = [pin, unpin, download]
