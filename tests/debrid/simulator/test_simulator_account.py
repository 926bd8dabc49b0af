"""Time, user, traffic, hosts, settings, streaming."""

import re
import time

import pytest
import requests

from debrid.simulator import Simulator
from debrid.simulator.clock import paris_offset

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z")
SUMMER, WINTER = 1_720_785_791.0, 1_736_942_591.0  # 2024-07-12 12:03:11 and 2025-01-15 12:03:11 UTC


@pytest.fixture
def stopped_clock():
    """A simulator whose base clock stands still in summer."""
    with Simulator(clock=lambda: SUMMER) as simulator:
        yield simulator


def test_time_is_the_text_of_paris(stopped_clock) -> None:
    plain = requests.get(stopped_clock.api_url + "/time", timeout=5)
    iso = requests.get(stopped_clock.api_url + "/time/iso", timeout=5)
    assert plain.text == "2024-07-12 14:03:11"
    assert iso.text == "2024-07-12T14:03:11+0200"
    assert plain.headers["Content-Type"].startswith("text/plain")


def test_time_in_winter(stopped_clock) -> None:
    stopped_clock.advance(WINTER - SUMMER)
    assert requests.get(stopped_clock.api_url + "/time/iso", timeout=5).text == "2025-01-15T13:03:11+0100"


def test_dates_are_local_time_stamped_z(stopped_clock) -> None:
    stopped_clock.add_torrent("A", {"/a.mkv": b"x"})
    url, query = stopped_clock.api_url + "/torrents", {"auth_token": stopped_clock.token}
    assert requests.get(url, query, timeout=5).json()[0]["added"] == "2024-07-12T14:03:11.000Z"
    with stopped_clock.faults.set(true_utc_dates=True):
        assert requests.get(url, query, timeout=5).json()[0]["added"] == "2024-07-12T12:03:11.000Z"


def test_the_user_has_the_documented_fields(sim, api) -> None:
    user = api.get("/user").json()
    kinds = {
        "id": int,
        "username": str,
        "email": str,
        "points": int,
        "locale": str,
        "avatar": str,
        "type": str,
        "premium": int,
        "expiration": str,
    }
    assert {name: type(value) for name, value in user.items()} == kinds
    assert user["type"] == "premium"
    assert 179 * 86400 < user["premium"] <= 180 * 86400
    assert "*" in user["email"]
    assert DATE.fullmatch(user["expiration"])
    sim.advance(100)
    assert user["premium"] - 102 <= api.get("/user").json()["premium"] <= user["premium"] - 100


def test_traffic_shows_hosters_with_a_limit(api) -> None:
    hosts = api.get("/traffic").json()
    assert "remote" in hosts
    for entry in hosts.values():
        assert set(entry) == {"left", "bytes", "links", "limit", "type", "extra", "reset"}
        assert entry["type"] in ("links", "gigabytes", "bytes")
        assert entry["reset"] in ("daily", "weekly", "monthly")


def test_traffic_details_count_bytes_by_day(sim, api, film, film_bytes, fetch) -> None:
    assert api.get("/traffic/details").json() == []
    with sim.faults.set(empty_maps_as_lists=False):
        assert api.get("/traffic/details").json() == {}
    fetch(api.url(film))
    days = api.get("/traffic/details").json()
    assert list(days.values()) == [{"host": {"real-debrid.com": len(film_bytes)}, "bytes": len(film_bytes)}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", next(iter(days)))


def test_traffic_details_of_a_span(sim, api, film, fetch) -> None:
    fetch(api.url(film))
    day = next(iter(api.get("/traffic/details").json()))
    sim.advance(10 * 86400)
    assert api.get("/traffic/details").json() == []
    assert list(api.get("/traffic/details", start=day).json()) == [day]
    assert api.get("/traffic/details", start=day, end=day).json() != []
    assert api.error(api.get("/traffic/details", start="2020-01-01", end="2020-03-01")) == (400, 2)
    assert api.error(api.get("/traffic/details", start="yesterday")) == (400, 2)


def test_hosts(api) -> None:
    hosts = api.get("/hosts").json()
    assert set(hosts["real-debrid.com"]) == {"id", "name", "image"}
    assert sorted(hosts) == sorted(api.get("/hosts/domains").json())
    for path in ("/hosts/regex", "/hosts/regexFolder"):
        for text in api.get(path).json():
            assert text[0] == text[-1] == "/"
            assert "\\/" in text
            re.compile(text[1:-1])


def test_host_status(api) -> None:
    for entry in api.get("/hosts/status").json().values():
        assert set(entry) == {"id", "name", "image", "supported", "status", "check_time", "competitors_status"}
        assert entry["status"] in ("up", "down", "unsupported")
        assert entry["supported"] in (0, 1)
        for other in entry["competitors_status"].values():
            assert set(other) == {"status", "check_time"}


def test_settings_have_the_documented_fields(api) -> None:
    assert set(api.get("/settings").json()) == {
        "download_ports",
        "download_port",
        "locales",
        "locale",
        "streaming_qualities",
        "streaming_quality",
        "mobile_streaming_quality",
        "streaming_languages",
        "streaming_language_preference",
        "streaming_cast_audio",
        "streaming_cast_audio_preference",
    }


def test_a_setting_can_be_changed(api) -> None:
    assert api.post("/settings/update", setting_name="locale", setting_value="fr").status_code == 204
    assert api.get("/settings").json()["locale"] == "fr"
    assert api.get("/user").json()["locale"] == "fr"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"setting_name": "locale", "setting_value": "xx"}, 2),
        ({"setting_name": "colour", "setting_value": "en"}, 2),
        ({"setting_name": "locale"}, 1),
        ({}, 1),
    ],
)
def test_a_wrong_setting_is_refused(api, form, code) -> None:
    assert api.error(api.post("/settings/update", **form)) == (400, code)


def test_points_are_converted_until_they_are_used_up(api) -> None:
    before = api.get("/user").json()
    assert api.post("/settings/convertPoints").status_code == 204
    after = api.get("/user").json()
    assert after["points"] == before["points"] - 1000
    assert after["premium"] > before["premium"] + 29 * 86400
    assert api.post("/settings/convertPoints").status_code == 204
    assert api.post("/settings/convertPoints").status_code == 503


def test_password_and_avatar(api) -> None:
    usual = api.get("/user").json()["avatar"]
    assert api.post("/settings/changePassword").status_code == 204
    assert api.put("/settings/avatarFile", b"\x89PNG").status_code == 204
    assert api.get("/user").json()["avatar"] != usual
    assert api.delete("/settings/avatarDelete").status_code == 204
    assert api.get("/user").json()["avatar"] == usual
    assert api.put("/settings/avatarFile").status_code == 400
    assert api.error(api.put("/settings/avatarFile", bytes((1 << 20) + 1))) == (400, 26)


def test_transcoding_gives_urls_by_kind(api, film, film_bytes, fetch) -> None:
    ident = api.unrestrict(film.links[0].url)["id"]
    kinds = api.get(f"/streaming/transcode/{ident}").json()
    assert set(kinds) == {"apple", "dash", "liveMP4", "h264WebM"}
    assert fetch(kinds["apple"]["full"]).body == film_bytes
    assert api.error(api.get("/streaming/transcode/NOSUCH")) == (404, 7)


def test_media_infos(sim, api) -> None:
    torrent = sim.add_torrent("Show", {"/Show.S02E05.2019.mkv": bytes(1000), "/Song.mp3": b"x"})
    show, song = (api.unrestrict(link.url)["id"] for link in torrent.links)
    infos = api.get(f"/streaming/mediaInfos/{show}").json()
    assert {"filename", "hoster", "link", "type", "season", "episode", "year", "duration", "bitrate", "size"} <= set(
        infos
    )
    assert {"details", "poster_path", "audio_image", "backdrop_path"} <= set(infos)
    assert (infos["type"], infos["season"], infos["episode"], infos["year"]) == ("show", "02", "05", "2019")
    assert infos["size"] == 1000
    assert isinstance(infos["duration"], float)
    assert set(infos["details"]["video"]["und1"]) >= {"stream", "codec", "width", "height", "colorspace"}
    assert infos["details"]["subtitles"] == []
    assert api.get(f"/streaming/mediaInfos/{song}").json()["type"] == "audio"


def test_media_infos_of_something_else_are_503(sim, api) -> None:
    torrent = sim.add_torrent("Disc", {"/disc.iso": b"x"})
    ident = api.unrestrict(torrent.links[0].url)["id"]
    assert api.get(f"/streaming/mediaInfos/{ident}").status_code == 503
    assert api.get("/streaming/mediaInfos/NOSUCH").status_code == 404


def test_the_clock_runs_and_jumps(sim) -> None:
    begin = sim.now()
    assert abs(begin - time.time()) < 5
    sim.advance(1000)
    assert 1000 <= sim.now() - begin < 1010
    with pytest.raises(ValueError):
        sim.advance(-1)


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        (1_711_846_799, 1),  # 2024-03-31 00:59:59 UTC
        (1_711_846_800, 2),
        (1_729_990_799, 2),  # 2024-10-27 00:59:59 UTC
        (1_729_990_800, 1),
    ],
)
def test_summer_time(moment, hours) -> None:
    assert paris_offset(moment) == hours * 3600
