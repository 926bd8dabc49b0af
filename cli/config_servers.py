"""The [[media_server]] sections of the configuration, and the servers they stand for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from cli import values
from cli.section import Section, key
from placement.services.jellyfin import Emby, Jellyfin
from placement.services.mediaserver import MediaServer
from placement.services.paths import Paths
from placement.services.plex import Plex

_KINDS: dict[str, type[MediaServer]] = {"plex": Plex, "jellyfin": Jellyfin, "emby": Emby}


class MediaServerConfig(Section):
    """A Plex, Jellyfin or Emby that is told which folders have changed; one such section for each."""

    kind: Literal["plex", "jellyfin", "emby"] = Field(description="plex, jellyfin or emby.", examples=["plex"])
    url: values.Url = Field(
        description="Its address, with its URL base if it has one.", examples=["http://127.0.0.1:32400"]
    )
    token: values.ServerToken = Field(
        description="X-Plex-Token of Plex, API key of Jellyfin or Emby.", examples=["YOUR-TOKEN"]
    )
    name: values.Title = key(None, "What messages call it. Default: its kind.", "living-room")
    paths: values.ServerPaths = key(
        {}, 'What it calls folders of the tree, as in { media = "/media" }. Default: the whole tree, called as here.'
    )
    changes: Literal["all", "remote"] = key(
        "all", "remote: only what did not come through the mount, and so gives a server on this machine no event."
    )
    debounce_seconds: values.Seconds = key(30, "A folder is told when nothing has changed in it for so long.")
    max_wait_seconds: values.Seconds = key(600, "A folder that never comes to rest is told after this time.")


def media_server(one: MediaServerConfig, mount: Path, *, seconds: float = 30.0) -> MediaServer:
    """The server of a section; nothing is asked yet. `seconds`: what a call may take."""
    paths = Paths(one.paths or {"": str(mount)})
    return _KINDS[one.kind](one.url, one.token.get_secret_value(), paths, one.name, seconds=seconds)


def media_servers(configured: Iterable[MediaServerConfig], mount: Path, *, seconds: float = 30.0) -> list[MediaServer]:
    """As `media_server`, all of them in their order."""
    return [media_server(one, mount, seconds=seconds) for one in configured]
