"""Media servers told of what changes in the mounted tree: who hears it, and when the tree is no sight for them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from cli.config import Config
from cli.config_servers import media_server
from cli.routes import Post
from debrid.torrents import Torrents
from placement.drive import Drive
from placement.services.announcing import Announcer, Announcers, Tempo
from placement.services.kept import Kept
from vfs.hearing import Heard
from vfs.union import Union

_SECONDS = 15.0  # that one call may take; unmounting waits for it


class Changing(Protocol):
    """A part by which names change, and who hears of it."""

    heard: Heard


def announcers(
    config: Config, file: Path, union: Union, changing: Iterable[Changing], incomplete: Callable[[], str]
) -> Announcers:
    """Those who tell the configured servers of what is `changing`; nothing is asked or told yet.

    `file`: what waits, over restarts. Without a server nobody is called for a change.
    """
    made = Announcers(Kept(file, "changed folders"))
    for one in config.media_server:
        # For so long the kernel may show a server what was there before.
        quiet = max(one.debounce_seconds, config.mount.cache_seconds)
        tempo = Tempo(quiet, one.max_wait_seconds, one.changes == "remote")
        server = media_server(one, config.mount.path, seconds=_SECONDS)
        made.add(Announcer(server, tempo, lambda path: union.stat(path).mode, incomplete, kept=made.keep))
    for each in changing if config.media_server else ():
        each.heard = made.note
    return made


def why_incomplete(drives: Sequence[Drive], torrents: Callable[[], Torrents | None]) -> str:
    """Why names may be missing from the tree, or could not be read if they were looked at now; "" if none are.

    No walk of the drives hides names: of a drive that is there, the drive itself is asked.
    """
    missing = ", ".join(drive.name for drive in list(drives) if not drive.present)
    if missing:
        return f"missing drives: {missing}"
    account = torrents()
    return "" if account is None else account.incomplete()


def after_reload(told: Announcers, reload: Callable[[], dict[str, Any]]) -> Post:
    """A drive that joins or leaves shows or hides names anywhere."""

    def post(_body: object) -> dict[str, Any]:
        answer = reload()
        if any(answer.values()):
            told.everything()
        return answer

    return post
