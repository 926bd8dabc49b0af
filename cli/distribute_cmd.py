"""`mediapool distribute`: files of some folders to the drives, with a library of symbolic links to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.distributed import PREFIX, absolute, distributing, tell_services
from cli.exitcodes import Exit
from cli.options import config_option, load
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    print_table,
    say,
    warn,
    yes_option,
)
from cli.sizes import parse_duration, parse_size
from placement.distribute import Report

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FINDINGS = {
    "healed": "leads to its file again",
    "removed": "its file is gone from the drives",
    "broken": "leads nowhere, and not to a drive",
    "foreign": "leads to something that is not on the drives",
    "waiting": "its drive, or one that might have its file, is missing",
}


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_FOLDER)
@click.option("--library", required=True, type=_FOLDER, help="Folder for the links.")
@click.option("--unchanged-for", default="60s", show_default=True, help="Leave files alone that changed since then.")
@click.option("--limit", help="Bytes a second at most, as in 50MiB.")
@click.option("--retry", is_flag=True, help="Only try again what failed before.")
@config_option
@dry_run_option
@yes_option
@json_option
def distribute(
    sources: tuple[Path, ...], library: Path, unchanged_for: str, limit: str | None, retry: bool,
    config_file: Path | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move the files of SOURCE to the drives, and leave links to them in the library. Nothing is mounted for that.

    Each file goes to the drive that placement chooses, at the same path as in SOURCE. Files that are open for
    writing, or changed just now, wait for the next run.

    \b
    Example:
      mediapool distribute /srv/incoming --library /srv/library --dry-run
    """
    config = load(config_file)
    quiet, rate = _parsed("--unchanged-for", unchanged_for, parse_duration), _rate(limit)
    links, folders = absolute([library])[0], absolute(sources)
    with distributing(config, links, folders, change=not dry_run, quiet=quiet, rate=rate) as made:
        if not dry_run:
            made.recover()
        report = made.plan(retry) if dry_run or not yes else Report()
        if not dry_run:
            if not yes:
                _show(report, planned=True)
                if report.moved or any(one.kind in ("healed", "removed") for one in report.findings):
                    confirm(f"Move {_count(report)} and mend the links as shown?", yes)
            report = made.run(retry)
    told = tell_services(config, links, folders) if report.moved and not dry_run else []
    if as_json:
        print_json({**plain(report), "services": told})
    else:
        _show(report, planned=dry_run)
        for line in told:
            say(line)
    if report.interrupted:
        fail("It was interrupted; what is not moved yet is where it was.")
    if report.failed:
        raise SystemExit(Exit.FAILED)


def _parsed(option: str, text: str, parse: Any) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        fail(f"{option} {text}: {error}", code=Exit.USAGE)


def _rate(limit: str | None) -> int | None:
    rate = None if limit is None else _parsed("--limit", limit.removesuffix("/s"), parse_size)
    if rate == 0:
        fail("--limit 0: with that nothing would ever move.", code=Exit.USAGE)
    return None if rate is None else int(rate)


def _count(report: Report) -> str:
    size = sum(one.size for one, _ in report.moved)
    return f"{len(report.moved)} file{'' if len(report.moved) == 1 else 's'} ({human_size(size)})"


def plain(report: Report) -> dict[str, Any]:
    """A report as plain values; sizes in bytes."""
    pairs = {"failed": report.failed, "waiting": report.waiting, "passed": report.passed}
    return {
        "job": f"{PREFIX}{report.job}" if report.job else None,
        "moved": [
            {"source": one.source.path, "paths": list(one.paths), "size": one.size, "drive": drive}
            for one, drive in report.moved
        ],
        **{name: [{"path": path, "reason": reason} for path, reason in found] for name, found in pairs.items()},
        "links": [{"path": one.path, "kind": one.kind, "target": one.target} for one in report.findings],
        "unseen": report.unseen,
        "interrupted": report.interrupted,
    }


def _show(report: Report, *, planned: bool) -> None:
    rows = [(one.path, human_size(one.size), drive) for one, drive in report.moved]
    if rows:
        print_table(("To be moved" if planned else "Moved", "Size", "Drive"), rows, right=(1,))
    _table(("Failed" if not planned else "Cannot be moved", "Why"), report.failed)
    _table(("Waits", "Why"), report.waiting)
    _table(("Left alone", "Why"), report.passed)
    _table(("Link", "What"), [(one.path, f"{_FINDINGS[one.kind]}: {one.target}") for one in report.findings])
    if report.unseen:
        warn(f"{report.unseen} processes of other users may be writing to files without being seen: run it as root.")
    if not planned:
        say(
            f"Moved {_count(report)}."
            + (f" To undo it: mediapool jobs undo {PREFIX}{report.job}" if report.job else "")
        )
    elif not rows:
        say("Nothing is to be moved.")


def _table(headers: Sequence[str], rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        print_table(headers, rows)


commands = [distribute]
