"""`mediapool cache` on a real mount: what is warm costs no remote byte, what is cleared is fetched again."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

FILM = random.Random(1).randbytes((3 << 20) + 12_345)
OTHER = random.Random(2).randbytes(70_001)
# Head and tail, at most half a MiB each: both begin with a piece.
WARM = 512 * 1024 + 3 * (128 << 10) + 12_345
COMPLETE = "torrents/complete"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        old = simulator.now() - 7200
        simulator.add_torrent("Show", {"/S1/e1.mkv": FILM, "/S1/e2.mkv": OTHER, "/empty.mkv": b""}, added=old)
        yield simulator


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    mounted = make_mount()
    mounted.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n')
    mounted.start()
    wait_for((mounted.path / COMPLETE / "Show").exists, "the torrent")
    return mounted


def ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb", buffering=0) as file:
        head = file.read(4096)
        file.seek(-4096, 2)
        return head, file.read(4096)


def told(tree: Mounted, *words: str) -> dict:
    done = tree.command("cache", *words, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_warm_status_and_clear(tree: Mounted, simulator: Simulator) -> None:
    show = tree.path / COMPLETE / "Show"
    assert simulator.cdn_requests == 0, "what was there before the mount is not warmed by itself"
    assert told(tree, "warm", str(show)) == {"files": 3, "taken": 3, "done": 3, "failed": 0}
    assert simulator.cdn_bytes == WARM + len(OTHER)
    # Of what was read the memory may hold something too, and a new mount not.
    tree.stop()
    tree.start()
    wait_for((show / "S1/e1.mkv").exists, "the torrent")
    assert told(tree, "status")["cache"]["edges"] == WARM + len(OTHER)
    before = simulator.cdn_requests
    assert ends(show / "S1/e1.mkv") == (FILM[:4096], FILM[-4096:])
    assert simulator.cdn_requests == before

    held = {"bytes": WARM + len(OTHER), "chunks": 9}
    assert told(tree, "clear", "--dry-run") == held
    assert tree.command("cache", "clear", input="").returncode == 2, "nobody there to ask"
    assert told(tree, "status")["cache"]["chunks"] == 9
    assert told(tree, "clear", "--yes") == held
    assert told(tree, "status")["cache"]["chunks"] == 0


def test_what_cannot_be_warmed_is_told(tree: Mounted, simulator: Simulator) -> None:
    done = tree.command("cache", "warm", str(tree.path / "nowhere"))
    assert done.returncode == 1 and "no remote file or folder is there" in done.stderr
    simulator.faults.cdn_status = 404
    done = tree.command("cache", "warm", str(tree.path / COMPLETE / "Show/S1/e1.mkv"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"files": 1, "taken": 1, "done": 0, "failed": 1}


def test_a_torrent_that_finishes_meanwhile_is_warmed(tree: Mounted, simulator: Simulator) -> None:
    wait_for(lambda: told(tree, "status")["warming"]["queued"] == 0, "rest")
    simulator.add_torrent("New", {"/film.mkv": FILM})
    wait_for(lambda: told(tree, "status")["warming"]["done"] == 1, "warming")
    assert simulator.cdn_bytes == WARM
    before = simulator.cdn_requests
    assert ends(tree.path / COMPLETE / "New/film.mkv") == (FILM[:4096], FILM[-4096:])
    assert simulator.cdn_requests == before
