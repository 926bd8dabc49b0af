"""All commands there are, by their names without `mediapool`."""

from collections.abc import Iterator

import click

from cli.main import main


def _all(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for part, child in command.commands.items():
            yield from _all(f"{name} {part}".strip(), child)
    else:
        yield name, command


COMMANDS = dict(_all("", main))
