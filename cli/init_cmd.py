"""`mediapool init`: write the configuration, asking for what only the person knows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli import config as configuration
from cli import config_file as files
from cli.options import config_option
from cli.output import say, warn


@click.command()
@config_option
@click.option("--drive", "drives", multiple=True, type=click.Path(path_type=Path, resolve_path=True),
              help="A drive's folder; may be repeated.")  # fmt: skip
@click.option("--mount", "mount_point", type=click.Path(path_type=Path, resolve_path=True), help="Where to mount.")
def init(config_file: Path | None, drives: tuple[Path, ...], mount_point: Path | None) -> None:
    """Write the commented configuration; on a terminal, ask for token, drives and mount point.

    \b
    Example:
      mediapool init --drive /mnt/disk1 --drive /mnt/disk2
    """
    path = config_file or configuration.find()
    token = None
    if sys.stdin.isatty():
        token = click.prompt("Real-Debrid token (empty: none)", default="", hide_input=True, show_default=False) or None
        drives = drives or tuple(_asked_drives())
        mount_point = mount_point or Path(click.prompt("Mount point", default="/data"))
    files.write_template(path, token=token, drives=list(_named(drives)), mount=mount_point)
    say(f"Wrote {path}.")
    if not drives:
        warn("it names no drive yet: add one with mediapool pool add FOLDER")
    say("Next: mediapool mount")


def _asked_drives() -> Iterator[Path]:
    """Folders until an empty answer; one that does not exist is asked again."""
    while answer := click.prompt("Folder of a drive (empty: no more)", default="", show_default=False):
        folder = Path(answer).expanduser().absolute()
        if folder.is_dir():
            yield folder
        else:
            say(f"{folder} is not a folder: mount the disk there, or make it.")


def _named(drives: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    taken: list[str] = []
    for drive in drives:
        taken.append(files.name_for(drive, taken))
        yield taken[-1], drive


commands = [init]
