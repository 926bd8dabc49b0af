"""The webhooks of Sonarr and Radarr: their payloads, who may send them, and what is made of them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import MakeMount
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.config import parse
from cli.daemon import Daemon
from cli.hooks import Event, Hooks, event_of, hooks

HASH = "ABCDEF0123456789ABCDEF0123456789ABCDEF01"
SERIES = {"id": 1, "title": "Show", "path": "/data/media/tv/Show", "tvdbId": 7, "tags": ["x"]}
MOVIE = {"id": 1, "title": "Film", "year": 2020, "folderPath": "/data/media/movies/Film (2020)"}
FILE = {"id": 5, "relativePath": "S01/e1.mkv", "path": "/data/media/tv/Show/S01/e1.mkv", "size": 7}
FILM = {"id": 5, "relativePath": "f.mkv", "path": "/data/media/movies/Film (2020)/f.mkv"}

PAYLOADS: list[tuple[str, dict[str, Any], Event]] = [
    (
        "sonarr",
        {"eventType": "Download", "series": SERIES, "episodeFile": FILE, "isUpgrade": False, "downloadId": HASH},
        Event("sonarr", "Download", "Show", SERIES["path"], (FILE["path"],), HASH),  # type: ignore[arg-type]
    ),
    (
        "sonarr",
        {"eventType": "Download", "series": SERIES, "episodeFiles": [FILE, FILE], "sourcePath": "/data/torrents/x"},
        Event("sonarr", "Download", "Show", SERIES["path"], (FILE["path"],) * 2),  # type: ignore[arg-type]
    ),
    (
        "sonarr",
        {"eventType": "Rename", "series": SERIES, "renamedEpisodeFiles": [{**FILE, "previousPath": "/data/old"}]},
        Event("sonarr", "Rename", "Show", SERIES["path"], (FILE["path"],)),  # type: ignore[arg-type]
    ),
    (
        "sonarr",
        {"eventType": "SeriesDelete", "series": SERIES, "deletedFiles": True},
        Event("sonarr", "SeriesDelete", "Show", SERIES["path"]),  # type: ignore[arg-type]
    ),
    (
        "radarr",
        {"eventType": "Download", "movie": MOVIE, "movieFile": FILM, "deletedFiles": [FILM], "downloadId": HASH},
        Event("radarr", "Download", "Film", MOVIE["folderPath"], (FILM["path"],), HASH),  # type: ignore[arg-type]
    ),
    (
        "radarr",
        {"eventType": "Test", "movie": {"id": 1, "title": "Test Title", "folderPath": "C:\\testpath"}},
        Event("radarr", "Test", "Test Title", "C:\\testpath"),
    ),
    ("radarr", {"eventType": "Health", "level": "warning"}, Event("radarr", "Health")),
    ("sonarr", {"eventType": "SomethingNew", "what": [1]}, Event("sonarr", "SomethingNew")),
]


@pytest.mark.parametrize(("service", "body", "event"), PAYLOADS)
def test_payloads_are_understood(service: str, body: dict[str, Any], event: Event) -> None:
    assert event_of(service, body) == event


WRONG: list[tuple[object, str]] = [
    (None, "must be a JSON object"),
    ([], "must be a JSON object"),
    ({}, '"eventType" must be a text'),
    ({"eventType": ""}, '"eventType" must be a text'),
    ({"eventType": "Download", "series": []}, '"series" must be an object'),
    ({"eventType": "Download", "series": {"title": 5}}, '"title" must be a text'),
    ({"eventType": "Download", "episodeFile": {"path": "/a\0b"}}, '"path" must be a path'),
    ({"eventType": "Download", "episodeFiles": {}}, '"episodeFiles" must be a list of objects'),
    ({"eventType": "Download", "episodeFiles": [1]}, '"episodeFiles" must be a list of objects'),
    ({"eventType": "Rename", "renamedEpisodeFiles": [{}] * 5001}, "more than 5000 files"),
    ({"eventType": "x" * 5000}, '"eventType" must be a text'),
]


@pytest.mark.parametrize(("body", "told"), WRONG)
def test_bad_payloads_are_told(body: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        event_of("sonarr", body)


TEXT = st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["eventType", "movie", "movieFile", "movieFiles", "renamedMovieFiles", "downloadId", "path", "title"]
)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON) | st.lists(st.dictionaries(KEYS, JSON))))
def test_any_payload_is_an_event_or_a_reason(body: dict[str, Any]) -> None:
    try:
        event = event_of("radarr", body)
    except ValueError:
        return
    assert event.type == body["eventType"]


class Warmed:
    """Stands for the cache: knows which paths are remote, and what it was asked to warm."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def warm(self, paths: list[str]) -> dict[str, int]:
        self.asked += paths
        if "local" in paths[0]:
            raise FileNotFoundError(2, "No such file", paths[0])
        return {"files": 1, "taken": 1}


class Served:
    """The hooks of a daemon that listens."""

    def __init__(self, text: str = "") -> None:
        self.cache = Warmed()
        self.config = parse('[http]\nlisten = "127.0.0.1:0"\n' + text).http
        made = hooks(self.config, lambda given: self.daemon.is_own(given), Hooks(Path("/data"), self.cache))  # type: ignore[arg-type]
        self.daemon = Daemon(self.config.address, {"/api/x": dict}, {}, [made])
        self.contact = self.daemon.contact(Path("/data"))
        self.daemon.start()

    def send(self, path: str = "sonarr", body: Any = None, **options: Any) -> requests.Response:
        options.setdefault("headers", {"Authorization": f"Bearer {self.contact.token}"})
        method = options.pop("method", "POST")
        if "data" not in options:
            options["json"] = body if body is not None else {"eventType": "Test"}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{self.contact.url}/hooks/{path}", timeout=30, **options)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served('username = "media"\npassword = "se:cret ü"\n')
    yield made
    made.daemon.close()


def test_the_user_and_the_token_are_let_in_and_nobody_else(served: Served) -> None:
    assert served.send().json() == {"event": "Test", "files": 0, "warmed": 0, "note": "mediapool hears you"}
    right = (b"media", "se:cret ü".encode())
    assert served.send(headers={}, auth=right).status_code == 200
    for auth in [(b"media", b"wrong"), (b"other", right[1]), (b"", b""), (b"\xff", b"\xfe"), None]:
        answer = served.send(headers={}, auth=auth)
        assert answer.status_code == 401 and "username and password" in answer.text
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert served.send(headers={"Authorization": "Bearer x"}).status_code == 401
    # The user of [http] is not the one of the commands.
    assert requests.get(f"{served.contact.url}/api/x", auth=right, timeout=30).status_code == 401


def test_without_a_password_only_the_token_is_let_in() -> None:
    served = Served()
    try:
        assert served.send().status_code == 200
        answer = served.send(headers={}, auth=("", ""))
        assert answer.status_code == 401 and "has none yet" in answer.text
    finally:
        served.daemon.close()


def test_imports_and_renames_are_warmed(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    files = [{"path": "/data/media/tv/a.mkv"}, {"path": "/data/media/tv/local.mkv"}]
    for event, key in (("Download", "episodeFiles"), ("Rename", "renamedEpisodeFiles")):
        answer = served.send(body={"eventType": event, "series": SERIES, key: files})
        assert answer.json() == {"event": event, "files": 2, "warmed": 1, "note": ""}
    assert served.cache.asked == ["media/tv/a.mkv", "media/tv/local.mkv"] * 2
    assert "sonarr: Download of Show: /data/media/tv/a.mkv, /data/media/tv/local.mkv" in caplog.text


def test_paths_outside_the_tree_are_told_and_left_alone(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for path in ("/tv/a.mkv", "/data/../etc/passwd", "/data", "C:\\x", "relative", "/database/x\n2026 ERROR"):
        answer = served.send("radarr", {"eventType": "Download", "movieFile": {"path": path}}, method="PUT")
        assert answer.status_code == 200 and "not all files lie below /data: does radarr use" in answer.json()["note"]
    assert served.cache.asked == []
    assert "\n2026 ERROR" not in caplog.text


def test_other_events_are_taken_with_a_note(served: Served) -> None:
    for event in ("Grab", "EpisodeFileDelete", "SeriesDelete", "Health", "Unheard"):
        body = {"eventType": event, "episodeFile": {"path": "/data/a"}}
        assert "nothing is to be done" in served.send(body=body).json()["note"]
    assert served.cache.asked == []


def test_bad_requests_are_refused_with_a_reason(served: Served) -> None:
    token = {"Authorization": f"Bearer {served.contact.token}"}
    as_json = {**token, "Content-Type": "application/json"}
    assert served.send(data=b"{", headers=as_json).status_code == 400
    assert "must be a JSON object" in served.send(data=b"{", headers=as_json).text
    assert "application/json" in served.send(data=b'{"eventType": "Test"}', headers=token).text
    assert served.send(data=b"[" * 100_000, headers=as_json).status_code == 400
    assert served.send(data=b" " * (2 << 20), headers=as_json).status_code == 413
    assert "sonarr and radarr" in served.send("plex").text
    assert served.send("plex").status_code == 404
    assert served.send(method="GET").status_code == 405


def test_many_at_once(served: Served) -> None:
    answers: list[int] = []

    def send() -> None:
        answers.append(served.send(body={"eventType": "Download", "episodeFile": FILE}).status_code)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20


@pytest.mark.mount
def test_a_mounted_tree_hears_and_distribute_refuses(make_mount: MakeMount, tmp_path: Path) -> None:
    mounted = make_mount(program=("-m", "cli", "-v")).start()
    contact = json.loads((mounted.state / "daemon.json").read_text())
    body = {"eventType": "Download", "series": SERIES, "episodeFile": {"path": f"{mounted.path}/a.mkv"}}
    with requests.Session() as session:
        session.trust_env = False
        url = f"{contact['url']}/hooks/sonarr"
        assert session.post(url, json=body, timeout=30).status_code == 401
        answer = session.post(url, json=body, timeout=30, headers={"Authorization": f"Bearer {contact['token']}"})
    assert answer.json() == {"event": "Download", "files": 1, "warmed": 0, "note": ""}
    assert f"sonarr: Download of Show: {mounted.path}/a.mkv" in mounted.log.read_text()

    for name in ("in", "library"):
        (tmp_path / name).mkdir()
    (tmp_path / "in/a").write_text("content")
    done = mounted.command("distribute", str(tmp_path / "in"), "--library", str(tmp_path / "library"), "--yes")
    assert done.returncode == 1 and "is used by another mediapool" in done.stderr
    assert (tmp_path / "in/a").exists()
    mounted.stop()
