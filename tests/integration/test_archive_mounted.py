"""An archive is built from the tree while the tree is mounted, and undone."""

import json
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

pytestmark = pytest.mark.mount


def said(mounted: Mounted, *words: str) -> object:
    done = mounted.command(*words, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_files_of_the_tree_go_to_the_archive_and_back_while_it_is_mounted(make_mount: MakeMount) -> None:
    mounted = make_mount().start()
    tree, photos = mounted.path, {f"media/photos/2019/0{n}/IMG.jpg": bytes([n]) * 9000 for n in range(1, 9)}
    for name, data in photos.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    drives = [drive for drive in mounted.drive_paths if list(drive.glob("media/**/*.jpg"))]
    assert len(drives) > 1, "the policy is to spread them"
    folder = mounted.drive_paths[2] / "Archive"
    words = ("archive", "build", str(tree / "media"), "--archive", str(folder), "--media=2MB", "--yes")
    assert said(mounted, *words) == {"job": "a1", "volumes": ["0001"], "files": 8, "left": []}
    wait_for(lambda: not list(tree.glob("media/**/*.jpg")), "the tree without them")
    for name, data in photos.items():
        assert (tree / "Archive/0001" / name).read_bytes() == data
    said(mounted, "jobs", "undo", "a1", "--yes")
    wait_for(lambda: len(list(tree.glob("media/**/*.jpg"))) == 8, "the tree with them again")
    assert {name: (tree / name).read_bytes() for name in photos} == photos
    for drive in mounted.drive_paths:
        assert not Path(drive, ".mediapool/moving").exists() or not list(Path(drive, ".mediapool/moving").iterdir())
    refused = mounted.command("archive", "build", str(drives[0]), "--archive", str(tree / "Archive"), "--yes")
    assert refused.returncode == 1 and "mounted tree" in refused.stderr
    mounted.stop()
