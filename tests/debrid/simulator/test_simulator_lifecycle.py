"""The life of a torrent, by the virtual clock."""

import pytest

from debrid.simulator import lifecycle
from debrid.simulator.lifecycle import STATES, Pace
from debrid.simulator.metainfo import write_metainfo

FILES = {"/a.mkv": bytes(1000), "/b.mkv": bytes(3000)}


def test_an_unknown_magnet_is_converted_for_ever(sim, api) -> None:
    ident = api.add("d" * 40)
    for _ in range(2):
        info = api.info(ident)
        assert (info["status"], info["progress"], info["files"], info["links"]) == ("magnet_conversion", 0, [], [])
        assert info["seeders"] == 0
        assert not {"speed", "ended"} & set(info)
        sim.advance(1_000_000)


def test_an_unknown_magnet_is_converted_once_somebody_offers_it(sim, api) -> None:
    info_hash = "9" * 40
    waiting = api.add(info_hash)
    sim.offer("Late", FILES, hash=info_hash, conversion_seconds=10)
    assert api.info(waiting)["status"] == "magnet_conversion"
    sim.advance(10)
    info = api.info(waiting)
    assert (info["status"], info["filename"], len(info["files"])) == ("waiting_files_selection", "Late", 2)


def test_a_magnet_shows_its_display_name_or_its_hash_meanwhile(api) -> None:
    named = api.post("/torrents/addMagnet", magnet="magnet:?xt=urn:btih:" + "e" * 40 + "&dn=A%20Name").json()["id"]
    assert api.info(named)["filename"] == "A Name"
    assert api.info(api.add("f" * 40))["filename"] == "f" * 40


def test_conversion_takes_its_time_and_hides_the_files(sim, api) -> None:
    ident = api.add(sim.offer("Slow", FILES, conversion_seconds=60))
    assert (api.info(ident)["status"], api.info(ident)["files"]) == ("magnet_conversion", [])
    assert api.info(ident)["original_bytes"] == 0
    sim.advance(61)
    info = api.info(ident)
    assert (info["status"], len(info["files"]), info["original_bytes"]) == ("waiting_files_selection", 2, 4000)
    assert info["bytes"] == 0
    assert not {"speed", "seeders", "ended"} & set(info)


def test_conversion_can_be_slowed_down_for_all(sim, api) -> None:
    sim.faults.magnet_seconds = 30.0
    ident = api.add(sim.offer("Any", FILES))
    assert api.info(ident)["status"] == "magnet_conversion"
    sim.advance(30)
    assert api.info(ident)["status"] == "waiting_files_selection"


@pytest.mark.parametrize(("outcome", "status"), [("never", "magnet_conversion"), ("error", "magnet_error")])
def test_conversion_can_fail(sim, api, outcome, status) -> None:
    sim.faults.magnet_outcome = outcome
    ident = api.add(sim.offer("Any", FILES, conversion_seconds=5))
    sim.advance(10_000)
    info = api.info(ident)
    assert (info["status"], info["files"]) == (status, [])


def test_cached_content_is_there_at_once(sim, api) -> None:
    info = api.info(api.add(sim.offer("Cached", FILES), "all"))
    assert (info["status"], info["progress"], len(info["links"]), info["bytes"]) == ("downloaded", 100, 2, 4000)
    assert "ended" in info


def test_cached_content_may_be_recognised_late(sim, api) -> None:
    sim.faults.settle_seconds = 4.0
    ident = api.add(sim.offer("Cached", FILES), "all")
    assert (api.info(ident)["status"], api.info(ident)["links"]) == ("queued", [])
    sim.advance(4)
    assert (api.info(ident)["status"], len(api.info(ident)["links"])) == ("downloaded", 2)


def test_a_download_passes_all_stations(sim, api) -> None:
    info_hash = sim.offer(
        "Far", FILES, cached=False, queue_seconds=10, download_seconds=100, upload_seconds=20, seeders=7
    )
    ident = api.add(info_hash, "all")
    assert api.info(ident)["status"] == "queued"
    assert not {"speed", "seeders", "ended"} & set(api.info(ident))
    sim.advance(10 + 50.25)
    info = api.info(ident)
    assert (info["status"], info["links"]) == ("downloading", [])
    assert 50 < info["progress"] < 52
    assert isinstance(info["progress"], float)
    assert (info["speed"], info["seeders"]) == (40, 7)
    sim.advance(50)
    info = api.info(ident)
    assert info["status"] == "uploading"
    assert info["speed"] == 200
    assert "seeders" not in info
    sim.advance(20)
    info = api.info(ident)
    assert (info["status"], info["progress"], len(info["links"])) == ("downloaded", 100, 2)
    assert "ended" in info
    assert not {"speed", "seeders"} & set(info)


def test_packing_adds_the_station_compressing(sim, api) -> None:
    files = FILES | {"/c.nfo": b"text"}
    ident = api.add(sim.offer("Mixed", files, cached=False, compress_seconds=30, upload_seconds=20), "all")
    info = api.info(ident)
    assert info["status"] == "compressing"
    assert "speed" in info
    sim.advance(30)
    assert api.info(ident)["status"] == "uploading"
    sim.advance(20)
    assert len(api.info(ident)["links"]) == 1


@pytest.mark.parametrize("outcome", ["error", "virus", "dead"])
def test_a_download_can_end_badly(sim, api, outcome) -> None:
    ident = api.add(sim.offer("Bad", FILES, cached=False, download_seconds=10, outcome=outcome), "all")
    assert api.info(ident)["status"] == "downloading"
    sim.advance(10)
    info = api.info(ident)
    assert (info["status"], info["links"]) == (outcome, [])
    assert "ended" not in info


def test_how_downloads_end_can_be_switched_for_all(sim, api) -> None:
    sim.faults.download_outcome = "dead"
    assert api.info(api.add(sim.offer("Bad", FILES, cached=False), "all"))["status"] == "dead"


def test_a_download_can_stall(sim, api) -> None:
    info_hash = sim.offer("Stuck", FILES, cached=False, download_seconds=100, outcome="stalled", stalls_at=30)
    ident = api.add(info_hash, "all")
    sim.advance(1000)
    info = api.info(ident)
    assert (info["status"], info["progress"], info["speed"]) == ("downloading", 30, 0)


def test_a_torrent_nobody_shares_downloads_for_ever(sim, api) -> None:
    raw = write_metainfo("Nobody", [("/a.mkv", 5)], b"")
    ident = api.put("/torrents/addTorrent", raw).json()["id"]
    assert api.post(f"/torrents/selectFiles/{ident}", files="all").status_code == 204
    sim.advance(1_000_000)
    info = api.info(ident)
    assert (info["status"], info["progress"], info["speed"], info["seeders"]) == ("downloading", 0, 0, 0)


def test_the_cache_is_per_selection(sim, api) -> None:
    info_hash = sim.offer("Part", FILES, cached_selections=[{1}], download_seconds=60)
    assert api.info(api.add(info_hash, "1"))["status"] == "downloaded"
    other = api.add(info_hash, "all")
    assert api.info(other)["status"] == "downloading"
    sim.advance(60)
    assert api.info(other)["status"] == "downloaded"
    assert api.info(api.add(info_hash, "1,2"))["status"] == "downloaded"
    assert api.info(api.add(info_hash, "2"))["status"] == "downloading"


def test_a_download_given_up_is_not_cached(sim, api) -> None:
    info_hash = sim.offer("Part", FILES, cached=False, download_seconds=60)
    ident = api.add(info_hash, "all")
    sim.advance(30)
    api.delete(f"/torrents/delete/{ident}")
    sim.advance(60)
    assert api.info(api.add(info_hash, "all"))["status"] == "downloading"


def test_content_put_into_the_account_can_be_added_again(sim, api, film) -> None:
    assert api.info(api.add(film.hash, "all"))["status"] == "downloaded"
    lonely = sim.add_torrent("Lonely", {"/l.mkv": b"x"}, cached=False)
    again = api.add(lonely.hash, "all")
    assert api.info(again)["status"] == "downloading"
    sim.advance(60)
    assert api.info(again)["status"] == "downloaded"


def test_slots_are_limited(sim, api) -> None:
    sim.faults.active_limit = 2
    first = sim.offer("One", {"/1.mkv": b"1"}, cached=False, download_seconds=100)
    waiting = api.add(first)
    for number in (2, 3):
        info_hash = sim.offer(f"N{number}", {f"/{number}.mkv": b"x"}, cached=False, download_seconds=100)
        api.add(info_hash, "all")
    magnet = sim.magnet(first)
    assert api.error(api.post("/torrents/addMagnet", magnet=magnet)) == (509, 21)
    assert api.error(api.put("/torrents/addTorrent", sim.torrent_file(first))) == (509, 21)
    assert api.error(api.post(f"/torrents/selectFiles/{waiting}", files="all")) == (509, 21)
    sim.advance(100)
    assert api.post(f"/torrents/selectFiles/{waiting}", files="all").status_code == 204


def test_slots_can_be_full_by_switch(sim, api) -> None:
    with sim.faults.set(slots_full=True):
        answer = api.post("/torrents/addMagnet", magnet="magnet:?xt=urn:btih:" + "a" * 40)
        assert answer.json()["error"] == "too_many_active_downloads"
        assert api.error(answer) == (509, 21)
    api.add("a" * 40)


@pytest.mark.parametrize("status", STATES)
def test_a_torrent_can_stand_at_any_status(sim, api, status) -> None:
    torrent = sim.add_torrent(status, FILES, status=status)
    info = api.info(torrent.id)
    assert info["status"] == torrent.status == status
    assert (len(info["links"]) == 2) == (status == "downloaded")
    assert ("ended" in info) == (status == "downloaded")
    assert ("speed" in info) == (status in ("downloading", "compressing", "uploading"))
    assert ("seeders" in info) == (status in ("downloading", "magnet_conversion"))
    assert (info["files"] == []) == (status in ("magnet_conversion", "magnet_error"))


def test_a_status_can_be_changed_from_outside(sim, api, film) -> None:
    sim.set_status(film.id, "dead")
    assert (api.info(film.id)["status"], api.info(film.id)["links"]) == ("dead", [])
    busy = sim.add_torrent("Busy", FILES, status="downloading")
    sim.set_status(busy.id, "downloading", 42.5)
    assert api.info(busy.id)["progress"] == 42.5
    sim.set_status(busy.id, "downloaded")
    assert len(api.info(busy.id)["links"]) == 2


def test_a_single_file_may_give_its_name_to_the_torrent(sim, api) -> None:
    torrent = sim.add_torrent("Pack", FILES, selected=[2])
    sim.faults.rename_single_file = True
    info = api.info(torrent.id)
    assert (info["filename"], info["original_filename"]) == ("b.mkv", "Pack")


# -- the plans themselves


def test_a_plan_is_a_pure_value() -> None:
    plan = lifecycle.fetching(100.0, Pace(queue=1, download=10, compress=2, upload=3), True, "downloaded")
    times = {99: "queued", 100: "queued", 101: "downloading", 111: "compressing", 113: "uploading", 116: "downloaded"}
    assert {moment: lifecycle.at(plan, moment).status for moment in times} == times


def test_progress_is_bounded() -> None:
    step = lifecycle.Step(10.0, "downloading", 10.0, 0, 90)
    assert [step.progress(moment) for moment in (10, 15, 20, 99)] == [0, 45, 90, 90]
