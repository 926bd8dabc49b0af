"""SIGKILL before and after each named step of work over several branches; and once more while the next start repairs.

Whatever the moment, after the next start the tree shows the state before or the state after, whole, and every byte
of what was not replaced.
"""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

from debrid.simulator import Simulator
from vfs.intents import PLACES

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

FILM = b"remote film"
COMPLETE = "torrents/complete"
State = dict[str, bytes]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Film", {"/film.mkv": FILM})
        yield simulator


def plant(tree: Mounted, drive: int, path: str, data: bytes) -> None:
    file = tree.drive_paths[drive] / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def contents(tree: Mounted) -> State:
    """Every local file the tree shows; remote ones by size, since reading them is not the matter here."""
    found = {}
    for path in sorted(tree.path.rglob("*")):
        if path.is_file():
            remote = os.getxattr(path, "user.mediapool.source") == b"realdebrid"
            name = str(path.relative_to(tree.path))
            found[name] = b"remote %d" % path.stat().st_size if remote else path.read_bytes()
    return found


def replace_on_another_drive(tree: Mounted) -> None:
    os.rename(tree.path / "in/new", tree.path / "lib/film")


def rename_a_folder_on_all_branches(tree: Mounted) -> None:
    os.rename(tree.path / "lib", tree.path / "moved")


def replace_a_remote_name(tree: Mounted) -> None:
    os.rename(tree.path / "in/new", tree.path / "lib/remote")


def remote_replaces_local(tree: Mounted) -> None:
    os.rename(tree.path / "lib/remote", tree.path / "lib/film")


# First nowhere, to see the result; then before and after each step, and at the second of each kind.
ONCE = [f"{when} {step}" for step in PLACES for when in ("before", "after")]
KILL_AT = ["", *ONCE, *(f"{place} 2" for place in ONCE if place.rpartition(" ")[2] in ("rename", "unlink"))]

SCENARIOS: dict[str, Callable[[Mounted], None]] = {
    act.__name__: act
    for act in (
        replace_on_another_drive,
        rename_a_folder_on_all_branches,
        replace_a_remote_name,
        remote_replaces_local,
    )
}


def furnished(make_mount: MakeMount, simulator: Simulator, name: str) -> Mounted:
    """lib/ on three drives and in the remote names, lib/film on two drives, in/new on the last with a hidden copy."""
    tree = make_mount(name)
    tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    for drive in (0, 1):
        plant(tree, drive, "lib/film", b"old film")
    plant(tree, 2, "lib/other", b"other")
    plant(tree, 1, "in/new", b"new film")
    plant(tree, 2, "in/new", b"hidden")
    tree.start()
    wait_for((tree.path / COMPLETE / "Film/film.mkv").exists, "the torrent")
    os.rename(tree.path / COMPLETE / "Film/film.mkv", tree.path / "lib/remote")
    return tree


def run_and_die(tree: Mounted, act: Callable[[Mounted], None]) -> bool:
    """Let the mount die at its place; False if the work never came there."""
    died = True
    try:
        act(tree)
        died = False
    except OSError:
        pass
    finally:
        tree.kill()
    return died


def restarted(tree: Mounted, crash_at: str) -> None:
    tree.environment = {"MEDIAPOOL_CRASH_AT": crash_at} if crash_at else {}
    tree.start()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_any_step_is_made_good(make_mount: MakeMount, simulator: Simulator, name: str) -> None:
    act = SCENARIOS[name]
    original = furnished(make_mount, simulator, "original")
    before = contents(original)
    original.stop()
    reached = set()
    after: State | None = None
    for place in KILL_AT:
        tree = copied(original, make_mount, f"killed {place}")
        restarted(tree, place)
        numbers = {path: (tree.path / path).stat().st_ino for path in before}
        died = run_and_die(tree, act)
        if died:
            reached.add(place.rpartition(" 2")[0] or place)
        restarted(tree, "")
        found = contents(tree)
        if not place:
            assert not died
            after = found
            assert after != before
        assert found in (before, after), f"killed {place}"
        assert died is False or place.startswith(("before begin",)) or found == after, f"not finished: {place}"
        same = {path for path in found if path in before and found[path] == before[path]}
        assert {path: (tree.path / path).stat().st_ino for path in same} == {path: numbers[path] for path in same}
        tree.stop()
        restarted(tree, "")
        assert contents(tree) == found, "the second start changes nothing more"
        tree.stop()
    assert {"before begin", "after begin", "before sync", "before end", "after end"} <= reached


def copied(original: Mounted, make_mount: MakeMount, name: str) -> Mounted:
    """The same pool in other folders."""
    tree = make_mount(name)
    for folder in (*original.drive_paths, original.state):
        shutil.copytree(folder, tree.base / folder.name, symlinks=True, dirs_exist_ok=True)
    tree.config.write_text(original.config.read_text().replace(str(original.base), str(tree.base)))
    return tree


def test_dying_again_during_the_repair(make_mount: MakeMount, simulator: Simulator) -> None:
    original = furnished(make_mount, simulator, "original")
    original.stop()
    for place in ("before unlink", "after unlink", "before sync", "after sync", "before end", "after end"):
        tree = copied(original, make_mount, f"repair killed {place}")
        restarted(tree, "after rename")
        assert run_and_die(tree, replace_on_another_drive)
        tree.environment = {"MEDIAPOOL_CRASH_AT": place}
        with pytest.raises(AssertionError, match="mount ended"):
            tree.start()
        restarted(tree, "")
        assert (tree.path / "lib/film").read_bytes() == b"new film" and not (tree.path / "in/new").exists()
        assert sum((drive / "lib/film").exists() for drive in tree.drive_paths) == 1
        tree.stop()
