"""An archive is built from the tree while the tree is mounted, and undone."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

pytestmark = pytest.mark.mount


def said(mounted: Mounted, *words: str) -> Any:
    done = mounted.command(*words, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def content_of(mounted: Mounted, path: str) -> list[dict[str, str]]:
    (told,) = said(mounted, "explain", path)
    found: list[dict[str, str]] = told["about"]["content"]
    return found


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
    assert content_of(mounted, "Archive/0001/media/photos/2019/01/IMG.jpg") is None, "the index has not read it"
    (tree / "again.jpg").write_bytes(bytes([1]) * 9000)
    (tree / "linked.jpg").hardlink_to(tree / "again.jpg")
    (tree / "other.jpg").write_bytes(bytes([99]) * 9000)
    said(mounted, "index", "crawl")
    (archived,) = [str(folder / "0001/media/photos/2019/01/IMG.jpg")]
    found = content_of(mounted, "again.jpg")
    assert {one["where"] for one in found} == {
        "another name",
        f"drive {mounted.drive_paths[2].name}",
        "volume 0001, unburned",
    }
    assert archived in {one["path"] for one in found} and "media/photos/2019/01/IMG.jpg" in {
        one["path"] for one in found
    }
    assert content_of(mounted, "other.jpg") == []
    (tree / "other.jpg").write_bytes(bytes([98]) * 9000)
    assert content_of(mounted, "other.jpg") is None, "it was changed since"
    told = mounted.command("explain", "again.jpg", "other.jpg").stdout
    assert "The same content:" in told and "mediapool index crawl" in told
    for name in ("again.jpg", "linked.jpg", "other.jpg"):
        (tree / name).unlink()
    said(mounted, "jobs", "undo", "a1", "--yes")
    wait_for(lambda: len(list(tree.glob("media/**/*.jpg"))) == 8, "the tree with them again")
    assert {name: (tree / name).read_bytes() for name in photos} == photos
    for drive in mounted.drive_paths:
        assert not Path(drive, ".mediapool/moving").exists() or not list(Path(drive, ".mediapool/moving").iterdir())
    refused = mounted.command("archive", "build", str(drives[0]), "--archive", str(tree / "Archive"), "--yes")
    assert refused.returncode == 1 and "mounted tree" in refused.stderr
    mounted.stop()
