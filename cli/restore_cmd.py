"""`mediapool pool restore-names`: a lost or damaged names.db replaced by a copy, or by an empty one."""

from pathlib import Path

import click

from cli import keeping
from cli.keeping import Found
from cli.options import config_option, load
from cli.output import busy, confirm, dry_run_option, fail, human_time, json_option, print_json, say, yes_option
from cli.state import StateFolder, StateInUse
from vfs import namescopies
from vfs.namescopies import Copy


@click.command("restore-names")
@click.argument("copy", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--empty", is_flag=True, help="Begin anew, with no names at all.")
@config_option
@dry_run_option
@yes_option
@json_option
def restore_names(
    copy: Path | None, empty: bool, config_file: Path | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Put a copy of the names of remote files back: FILE, or the newest copy of this pool.

    While nothing is mounted. The names as they are now are moved aside, not removed. What was linked, renamed or
    removed after the copy was made is as it was before; torrents published since then are published again.

    \b
    Example:
      mediapool pool restore-names --dry-run
    """
    config = load(config_file)
    state = StateFolder(config.state.path)
    try:
        state.acquire()
    except StateInUse as error:
        fail(str(error))
    try:
        with busy("looking for copies"):
            found = keeping.look_for(config, state)
        wanted = None if empty else _wanted(found, copy)
        if as_json:
            print_json(_as_json(found, wanted))
        elif found.copies:
            say("\n".join(["Copies of the names of remote files, newest first:", *found.lines()]))
        if not empty and wanted is None:
            fail(*_no_choice(found))
        if not dry_run:
            confirm(_question(wanted), yes)
            with busy("putting the names back"):
                aside = _replace(state, wanted)
            _report(as_json, wanted, aside)
    finally:
        state.release()


def _wanted(found: Found, path: Path | None) -> Copy | None:
    """The copy to take; ends the command if the file that was named is of no use."""
    if path is None:
        return found.offered()
    copy = namescopies.inspect(path.absolute())
    if copy.problem:
        fail(f"{path} {copy.problem}.", "Name another copy.")
    return copy


def _no_choice(found: Found) -> tuple[str, str]:
    if any(not copy.problem for copy in found.copies):
        return "It cannot be known which of these pools this is.", "Name the copy: mediapool pool restore-names FILE"
    return "There is no copy that can be used.", "Is a drive missing? To begin anew: add --empty"


def _question(copy: Copy | None) -> str:
    if copy is None:
        return "Begin without any names of remote files?"
    return f"Put back the {copy.names} names of {human_time(copy.time)} from {copy.path}?"


def _replace(state: StateFolder, copy: Copy | None) -> Path | None:
    try:
        return namescopies.begin_anew(state.names) if copy is None else namescopies.restore(copy.path, state.names)
    except OSError as error:
        fail(f"The names could not be put back: {error}", "Check the room on the disk of the state folder.")


def _report(as_json: bool, copy: Copy | None, aside: Path | None) -> None:
    if as_json:
        return
    say("There are no names of remote files now." if copy is None else f"Put back {copy.names} names.")
    if aside is not None:
        say(f"What was there before is kept as {aside}.")


def _as_json(found: Found, wanted: Copy | None) -> dict[str, object]:
    return {
        "copies": [copy._asdict() for copy in found.copies],
        "chosen": None if wanted is None else wanted._asdict(),
    }
