"""Media servers that look at a real mount when told to: real HTTP servers, which list what they are told of."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arrserving import KEY, serving
from conftest import MakeMount
from mediaserving import EmbyServer, JellyfinServer, MediaServer, PlexServer
from mounting import Mounted, wait_for
from pulling import Pulled, back, missed, settled, status

from debrid.simulator import Simulator

pytestmark = [pytest.mark.mount, pytest.mark.timeout(180)]

FILM = os.urandom(100_000)
COMPLETE = "torrents/complete"
SECRET = "a-token-that-is-wrong"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("First", {"/film.mkv": FILM})
        yield simulator


def section(kind: str, url: str, more: str, token: str = KEY) -> str:
    common = "debounce_seconds = 1\nmax_wait_seconds = 60\n"
    return f'\n[[media_server]]\nkind = "{kind}"\nurl = "{url}"\ntoken = "{token}"\n{common}{more}\n'


class Servers:
    """A Plex told of the library, a Jellyfin that has the downloads themselves, an Emby that refuses the token."""

    def __init__(self, tree: Mounted) -> None:
        self.plex, self.jellyfin, self.emby = PlexServer(), JellyfinServer(), EmbyServer()
        self.plex.libraries = {"TV": ("/plex/tv",), "Films": ("/plex/films",)}
        self.plex.sees = {"/plex": tree.path / "media"}
        self.jellyfin.sees = {"/jelly": tree.path / COMPLETE}
        self.tree = tree

    def configured(self, closing: ExitStack) -> str:
        urls = [closing.enter_context(serving(one)) for one in (self.plex, self.jellyfin, self.emby)]
        return (
            section("plex", urls[0], 'paths = { media = "/plex" }')
            + section("jellyfin", urls[1], f'changes = "remote"\npaths = {{ "{COMPLETE}" = "/jelly" }}')
            + section("emby", urls[2], "", SECRET)
        )

    def status(self, kind: str = "plex") -> dict:
        return next(one for one in status(self.tree)["media_servers"] if one["kind"] == kind)

    def told(self, server: MediaServer, folders: set[str]) -> None:
        """Wait until these were told, each once, and nothing else waits; and begin to count anew."""
        wait_for(lambda: len(server.told) >= len(folders), f"{folders}, not {server.told}")
        kind = "plex" if server is self.plex else "jellyfin"
        wait_for(lambda: not self.status(kind)["waiting"], "nothing to wait")
        assert sorted(server.told) == sorted(folders)
        server.told.clear()


def imported(tree: Mounted, torrent: str, folder: str) -> Path:
    """As Sonarr does it: folders made, and a link."""
    place = tree.path / "media" / folder
    place.mkdir(parents=True)
    os.link(tree.path / COMPLETE / torrent / "film.mkv", place / f"{torrent} imported.mkv")
    return place


def test_servers_are_told_of_what_changed_and_never_of_what_is_missing(
    make_mount: MakeMount, simulator: Simulator
) -> None:
    tree = make_mount()
    tree.write_config(
        debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 0.3\nread_deadline = 5\n',
        mount="cache_seconds = 0.2",
    )
    servers = Servers(tree)
    plex, jellyfin = servers.plex, servers.jellyfin
    with ExitStack() as closing:
        tree.config.write_text(tree.config.read_text() + servers.configured(closing))
        for path in tree.drive_paths:
            (path / "media/films").mkdir(parents=True)
        tree.start()

        # What the poller published, below the folder that Jellyfin has as a library.
        servers.told(jellyfin, {"/jelly/First"})
        assert jellyfin.library == {"/jelly/First/film.mkv"}
        assert not plex.told, "downloads are no library unless somebody says so"

        # An import by link: one call, with the server's path, which lists the real mount.
        imported(tree, "First", "tv/Show/Season 1")
        servers.told(plex, {"/plex/tv"})
        assert plex.library == {"/plex/tv/Show/Season 1/First imported.mkv"}
        imported(tree, "First", "tv/Show/Season 2")
        servers.told(plex, {"/plex/tv/Show/Season 2"})
        assert plex.sections[-1] == ("1", "/plex/tv/Show/Season 2")

        # One that finishes at the provider while we watch, and a folder that is renamed: told at both its places.
        simulator.add_torrent("Second", {"/film.mkv": FILM})
        servers.told(jellyfin, {"/jelly/Second"})
        imported(tree, "Second", "tv/Other")
        servers.told(plex, {"/plex/tv/Other"})
        os.link(tree.path / COMPLETE / "First/film.mkv", tree.path / COMPLETE / "Second/again.mkv")
        os.unlink(tree.path / COMPLETE / "Second/again.mkv")
        os.rename(tree.path / "media/tv/Other", tree.path / "media/films/Other")
        servers.told(plex, {"/plex/tv", "/plex/films/Other"})
        assert plex.library == {
            "/plex/tv/Show/Season 1/First imported.mkv",
            "/plex/tv/Show/Season 2/First imported.mkv",
            "/plex/films/Other/Second imported.mkv",
        }
        assert not jellyfin.told and not servers.status("jellyfin")["waiting"], "it wants no more than nobody saw"

        # A local file is told when it is whole, and once.
        with open(tree.path / "media/films/local.mkv", "wb") as file:
            file.write(FILM)
            file.flush()
            imported(tree, "First", "films/Beside")
            servers.told(plex, {"/plex/films/Beside"})
        servers.told(plex, {"/plex/films"})

        # A missing drive: nothing is told, and status says why, until it is back.
        settled(tree)
        pulled = Pulled(tree.drive_paths[0])
        pulled.pull()
        missed(tree, 1)
        os.unlink(tree.path / "media/films/Other/Second imported.mkv")
        wait_for(lambda: "missing drives: drive1" in servers.status()["held"], "it to be held back")
        shown = tree.command("status").stdout
        assert "held back: missing drives: drive1" in " ".join(shown.split())
        assert not plex.told
        pulled.put_back()
        back(tree, 1)
        servers.told(plex, {"/plex/films/Other"})
        assert "/plex/films/Other/Second imported.mkv" not in plex.library

        # An account that cannot be asked: the same.
        with simulator.faults.set(api_outage="maintenance"):
            wait_for(lambda: status(tree)["remote"]["account"]["error"], "the trouble")
            imported(tree, "First", "tv/During")
            wait_for(lambda: servers.status()["held"], "it to be held back")
            assert not plex.told
        servers.told(plex, {"/plex/tv/During"})

        # What is pruned goes from the library.
        simulator.remove_torrent(next(each.id for each in simulator.torrents if each.name == "First"))
        wait_for(lambda: status(tree)["remote"]["account"]["missing"], "the torrent to be missed")
        assert tree.command("debrid", "prune", "First", "--yes").returncode == 0
        wait_for(lambda: plex.library == {"/plex/films/local.mkv"}, "it to be gone")
        wait_for(lambda: jellyfin.library == {"/jelly/Second/film.mkv"}, "it to be gone from there")

        # What waits as the mount ends is told after the next start.
        pulled.pull()
        missed(tree, 1)
        plex.told.clear()
        (tree.path / "media/films/New").mkdir()
        wait_for(lambda: servers.status()["held"], "it to be held back")
        tree.stop()
        assert not plex.told
        pulled.put_back()
        tree.start()
        wait_for(lambda: plex.told == ["/plex/films/New"], f"what waited, not {plex.told}")

        wait_for(lambda: "refuses the token" in servers.status("emby")["held"], "the refusal")
        assert servers.status("emby")["told_at"] is None and not servers.emby.told
        tree.stop()
    logged = tree.log.read_text()
    assert SECRET not in logged and KEY not in logged and SECRET not in shown
    assert KEY not in json.dumps(json.loads((tree.state / "untold.json").read_text()))
