"""The request sequences of Sonarr and Radarr, old and new, byte for byte over a real port."""

import pytest
from clienting import Arr, can_move, is_complete
from downloading import World
from mounting import wait_for

from cli.daemon import Daemon
from debrid.downloads.record import Stage, Wanted
from debrid.downloads.words import Words
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.guard import SESSION_SECONDS, Sessions
from debrid.qbittorrent.routes import Api
from debrid.qbittorrent.views import Paths


class Port:
    """The API of a world on a port, with or without a password."""

    def __init__(self, world: World, username: str | None = None, password: str | None = None) -> None:
        self.world, self.now = world, 0.0
        log = world.store.downloads
        desk = Desk(
            world.downloads, Words(log), Sessions(log, username, password, lambda: self.now), world.tree,
            Paths("/data"), lambda name: world.settings.get(name, Wanted()), lambda: 1 << 40,
        )  # fmt: skip
        self.daemon = Daemon(("127.0.0.1", 0), {}, {}, [Api(desk).blueprint()])
        self.daemon.start()
        self.url = self.daemon.contact(world.base).url


PERSONAS = {
    "sonarr 4.0.4": {"agent": "Sonarr/4.0.4.1491 (ubuntu 22.04)"},
    "sonarr 4.0.19": {"agent": "Sonarr/4.0.19.2979 (alpine 3.22)", "username": "me", "password": "P w&%é"},
    "radarr 5": {"agent": "Radarr/5.2.6.8376 (debian 12)", "basic": "Og=="},
    "radarr 6": {
        "agent": "Radarr/6.0.4.10291 (alpine 3.22)", "basic": "bWU6eA==", "username": "me", "password": "P w&%é",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PERSONAS)
def test_from_the_test_button_to_the_removal(world: World, name: str) -> None:
    persona = PERSONAS[name]
    port = Port(world, persona.get("username"), persona.get("password"))
    arr = Arr(port.url, "Séries", **persona)
    try:
        arr.test_button()
        assert arr.status() == "/data/torrents/complete/Séries"
        assert world.pool.names.find("torrents/complete/Séries") is not None

        short, long = world.film("Short"), world.film("Long")
        trackers = "".join(f"&tr=http%3A%2F%2Ftracker{number}.example.org%2Fannounce" for number in range(40))
        assert arr.add_magnet(short.magnet, ratioLimit="1.5", seedingTimeLimit="60") == "Ok."
        assert arr.add_magnet(long.magnet + trackers, sequentialDownload="True", contentLayout="Original") == "Ok."
        file = world.film("File")
        raw = world.sim.torrent_file(file.hash)
        assert arr.add_file("Fïle 2024 [x]", raw, firstLastPiecePrio="True") == "Ok."
        # What older versions, and priorities, send after adding.
        for _ in range(10):
            if arr.send("GET", f"torrents/properties?hash={short.hash}").status == 200:
                break
        arr.post("torrents/setShareLimits", hashes=short.hash, ratioLimit="-2", seedingTimeLimit="60")
        arr.post("torrents/topPrio", hashes=short.hash)
        arr.post("torrents/setForceStart", hashes=short.hash, value="true")
        arr.post("torrents/addTags", hashes=short.hash, tags="a,b")

        for each in (short, long, file):
            world.wait(each.hash, Stage.COMPLETE)
        rows = {row["hash"]: row for row in arr.poll()}
        assert set(rows) == {short.hash, long.hash, file.hash}
        assert all(is_complete(row) and not can_move(row) for row in rows.values())
        assert rows[short.hash]["content_path"] == "/data/torrents/complete/Séries/Short"
        # How the path is found where none is told.
        first = arr.get("torrents/files", hash=short.hash).json()[0]["name"]
        saved = arr.get("torrents/properties", hash=short.hash).json()["save_path"]
        assert f"{saved}/{first.partition('/')[0]}" == rows[short.hash]["content_path"]

        world.pool.union.link("torrents/complete/Séries/Short/Short.mkv", f"{name}.mkv")
        arr.post("torrents/createCategory", category="done")
        arr.imported(short.hash, "done")
        assert {row["hash"] for row in arr.poll()} == {long.hash, file.hash}
        with world.passing():
            wait_for(
                lambda: any(map(can_move, arr.get("torrents/info", category="done").json())), "that it is imported"
            )
        for each in (short, long, file, short):
            arr.remove(each.hash)
        world.wait_gone(file.hash)
        assert arr.poll() == [] and world.pool.names.find(f"{name}.mkv") is not None
        assert all(status < 300 or status == 403 for _, _, status in arr.log)
    finally:
        port.daemon.close()


def test_an_expired_session_is_renewed_by_one_login(world: World) -> None:
    port = Port(world, "me", "secret")
    arr = Arr(port.url, "tv", username="me", password="secret")
    try:
        arr.test_button()
        arr.log.clear()
        port.now += SESSION_SECONDS + 1
        assert arr.version() == (2, 9, 3)
        calls = [("GET", "app/webapiVersion", 403), ("POST", "auth/login", 200), ("GET", "app/webapiVersion", 200)]
        assert arr.log == calls
        wrong = Arr(port.url, "tv")
        reply = wrong.send("POST", "auth/login", *wrong.form(username="me", password="wrong"))
        assert (reply.status, reply.text) == (200, "Fails.") and "Set-Cookie" not in reply.headers
    finally:
        port.daemon.close()


def test_commands_and_clients_share_a_port_but_no_rights(world: World) -> None:
    port = Port(world, "me", "secret")
    try:
        arr = Arr(port.url, "tv", username="me", password="secret")
        arr.login()
        large = arr.multipart({}, ("x.torrent", b"0" * (3 << 20)))
        assert arr.send("POST", "torrents/add", *large).status == 415, "large, but not too large"
        arr = Arr(port.url, "tv")
        assert arr.send("GET", "../status").status in (401, 403, 404)
        assert arr.send("HEAD", "../..").status in (401, 403, 404, 405)
    finally:
        port.daemon.close()
