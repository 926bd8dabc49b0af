"""`mediapool debrid`: the Real-Debrid account, and the simulator of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cli import repair_cmd
from cli.add_cmd import add
from cli.config import Config
from cli.exitcodes import Exit
from cli.options import ask, config_option, load
from cli.output import busy, fail, human_size, human_time, json_option, print_fields, print_json, print_table, say
from cli.prune_cmd import prune, reason
from cli.reading import reading
from cli.signals import interrupt_on_termination
from cli.state import StateFolder
from debrid.client import Client
from debrid.errors import AuthError, DebridError, StoreError
from debrid.listing import listed
from debrid.simulator import Simulator
from debrid.simulator.serve import serve
from debrid.store import Store
from debrid.transport import Budget

_SECONDS = 30.0


@click.group()
def debrid() -> None:
    """The Real-Debrid account."""


@debrid.command()
@config_option
@json_option
def status(config_file: Path | None, as_json: bool) -> None:
    """Ask the provider whose account this is, and show how the running mount gets on with it.

    \b
    Example:
      mediapool debrid status
    """
    config = load(config_file)
    user = _user(config)
    mounted = ask(config, "/api/status")
    remote = mounted["remote"] if mounted else None
    if as_json:
        print_json({"user": user, "mount": remote})
        return
    print_fields(
        [
            ("User", user["username"]),
            ("Account", user["type"]),
            ("Until", user["expiration"] or "-"),
            ("Points", user["points"]),
            *_mount_fields(remote),
        ]
    )


def _user(config: Config) -> dict[str, Any]:
    if config.debrid.token is None:
        fail("No token: [debrid] token is not set.", "Get one at https://real-debrid.com/apitoken", Exit.USAGE)
    client = Client(config.debrid.token.get_secret_value(), config.debrid.api_url)
    try:
        with busy("asking Real-Debrid"):
            user = client.user(Budget.of(_SECONDS))
    except AuthError as error:
        fail(f"Real-Debrid refuses the account: {error}.", "Check [debrid] token, and that the account is premium.",
             Exit.PROVIDER)  # fmt: skip
    except DebridError as error:
        fail(f"Real-Debrid cannot be asked: {error}.", code=Exit.PROVIDER)
    finally:
        client.close()
    until = None if user.expiration_ns is None else f"{datetime.fromtimestamp(user.expiration_ns / 1e9):%Y-%m-%d}"
    return {"username": user.username, "type": user.type, "points": user.points, "expiration": until}


def _mount_fields(remote: dict[str, Any] | None) -> list[tuple[str, object]]:
    if remote is None:
        return [("Mount", "not mounted")]
    account = remote["account"] or {}
    state = account.get("error") or "in order"
    return [
        ("Mount", state),
        ("Remote files", remote["files"]),
        ("Reading", reading(remote["reads"])),
    ]


@debrid.command("list")
@config_option
@json_option
def list_torrents(config_file: Path | None, as_json: bool) -> None:
    """List the torrents of the account: state, size, where they are in the tree, and what is wrong.

    \b
    Example:
      mediapool debrid list
    """
    config = load(config_file)
    torrents = ask(config, "/api/debrid/torrents")
    if torrents is None:
        torrents = _remembered(config)
    if as_json:
        print_json(torrents)
        return
    rows = [
        (
            one["status"],
            f"{one['progress']:.0f}%",
            human_size(one["bytes"]),
            one["path"] or one["name"],
            _problem(one, config.debrid.delete_after),
        )
        for one in torrents
    ]
    print_table(("State", "Done", "Size", "Name", "Problem"), rows, right=(1, 2))


def _problem(one: Mapping[str, Any], delete_after: float | None) -> str:
    """What is wrong with a torrent, and whether it is about to leave the account."""
    parts = [reason(one["problem"], one["since"])]
    if one["repair"]:
        when = f", goes on {human_time(one['repair_at'])}" if one["repair_at"] else ""
        parts.append(f"repair {one['repair']}{when}")
    if one["released_at"] is not None and delete_after is not None:
        parts.append(f"no name in the tree: leaves the account after {human_time(one['released_at'] + delete_after)}")
    return "; ".join(filter(None, parts))


def _remembered(config: Config) -> list[dict[str, Any]]:
    """What was known when the tree was last mounted."""
    path = StateFolder(config.state.path).debrid
    if not path.exists():
        return []
    try:
        with Store(path) as store:
            return [asdict(one) for one in listed(store)]
    except StoreError as error:
        fail(str(error))


@debrid.command()
@click.option(
    "--files",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder; each entry in it becomes a finished torrent.",
)
@click.option("--token", default="SIMULATORTOKEN", show_default=True, help="The token it accepts.")
@click.option("--api-port", default=8090, show_default=True, help="Port of the API; 0: any.")
@click.option("--cdn-port", default=8091, show_default=True, help="Port of the downloads; 0: any.")
def simulate(files: Path, token: str, api_port: int, cdn_port: int) -> None:
    """Run the Real-Debrid simulator over a folder of files, until Ctrl-C.

    \b
    Example:
      mediapool debrid simulate --files ~/clips
    """
    interrupt_on_termination()
    serve(files, api_port=api_port, cdn_port=cdn_port, token=token, ready=_introduce)


def _introduce(simulator: Simulator) -> None:
    say(f"Simulating Real-Debrid with {len(simulator.torrents)} torrents. To use it, write into the configuration:")
    say(f'[debrid]\ntoken = "{simulator.token}"\napi_url = "{simulator.api_url}"')
    say(f"Faults are switched at {simulator.admin_url}/faults (GET, POST, DELETE with JSON).")


debrid.add_command(prune)
debrid.add_command(add)
for command in repair_cmd.commands:
    debrid.add_command(command)

commands = [debrid]
