"""Checks of Sonarr, Radarr and media servers: whether they see the tree as it is, and do it no harm."""

from collections.abc import Iterable, Iterator
from functools import partial

from cli.config_arr import services
from cli.config_servers import media_servers
from cli.doctoring.finding import Case, Check, Finding
from placement.services import seeing

_SECONDS = 8.0  # for each call
_AGAIN = "look at its settings, then ask again"


def checks(case: Case) -> Iterator[tuple[str, Check]]:
    """One check for each service; without a mounted tree there is nothing to compare with."""
    config = case.config
    names = [one.name or one.kind for one in (*config.arr, *config.media_server)]
    if not names:
        return
    if case.status is None:
        yield "services", partial(_later, names)
        return
    tree = config.mount.path
    for arr in services(config.arr, seconds=_SECONDS):
        yield arr.name, lambda case, arr=arr: _told(case, seeing.look(tree, [arr], []))  # type: ignore[misc]
    for server in media_servers(config.media_server, tree, seconds=_SECONDS):
        yield server.name, lambda case, one=server: _told(case, seeing.look(tree, [], [one]))  # type: ignore[misc]


def _later(names: Iterable[str], case: Case) -> Iterator[Finding]:
    remedy = "mount the tree, which is what they are asked about"
    found = f"{', '.join(names)}: not asked while nothing is mounted"
    yield Finding("services", "note", found, remedy, case.command("mount", "--background"))


def _told(case: Case, found: Iterable[seeing.Finding]) -> Iterator[Finding]:
    for one in found:
        remedy = one.remedy or ("" if one.state == "ok" else _AGAIN)
        yield Finding(one.what, one.state, one.found, remedy)
