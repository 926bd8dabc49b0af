"""`mediapool pool balance`, `drain` and `tier`: moves of files between drives, done by the running mount."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.config import Config
from cli.exitcodes import Exit
from cli.move_jobs import described
from cli.moving import JOBS
from cli.options import call, config_option, load, mounted
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
from cli.sizes import parse_duration, parse_size
from cli.state import Contact

_LOOK = 0.2  # seconds
Answer = Mapping[str, Any]


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all of them."""
    for decorate in (
        json_option,
        yes_option,
        dry_run_option,
        click.option("--wait", is_flag=True, help="Return when all is done; else when the mount has begun with it."),
        click.option("--moves-log", type=click.Path(path_type=Path, dir_okay=False, resolve_path=True),
                     help="Add a line of JSON for each file moved to this file, for parity programs."),
        click.option("--rate", metavar="SIZE", help="The most bytes a second, as in 50MiB."),
        config_option,
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.command()
@_shared
def balance(config_file: Path | None, **options: Any) -> None:
    """Move files until all drives are filled alike, as far as seasons, folders and link groups stay whole.

    \b
    Example:
      mediapool pool balance --rate 50MiB --dry-run
    """
    _run("balance", {}, load(config_file), options)


@click.command()
@click.argument("name")
@click.option("--stop", is_flag=True, help="Stop draining it: what was moved stays, and it takes new files again.")
@_shared
def drain(name: str, stop: bool, config_file: Path | None, **options: Any) -> None:
    """Move all files of the drive NAME to others; from now on it takes no new ones. Then: mediapool pool remove.

    \b
    Example:
      mediapool pool drain disk1
    """
    config = load(config_file)
    if stop:
        ended = call(mounted(config), f"{JOBS}/keep", {"drive": name})
        say(f"Drive {name} takes new files{' again' if ended else ''}.")
        return
    _run("drain", {"drive": name}, config, options)


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--older", default="0", metavar="TIME", help="Only what was not changed for so long, as in 7d.")
@click.option("--above", default=0.0, type=click.FloatRange(0, 100), metavar="PERCENT",
              help="Only while more than this part of a drive is used, oldest first.")  # fmt: skip
@_shared
def tier(source: str, target: str, older: str, above: float, config_file: Path | None, **options: Any) -> None:
    """Move files from the drives of tier SOURCE to those of tier TARGET, the oldest first.

    \b
    Example:
      mediapool pool tier ssd hdd --older 7d --above 80
    """
    try:
        seconds = parse_duration(older)
    except ValueError as error:
        fail(f"--older {older}: {error}", code=Exit.USAGE)
    spec = {"source": source, "target": target, "older": seconds, "above": above / 100}
    _run("tier", spec, load(config_file), options)


def _run(kind: str, spec: dict[str, Any], config: Config, options: Mapping[str, Any]) -> None:
    """Show the plan, ask, and let the mount begin."""
    contact, log = mounted(config), options["moves_log"]
    wanted = {"kind": kind, "spec": {**spec, "rate": _rate(options["rate"]), "log": None if log is None else str(log)}}
    with busy("planning"):
        planned: list[Answer] = call(contact, f"{JOBS}/plan", wanted)
    moves = [one for one in planned if not one["problem"]]
    if options["dry_run"]:
        _show(planned, options["as_json"])
        return
    # A drive that is empty already is drained all the same: it shall take no new files.
    if not planned and kind != "drain":
        print_json([]) if options["as_json"] else say("There is nothing to move.")
        return
    stays = f"; {len(planned) - len(moves)} fit nowhere and stay" if len(planned) > len(moves) else ""
    confirm(f"Move {len(moves)} files ({human_size(sum(one['size'] for one in moves))}){stays}?", options["yes"])
    number = call(contact, f"{JOBS}/begin", wanted)["job"]
    job = _watched(contact, number, quiet=options["as_json"]) if options["wait"] else _job(contact, number)
    if options["as_json"]:
        print_json(job)
    elif options["wait"]:
        say(f"Job {number} ({described(job)}) is {job['state']}: {job['files'].get('moved', 0)} files were moved.")
        if job["problem"]:
            say(f"{job['problem']}. See: mediapool jobs list")
    else:
        say(f"Job {number} has begun. To watch it: mediapool jobs list; to stop it: mediapool jobs pause {number}")
    if job["problem"]:
        raise SystemExit(Exit.FAILED)


def _rate(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        fail(f"--rate {text}: {error}", code=Exit.USAGE)


def _show(planned: Sequence[Answer], as_json: bool) -> None:
    if as_json:
        print_json(planned)
        return
    rows = [
        (
            one["source"],
            one["target"] or "-",
            human_size(one["size"]),
            len(one["names"]),
            f"/{one['path']}",
            one["problem"],
        )
        for one in planned
    ]
    print_table(("From", "To", "Size", "Names", "Path", ""), rows, right=(2, 3))
    say(f"{len(planned)} files, {human_size(sum(one['size'] for one in planned))}. Nothing was done.")


def _job(contact: Contact, number: int) -> Answer:
    job: Answer = next(one for one in call(contact, JOBS) if one["id"] == number)
    return job


def _watched(contact: Contact, number: int, quiet: bool) -> Answer:
    """The job once it has ended or was paused; a bar meanwhile, if people look on."""
    try:
        with transfer_bar(quiet) as bar:
            task = bar.add_task("", total=None)
            while (job := _job(contact, number))["state"] in ("planning", "running"):
                moved = job["bytes"].get("moved", 0)
                total = moved + job["bytes"].get("waiting", 0)
                bar.update(
                    task, completed=moved + job.get("part", 0), total=total, description=short_name(job.get("path", ""))
                )
                time.sleep(_LOOK)
            return job
    except KeyboardInterrupt:
        fail("The running mount goes on with it.", f"To stop it: mediapool jobs pause {number}")


commands = [balance, drain, tier]
