"""Listings that the kernel remembers: changes on the drives show within `cache_seconds`, and ours at once."""

import os
import time
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

pytestmark = pytest.mark.mount

# Younger folders are not remembered; see vfs/folders.py.
AGE = 2.2


def remembered(folder: Path) -> list[str]:
    """Have the kernel remember what is in a folder; and what that is."""
    time.sleep(AGE)
    first, second = sorted(os.listdir(folder)), sorted(os.listdir(folder))
    assert first == second
    return first


@pytest.fixture
def tree(make_mount: MakeMount) -> Mounted:
    tree = make_mount()
    tree.write_config(mount="cache_seconds = 60")
    for number, drive in enumerate(tree.drive_paths):
        (drive / "shows").mkdir(parents=True)
        (drive / f"shows/film{number}.mkv").write_bytes(b"x")
    return tree.start()


def test_changes_through_the_tree_show_at_once(tree: Mounted) -> None:
    shows = tree.path / "shows"
    names = remembered(shows)
    (shows / "new").touch()
    assert sorted(os.listdir(shows)) == sorted([*names, "new"])
    remembered(shows)
    (shows / "new").rename(tree.path / "elsewhere")
    assert sorted(os.listdir(shows)) == names
    remembered(shows)
    os.link(tree.path / "elsewhere", shows / "linked")
    (shows / "folder").mkdir()
    assert sorted(os.listdir(shows)) == sorted([*names, "folder", "linked"])
    remembered(shows)
    (shows / "folder").rmdir()
    (shows / names[0]).unlink()
    assert sorted(os.listdir(shows)) == sorted([*names[1:], "linked"])


def test_a_listing_goes_on_while_names_come_and_go(tree: Mounted) -> None:
    shows = tree.path / "shows"
    many = {f"a name that is long enough to need several requests {number}" for number in range(3000)}
    for name in many:
        (shows / name).touch()
    names = set(remembered(shows))
    with os.scandir(shows) as slow:
        seen = [next(slow).name for _ in range(100)]
        gone = sorted(many - set(seen))[::3]
        for name in gone:
            (shows / name).unlink()
        # Somebody else lists it anew meanwhile, so the kernel remembers other names than before.
        assert set(os.listdir(shows)) == names - set(gone)
        seen += [entry.name for entry in slow]
    assert len(seen) == len(set(seen)) and names - set(gone) <= set(seen) <= names


def test_changes_on_a_drive_show_in_time(make_mount: MakeMount) -> None:
    tree = make_mount()
    tree.write_config(mount="cache_seconds = 1")
    tree.start()
    shows = tree.path / "shows"
    shows.mkdir()
    for drive in tree.drive_paths:
        (drive / "shows").mkdir(exist_ok=True)
    for number, drive in enumerate(tree.drive_paths):
        remembered(shows)
        (drive / f"shows/planted{number}").touch()
        wait_for(lambda: f"planted{number}" in os.listdir(shows), "the name")  # noqa: B023
        remembered(shows)
        (drive / f"shows/planted{number}").unlink()
        wait_for(lambda: f"planted{number}" not in os.listdir(shows), "it to go")  # noqa: B023
