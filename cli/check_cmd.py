"""`mediapool pool check`: what stands twice, is hidden or was left over, and mending it where that is safe."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cli.checking import Checking, MountedCheck, left_over, standing
from cli.config import Config
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
    progress,
    say,
    yes_option,
)
from cli.state import StateFolder, StateInUse
from vfs.namesdb import NamesDamaged

_LOOK = 0.2  # seconds

_PLANS = {
    "remove": "remove the hidden copy",
    "rename": "give the hidden one a free name",
    "recover": "try again to finish it",
}

Found = Mapping[str, Any]


@click.command()
@click.option("--compare", is_flag=True, help="Compare files of one path to the last byte, not by size and samples.")
@click.option("--fix", is_flag=True, help="Mend what can be mended without losing a byte; compares as well.")
@config_option
@dry_run_option
@yes_option
@json_option
def check(compare: bool, fix: bool, config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Look for paths that stand on several drives, for what is hidden or left over, and for odd names.

    \b
    Example:
      mediapool pool check --fix --dry-run
    """
    config = load(config_file)
    with _checking(config) as pool:
        result = _watched(pool, compare or fix)
        findings: list[Found] = result["findings"]
        mendable = [number for number, finding in enumerate(findings) if finding["mend"]]
        if not as_json:
            _show(result, fix)
        done: list[dict[str, Any]] = []
        if fix and mendable and not dry_run:
            confirm(f"Mend {len(mendable)} of them as shown?", yes)
            done = pool.mend(result["check"], mendable)
        if as_json:
            print_json({**{key: result[key] for key in ("folders", "names", "compared", "findings")}, "mended": done})
        else:
            _show_mended(done)
    mended = {number for number, one in zip(mendable, done, strict=False) if not one["problem"]}
    if left_over([finding for number, finding in enumerate(findings) if number not in mended]):
        raise SystemExit(Exit.FAILED)


@contextmanager
def _checking(config: Config) -> Iterator[Checking]:
    """The check of the running mount, or of the pool as it stands."""
    state = StateFolder(config.state.path)
    contact = state.contact()
    if contact is not None:
        yield MountedCheck(contact)
        return
    try:
        with standing(config, state) as pool:
            yield pool
    except (StateInUse, NamesDamaged) as error:
        fail(str(error))


def _watched(pool: Checking, whole: bool) -> dict[str, Any]:
    """Begin a check and show how far it is until it has ended; Ctrl-C ends it."""
    try:
        number = pool.start(whole)
        while (state := pool.state())["running"]:
            compared = f", {human_size(state['compared'])} compared" if state["compared"] else ""
            progress(f"{state['folders']} folders, {state['names']} names{compared}: /{state['path']}")
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        progress("")
        pool.stop()
        fail("The check was interrupted; nothing was changed.")
    progress("")
    if state["check"] != number:
        fail("Another check was begun, which ended this one.")
    if state["error"]:
        fail(state["error"])
    return state


def _show(result: Found, fix: bool) -> None:
    findings: Sequence[Found] = result["findings"]
    say(f"Looked at {result['names']} names in {result['folders']} folders.")
    if not findings:
        say("Nothing is wrong.")
        return
    headers = ("Kind", "Path", "Where", "What", *(["Mending"] if fix else []))
    print_table(headers, [_row(finding, fix) for finding in findings])
    if not fix:
        if any(finding["same"] == "alike" for finding in findings):
            say("To compare the files of one path to the last byte: --compare")
        if any(finding["mend"] for finding in findings) or any(finding["same"] == "alike" for finding in findings):
            say("To see what could be mended without losing a byte: --fix --dry-run")


def _row(finding: Found, fix: bool) -> tuple[str, ...]:
    where = finding["hidden"] or finding["shown"]
    plan = _PLANS.get(finding["mend"], "-")
    return (finding["kind"], finding["path"] or "/", where or "-", finding["detail"], *([plan] if fix else []))


def _show_mended(done: Sequence[Found]) -> None:
    for one in done:
        say(f"{one['path']}: {one['done'] or 'left as it is: ' + one['problem']}")
