"""`mediapool`: the tree of commands, and how any error reaches a person."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping

import click
from click.shell_completion import CompletionItem

from cli.exitcodes import Exit, in_words
from cli.output import fail
from cli.windows import refusal

# Each command with its module, which is imported when the command is asked for: all of them take longer to import
# than some commands to do their work.
_MODULES = {
    "init": "init_cmd",
    "demo": "demo_cmd",
    "mount": "mount_cmd",
    "unmount": "mount_cmd",
    "status": "status_cmd",
    "doctor": "doctor_cmd",
    "explain": "explain_cmd",
    "pin": "pin_cmd",
    "unpin": "pin_cmd",
    "download": "pin_cmd",
    "pool": "pool_cmd",
    "layout": "layout_cmd",
    "debrid": "debrid_cmd",
    "cache": "cache_cmd",
    "distribute": "distribute_cmd",
    "index": "index_cmd",
    "ingest": "ingest_cmd",
    "archive": "archive_cmd",
    "jobs": "jobs_cmd",
    "completion": "completion_cmd",
}


class _WhenAsked(MutableMapping[str, click.Command]):
    """The commands of these modules, each of which has them in its list `commands`."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._added: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._added:
            module = importlib.import_module(f"cli.{self._modules[name]}")
            self._added.update((command.name, _with_codes(command, command.name)) for command in module.commands)
        return self._added[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._modules, **self._added})

    def __len__(self) -> int:
        return len({**self._modules, **self._added})


def _with_codes(command: click.Command, name: str) -> click.Command:
    """The command, whose help and that of all below it tell their exit codes."""
    if isinstance(command, click.Group):
        for part, child in command.commands.items():
            _with_codes(child, f"{name} {part}")
    else:
        command.epilog = in_words(name)
    return command


class Commands(click.Group):
    """The group of all commands; turns known errors into one message with a remedy and an exit code."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As that of any group, but from the names alone: whoever presses a key does not wait for imports."""
        names = [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `mediapool ... | head`: what was asked for has been shown.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(Exit.OK)
        except Exception as error:
            from cli.problems import ConfigError

            if isinstance(error, ConfigError):
                fail(str(error), code=Exit.USAGE)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and (why := refusal(args[0])):
            fail(why)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, commands=_WhenAsked(_MODULES), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mediapool", prog_name="mediapool")
@click.option("-v", "--verbose", count=True, help="Tell more; twice: everything.")
def main(verbose: int) -> None:
    """One /data tree over a pool of drives and a Real-Debrid account."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    # What no line shows need not be found out for each: the log of a mount has one for each new file.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # These two tell URLs at DEBUG, and a URL may be all it takes to fetch a file.
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.WARNING)
