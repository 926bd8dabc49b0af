"""`mediapool jobs`: what was done with many files, and taking it back."""

from pathlib import Path
from typing import Any

import click

from cli.archives import archive_option, configured, left_as_json, maybe_opened, opened, run_job, told
from cli.options import config_option
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    print_table,
    say,
    yes_option,
)
from indexer import jobs as archive_jobs
from indexer.jobs import Job


@click.group()
def jobs() -> None:
    """Jobs that moved files: shown, and undone."""


@jobs.command("list")
@archive_option
@config_option
@json_option
def list_jobs(archive: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Show all jobs with their state.

    \b
    Example:
      mediapool jobs list
    """
    with told():
        made = maybe_opened(configured(config_file), archive)
        found = archive_jobs.all_jobs(made) if made else []
    if as_json:
        print_json([_fields(job) for job in found])
        return
    rows = [(job.id, "archive build", job.phase, job.made, len(job.items), human_size(job.size)) for job in found]
    print_table(("Job", "What", "State", "Begun", "Files", "Size"), rows, right=(4, 5))


def _fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "what": "archive build",
        "state": job.phase,
        "made": job.made,
        "files": len(job.items),
        "size": job.size,
        "volumes": job.volumes,
    }


@jobs.command()
@click.argument("ident", metavar="ID")
@archive_option
@config_option
@dry_run_option
@yes_option
@json_option
def undo(ident: str, archive: Path | None, config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring the files of the job ID back to where they were. Never over something that stands there now.

    \b
    Example:
      mediapool jobs undo a1
    """
    with told():
        made = opened(configured(config_file), archive)
        with made.locked():
            job = archive_jobs.job(made, ident)
            count = len(job.items) - len(job.back)
            if not dry_run:
                confirm(f"Bring {count} files back to where they were?", yes)
                run_job(made, job, back=True)
            left = archive_jobs.left_of(job) if not dry_run else []
    if as_json:
        print_json({**_fields(job), "back": len(job.back), "left": left_as_json(left), "dry_run": dry_run})
    elif dry_run:
        say(f"Would bring {count} files of volume {', '.join(job.volumes)} back.")
    else:
        say(f"Job {job.id}: {len(job.back)} files are back.")
    if left:
        fail(f"{len(left)} files stay archived.", "\n".join(f"{one.path}: {one.reason}" for one in left))


commands = [jobs]
