"""`mediapool jobs`: work that moved or moves many files, of whatever kind, and stopping, continuing or undoing it."""

import re
from pathlib import Path
from typing import Any

import click

from cli import archive_jobs, distribute_jobs, index_jobs, move_jobs
from cli.archives import archive_option
from cli.indexing import state_option
from cli.ledger import Asked, Ledger
from cli.moving import JOBS
from cli.options import call, config_option, load, mounted
from cli.output import dry_run_option, fail, json_option, print_json, print_table, say, yes_option

# By what the number of a job begins with.
LEDGERS: dict[str, Ledger] = {
    "": move_jobs.LEDGER,
    "d": distribute_jobs.LEDGER,
    "s": index_jobs.LEDGER,
    "i": index_jobs.LEDGER,
    "a": archive_jobs.LEDGER,
}


@click.group()
def jobs() -> None:
    """Work that moves many files, some of which goes on in the background."""


@jobs.command("list")
@config_option
@state_option
@archive_option
@json_option
def list_jobs(config_file: Path | None, state_folder: Path | None, archive: Path | None, as_json: bool) -> None:
    """Show all jobs, how far they are, and what they wait for; also while nothing is mounted.

    Numbers alone are moves between drives; d1 is the first run of `distribute`, s1 of `index sort`, i1 of `ingest`,
    a1 of `archive build`.

    \b
    Example:
      mediapool jobs list
    """
    asked = Asked(config_file, state_folder, archive)
    ledgers = [each for each in dict.fromkeys(LEDGERS.values()) if not (state_folder and each.configured)]
    found = [(ledger, job) for ledger in ledgers for job in ledger.jobs(asked)]
    if as_json:
        print_json([job for _, job in found])
        return
    if not found:
        say("There are no jobs.")
        return
    headers = ("Job", "What", "State", "Files", "Bytes", "Rate", "Left", "Since")
    print_table(headers, [ledger.row(job) for ledger, job in found], right=(0, 3, 4, 5, 6))
    for ledger, job in found:
        for line in ledger.remarks(job):
            say(line)


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
@click.argument("job", metavar="JOB")
@config_option
@state_option
@archive_option
@dry_run_option
@yes_option
@json_option
def undo(job: str, config_file: Path | None, state_folder: Path | None, archive: Path | None, **given: Any) -> None:
    """End JOB, and move its files back to where they were. Nothing is put over what stands there now.

    \b
    Example:
      mediapool jobs undo 3
    """
    known = re.fullmatch(r"([a-z]?)(\d+)", job)
    ledger = LEDGERS.get(known[1]) if known else None
    if ledger is None:
        fail(f"There is no job {job!r}.", "See: mediapool jobs list")
    ledger.undo(Asked(config_file, state_folder, archive), job, **given)


commands = [jobs]
