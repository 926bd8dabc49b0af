"""Drives that join and leave while the tree is mounted."""

import os
import shutil

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from pulling import status

pytestmark = [pytest.mark.mount, pytest.mark.timeout(120)]


def names(tree: Mounted) -> list[str]:
    return sorted(os.listdir(tree.path))


def test_a_drive_joins_leaves_and_joins_again(make_mount: MakeMount) -> None:
    tree = make_mount(drives=1)
    new = tree.base / "new"
    (new / "folder").mkdir(parents=True)
    (new / "folder/film").write_bytes(b"film" * 1000)
    (new / "both").mkdir()
    (tree.drive_paths[0] / "both").mkdir()
    (tree.drive_paths[0] / "both/one").touch()
    (new / "both/two").touch()
    tree.start()
    assert names(tree) == ["both"]
    added = tree.command("pool", "add", str(new), "--name", "new", "--tier", "fast", "--yes")
    assert added.returncode == 0 and "The running mount uses it: new has joined." in added.stdout, added.stderr
    wait_for(lambda: names(tree) == ["both", "folder"], "its names")
    wait_for(lambda: sorted(os.listdir(tree.path / "both")) == ["one", "two"], "the merged folder")
    number = (tree.path / "folder/film").stat().st_ino
    for count in range(40):  # until chance takes it
        (tree.path / f"made{count}").touch()
    assert list(new.glob("made*")) and list(tree.drive_paths[0].glob("made*"))
    assert [(drive["name"], drive["uncertain"] is None) for drive in status(tree)["drives"]] == [
        ("drive1", False), ("new", False),
    ]  # fmt: skip
    with (tree.path / "folder/film").open("rb", buffering=0) as film:
        assert film.read(4) == b"film"
        removed = tree.command("pool", "remove", "new", "--yes")
        assert removed.returncode == 0 and "new has left." in removed.stdout, removed.stderr
        wait_for(lambda: "folder" not in names(tree), "its names to go")
        wait_for(lambda: os.listdir(tree.path / "both") == ["one"], "the rest of the folder")
        assert film.read(4) == b"film" and (new / "folder/film").stat().st_size == 4000
        early = tree.command("pool", "add", str(new), "--name", "new", "--yes")
        assert early.returncode == 1 and "1 files on it are open since before it left" in early.stderr
    (tree.path / "after").touch()
    assert not (new / "after").exists()
    wait_for(lambda: status(tree)["requests"]["open"] == 0, "the release of the film")
    assert tree.command("pool", "add", str(new), "--name", "new", "--yes").returncode == 0
    wait_for(lambda: "folder" in names(tree), "its names again")
    assert (tree.path / "folder/film").stat().st_ino == number
    assert (tree.path / "folder/film").read_bytes() == b"film" * 1000
    # A copy of a drive is no other drive, and the mount goes on without it.
    shutil.copytree(new, tree.base / "copy")
    refused = tree.command("pool", "add", str(tree.base / "copy"), "--name", "copy", "--yes")
    assert refused.returncode == 1 and "a copy of the one on" in refused.stderr
    assert "copy" not in tree.config.read_text()
    assert (tree.path / "folder/film").read_bytes() == b"film" * 1000
