"""`mediapool debrid add`: download something, as a client of the Web API would."""

import base64
import time
from pathlib import Path
from typing import Any

import click

from cli.config import Config
from cli.downloading import ADD, DOWNLOADS
from cli.options import call, config_option, load, mounted
from cli.output import fail, human_size, json_option, print_json, print_table, progress

_LOOK = 0.5  # seconds
_ENDED = ("complete", "failed")


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="LINK|MAGNET|FILE.torrent...")
@click.option("--category", default="", metavar="NAME", help="Put it into this category's folder.")
@click.option("--wait", is_flag=True, help="Return when it is complete, or has failed.")
@config_option
@json_option
def add(what: tuple[str, ...], category: str, wait: bool, config_file: Path | None, as_json: bool) -> None:
    """Download a torrent by Real-Debrid, or what a link of a hoster leads to.

    Torrents appear in torrents/complete, other files in ddl/complete, once they were looked at. Ctrl-C ends only the
    waiting.

    \b
    Example:
      mediapool debrid add --category films --wait 'magnet:?xt=urn:btih:...'
    """
    config = load(config_file)
    contact = mounted(config)
    known = [call(contact, ADD, _body(each, category))["hash"] for each in what]
    try:
        found = _waited(config, known) if wait else _those(config, known)
    finally:
        progress("")
    if as_json:
        print_json(found)
    else:
        rows = [(one["stage"], human_size(one["size"]), one["path"] or one["name"], one["problem"]) for one in found]
        print_table(("State", "Size", "Name", "Problem"), rows, right=(1,))
    if failed := [one for one in found if one["stage"] == "failed"]:
        fail(f"{failed[0]['name']} failed: {failed[0]['problem']}.")


def _body(what: str, category: str) -> dict[str, str]:
    if what.lower().startswith(("magnet:", "http://", "https://")):
        return {"link": what, "torrent": "", "category": category}
    try:
        raw = Path(what).read_bytes()
    except OSError as error:
        fail(f"{what} is no link, and as a file it cannot be read: {error.strerror}.")
    if not raw:
        fail(f"{what} is empty.")
    return {"link": "", "torrent": base64.b64encode(raw).decode(), "category": category}


def _those(config: Config, known: list[str]) -> list[dict[str, Any]]:
    found = {one["hash"]: one for one in call(mounted(config), DOWNLOADS)}
    return [found[each] for each in known if each in found]


def _waited(config: Config, known: list[str]) -> list[dict[str, Any]]:
    while True:
        found = _those(config, known)
        if all(one["stage"] in _ENDED for one in found):
            return found
        under_way = [one for one in found if one["stage"] not in ("complete", "failed")]
        progress(
            "; ".join(f"{one['name']}: {one['stage']} {one['progress']:.0%} {one['problem']}" for one in under_way)
        )
        time.sleep(_LOOK)
