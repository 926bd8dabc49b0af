"""Torrents that leave the account, seen through a real mount.

Those that left by themselves keep their names until somebody prunes them; those that mediapool added leave some
time after their last name is gone.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import SimTorrent, Simulator
from debrid.store import Store

pytestmark = pytest.mark.mount

FILM = os.urandom(300_000)
COMPLETE = "torrents/complete"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        for name in ("Gone", "Here"):
            simulator.add_torrent(name, {"/S1/film.mkv": FILM, "/extra.mkv": FILM[:1000]})
        yield simulator


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    mounted = make_mount()
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 0.2\ndelete_after = 2\n'
    mounted.write_config(debrid=debrid)
    mounted.start()
    wait_for(lambda: all((mounted.path / COMPLETE / name).exists() for name in ("Gone", "Here")), "both torrents")
    return mounted


def states(tree: Mounted) -> dict[str, str]:
    return {one["name"]: one["status"] for one in json.loads(tree.command("debrid", "list", "--json").stdout)}


def leave(tree: Mounted, simulator: Simulator) -> None:
    simulator.remove_torrent(next(each.id for each in simulator.torrents if each.name == "Gone"))
    wait_for(lambda: states(tree)["Gone"] == "missing", "the torrent to be missed")


def test_a_missing_torrent_keeps_its_names_until_it_is_pruned(tree: Mounted, simulator: Simulator) -> None:
    leave(tree, simulator)
    film = tree.path / COMPLETE / "Gone/S1/film.mkv"
    assert film.read_bytes() == FILM, "its links outlive it"
    assert "no longer in the Real-Debrid account, since 2" in tree.command("debrid", "list").stdout

    would = tree.command("debrid", "prune", "--dry-run")
    assert would.returncode == 0 and "Gone/S1/film.mkv" in would.stdout and "Here" not in would.stdout
    refused = tree.command("debrid", "prune", "Here", "--yes")
    assert refused.returncode == 1 and film.exists()

    done = json.loads(tree.command("debrid", "prune", "Gone", "--yes", "--json").stdout)
    assert [sorted(each["paths"]) for each in done] == [[f"{COMPLETE}/Gone/S1/film.mkv", f"{COMPLETE}/Gone/extra.mkv"]]
    assert os.listdir(tree.path / COMPLETE) == ["Here"]
    assert states(tree) == {"Here": "downloaded"}
    assert "Nothing to prune" in tree.command("debrid", "prune", "--yes").stdout


def test_pruned_names_come_back_only_with_a_new_addition(tree: Mounted, simulator: Simulator) -> None:
    gone = next(each for each in simulator.torrents if each.name == "Gone")
    leave(tree, simulator)
    assert tree.command("debrid", "prune", "--yes").returncode == 0
    seen = simulator.count(path_prefix="/torrents")
    wait_for(lambda: simulator.count(path_prefix="/torrents") >= seen + 3, "three polls")
    assert os.listdir(tree.path / COMPLETE) == ["Here"]
    tree.stop()
    for name in os.listdir(tree.state):
        if name.startswith("debrid.db"):
            (tree.state / name).unlink()
    tree.start()
    wait_for(lambda: states(tree) == {"Here": "downloaded"}, "the store to fill itself")
    assert os.listdir(tree.path / COMPLETE) == ["Here"]
    files = {"/S1/film.mkv": FILM, "/extra.mkv": FILM[:1000]}
    simulator.add_torrent("Gone", files, hash=gone.hash)
    wait_for((tree.path / COMPLETE / "Gone").exists, "the torrent that was added anew")
    assert (tree.path / COMPLETE / "Gone/S1/film.mkv").read_bytes() == FILM


def named(simulator: Simulator, name: str) -> SimTorrent:
    return next(each for each in simulator.torrents if each.name == name)


def mark_added_here(tree: Mounted, *torrents: SimTorrent) -> None:
    with Store(tree.state / "debrid.db") as store:
        for torrent in torrents:
            store.mark_added_here(torrent.id, torrent.hash)


def test_what_was_added_here_leaves_after_its_last_name(tree: Mounted, simulator: Simulator) -> None:
    gone, here = named(simulator, "Gone"), named(simulator, "Here")
    mark_added_here(tree, gone, here)
    for name in ("Theirs", "Shared"):
        simulator.add_torrent(name, {"/film.mkv": name.encode() * 1000})
        wait_for((tree.path / COMPLETE / name / "film.mkv").exists, name)
    mark_added_here(tree, named(simulator, "Shared"))
    (tree.path / "media").mkdir()
    os.link(tree.path / COMPLETE / "Shared/film.mkv", tree.path / "media/film.mkv")
    film = (tree.path / COMPLETE / "Here/S1/film.mkv").open("rb")
    assert film.read(1000) == FILM[:1000]

    for torrent in ("Gone", "Here", "Theirs", "Shared"):
        shutil.rmtree(tree.path / COMPLETE / torrent)
    assert simulator.count("DELETE") == 0, "removing names deletes nothing"
    wait_for(lambda: gone.id not in [each.id for each in simulator.torrents], "its leave")
    time.sleep(3)
    assert {each.name for each in simulator.torrents} == {"Here", "Theirs", "Shared"}
    assert (tree.path / "media/film.mkv").read_bytes() == b"Shared" * 1000
    assert film.read() == FILM[1000:]
    film.close()
    wait_for(lambda: here.id not in [each.id for each in simulator.torrents], "the leave of what was open")
    assert {each.name for each in simulator.torrents} == {"Theirs", "Shared"}
