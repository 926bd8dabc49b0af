"""The Web API without a mount: what it lists and how fast, who may ask, and what no parameter may bring about."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clienting import Arr
from downloading import World
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debrid.client import Client
from debrid.downloads.record import Download, Item, Stage, Wanted
from debrid.downloads.words import Words
from debrid.qbittorrent import guard, routes
from debrid.qbittorrent.desk import Desk
from debrid.qbittorrent.guard import Banned, Sessions, host_allowed, origin_allowed
from debrid.qbittorrent.queries import arranged
from debrid.qbittorrent.views import Paths
from debrid.simulator import Simulator

HASH = "%040x"


class Served:
    """The API over a world, asked without a network."""

    def __init__(self, world: World, username: str | None = None, password: str | None = None) -> None:
        self.world = world
        self.words = Words(world.store.downloads, ["configured"])
        self.desk = Desk(
            downloads=world.downloads,
            words=self.words,
            sessions=Sessions(world.store.downloads, username, password),
            tree=world.tree,
            paths=Paths("/data"),
            wanted=lambda name: world.settings.get(name, Wanted()),
            free_space=lambda: 1 << 40,
            hosts=("media.example.org",),
            torrent_hosts=("127.0.0.1",),
        )
        app = Flask("test")
        app.url_map.strict_slashes = app.url_map.merge_slashes = False
        app.register_blueprint(routes.Api(self.desk).blueprint())
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **query: object) -> Any:
        answer = self.client.get(f"/api/v2/{path}", query_string=query)
        return answer.get_json() if answer.mimetype == "application/json" else (answer.status_code, answer.text)

    def post(self, path: str, **form: object) -> tuple[int, str]:
        answer = self.client.post(f"/api/v2/{path}", data=form)
        return answer.status_code, answer.text

    def put(self, number: int, **changes: object) -> Download:
        """A download as if it had come so far."""
        made = Download(
            hash=HASH % number, kind="torrent", stage=Stage.COMPLETE, name=f"Film {number}",
            source=f"magnet:?xt=urn:btih:{HASH % number}&tr=udp%3A%2F%2Fa", category="tv", content=HASH % number,
            items=(Item(1, f"/Film{number}.mkv", 1000, True), Item(2, "/x.nfo", 10, False)), size=1000, progress=1.0,
            path=f"torrents/complete/tv/Film {number}", added_at=1000.0 + number, changed_at=2000.0, done_at=3000.0,
        )  # fmt: skip
        made = replace(made, **changes)  # type: ignore[arg-type]
        self.world.store.downloads.put(made)
        self.world.downloads._all[made.hash] = made
        return made


@pytest.fixture
def api(tmp_path: Path, sim: Simulator, client: Client) -> Iterator[Served]:
    world = World(tmp_path, sim, client)
    yield Served(world)
    world.close()


@pytest.fixture
def running(api: Served) -> Served:
    api.world.downloads.start()
    return api


# -- listing


@pytest.mark.parametrize(
    ("changes", "wanted", "state", "movable"),
    [
        ({"stage": Stage.ADDING}, Wanted(), "queuedDL", False),
        ({"stage": Stage.ADDING, "paused": True}, Wanted(), "pausedDL", False),
        ({"stage": Stage.CONVERTING}, Wanted(), "metaDL", False),
        ({"stage": Stage.CONVERTING, "problem": "no answer"}, Wanted(), "stalledDL", False),
        ({"stage": Stage.FETCHING, "speed": 5}, Wanted(), "downloading", False),
        ({"stage": Stage.FETCHING}, Wanted(), "stalledDL", False),
        ({"stage": Stage.PUBLISHING}, Wanted(), "moving", False),
        ({"stage": Stage.CHECKING}, Wanted(), "checkingDL", False),
        ({"stage": Stage.MOVING}, Wanted(), "moving", False),
        ({"stage": Stage.FAILED, "problem": "fake"}, Wanted(), "error", False),
        ({}, Wanted(), "stalledUP", False),
        ({"paused": True}, Wanted(), "pausedUP", False),
        ({"imported": True}, Wanted(), "pausedUP", True),
        ({}, Wanted(importing="move"), "pausedUP", True),
    ],
)
def test_states_and_limits(api: Served, changes: dict, wanted: Wanted, state: str, movable: bool) -> None:
    api.world.settings["tv"] = wanted
    api.put(1, **changes)
    (row,) = api.get("torrents/info")
    assert row["state"] == state
    limit_reached = row["ratio_limit"] >= 0 and row["ratio_limit"] - row["ratio"] <= 0.001
    assert (row["state"] == "pausedUP" and limit_reached) == movable
    assert (row["progress"] == 1) == (state in ("stalledUP", "pausedUP"))
    assert row["content_path"] != row["save_path"] and "\\" not in row["content_path"]


def test_a_row_is_what_clients_parse(api: Served) -> None:
    api.put(1, tags=("a", "b"), only="torrents/complete/tv/Film 1/Film1.mkv")
    (row,) = api.get("torrents/info")
    assert len(row) >= 48 and row["hash"] == HASH % 1 and row["name"] == "Film 1" and row["tags"] == "a, b"
    assert (row["save_path"], row["content_path"]) == (
        "/data/torrents/complete/tv",
        "/data/torrents/complete/tv/Film 1/Film1.mkv",
    )
    assert row["size"] == 1000 and row["total_size"] == 1010 and row["amount_left"] == 0 and row["eta"] == 0
    files = api.get("torrents/files", hash=HASH.upper() % 1)
    assert [(each["name"], each["priority"]) for each in files] == [("Film 1/Film1.mkv", 1), ("Film 1/x.nfo", 0)]
    assert len(api.get("torrents/files", hash=HASH % 1, indexes="1")) == 1
    assert api.get("torrents/trackers", hash=HASH % 1)[-1]["url"] == "udp://a"


def test_filters_sorting_and_parts(api: Served) -> None:
    for number in range(5):
        api.put(number, category="TV" if number % 2 else "tv", size=10 - number)
    api.put(9, stage=Stage.FETCHING, speed=3, category="")
    assert len(api.get("torrents/info")) == 6 and api.get("torrents/count") == (200, "6")
    assert [each["name"] for each in api.get("torrents/info", category="TV")] == ["Film 1", "Film 3"]
    assert [each["name"] for each in api.get("torrents/info", category="")] == ["Film 9"]
    sizes = [each["size"] for each in api.get("torrents/info", category="tv", sort="size")]
    assert sizes == sorted(sizes) == [6, 8, 10]
    assert api.get("torrents/info", category="tv", sort="size", reverse="True", limit=1)[0]["size"] == 10
    assert api.get("torrents/info", sort="size", offset=-1)[0]["size"] == 1000
    assert [each["name"] for each in api.get("torrents/info", filter="downloading")] == ["Film 9"]
    assert len(api.get("torrents/info", filter="completed")) == 5 == len(api.get("torrents/info", filter="seeding"))
    assert len(api.get("torrents/info", hashes=f"{HASH % 1}|{HASH % 2}|x")) == 2
    assert api.get("torrents/info", sort="nonsense")[0] == 400
    assert len(api.get("torrents/info", filter="nonsense", limit="-5", offset="x")) == 6


@given(st.lists(st.integers(0, 5)), st.booleans(), st.integers(-9, 9), st.integers(-9, 9))
def test_parts_are_parts(sizes: list[int], reverse: bool, limit: int, offset: int) -> None:
    rows = [{"size": size} for size in sizes]
    found = [row["size"] for row in arranged(rows, "size", reverse, limit, offset)]
    whole = sorted(sizes, reverse=reverse)
    start = offset if offset >= 0 else max(0, len(whole) + offset)
    assert found == whole[start:][: limit if limit > 0 else None]


def test_a_listing_asks_nobody(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand torrents: no SQL, no call of the provider, no look at the tree; only how long it takes is printed."""
    for number in range(1000):
        api.put(number)
    calls, db = len(api.world.sim.journal), api.world.store.downloads._db

    def never(*_: object) -> None:
        raise AssertionError("asked while listing")

    for name in ("read", "write", "writing"):
        monkeypatch.setattr(db, name, never)
    monkeypatch.setattr(api.world.tree, "contents", never)
    api.client.get("/api/v2/torrents/info")
    begun = time.perf_counter()
    body = api.client.get("/api/v2/torrents/info?category=tv").data
    print(f"1,000 torrents: {(time.perf_counter() - begun) * 1000:.0f} ms, {len(body)} bytes")
    assert len(json.loads(body)) == 1000 and len(api.world.sim.journal) == calls


def test_changes_are_told_as_changes(api: Served) -> None:
    api.put(1)
    first = api.get("sync/maindata")
    assert first["full_update"] and list(first["torrents"]) == [HASH % 1] and "configured" in first["categories"]
    same = api.get("sync/maindata", rid=first["rid"])
    assert "torrents" not in same or set(same["torrents"][HASH % 1]) <= {"seeding_time", "time_active"}
    api.put(2)
    api.world.downloads.delete([HASH % 1], with_files=False)
    api.post("torrents/createCategory", category="new")
    api.post("torrents/createTags", tags="t")
    delta = api.get("sync/maindata", rid=first["rid"])
    assert list(delta["torrents"]) == [HASH % 2] and delta["torrents_removed"] == [HASH % 1]
    assert list(delta["categories"]) == ["new"] and delta["tags"] == ["t"] and "full_update" not in delta
    assert api.get("sync/maindata", rid=delta["rid"] + 1000)["full_update"]


# -- changing


def test_categories_are_exact_and_last(api: Served) -> None:
    assert api.post("torrents/createCategory", category="TV/Änime") == (200, "")
    assert api.post("torrents/createCategory", category="tv/Änime")[0] == 200
    assert api.post("torrents/createCategory", category="TV/Änime")[0] == 409
    assert api.post("torrents/createCategory", category="")[0] == 400
    for bad in ("a//b", "/a", "a/", "a\\b", "..", "a/../b", "a\nb", "x" * 300):
        assert api.post("torrents/createCategory", category=bad)[0] == 409, bad
    assert api.world.pool.names.find("torrents/complete/TV/Änime") is not None, (
        "the folder is there before any download"
    )
    again = Words(api.world.store.downloads)
    assert again.categories == ["TV/Änime", "tv/Änime"]
    shown = api.get("torrents/categories")
    assert shown["TV/Änime"] == {"name": "TV/Änime", "savePath": "/data/torrents/complete/TV/Änime"}
    api.put(1)
    api.put(2)
    assert api.post("torrents/setCategory", hashes=HASH % 1, category="tv/Änime")[0] == 200
    assert [each["category"] for each in api.get("torrents/info")] == ["tv/Änime", "tv"], "only the one that was named"
    assert api.post("torrents/setCategory", hashes=HASH % 1, category="missing")[0] == 409
    assert api.post("torrents/removeCategories", categories="tv/Änime\nconfigured") == (200, "")
    assert "configured" in api.get("torrents/categories") and api.get("torrents/info")[0]["category"] == ""


def test_removal_is_removal_whatever_is_there(api: Served) -> None:
    api.put(1)
    assert api.post("torrents/delete", hashes=HASH % 7, deleteFiles="true") == (200, "")
    assert api.post("torrents/delete", hashes=HASH % 1)[0] == 400 and len(api.get("torrents/info")) == 1
    assert api.post("torrents/delete", hashes=HASH.upper() % 1, deleteFiles="True") == (200, "")
    assert api.get("torrents/info") == []


def test_adding(running: Served) -> None:
    world = running.world
    source = world.film()
    assert running.post("torrents/add", urls=source.magnet, category="New", stopped="True", tags="a, b") == (200, "Ok.")
    (row,) = running.get("torrents/info")
    assert (row["state"], row["category"], row["tags"]) == (
        "pausedDL",
        "New",
        "a, b",
    ) and "New" in running.words.categories
    assert running.post("torrents/add", urls=source.magnet, category="Other") == (200, "Ok."), "known already"
    assert running.post("torrents/resume", hashes="all") == (200, "")
    world.wait(source.hash, Stage.COMPLETE)
    several = [world.film(f"Film{number}") for number in range(2)]
    urls = "\r\n".join([several[0].magnet, "", several[1].hash, "nonsense"])
    assert running.post("torrents/add", urls=urls) == (200, "Ok.")
    assert {each.hash for each in several} < {each["hash"] for each in running.get("torrents/info")}
    assert running.post("torrents/add", urls="nonsense") == (200, "Fails.") == running.post("torrents/add")
    file = (io.BytesIO(b"nonsense"), "x.torrent")
    assert running.post("torrents/add", torrents=file)[0] == 415
    world.sim.faults.name_filter = True
    filtered = world.film("A.WEB-DL")
    assert running.post("torrents/add", urls=filtered.magnet) == (200, "Fails.")
    assert all(each["hash"] != filtered.hash for each in running.get("torrents/info"))


def test_addresses_are_fetched_from_named_hosts_only(running: Served) -> None:
    sim = running.world.sim
    # The simulator's own address: allowed, but what is there is no torrent.
    assert running.post("torrents/add", urls=f"{sim.api_url}/time") == (200, "Fails.")
    assert sim.count("GET", "/time") == 1
    assert running.post("torrents/add", urls=sim.api_url.replace("127.0.0.1", "localhost") + "/time")[1] == "Fails."
    assert sim.count("GET", "/time") == 1, "that host is not named"


# -- who may ask


def guarded(api: Served) -> Served:
    return Served(api.world, "me", "SECRET")


def test_without_a_password_any_login_passes(api: Served) -> None:
    assert api.post("auth/login", username="x", password="y") == (200, "Ok.")
    assert api.post("auth/login") == (200, "Ok.") and api.get("app/version") == (200, "v4.6.7")


def test_with_a_password_only_sessions_are_answered(api: Served) -> None:
    made = guarded(api)
    for path in ("app/version", "torrents/info", "app/webapiVersion", "nonsense"):
        assert made.get(path)[0] == 403
    assert made.post("torrents/add", urls="x")[0] == 403
    assert made.post("auth/login", username="me", password="wrong") == (200, "Fails.")
    answer = made.client.post("/api/v2/auth/login", data={"username": "me", "password": "SECRET"})
    cookie = answer.headers["Set-Cookie"]
    assert answer.text == "Ok." and cookie.startswith("SID=") and "HttpOnly" in cookie and "Path=/" in cookie
    assert made.get("app/webapiVersion") == (200, "2.9.3") and made.get("nonsense")[0] == 404
    made.post("auth/logout")
    assert made.get("app/version")[0] == 403


def test_passwords_are_kept_as_salted_hashes_and_tries_are_counted(api: Served) -> None:
    log, now = api.world.store.downloads, [0.0]
    sessions = Sessions(log, "me", "SECRET", lambda: now[0])
    kept = log.setting("password")
    assert kept and "SECRET" not in kept
    assert Sessions(log, "me", "SECRET").login("me", "SECRET", "a") and log.setting("password") == kept
    session = sessions.login("me", "SECRET", "a")
    assert session and sessions.allows(session) and not sessions.allows("") and not sessions.allows("x")
    now[0] += guard.SESSION_SECONDS - 1
    assert sessions.allows(session), "used, so it goes on"
    now[0] += guard.SESSION_SECONDS + 1
    assert not sessions.allows(session)
    for _ in range(5):
        assert sessions.login("me", "wrong", "b") is None
    with pytest.raises(Banned):
        sessions.login("me", "SECRET", "b")
    assert sessions.login("me", "SECRET", "a")
    now[0] += 601
    assert sessions.login("me", "SECRET", "b")
    assert Sessions(log, "me", "OTHER").login("me", "SECRET", "a") is None and log.setting("password") != kept
    assert Sessions(log, None, None).login("x", "y", "a") and log.setting("password") == ""


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8080", True), ("localhost:8080", True), ("mediapool:8080", True), ("[::1]:8080", True),
        ("192.168.1.5", True), ("media.example.org", True), ("MEDIA.example.org:80", True), ("evil.example.org", False),
        ("evil.example.org:8080", False), ("", False), ("me@127.0.0.1", False), ("[::1", False),
        ("127.0.0.1.evil.example.org", False),
    ],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    assert host_allowed(host, ["media.example.org"]) is allowed


def test_origins(api: Served) -> None:
    assert origin_allowed(None, "x") and origin_allowed("http://a:1", "a:1") and not origin_allowed("http://b", "a")
    headers = {"Origin": "http://evil.example.org"}
    assert api.client.post("/api/v2/torrents/delete", data={}, headers=headers).status_code == 401
    headers = {"Referer": "http://evil.example.org/page"}
    assert api.client.post("/api/v2/torrents/delete", data={}, headers=headers).status_code == 401
    assert api.client.get("/api/v2/app/version", headers={"Host": "evil.example.org"}).status_code == 401
    assert api.client.get("/api/v2/app/version", headers={"Origin": "http://localhost"}).status_code == 200


def test_bodies_are_bounded_and_nothing_redirects(api: Served) -> None:
    arr = Arr("http://x", "tv")
    long, kind = arr.multipart({"urls": "x" * (5 << 20)})
    assert api.client.post("/api/v2/torrents/add", data=long, content_type=kind).status_code == 413
    huge = b"x" * (13 << 20)
    assert api.client.post("/api/v2/torrents/add", data=huge, content_type=kind).status_code == 413
    for path in ("app/version/", "/app//version", "torrents/info/", "", "/"):
        assert api.client.get(f"/api/v2/{path}").status_code in (200, 404)
    assert api.client.get("/api/v2/torrents/delete").status_code == 405
    assert api.client.post("/api/v2/torrents/info").status_code == 200


# -- anything

PATHS = sorted({*routes._READ, *routes._CHANGE, "auth/login", "auth/logout", "nonsense", "../x"})
NAMES = sorted(
    {"hash", "hashes", "category", "categories", "tags", "tag", "filter", "sort", "limit", "offset", "reverse", "urls",
     "rid", "deleteFiles", "indexes", "username", "password", "paused", "stopped", "rename", "contentLayout",
     "savepath", "json", "value"}
)  # fmt: skip
ODD = ["", "all", "True", "-1", "9" * 5000, "a|b|", HASH % 1, "../..", "\0", "%00", "magnet:?xt=urn:btih:"]
VALUES = st.text(max_size=30) | st.sampled_from(ODD)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    post=st.booleans(),
    parameters=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    multipart=st.booleans(),
)
def test_no_parameter_brings_an_error_of_ours(
    api: Served, path: str, post: bool, parameters: dict[str, str], multipart: bool
) -> None:
    api.put(1)
    before = snapshot(api)
    kind = "multipart/form-data" if multipart else "application/x-www-form-urlencoded"
    parameters = {name: value.encode("utf-8", "replace").decode() for name, value in parameters.items()}
    if post:
        answer = api.client.post(f"/api/v2/{path}", data=parameters, content_type=kind)
    else:
        answer = api.client.get(f"/api/v2/{path}", query_string=parameters)
    assert answer.status_code < 500 and not 300 <= answer.status_code < 400, (answer.status_code, answer.text)
    assert str(api.world.base) not in answer.text
    if not post or answer.status_code >= 400 or answer.text == "Fails.":
        assert snapshot(api) == before, "nothing changes where nothing was granted"


def snapshot(api: Served) -> object:
    log = api.world.store.downloads
    return log.all(), log.words("categories"), log.words("tags"), sorted(api.world.pool.names.root.children)


def test_a_failing_disk_says_nothing_of_where_it_is(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr(api.world.tree, "folder", full)
    status, text = api.post("torrents/createCategory", category="x")
    assert status == 503 and "/secret" not in text and "No space" not in text


def test_a_bug_says_nothing_either(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("/secret")

    monkeypatch.setattr(api.world.downloads, "all", broken)
    status, text = api.get("torrents/info")
    assert status == 500 and "/secret" not in text
