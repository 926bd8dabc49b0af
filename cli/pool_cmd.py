"""`mediapool pool`: the drives of the configuration."""

from pathlib import Path

import click

from cli import config as configuration
from cli import config_file as files
from cli import move_cmd
from cli import pool as drives
from cli.check_cmd import check
from cli.members import RELOAD, told
from cli.options import ask, call, config_option, load
from cli.output import confirm, dry_run_option, fail, json_option, print_json, say, warn, yes_option
from cli.restore_cmd import restore_names
from cli.state import StateFolder
from cli.status_cmd import drives_now, show_drives
from placement.identity import DriveError, Identity


@click.group()
def pool() -> None:
    """The drives of the pool."""


@pool.command()
@config_option
@json_option
def status(config_file: Path | None, as_json: bool) -> None:
    """Show each drive: mode, room, identity.

    \b
    Example:
      mediapool pool status
    """
    config = load(config_file)
    answer = ask(config, "/api/status")
    found = answer["drives"] if answer else drives_now(config)
    if as_json:
        print_json(found)
    else:
        show_drives(found)


@pool.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False, resolve_path=True))
@config_option
@click.option("--name", help="Name of the drive; default: made from its path.")
@click.option("--mode", type=click.Choice(["rw", "ro", "nc"]), default="rw", show_default=True,
              help="Read and write, read only, or no new files.")  # fmt: skip
@click.option("--tier", help="A word of yours for rules, such as fast.")
@dry_run_option
@yes_option
def add(
    path: Path,
    config_file: Path | None,
    name: str | None,
    mode: str,
    tier: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Make PATH a drive of the pool: write its identity, and its section in the configuration.

    \b
    Example:
      mediapool pool add /mnt/disk4 --name disk4
    """
    config = load(config_file)
    chosen = name or files.name_for(path, [drive.name for drive in config.drive])
    if not path.is_dir():
        fail(f"{path} is not a folder.", "Mount the disk there, or make the folder.")
    if dry_run:
        say(f"Would add drive {chosen} at {path} to {config.file}.")
        return
    confirm(f"Add drive {chosen} at {path}? What lies on it will show in the tree.", yes)
    assert config.file is not None
    changed = files.add_drive(config.file, chosen, path, mode=mode, tier=tier)
    known = drives.remembered(StateFolder(config.state.path).names)
    try:
        drives.take_in(changed.drive[-1], {one.number for one in known.values()} | _numbers(config, known))
    except DriveError as error:
        files.remove_drive(config.file, chosen)
        fail(str(error))
    try:
        _remind(config)
    except SystemExit:
        # The running mount cannot take it, and neither could the next one.
        files.remove_drive(config.file, chosen)
        raise
    say(f"Added drive {chosen} at {path}.")


@pool.command()
@click.argument("name")
@config_option
@dry_run_option
@yes_option
def remove(name: str, config_file: Path | None, dry_run: bool, yes: bool) -> None:
    """Take the drive NAME out of the pool. Its files stay on it and leave the tree.

    \b
    Example:
      mediapool pool remove disk4
    """
    config = load(config_file)
    drive = next((drive for drive in config.drive if drive.name == name), None)
    if drive is None:
        fail(
            f"There is no drive {name!r}.",
            f"There are: {', '.join(one.name for one in config.drive) or 'none'}.",
        )
    if dry_run:
        say(f"Would take drive {name} ({drive.path}) out of {config.file}. Nothing on the drive would change.")
        return
    confirm(f"Take drive {name} ({drive.path}) out? Its files stay on it, but leave the tree.", yes)
    assert config.file is not None
    files.remove_drive(config.file, name)
    say(f"Took out drive {name}; its files lie untouched in {drive.path}.")
    _remind(config)


def _numbers(config: configuration.Config, known: dict[str, Identity]) -> set[int]:
    """The numbers of drives of this pool that were added, but never mounted."""
    found = drives.look_at(config, known)
    try:
        return {one.number for one in found if not isinstance(one, DriveError)}
    finally:
        drives.close(found)


def _remind(config: configuration.Config) -> None:
    state = StateFolder(config.state.path)
    contact = state.contact()
    if contact is not None:
        say(told(call(contact, RELOAD, {})))
    elif state.in_use():
        warn("the running mount goes on without this change; mount anew to use it")


pool.add_command(restore_names)
pool.add_command(check)
for move in move_cmd.commands:
    pool.add_command(move)

commands = [pool]
