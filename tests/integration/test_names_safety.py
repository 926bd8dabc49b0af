"""names.db lost or damaged: the mount refuses, says which copies there are, and takes one back on request."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import Simulator
from vfs.namescopies import KEPT

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

COMPLETE = "torrents/complete"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Show", {"/e1.mkv": b"one", "/e2.mkv": b"two"})
        yield simulator


def pool(make_mount: MakeMount, simulator: Simulator, name: str = "pool") -> Mounted:
    """A pool that held remote names, one of them linked elsewhere; not mounted."""
    tree = make_mount(name)
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    tree.start()
    wait_for((tree.path / COMPLETE / "Show/e2.mkv").exists, "the torrent")
    os.link(tree.path / COMPLETE / "Show/e1.mkv", tree.path / "linked.mkv")
    os.unlink(tree.path / COMPLETE / "Show/e2.mkv")
    tree.stop()
    return tree


def refused(tree: Mounted) -> str:
    done = tree.command("mount")
    assert done.returncode == 1 and not os.path.ismount(tree.path), done
    assert "Traceback" not in done.stderr
    return done.stderr


def shown(tree: Mounted) -> set[str]:
    return {str(path.relative_to(tree.path)) for path in tree.path.rglob("*") if path.is_file()}


WHOLE = {"linked.mkv", f"{COMPLETE}/Show/e1.mkv"}


@pytest.mark.parametrize("loss", ["names.db", "state folder", "damaged", "empty file"])
def test_lost_names_are_missed_and_put_back(make_mount: MakeMount, simulator: Simulator, loss: str) -> None:
    tree = pool(make_mount, simulator)
    names = tree.state / "names.db"
    if loss == "names.db":
        names.unlink()
    elif loss == "state folder":
        shutil.rmtree(tree.state)
    else:
        names.write_bytes(os.urandom(20_000) if loss == "damaged" else b"")
    said = refused(tree)
    assert str(names) in said and "restore-names" in said and "2 names" in said
    assert ("damaged" if loss == "damaged" else "missing") in said
    assert refused(tree) == said, "a second try is refused as well"
    before = None if not names.exists() else names.read_bytes()
    assert tree.command("pool", "restore-names", "--dry-run").returncode == 0
    assert before == (names.read_bytes() if names.exists() else None)
    done = tree.command("pool", "restore-names")
    assert done.returncode == 2, "without a terminal it wants --yes"
    done = tree.command("pool", "restore-names", "--yes")
    assert done.returncode == 0 and "Put back 2 names" in done.stdout, done
    if before:
        (aside,) = tree.state.glob("names.db.aside-*")
        assert aside.read_bytes() == before
    tree.start()
    assert shown(tree) == WHOLE
    assert (tree.path / "linked.mkv").read_bytes() == b"one"


def test_beginning_anew_is_possible_and_loses_no_copy(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = pool(make_mount, simulator)
    copies = [path for drive in tree.drive_paths for path in (drive / KEPT).glob("*.db")]
    assert len(copies) == 2
    before = {path: path.read_bytes() for path in copies}
    shutil.rmtree(tree.state)
    done = tree.command("pool", "restore-names", "--empty", "--yes")
    assert done.returncode == 0, done
    tree.start()
    wait_for((tree.path / COMPLETE / "Show/e2.mkv").exists, "the torrent, published anew")
    assert not (tree.path / "linked.mkv").exists()
    tree.stop()
    assert {path: path.read_bytes() for path in copies} == before
    # Lost once more, it cannot be known which of the two pools is meant.
    shutil.rmtree(tree.state)
    assert "restore-names FILE" in refused(tree)
    assert tree.command("pool", "restore-names", "--yes").returncode == 1
    done = tree.command("pool", "restore-names", str(copies[0]), "--yes")
    assert done.returncode == 0, done
    tree.start()
    assert shown(tree) == WHOLE


def test_the_copies_of_another_pool_are_shown_but_not_taken(make_mount: MakeMount, simulator: Simulator) -> None:
    """A drive that was part of the pool of another machine comes into this one."""
    other, tree = pool(make_mount, simulator, "other"), pool(make_mount, simulator, "mine")
    tree.drive_paths.append(other.drive_paths[0].rename(tree.base / "drive9"))
    numbers = tree.drive_paths[-1] / ".mediapool/identity.json"
    numbers.write_text(numbers.read_text().replace('"number": 1', '"number": 9'))
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    tree.start()
    tree.stop()
    # The newest of all is the one of the other pool.
    (foreign,) = (tree.drive_paths[-1] / KEPT).glob("*.db")
    with closing(sqlite3.connect(foreign)) as db, db:
        db.execute("UPDATE meta SET value = value + 1000000000000 WHERE key = 'saved'")
    (tree.state / "names.db").write_bytes(b"damaged")
    listed = tree.command("pool", "restore-names", "--dry-run", "--json")
    found = json.loads(listed.stdout)
    assert found["copies"][0]["pool"] != found["chosen"]["pool"], listed
    assert "not the pool of this state folder" in refused(tree)
    done = tree.command("pool", "restore-names", "--yes")
    assert done.returncode == 0, done
    tree.start()
    assert shown(tree) == WHOLE


def test_an_old_copy_brings_back_what_was_removed_and_publishes_what_came_later(
    make_mount: MakeMount, simulator: Simulator
) -> None:
    tree = pool(make_mount, simulator)
    tree.start()
    later = simulator.add_torrent("Later", {"/film.mkv": b"three"})
    try:
        wait_for((tree.path / COMPLETE / "Later/film.mkv").exists, "the later torrent")
        os.unlink(tree.path / "linked.mkv")
        tree.kill()
        (tree.state / "names.db").write_bytes(b"damaged")
        assert tree.command("pool", "restore-names", "--yes").returncode == 0
        tree.start()
        wait_for((tree.path / COMPLETE / "Later/film.mkv").exists, "the later torrent, published again")
        assert shown(tree) == WHOLE | {f"{COMPLETE}/Later/film.mkv"}
    finally:
        simulator.remove_torrent(later.id)


def test_a_pool_that_never_held_remote_names_begins_without_a_word(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    (tree.path / "local.txt").write_text("here")
    tree.stop()
    shutil.rmtree(tree.state)
    tree.start()
    assert (tree.path / "local.txt").read_text() == "here"


def test_a_mounted_pool_is_left_alone(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    done = tree.command("pool", "restore-names", "--empty", "--yes")
    assert done.returncode == 1 and "process" in done.stderr


@pytest.mark.parametrize("trouble", ["missing", "in the way"])
def test_drives_that_take_no_copy_do_not_hold_up_the_end(
    make_mount: MakeMount, simulator: Simulator, trouble: str
) -> None:
    tree = pool(make_mount, simulator)
    for drive in tree.drive_paths:
        shutil.rmtree(drive / KEPT)
    tree.start()
    first, *others = tree.drive_paths
    wait_for(lambda: all((drive / KEPT).exists() for drive in others), "marks, made at the start")
    if trouble == "missing":
        first.rename(first.with_suffix(".unplugged"))
        wait_for(lambda: "missing" in tree.command("status").stdout, "the drive being missed")
    else:
        # Neither a folder nor a file can be made where a file stands, whoever asks.
        shutil.rmtree(first / KEPT)
        (first / KEPT).write_text("in the way")
    tree.stop()
    assert [len(list((drive / KEPT).glob("*.db"))) for drive in others] == [1, 1]


def test_no_copy_tells_a_token(make_mount: MakeMount, simulator: Simulator) -> None:
    tree = pool(make_mount, simulator)
    kept = [path for drive in tree.drive_paths for path in (drive / KEPT).iterdir()]
    kept += list((tree.state / "copies").iterdir())
    assert len(kept) == 6
    for path in kept:
        assert simulator.token.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
