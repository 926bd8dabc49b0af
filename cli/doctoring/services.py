"""Checks of Sonarr, Radarr and media servers: whether they see the tree as it is, and do it no harm."""

from collections.abc import Iterable, Iterator
from functools import partial
from urllib.parse import urlsplit

from cli.config_arr import services
from cli.config_servers import media_servers
from cli.doctoring.finding import Case, Check, Finding
from placement.services import seeing

_SECONDS = 8.0  # for each call
_AGAIN = "look at its settings, then ask again"


def checks(case: Case) -> Iterator[tuple[str, Check]]:
    """One check for each service; without a mounted tree there is nothing to compare with."""
    tree = case.config.mount.path
    arrs = services(case.config.arr, seconds=_SECONDS)
    servers = media_servers(case.config.media_server, tree, seconds=_SECONDS)
    if case.is_silent:
        return
    if case.status is None and (arrs or servers):
        yield "services", partial(_later, [*(arr.name for arr in arrs), *(server.name for server in servers)])
        return
    for arr in arrs:
        yield arr.name, partial(_told, seeing.look(tree, [arr], [], _port(case)))
    for server in servers:
        yield server.name, partial(_told, seeing.look(tree, [], [server]))


def _port(case: Case) -> int | None:
    """Where the running mount answers as a download client, which it does with an account only."""
    contact = case.contact
    return None if contact is None or case.config.debrid.token is None else urlsplit(contact.url).port


def _later(names: Iterable[str], case: Case) -> Iterator[Finding]:
    remedy = "mount the tree, which is what they are asked about"
    found = f"{', '.join(names)}: not asked while nothing is mounted"
    yield Finding("services", "note", found, remedy, case.command("mount", "--background"))


def _told(found: Iterable[seeing.Finding], _case: Case) -> Iterator[Finding]:
    for one in found:
        remedy = one.remedy or ("" if one.state == "ok" else _AGAIN)
        yield Finding(one.what, one.state, one.found, remedy)
