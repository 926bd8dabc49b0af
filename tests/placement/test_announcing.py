"""Media servers told of changed folders, against real HTTP servers that answer as they do."""

import errno
import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arrserving import KEY, serving
from mediaserving import EmbyServer, JellyfinServer, MediaServer, PlexServer
from mounting import wait_for

from placement.services import mediaserver
from placement.services.announcing import Announcer, Announcers, Tempo, in_words
from placement.services.calls import Missing, Refused, ServiceError, Unreachable
from placement.services.jellyfin import Emby, Jellyfin
from placement.services.kept import Kept
from placement.services.mediaserver import Library
from placement.services.paths import Paths
from placement.services.plex import Plex, looking

KINDS: dict[str, tuple[type[MediaServer], type[mediaserver.MediaServer]]] = {
    "plex": (PlexServer, Plex),
    "jellyfin": (JellyfinServer, Jellyfin),
    "emby": (EmbyServer, Emby),
}
PATHS = {"media": "/m", "media/kids": "/kids"}
SOON = Tempo(quiet=0.05, longest=5)


class Setup:
    """One server, a tree of folders, and who tells of it."""

    def __init__(self, kind: str, tree: Path) -> None:
        fake, self.made = KINDS[kind]
        self.tree = tree
        self.fake = fake()
        self.fake.libraries = {"TV": ("/m/tv",), "Films": ("/m/films", "/elsewhere"), "Kids": ("/kids",)}
        self.fake.sees = {"/m": tree / "media", "/kids": tree / "media/kids"}
        for folder in ("media/tv/Show", "media/films", "media/kids"):
            (tree / folder).mkdir(parents=True)
        self.why = ""
        self.url = ""

    def client(self, key: str = KEY) -> mediaserver.MediaServer:
        return self.made(self.url, key, Paths(PATHS), seconds=20)

    def mode_of(self, path: str) -> int:
        return (self.tree / path).stat().st_mode

    @contextmanager
    def telling(
        self, tempo: Tempo = SOON, file: Path | None = None, key: str = KEY, mode: Callable[[str], int] | None = None
    ) -> Iterator[Announcers]:
        told = Announcers(Kept(file, "changed folders"))
        one = Announcer(
            self.client(key), tempo, mode or self.mode_of, lambda: self.why, kept=told.keep, pauses=(0.05, 0.1)
        )
        told.add(one)
        told.start()
        try:
            yield told
        finally:
            told.close()


@pytest.fixture(params=KINDS)
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    with served(Setup(request.param, tmp_path)) as setup:
        yield setup


@pytest.fixture
def plex(tmp_path: Path) -> Iterator[Setup]:
    with served(Setup("plex", tmp_path)) as setup:
        yield setup


@contextmanager
def served(setup: Setup) -> Iterator[Setup]:
    with serving(setup.fake) as setup.url:
        yield setup


def nothing_waits(told: Announcers) -> bool:
    return all(not one["waiting"] for one in told.status())


def test_versions_libraries_and_what_is_another_program(setup: Setup) -> None:
    client = setup.client()
    assert client.version()[0] in "14"
    assert {one.name: one.folders for one in client.libraries()} == setup.fake.libraries
    (setup.tree / "media/tv/a b.nfo").touch()
    assert client.names_in("/m/tv") == {"Show", "a b.nfo"}
    setup.fake.instead += [(200, {}, b'{"appName": "Sonarr"}'), (200, {}, b"[7]"), (200, {}, b"<html>")]
    for call in (client.version, client.libraries, client.libraries):
        with pytest.raises(ServiceError):
            call()
    setup.fake.libraries = {}
    assert client.libraries() == []


def test_the_kin_are_told_apart(tmp_path: Path) -> None:
    for asked, there in (("emby", JellyfinServer), ("jellyfin", EmbyServer)):
        server = there()
        server.instead.append((200, {}, json.dumps(dict(server.product)).encode()))
        with serving(server) as url, pytest.raises(ServiceError, match="correct kind or url"):
            KINDS[asked][1](url, KEY, Paths({})).version()


def test_a_bad_token_is_refused_and_never_told(setup: Setup) -> None:
    client = setup.client("a-wrong-token")
    with pytest.raises(Refused, match="refuses the token: copy it again from") as caught:
        client.look_at(["/m/tv"])
    assert "a-wrong-token" not in f"{caught.value} {client!r}"
    setup.fake.instead.append((500, {}, b'{"message": "%s is busy"}' % b"a-wrong-token"))
    with pytest.raises(Unreachable) as caught2:
        client.libraries()
    assert "a-wrong-token" not in str(caught2.value)


def test_a_folder_is_told_once_with_the_servers_path(setup: Setup) -> None:
    (setup.tree / "media/tv/Show/S01").mkdir()
    (setup.tree / "media/tv/Show/S01/a.mkv").touch()
    with setup.telling(Tempo(quiet=1, longest=30)) as told:
        for _ in range(20):
            told.note("media/tv/Show", "media/tv/Show/S01")
        told.note("torrents/complete/Show", "ddl", "other", "")
        told.note("media/kids/Film")  # never made: the nearest folder above it that is there
        wait_for(lambda: setup.fake.told and nothing_waits(told), "it to be told")
        assert sorted(setup.fake.told) == ["/kids", "/m/tv/Show"]
        assert setup.fake.library == {"/m/tv/Show/S01/a.mkv"}
        (status,) = told.status()
        assert status["told"] == ["/kids", "/m/tv/Show"] and status["held"] == ""
        assert in_words(status).startswith("told 2")
        told.note("media/tv/Show")
        wait_for(lambda: len(setup.fake.told) == 3, "the second change")


def test_plex_looks_in_the_section_with_the_longest_root() -> None:
    fake = PlexServer()
    fake.libraries = {"All": ("/m",), "TV": ("/m/tv", "/x"), "Anime": ("/m/tv/anime",), "Again": ("/m/tv/",)}
    with serving(fake) as url:
        client = Plex(url, KEY, Paths({"": "/m"}))
        libraries = client.libraries()
        assert looking(libraries, "/m/tv/anime/One") == [("3", "/m/tv/anime/One")]
        assert looking(libraries, "/m/tv/Show") == [("2", "/m/tv/Show"), ("4", "/m/tv/Show")]
        assert looking(libraries, "/m/films") == [("1", "/m/films")]
        assert looking(libraries, "/") == [
            ("1", "/m"),
            ("2", "/m/tv"),
            ("2", "/x"),
            ("3", "/m/tv/anime"),
            ("4", "/m/tv/"),
        ]
        assert looking(libraries, "/my") == []
        windows = [Library("1", "TV", ("D:\\Media\\tv",)), Library("2", "All", ("D:\\",))]
        assert looking(windows, "D:\\Media\\tv\\Show") == [("1", "D:\\Media\\tv\\Show")]
        assert looking(windows, "D:\\Other") == [("2", "D:\\Other")]
        client.look_at(["/m/tv/anime/a & b", "/nowhere"])
        assert fake.sections == [("3", "/m/tv/anime/a & b")]
    assert all(call[0] == "GET" for call in fake.calls)


def test_a_section_that_is_gone_is_asked_for_again(plex: Setup) -> None:
    listing = json.dumps({"MediaContainer": {"Directory": [{"key": "9", "Location": [{"path": "/m"}]}]}}).encode()
    plex.fake.instead.append((200, {}, listing))
    client = plex.client()
    with pytest.raises(Missing):
        client.look_at(["/m/tv"])
    client.look_at(["/m/tv"])
    assert plex.fake.told == ["/m/tv"]


def test_nothing_is_told_while_the_tree_is_incomplete(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setup.why = "missing drives: disk2"
    with setup.telling() as told:
        told.note("media/tv/Show")
        wait_for(lambda: told.status()[0]["held"], "it to be held back")
        told.note("media/films")
        wait_for(lambda: told.status()[0]["waiting"] == 2, "the second folder")
        assert in_words(told.status()[0]) == (
            "nothing told yet, 2 changed folders wait, held back: missing drives: disk2"
        )
        assert not setup.fake.calls
        setup.why = ""
        wait_for(lambda: nothing_waits(told), "it to be told")
    assert sorted(setup.fake.told) == ["/m/films", "/m/tv/Show"]
    assert caplog.text.count("is not told of changes for now: missing drives: disk2") == 1


def test_what_becomes_incomplete_while_it_is_looked_at_is_held_back(plex: Setup) -> None:
    def mode(path: str) -> int:
        plex.why = "missing drives: disk2"
        raise FileNotFoundError(errno.ENOENT, "as if it were removed", path)

    with plex.telling(mode=mode) as told:
        told.note("media/tv/Show")
        wait_for(lambda: told.status()[0]["held"] == plex.why != "", "it to be held back")
    assert not plex.fake.calls


def test_a_folder_that_cannot_be_looked_at_waits(plex: Setup) -> None:
    broken = True

    def mode(path: str) -> int:
        if broken:
            raise OSError(errno.EIO, "gone", path)
        return plex.mode_of(path)

    with plex.telling(mode=mode) as told:
        told.note("media/tv/Show")
        wait_for(lambda: "cannot be found" in told.status()[0]["held"], "it to be held back")
        assert not plex.fake.calls
        broken = False
        wait_for(lambda: plex.fake.told == ["/m/tv/Show"], "it to be told")


def test_a_library_that_is_gone_whole_is_not_told(plex: Setup) -> None:
    (plex.tree / "media").rename(plex.tree / "away")
    with plex.telling() as told:
        told.note("media/tv/Show")
        wait_for(lambda: "cannot be found" in told.status()[0]["held"], "it to be held back")
        (plex.tree / "away").rename(plex.tree / "media")
        wait_for(lambda: plex.fake.told == ["/m/tv/Show"], "it to be told")


def test_a_server_that_is_down_is_told_when_it_is_back(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    setup.url = f"http://127.0.0.1:{port}"
    with setup.telling() as told:
        told.note("media/tv/Show")
        wait_for(lambda: "cannot be reached" in told.status()[0]["held"], "the trouble")
        told.note("media/films")
        with serving(setup.fake, port):
            setup.fake.instead.append((503, {}, b""))
            wait_for(lambda: nothing_waits(told), "it to be told")
        assert told.status()[0]["held"] == ""
    assert {"/m/films", "/m/tv/Show"} <= set(setup.fake.told)
    assert caplog.text.count("are told later") == 1


def test_a_refused_token_stops_it_and_says_so(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    with setup.telling(key="wrong") as told:
        told.note("media/tv/Show")
        wait_for(lambda: "refuses the token" in told.status()[0]["held"], "the refusal")
        asked = len(setup.fake.calls)
        told.note("media/films")
        wait_for(lambda: told.status()[0]["waiting"] == 2, "the second folder")
        assert "told nothing until the tree is mounted anew" in caplog.text
        assert len(setup.fake.calls) == asked
    assert "wrong" not in caplog.text


def test_what_waits_outlasts_a_restart(setup: Setup, tmp_path: Path) -> None:
    file = tmp_path / "untold.json"
    setup.why = "missing drives: disk2"
    with setup.telling(file=file) as told:
        told.note("media/tv/Show")
        wait_for(lambda: file.exists() and "media/tv/Show" in file.read_text(), "it to be kept")
    assert KEY not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    setup.why = ""
    with setup.telling(file=file) as told:
        wait_for(lambda: setup.fake.told == ["/m/tv/Show"], "it to be told")
        wait_for(lambda: "Show" not in file.read_text(), "it to be forgotten")
    for damaged in ("{", "[1]", json.dumps({setup.url: "media"}), json.dumps({setup.url: [5, None]})):
        file.write_text(damaged)
        with setup.telling(file=file) as told:
            assert nothing_waits(told)


def test_only_what_nobody_saw_if_that_is_asked_for(plex: Setup) -> None:
    with plex.telling(Tempo(0.05, 5, unseen_only=True)) as told:
        told.note("media/films")
        told.note("media/tv/Show", unseen=True)
        wait_for(lambda: plex.fake.told and nothing_waits(told), "it to be told")
        told.everything()
        wait_for(lambda: len(plex.fake.told) > 1 and nothing_waits(told), "everything to be told")
    assert plex.fake.told[0] == "/m/tv/Show" and set(plex.fake.told[1:]) == {"/m/tv", "/m/films", "/kids"}


def test_a_name_that_is_no_text_is_told_by_the_folder_above(setup: Setup) -> None:
    (setup.tree / "media/tv/Show/\udcff").mkdir()
    with setup.telling() as told:
        told.note("media/tv/Show/\udcff")
        wait_for(lambda: setup.fake.told == ["/m/tv/Show"], "the folder above")
        wait_for(lambda: nothing_waits(told), "nothing to wait")


def test_a_bug_is_no_end(plex: Setup, caplog: pytest.LogCaptureFixture) -> None:
    broken = True

    def mode(path: str) -> int:
        if broken:
            raise ZeroDivisionError
        return plex.mode_of(path)

    with plex.telling(mode=mode) as told:
        told.note("media/tv/Show")
        wait_for(lambda: "internal error" in told.status()[0]["held"], "the error")
        broken = False
        wait_for(lambda: plex.fake.told == ["/m/tv/Show"], "it to be told")
    assert "ZeroDivisionError" in caplog.text


def test_one_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, served(Setup("jellyfin", tmp_path)) as good:
        told = Announcers(Kept(None, "changed folders"))
        dead = Emby(f"http://127.0.0.1:{silent.getsockname()[1]}", KEY, Paths(PATHS), seconds=1)
        for server in (dead, good.client()):
            told.add(Announcer(server, SOON, good.mode_of, lambda: ""))
        told.start()
        try:
            for number in range(10_000):
                told.note(f"media/tv/Show/{number % 1000}")
            wait_for(lambda: set(good.fake.told) == {"/m/tv/Show"}, "the other")
            assert dead.name in [one["name"] for one in told.status() if one["waiting"]]
        finally:
            told.close()
