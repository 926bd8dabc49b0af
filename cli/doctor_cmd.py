"""`mediapool doctor`: what of this system could be better for mediapool, and how."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import requests

from cli.config import Config
from cli.doctoring import account, services
from cli.doctoring.finding import Case, Check, Finding, State
from cli.doctoring.running import examine
from cli.exitcodes import Exit
from cli.options import answered, config_option, load
from cli.output import advise, json_option, print_json, print_table, progress, say
from cli.state import Contact, StateFolder

_MARKS: dict[State, str] = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
# Seconds: for all checks together, as they run at once, and for the mount to say how it is.
_SECONDS = 20.0
_STATUS_SECONDS = 5.0
_Found = Sequence[tuple[str, Finding]]


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--paths", "only_paths", is_flag=True, help="Check only that link and rename work between each PATH.")
@click.option("--try", "really", is_flag=True, help="With --paths: link and rename a file of its own, removed again.")
@config_option
@json_option
def doctor(paths: tuple[Path, ...], only_paths: bool, really: bool, config_file: Path | None, as_json: bool) -> None:
    """Check that this system has what mediapool needs, and what would make it better. Changes nothing.

    With --paths, to be run where Sonarr or Radarr run, such as in their container: whether these folders are one
    filesystem there. That needs no configuration.

    \b
    Example:
      mediapool doctor
      mediapool doctor --paths /data/torrents /data/media
    """
    if not only_paths and (paths or really):
        raise click.UsageError("PATH and --try go with --paths.")
    if only_paths and len(paths) < 2:
        raise click.UsageError("--paths needs two folders or more.")
    case, checks = _between(paths, really) if only_paths else _everything(config_file)
    found = examine(case, checks, _SECONDS, lambda name: None if as_json else progress(f"looking at {name}"))
    progress("")
    if as_json:
        print_json([{"group": group, **asdict(one)} for group, one in found])
    else:
        _show(found)
    if any(one.state == "problem" for _, one in found):
        raise SystemExit(Exit.FAILED)


def _between(paths: Sequence[Path], really: bool) -> tuple[Case, Iterable[tuple[str, str, Check]]]:
    from cli.doctoring import linking

    return Case(Config()), linking.checks(paths, really)


def _everything(config_file: Path | None) -> tuple[Case, Iterable[tuple[str, str, Check]]]:
    config = load(config_file)
    contact = StateFolder(config.state.path).contact()
    case = Case(config, contact, None if contact is None else _status(contact))
    return case, _checks(case)


def _status(contact: Contact) -> dict[str, Any] | None:
    """What the running mount says of itself; None if it does not answer, which is a finding of its own."""
    try:
        answer = answered(contact, "/api/status", None, _STATUS_SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError):
        return None
    return found


def _checks(case: Case) -> Iterator[tuple[str, str, Check]]:
    """All checks with their groups, in the order in which they should be made good."""
    groups = {**_of_the_system(case), "account": account.CHECKS, "services": services.checks(case)}
    for group, checks in groups.items():
        for name, check in checks:
            yield group, name, check


def _of_the_system(case: Case) -> dict[str, Iterable[tuple[str, Check]]]:
    # Late, as what they look with exists on one of them only.
    if sys.platform == "win32":
        from cli.doctoring import windows

        return {"system": windows.CHECKS}
    from cli.doctoring import containers, drives, mounts, places, system

    return {
        "system": system.CHECKS,
        "mount": mounts.CHECKS,
        "drives": drives.checks(case),
        "folders": places.CHECKS,
        "containers": containers.CHECKS,
    }


def _show(found: _Found) -> None:
    rows = [(group, one.what, _MARKS[one.state], one.found) for group, one in found]
    print_table(("Group", "Check", "State", "Found"), rows)
    for _, one in found:
        if one.remedy:
            advise(f"! {one.what}: {one.remedy}")
            if one.command:
                say(f"    {one.command}")


commands = [doctor]
