"""Dead links and the faults of the way, met by programs that read a real mount."""

import errno
import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from rarmaking import file4, file5, rar4, rar5

from debrid.simulator import SimTorrent, Simulator

pytestmark = pytest.mark.mount

MIB = 1 << 20
FILM = random.Random(7).randbytes(6 * MIB + 4321)
OTHER = random.Random(8).randbytes(300_001)
COMPLETE = "torrents/complete"
DEADLINE = 8


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def old(simulator: Simulator) -> SimTorrent:
    return simulator.add_torrent(
        "Show", {"/e1.mkv": FILM, "/e2.mkv": OTHER, "/x.mkv": b"not selected"}, selected=[1, 2]
    )


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator, old: SimTorrent) -> Mounted:
    mounted = make_mount()
    mounted.write_config(
        debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n'
        f"read_deadline = {DEADLINE}"
    )
    mounted.start()
    wait_for((mounted.path / COMPLETE / "Show/e2.mkv").exists, "the torrent")
    return mounted


def film(tree: Mounted) -> Path:
    return tree.path / COMPLETE / "Show/e1.mkv"


def picture(tree: Mounted) -> dict[str, tuple[int, ...]]:
    """Every path with mode, inode number, links, owner, size and times; another mount has another device."""
    return {str(path): (st := tuple(path.lstat()))[:2] + st[3:7] + st[8:] for path in tree.path.rglob("*")}


def job(tree: Mounted, *arguments: str, code: int = 0) -> dict:
    done = tree.command("debrid", *arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def states(found: dict) -> dict[str, str]:
    return {Path(each["path"]).name: each["state"] for each in found["files"]}


def test_a_dead_film_is_repaired_while_it_is_read(tree: Mounted, simulator: Simulator, old: SimTorrent) -> None:
    linked = tree.path / "library.mkv"
    os.link(film(tree), linked)
    before = picture(tree)
    fd = os.open(linked, os.O_RDONLY)
    simulator.age_links(old.id)
    assert hashlib.sha1(film(tree).read_bytes()).digest() == hashlib.sha1(FILM).digest()
    assert os.pread(fd, MIB, 3 * MIB) == FILM[3 * MIB : 4 * MIB]
    os.close(fd)
    wait_for(lambda: [each.id for each in simulator.torrents] != [old.id] and len(simulator.torrents) == 1, "the old")
    (new,) = simulator.torrents
    assert new.selected == old.selected
    assert picture(tree) == before
    # Polls that see the new torrent add no second set of names, nor does a new start.
    lists = simulator.count("GET", "/torrents")
    wait_for(lambda: simulator.count("GET", "/torrents") >= lists + 3, "polls")
    tree.stop()
    tree.start()
    lists = simulator.count("GET", "/torrents")
    wait_for(lambda: simulator.count("GET", "/torrents") >= lists + 3, "polls")
    assert picture(tree) == before
    assert (tree.path / COMPLETE / "Show/e2.mkv").read_bytes() == OTHER
    (listed,) = json.loads(tree.command("debrid", "list", "--json").stdout)
    assert (listed["id"], listed["path"], listed["problem"]) == (new.id, f"{COMPLETE}/Show", "")


def test_a_reader_that_is_blocked_by_a_slow_repair_gets_an_error_in_time(
    tree: Mounted, simulator: Simulator, old: SimTorrent
) -> None:
    simulator.age_links(old.id)
    simulator.faults.api_latency_by_prefix = {"/torrents/addMagnet": 3.0 * DEADLINE}
    begun = time.monotonic()
    with pytest.raises(OSError) as caught:
        film(tree).read_bytes()
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - begun < 2.5 * DEADLINE
    assert (tree.path / COMPLETE / "Show").is_dir()  # nothing else waits
    simulator.faults.clear()
    wait_for(lambda: [each.id for each in simulator.torrents] not in ([old.id], []), "the repair", 60)
    wait_for(lambda: len(simulator.torrents) == 1, "the old one to leave", 60)
    assert film(tree).read_bytes() == FILM


def test_evicted_content_fails_at_once_until_it_was_downloaded_again(
    tree: Mounted, simulator: Simulator, old: SimTorrent
) -> None:
    simulator.evict(old.hash)
    with pytest.raises(OSError):
        film(tree).read_bytes()
    wait_for(lambda: "downloading" in tree.command("debrid", "list").stdout, "the repair to say so")
    asked = simulator.count("POST", "/unrestrict/link")
    for _ in range(3):
        with pytest.raises(OSError):
            film(tree).read_bytes()
    assert simulator.count("POST", "/unrestrict/link") == asked
    assert json.loads(tree.command("status", "--json").stdout)["remote"]["repairs"] == {"fetching": 1}
    simulator.advance(61)
    found = job(tree, "repair", str(film(tree)), "--yes")
    assert states(found) == {"e1.mkv": "repaired"}
    assert film(tree).read_bytes() == FILM


def test_check_and_repair_on_request(tree: Mounted, simulator: Simulator, old: SimTorrent) -> None:
    assert states(job(tree, "check")) == {"e1.mkv": "ok", "e2.mkv": "ok"}
    assert not any(request.path.endswith("/check") for request in simulator.journal)
    assert job(tree, "check", "--dry-run") == [f"{COMPLETE}/Show/e1.mkv", f"{COMPLETE}/Show/e2.mkv"]
    # Dead for everybody, and no good when added again: the URLs and the links.
    simulator.age_links(old.id)
    simulator.revoke_urls()
    simulator.faults.same_links = True
    assert states(job(tree, "check", code=1)) == {"e1.mkv": "dead", "e2.mkv": "dead"}
    assert states(job(tree, "repair", "--dry-run", code=1)) == {"e1.mkv": "dead", "e2.mkv": "dead"}
    assert [each.id for each in simulator.torrents] == [old.id]
    refused = tree.command("debrid", "repair")
    assert refused.returncode == 2 and "--yes" in refused.stderr  # no terminal to ask on
    simulator.faults.clear()
    assert states(job(tree, "repair", "--yes")) == {"e1.mkv": "repaired", "e2.mkv": "repaired"}
    assert states(job(tree, "check", str(film(tree)))) == {"e1.mkv": "ok"}
    shown = tree.command("debrid", "check", "nowhere")
    assert shown.returncode == 1 and "no remote file is there: nowhere" in shown.stderr


def test_quota_is_told_with_the_time_it_ends_and_repairs_nothing(
    tree: Mounted, simulator: Simulator, old: SimTorrent
) -> None:
    with simulator.faults.set(cdn_quota=0):
        with pytest.raises(OSError):
            film(tree).read_bytes()
        shown = tree.command("status").stdout
        assert "the traffic of the day is used up" in shown and "goes on at" in shown
        assert "goes on at" in tree.command("debrid", "status").stdout
        done = tree.command("debrid", "check")
        assert done.returncode == 4 and "traffic" in done.stderr
    assert [each.id for each in simulator.torrents] == [old.id]
    assert simulator.count("POST", "/torrents") == 0


# Each fault, and how often; with all of them every byte is right, or the read is an error and right afterwards.
FAULTS: dict[str, dict[str, object]] = {
    "reset": {"cdn_reset_after": 400_000, "cdn_reset_times": 4},
    "short": {"cdn_short_after": 300_000, "cdn_short_times": 4},
    "stall": {"cdn_stall_after": 700_000, "cdn_stall_times": 1},
    "403": {"cdn_status": 403, "cdn_status_times": 1},
    "404": {"cdn_status": 404, "cdn_status_times": 1, "cdn_error": "invalid_download_code"},
    "410": {"cdn_status": 410, "cdn_status_times": 1},
    "429": {"cdn_status": 429, "cdn_status_times": 2},
    "500": {"cdn_status": 500, "cdn_status_times": 2},
    "502": {"cdn_status": 502, "cdn_status_times": 2, "cdn_error": "read_pxy_timeout"},
    "503": {"cdn_status": 503, "cdn_status_times": 1},
    "late": {"cdn_first_byte": 0.3, "cdn_jitter": 0.2},
    "slow": {"cdn_rate": 3e6},
    "few connections": {"cdn_connection_limit": 2},
    "gateway": {"api_status": 502, "api_status_times": 2},
    "maintenance": {"api_status": 503, "api_status_code": 25, "api_status_body": "json", "api_status_times": 2},
    "too many": {"api_status": 429, "api_status_times": 1, "retry_after": 1.0},
    "slow api": {"api_latency": 0.5},
    "aged links": {"link_lifetime": -1.0},
    "wrong name": {"link_verdicts": {"*": "wrong_name"}},
    "numbered hosts": {"numbered_hosts": True},
}
ERRORS: dict[str, dict[str, object]] = {
    "whole file for a range": {"cdn_ignore_range": True},
    "reset at once": {"cdn_reset_after": 0},
    "short at once": {"cdn_short_after": 0},
    "gone": {"cdn_status": 404},
    "416": {"cdn_status": 416},
    "down": {"cdn_outage": "refused", "api_outage": "refused"},
    "html": {"cdn_outage": "html"},
    "empty url": {"link_verdicts": {"*": "empty_download"}},
    "wrong size": {"link_verdicts": {"*": "wrong_size"}},
    "fair use": {"link_verdicts": {"*": "fair_usage_limit"}},
    "traffic": {"link_verdicts": {"*": "traffic_exhausted"}},
    "ip": {"link_verdicts": {"*": "ip_not_allowed"}},
    "bad token": {"account": "bad_token"},
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_byte_is_right_in_spite_of(tree: Mounted, simulator: Simulator, name: str) -> None:
    faults = FAULTS[name]
    if name == "aged links":
        # Of links made so far; those of the torrent that is added again are new.
        simulator.advance(91 * 86400)
        faults = {}
    with simulator.faults.set(**faults):
        assert hashlib.sha1(film(tree).read_bytes()).digest() == hashlib.sha1(FILM).digest()


@pytest.mark.parametrize("name", ERRORS)
def test_no_wrong_byte_is_given_because_of(tree: Mounted, simulator: Simulator, old: SimTorrent, name: str) -> None:
    with simulator.faults.set(**ERRORS[name]):
        try:
            assert film(tree).read_bytes() == FILM
        except OSError as error:
            assert error.errno == errno.EIO
            assert (tree.path / COMPLETE / "Show/e2.mkv").stat().st_size == len(OTHER)
    # Nothing that passes has cost the torrent; one that came in its place is as good.
    assert len({each.hash for each in simulator.torrents}) == 1
    assert any(each.selected == old.selected for each in simulator.torrents)


def test_several_readers_share_a_repair(tree: Mounted, simulator: Simulator, old: SimTorrent) -> None:
    simulator.age_links(old.id)
    results: list[bool] = []

    def read(offset: int) -> None:
        with film(tree).open("rb") as file:
            file.seek(offset)
            results.append(file.read(100_000) == FILM[offset : offset + 100_000])

    threads = [threading.Thread(target=read, args=(number * MIB,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 6
    assert simulator.count("POST", "/torrents/addMagnet") == 1


# -- archives


def test_stored_archives_show_what_is_in_them(tree: Mounted, simulator: Simulator) -> None:
    half = len(FILM) // 2
    volumes = {
        "/r/film.part1.rar": rar5(file5("film.mkv", len(FILM), FILM[:half], flags=0x10)),
        "/r/film.part2.rar": rar5(file5("film.mkv", len(FILM), FILM[half:], flags=0x08)),
    }
    finished = time.time() - 600  # in the first minute more links might come
    simulator.add_torrent("Packed", {"/e1.mkv": FILM, "/../../e1.srt": OTHER}, rar=True, added=finished)
    simulator.add_torrent("Volumes", volumes, rar=False)
    tight = rar4(file4(b"film.mkv", 9_999_999, OTHER, method=0x33))
    simulator.add_torrent("Tight", {"/tight.rar": tight})
    folder = tree.path / COMPLETE
    wait_for(lambda: {"Packed", "Volumes", "Tight"} <= set(os.listdir(folder)), "the torrents")
    assert (folder / "Packed/e1.mkv").read_bytes() == FILM
    assert [path.read_bytes() for path in (folder / "Packed").rglob("*.srt")] == [OTHER]
    assert (folder / "Volumes/r/film.mkv").read_bytes() == FILM
    with (folder / "Volumes/r/film.mkv").open("rb") as file:
        file.seek(half - 1000)
        assert file.read(2000) == FILM[half - 1000 : half + 1000]
    assert (folder / "Tight/tight.rar").read_bytes() == tight
    listed = json.loads(tree.command("debrid", "list", "--json").stdout)
    assert {one["name"]: one["problem"] for one in listed}["Tight"] == "tight.rar: the archive is compressed"
    assert set(states(job(tree, "check")).values()) == {"ok"}
    # What the archive is in dies, and comes back.
    (packed,) = (each for each in simulator.torrents if each.name == "Packed")
    before = picture(tree)
    simulator.age_links(packed.id)
    simulator.revoke_urls()
    assert set(states(job(tree, "repair", str(folder / "Packed"), "--yes")).values()) == {"repaired"}
    wait_for(lambda: packed.id not in [each.id for each in simulator.torrents], "the old one to leave")
    assert picture(tree) == before
    assert (folder / "Packed/e1.mkv").read_bytes() == FILM
