"""`mediapool layout`: the folders that download clients, importers and media servers agree on."""

from pathlib import Path

import click

from cli.output import dry_run_option, fail, json_option, print_json, say
from placement.layout import ROLES, LayoutError, create_layout, parse_access, parse_profile


@click.group()
def layout() -> None:
    """The folder layout of the tree."""


@layout.command()
@click.option("--path", type=click.Path(path_type=Path), default=Path(), help="Where data/ is made; default: here.")
@click.option("--profile", help='"apps": rights for the four programs below.')
@click.option("--torrent-client", metavar="USER[:GROUP]", help="Writes only torrents/.")
@click.option("--usenet-client", metavar="USER[:GROUP]", help="Writes only usenet/.")
@click.option("--importer", metavar="USER[:GROUP]", help="Sonarr, Radarr: links from there to media/.")
@click.option("--media-server", metavar="USER[:GROUP]", help="Only reads media/.")
@click.option("--access", multiple=True, metavar="FOLDER=OWNER:GROUP:MODE", help="For one top folder; repeatable.")
@dry_run_option
@json_option
def create(
    path: Path,
    profile: str | None,
    access: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **roles: str | None,
) -> None:
    """Make data/torrents, usenet, ddl, media and personal below PATH; running it again changes nothing.

    \b
    Example:
      mediapool layout create --path / --profile apps --torrent-client qbt \\
          --usenet-client sab --importer arr --media-server jellyfin
    """
    assert set(roles) == set(ROLES)
    try:
        steps = create_layout(path, parse_profile(profile, roles), access=parse_access(access), dry_run=dry_run)
    except LayoutError as error:
        fail(str(error))
    if as_json:
        print_json([{"path": step.path, "action": step.action, "detail": step.detail} for step in steps])
        return
    for step in steps:
        say(str(step))


commands = [layout]
