"""`mediapool`: the tree of commands, and how any error reaches a person."""

import logging
import os
import sys
from importlib import metadata

import click

from cli import (
    archive_cmd,
    cache_cmd,
    debrid_cmd,
    demo_cmd,
    doctor_cmd,
    explain_cmd,
    init_cmd,
    jobs_cmd,
    layout_cmd,
    mount_cmd,
    pin_cmd,
    pool_cmd,
    status_cmd,
)
from cli.exitcodes import Exit
from cli.output import fail
from cli.problems import ConfigError


class Commands(click.Group):
    """The group of all commands; turns known errors into one message with a remedy and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            fail(str(error), code=Exit.USAGE)
        except BrokenPipeError:
            # `mediapool ... | head`: what was asked for has been shown.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(Exit.OK)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("mediapool"), prog_name="mediapool")
@click.option("-v", "--verbose", count=True, help="Tell more; twice: everything.")
def main(verbose: int) -> None:
    """One /data tree over a pool of drives and a Real-Debrid account."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # These two tell URLs at DEBUG, and a URL may be all it takes to fetch a file.
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.WARNING)


for command in (
    *init_cmd.commands,
    *demo_cmd.commands,
    *mount_cmd.commands,
    *status_cmd.commands,
    *doctor_cmd.commands,
    *explain_cmd.commands,
    *pin_cmd.commands,
    *pool_cmd.commands,
    *layout_cmd.commands,
    *debrid_cmd.commands,
    *cache_cmd.commands,
    *archive_cmd.commands,
    *jobs_cmd.commands,
):
    main.add_command(command)
