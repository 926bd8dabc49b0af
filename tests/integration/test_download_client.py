"""The download client on a real mount: grabs, imports by link and by move, removals, and a kill in between."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import qbittorrentapi
from arrserving import ArrServer, serving
from clienting import Arr, can_move, is_complete
from conftest import MakeMount
from mounting import Mounted, wait_for
from pulling import status

from debrid.simulator import Simulator

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]

MOVE = '\n[client.Radarr]\nimport = "move"\n[client.pinned]\nkeep = "download"\nfiles = "all"\n'


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real film of two seconds."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=2:s=320x240", "-f", "lavfi", "-i", "sine=d=2"]
    subprocess.run([*command, "-c:v", "mpeg4", "-b:v", "2M", "-c:a", "aac", str(path)], check=True)
    return path.read_bytes()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def configured(mounted: Mounted, simulator: Simulator, http: str = "", more: str = "") -> Mounted:
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\nread_deadline = 5\n'
    sections = {"debrid": debrid, "mount": "cache_seconds = 30"}
    if http:
        sections["http"] = http
    mounted.write_config(**sections)
    mounted.config.write_text(mounted.config.read_text() + MOVE + more)
    return mounted


def contact(tree: Mounted) -> str:
    return json.loads((tree.state / "daemon.json").read_text())["url"]


def series(simulator: Simulator, clip: bytes, name: str = "Show.S01") -> str:
    files = {f"/{name}E0{number}.mkv": clip + bytes([number]) for number in (1, 2)}
    return simulator.offer(name, {**files, "/Sample/sample.mkv": clip}, rar=False)


def complete(arr: Arr, info_hash: str) -> dict:
    def found() -> dict | None:
        return next((row for row in arr.poll() if row["hash"] == info_hash and is_complete(row)), None)

    wait_for(found, f"the download, not {arr.poll()}")
    row = found()
    assert row is not None
    # What they demand of a completed download.
    assert row["content_path"] != row["save_path"] and os.path.exists(row["content_path"]) and row["progress"] == 1
    return row


def test_grab_import_and_remove_by_link_and_by_move(make_mount: MakeMount, simulator: Simulator, clip: bytes) -> None:
    tree = configured(make_mount(), simulator).start()
    sonarr = Arr(contact(tree), "tv-Sonarr")
    radarr = Arr(contact(tree), "Radarr", agent="Radarr/6.0.4.10291 (alpine 3.22)", basic="Og==")
    for arr in (sonarr, radarr):
        arr.test_button()
        assert Path(arr.status()).is_dir(), "health checks look for it"
    show = series(simulator, clip)
    film = simulator.offer("Film.2024.mkv", {"/Film.2024.mkv": clip})
    long = simulator.magnet(show) + "".join(f"&tr=udp%3A%2F%2Ftracker{number}.example.org" for number in range(50))
    assert sonarr.add_magnet(long) == "Ok."
    assert radarr.add_file("Fîlm 2024", simulator.torrent_file(film)) == "Ok."

    # Sonarr links, as the ratio has no limit yet.
    row = complete(sonarr, show)
    assert "ffprobe" not in status(tree)["today"]["programs"], "ours is known by being our child"
    folder = Path(row["content_path"])
    # What was learned by looking at it is told at once.
    facts = json.loads(os.getxattr(folder / "Show.S01E01.mkv", "user.mediapool.media"))
    assert [(one["codec"], one["width"]) for one in facts["video"]] == [("mpeg4", 320)] and len(facts["audio"]) == 1
    assert not can_move(row) and row["content_path"] == f"{tree.path}/torrents/complete/tv-Sonarr/Show.S01"
    assert sorted(os.listdir(folder)) == ["Show.S01E01.mkv", "Show.S01E02.mkv"]
    before = folder.parents[2] / "incomplete/tv-Sonarr/Show.S01"
    assert not before.exists() and not os.path.lexists(before / "Show.S01E01.mkv"), "the kernel has forgotten it"
    assert row["save_path"] == str(folder.parent) and row["size"] == 2 * (len(clip) + 1)
    library = tree.path / "media/tv/Show/Season 1"
    library.mkdir(parents=True)
    fetched = simulator.cdn_bytes
    for number, name in enumerate(sorted(os.listdir(folder))):
        os.link(folder / name, library / f"Show - S01E0{number + 1}.mkv")
        assert (library / f"Show - S01E0{number + 1}.mkv").stat().st_nlink == 2
    assert (library / "Show - S01E01.mkv").read_bytes()[:4] == clip[:4]
    assert simulator.cdn_bytes == fetched, "no byte is copied, and head and tail are there"
    wait_for(lambda: can_move(next(each for each in sonarr.poll() if each["hash"] == show)), "that it may be removed")
    with open(library / "Show - S01E01.mkv", "rb") as playing:
        playing.read(1000)
        sonarr.remove(show)
        sonarr.remove("0" * 40)
        wait_for(lambda: not folder.exists(), "the names to go")
        assert sonarr.poll() == []
        playing.seek(0)
        assert playing.read() == clip + b"\1"
    assert (library / "Show - S01E02.mkv").read_bytes() == clip + b"\2"

    # Radarr moves.
    row = complete(radarr, film)
    assert can_move(row) and row["content_path"] == f"{tree.path}/torrents/complete/Radarr/Film.2024.mkv"
    home = tree.path / "media/movies/Film.mkv"
    home.parent.mkdir()
    os.rename(row["content_path"], home)
    radarr.post("torrents/createCategory", category="imported")
    radarr.imported(film, "imported")
    assert radarr.poll() == [] and radarr.get("torrents/info").json()[0]["category"] == "imported"
    radarr.remove(film)
    wait_for(lambda: radarr.get("torrents/info").json() == [], "the end")
    assert home.read_bytes() == clip
    probed = subprocess.run(["ffprobe", "-v", "error", str(home)], capture_output=True, check=True)
    assert not probed.stderr

    # An importer that copies is told on: the clip is large enough to be noticed.
    show = series(simulator, clip * (1 + (1 << 20) // len(clip)), "Large.S01")
    sonarr.add_magnet(simulator.magnet(show))
    row = complete(sonarr, show)
    copy = library / "Copied.mkv"
    subprocess.run(["cp", f"{row['content_path']}/Large.S01E01.mkv", str(copy)], check=True)
    wait_for(lambda: "instead of linking" in tree.command("status").stdout, "what is said of it")
    said = sonarr.get("torrents/properties", hash=show).json()["comment"]
    assert said.startswith("copied instead of linked: cp copied") and "media/tv/Show/Season 1/Copied.mkv" in said
    assert "two filesystems" in said and "WARNING" in tree.log.read_text()

    # What looked at the files is nobody's program, and what was fetched for it was fetched once.
    today = status(tree)["today"]
    assert today["background"]["probe"] > 0 and "unknown" not in today["programs"]
    assert all(not redirect for redirect in (each for each in sonarr.log + radarr.log if 300 <= each[2] < 400))

    # A file that is no film fails, and says why.
    fake = simulator.offer("Fake.mkv", {"/Fake.mkv": b"no film at all" * 1000})
    assert sonarr.add_magnet(simulator.magnet(fake)) == "Ok."
    wait_for(lambda: (fake, "error") in [(each["hash"], each["state"]) for each in sonarr.poll()], "the failure")
    assert sonarr.get("torrents/properties", hash=fake).json()["comment"].startswith("Fake.mkv: ")
    assert not list((tree.path / "torrents").rglob("Fake*"))
    simulator.faults.name_filter = True
    bad = simulator.offer("Film.WEB-DL", {"/x.mkv": clip})
    assert sonarr.add_magnet(simulator.magnet(bad)) == "Fails."
    tree.stop()


@pytest.fixture
def sonarr() -> Iterator[ArrServer]:
    server = ArrServer()
    with serving(server) as server.url:
        yield server


def test_every_call_of_a_real_client_and_a_kill(
    make_mount: MakeMount, simulator: Simulator, clip: bytes, sonarr: ArrServer
) -> None:
    guarded = 'username = "me"\npassword = "SECRET-PASSWORD"'
    arr = f'\n[[arr]]\nkind = "sonarr"\nurl = "{sonarr.url}"\napi_key = "{sonarr.key}"\n'
    tree = configured(make_mount(), simulator, guarded, arr).start()
    assert Arr(contact(tree), "tv").send("GET", "app/webapiVersion").status == 403
    client = real_client(tree)
    assert client.app_version() == "v4.6.7" and client.app_web_api_version() == "2.9.3"
    every_call(client, simulator, clip)

    slow = simulator.offer("Slow", {"/Slow.mkv": clip}, cached=False, download_seconds=1000)
    done = series(simulator, clip)
    assert client.torrents_add(urls=[simulator.magnet(slow), simulator.magnet(done)], category="tv") == "Ok."
    wait_for(lambda: client.torrents_info(torrent_hashes=done)[0].state == "stalledUP", "one of them")
    tree.kill()
    tree.start()
    client = real_client(tree)
    rows = {each.hash: each for each in client.torrents_info(category="tv")}
    assert rows[done].state == "stalledUP" and rows[slow].state in ("downloading", "queuedDL", "metaDL")
    assert "tv" in client.torrents_categories()
    simulator.advance(2000)
    wait_for(lambda: client.torrents_info(torrent_hashes=slow)[0].state == "stalledUP", "the other")
    assert (tree.path / "torrents/complete/tv/Slow/Slow.mkv").read_bytes() == clip
    for log in (tree.log.read_text(), json.dumps(dict(rows[done]))):
        assert "SECRET-PASSWORD" not in log and simulator.token not in log

    # What turns out to be no film is told to Sonarr, which then searches for something else, and is gone here.
    fake = simulator.offer("Fake.mkv", {"/Fake.mkv": b"no film at all" * 1000})
    sonarr.add_download(7, fake.upper())
    assert client.torrents_add(urls=[simulator.magnet(fake)], category="tv") == "Ok."
    wait_for(lambda: sonarr.blocklisted == [fake.upper()], "Sonarr to be told")
    (told,) = [params for method, path, params, _ in sonarr.writes() if path.endswith("/queue/7")]
    assert told["blocklist"] == "true" and told["removeFromClient"] == "false"
    wait_for(lambda: not client.torrents_info(torrent_hashes=fake), "it to be forgotten")
    assert sonarr.key not in tree.log.read_text()

    # The command, links of hosters, and ordinary local files of what is complete.
    simulator.add_link("https://1fichier.com/?abc", "Clip.mkv", clip)
    added = tree.command("debrid", "add", "https://1fichier.com/?abc", "--wait")
    assert added.returncode == 0, added.stderr
    assert (tree.path / "ddl/complete/Clip.mkv").read_bytes() == clip and "ddl/complete/Clip.mkv" in added.stdout
    kept = simulator.offer("Kept", {"/Kept.mkv": clip, "/notes.txt": b"notes"}, rar=False)
    file = tree.base / "kept.torrent"
    file.write_bytes(simulator.torrent_file(kept))
    added = tree.command("debrid", "add", str(file), "--category", "pinned", "--wait", "--json")
    assert added.returncode == 0 and json.loads(added.stdout)[0]["path"] == "torrents/complete/pinned/Kept", (
        added.stderr
    )
    wait_for(
        lambda: any((drive / "torrents/complete/pinned/Kept/Kept.mkv").exists() for drive in tree.drive_paths), "it"
    )
    client.torrents_delete(delete_files=True, torrent_hashes=kept)
    wait_for(lambda: not (tree.path / "torrents/complete/pinned/Kept").exists(), "the local files to go as well")
    refused = tree.command("debrid", "add", "magnet:?xt=urn:btih:zz")
    assert refused.returncode == 1 and "info hash" in refused.stderr
    assert "Downloads" in tree.command("status").stdout
    tree.stop()


def real_client(tree: Mounted) -> qbittorrentapi.Client:
    return qbittorrentapi.Client(
        host=contact(tree),
        username="me",
        password="SECRET-PASSWORD",
        RAISE_ERROR_FOR_UNSUPPORTED_QBITTORRENT_VERSIONS=True,
    )


def every_call(client: qbittorrentapi.Client, simulator: Simulator, clip: bytes) -> None:
    """Each call that the API has for torrents, transfers, sync, log and the application."""
    client.auth_log_in()
    assert client.is_logged_in
    assert client.app_build_info()["bitness"] == 64
    assert client.app_preferences()["dht"] is True
    client.app_set_preferences({"dht": False})
    assert client.app_default_save_path().endswith("/torrents/complete")
    client.torrents_create_category("tv", save_path="/elsewhere")
    with pytest.raises(qbittorrentapi.Conflict409Error):
        client.torrents_create_category("tv")
    client.torrents_edit_category("tv", save_path="/elsewhere")
    assert client.torrents_categories()["tv"]["savePath"].endswith("/torrents/complete/tv")
    info_hash = simulator.offer("One.mkv", {"/One.mkv": clip})
    before = client.sync_maindata()
    assert before["full_update"]
    content = {"One.torrent": simulator.torrent_file(info_hash)}
    assert client.torrents_add(torrent_files=content, category="tv", tags=["x", "y"], is_paused=False) == "Ok."
    wait_for(lambda: client.torrents_info(torrent_hashes=info_hash)[0].progress == 1, "the download")
    delta = client.sync_maindata(rid=before["rid"])
    assert not delta.get("full_update") and delta["torrents"][info_hash]["name"] == "One.mkv"
    assert client.torrents_info(status_filter="completed", sort="name", limit=1, offset=-1, reverse=True, tag="x")
    assert client.torrents_info(status_filter="downloading") == [] == client.torrents_info(category="other")
    with pytest.raises(qbittorrentapi.HTTP400Error):
        client.torrents_info(sort="nonsense")
    assert client.torrents_count() == 1
    assert client.torrents_properties(info_hash)["total_size"] == len(clip)
    with pytest.raises(qbittorrentapi.NotFound404Error):
        client.torrents_properties("0" * 40)
    assert [each["name"] for each in client.torrents_files(info_hash)] == ["One.mkv"]
    assert client.torrents_trackers(info_hash)[0]["tier"] == -1
    client.torrents_pause(torrent_hashes=info_hash)
    client.torrents_resume(torrent_hashes=info_hash)
    assert client.torrents_tags() == ["x", "y"]
    client.torrents_create_tags(["z"])
    client.torrents_add_tags(["z"], torrent_hashes=info_hash)
    client.torrents_remove_tags(["x"], torrent_hashes=info_hash)
    client.torrents_delete_tags(["y"])
    assert client.torrents_info()[0].tags == "z" and client.torrents_tags() == ["x", "z"]
    no_effect(client, info_hash)
    client.torrents_create_category("other")
    client.torrents_set_category("other", torrent_hashes=info_hash)
    client.torrents_remove_categories("other")
    assert client.torrents_info()[0].category == ""
    with pytest.raises(qbittorrentapi.Conflict409Error):
        client.torrents_set_category("missing", torrent_hashes=info_hash)
    with pytest.raises(qbittorrentapi.UnsupportedMediaType415Error):
        client.torrents_add(torrent_files=b"nonsense")
    assert client.torrents_add(urls="https://indexer.example.org/x.torrent") == "Fails."
    client.torrents_delete(delete_files=True, torrent_hashes=info_hash)
    wait_for(lambda: client.torrents_count() == 0, "the end")
    client.auth_log_out()


def no_effect(client: qbittorrentapi.Client, info_hash: str) -> None:
    one = {"torrent_hashes": info_hash}
    for call in (
        client.torrents_top_priority, client.torrents_bottom_priority, client.torrents_increase_priority,
        client.torrents_decrease_priority, client.torrents_recheck, client.torrents_reannounce,
        client.torrents_toggle_sequential_download, client.torrents_toggle_first_last_piece_priority,
    ):  # fmt: skip
        call(**one)
    client.torrents_set_share_limits(ratio_limit=1, seeding_time_limit=-2, inactive_seeding_time_limit=-2, **one)
    client.torrents_set_download_limit(limit=1, **one)
    client.torrents_set_upload_limit(limit=1, **one)
    client.torrents_download_limit(**one)
    client.torrents_upload_limit(**one)
    client.torrents_set_location(location="/elsewhere", **one)
    client.torrents_set_auto_management(enable=True, **one)
    client.torrents_set_force_start(enable=True, **one)
    client.torrents_set_super_seeding(enable=True, **one)
    client.torrents_file_priority(torrent_hash=info_hash, file_ids=0, priority=0)
    client.torrents_rename(torrent_hash=info_hash, new_torrent_name="other")
    client.torrents_rename_file(torrent_hash=info_hash, old_path="One.mkv", new_path="Two.mkv")
    client.torrents_add_trackers(torrent_hash=info_hash, urls="udp://x")
    client.torrents_add_peers(peers="127.0.0.1:1", **one)
    assert client.torrents_webseeds(info_hash) == [] == client.torrents_piece_states(info_hash)
    assert client.torrents_piece_hashes(info_hash) == []
    assert client.transfer_info()["connection_status"] == "connected"
    assert client.transfer_speed_limits_mode() == "0"
    client.transfer_toggle_speed_limits_mode()
    client.transfer_set_download_limit(limit=1)
    client.transfer_set_upload_limit(limit=1)
    assert client.transfer_download_limit() == 0 == client.transfer_upload_limit()
    client.transfer_ban_peers(peers="127.0.0.1:1")
    client.sync_torrent_peers(torrent_hash=info_hash)
    assert client.log_main() == [] == client.log_peers()
    assert client.torrents_info()[0].name == "One.mkv"
