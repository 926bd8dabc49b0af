"""What many commands share: the --config option, the loaded configuration, and calls to the running mount."""

import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exitcodes import Exit
from cli.output import fail, warn
from cli.state import Contact, StateFolder

# Reading a configuration and speaking to a mount are imported where they are done: some commands do neither.
if TYPE_CHECKING:
    from requests import Response

    from cli.config import Config

_SECONDS = 30
_LONG_SECONDS = 600  # what changes many names may take longer than what is only told

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration; default: the platform's folder for it.",
)


def load(config_file: Path | None) -> "Config":
    """The configuration, its warnings told. Raises ConfigError."""
    from cli import config as configuration

    config = configuration.load(config_file, os.environ)
    for warning in config.warnings:
        warn(warning)
    return config


def ask(config: "Config", path: str) -> Any:
    """The answer of the running mount to GET `path`, or None if none runs; ends the command if it fails."""
    contact = StateFolder(config.state.path).contact()
    return None if contact is None else call(contact, path)


def call(contact: Contact, path: str, data: Any = None) -> Any:
    """GET `path` from the daemon, or POST `data` to it as JSON; ends the command with a message if that fails."""
    import requests

    try:
        answer = answered(contact, path, data, _SECONDS if data is None else _LONG_SECONDS)
        # The daemon's own refusals are plain text for people.
        if not answer.ok and answer.headers.get("Content-Type", "").startswith("text/plain"):
            fail(f"The running mount refuses: {answer.text.strip()}")
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        cause = type(error).__name__
        fail(
            f"The running mount (process {contact.pid}) does not answer at {contact.url}: {cause}.",
            code=Exit.FAILED,
        )


def answered(contact: Contact, path: str, data: Any, seconds: float) -> "Response":
    """What the daemon answers within `seconds`, be it a refusal; raises what requests raises."""
    import requests

    headers = {"Authorization": f"Bearer {contact.token}"}
    # Never by a proxy of the environment: this is a conversation with this machine.
    with requests.Session() as session:
        session.trust_env = False
        method = "GET" if data is None else "POST"
        return session.request(method, contact.url + path, headers=headers, json=data, timeout=seconds)


def mounted(config: "Config") -> Contact:
    """How the running mount is reached; ends the command when nothing is mounted."""
    contact = StateFolder(config.state.path).contact()
    if contact is None:
        fail(f"Nothing is mounted at {config.mount.path}.", "Mount it: mediapool mount", Exit.NOT_MOUNTED)
    return contact


def inside(config: "Config", path: str) -> str:
    """The path below the root of the tree."""
    root = config.mount.path
    if not Path(path).is_absolute():
        here = Path.cwd() / path
        return here.relative_to(root).as_posix() if here.is_relative_to(root) else path.strip("/")
    whole = Path(path)
    if not whole.is_relative_to(root):
        fail(f"{path} does not lie below {root}.", "Name a path in the tree.")
    return "" if whole == root else whole.relative_to(root).as_posix()


def expanded(words: Sequence[str]) -> list[str]:
    """The paths that the words mean: patterns that the shell left, and a list on the standard input for "-"."""
    found: list[str] = []
    for word in words:
        if word == "-":
            found += [line for line in sys.stdin.read().replace("\0", "\n").split("\n") if line]
        elif glob.has_magic(word) and not Path(word).exists():
            found += sorted(glob.glob(word, recursive=True)) or [word]
        else:
            found.append(word)
    return found
