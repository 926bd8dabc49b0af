"""Finding files: any names, each directory once, nothing followed; and what kind of device they lie on."""

import os
import threading
from pathlib import Path

import pytest

from indexer import devices
from indexer.finding import TreeError, find, is_below, roots


def paths(*trees: Path) -> list[bytes]:
    return sorted(found.path for found in find(roots(trees)).files)


def test_regular_files_of_any_name_and_nothing_else(tmp_path: Path) -> None:
    tree = os.fsencode(tmp_path)
    names = [b"a", b"new\nline", b"\xff\xfe.jpg", b"x" * 255, b"-rf", b".hidden"]
    os.mkdir(tree + b"/\xff folder")
    for name in names:
        for folder in (tree, tree + b"/\xff folder"):
            Path(os.fsdecode(folder + b"/" + name)).write_bytes(name)
    os.symlink(b"a", tree + b"/link")
    os.symlink(tree, tree + b"/loop")
    os.mkfifo(tree + b"/fifo")
    os.mkdir(tree + b"/.mediapool")
    Path(tmp_path, ".mediapool/identity.json").write_text("{}")
    assert paths(tmp_path) == sorted(
        folder + b"/" + name for folder in (tree, tree + b"/\xff folder") for name in names
    )


def test_trees_named_twice_or_inside_one_another_are_one(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("x")
    (tmp_path / "other").symlink_to(tmp_path / "a")
    assert roots([tmp_path / "a/b", tmp_path / "other", tmp_path / "a"]) == [os.fsencode(tmp_path / "a")]
    assert len(paths(tmp_path / "a", tmp_path / "a/b", tmp_path / "other")) == 1
    with pytest.raises(TreeError, match=r"no folder\. Name"):
        roots([tmp_path / "nothing"])


def test_names_that_only_begin_alike_are_not_below() -> None:
    assert is_below(b"/a/b", b"/a") and is_below(b"/a", b"/a") and is_below(b"/a", b"/")
    assert not is_below(b"/ab", b"/a") and not is_below(b"/a", b"/a/b")


def test_what_cannot_be_looked_at_is_told_and_a_search_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "file").write_text("x")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/shut"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find(roots([tmp_path]))
    assert [one.path for one in found.files] == [os.fsencode(tmp_path / "file")]
    assert [(one.path, one.reason) for one in found.unreadable] == [
        (os.fsencode(tmp_path / "shut"), "Permission denied")
    ]
    stop = threading.Event()
    stop.set()
    assert find(roots([tmp_path]), stop=stop).files == []


def block(known: Path, number: str, *, rotational: str = "0", **files: str) -> Path:
    """A device as /sys/dev/block shows it."""
    device = known / number
    (device / "queue").mkdir(parents=True)
    (device / "queue/rotational").write_text(f"{rotational}\n")
    for name, text in files.items():
        (device / name).write_text(text)
    return device


def test_kinds_of_block_devices(tmp_path: Path) -> None:
    block(tmp_path, "8:0", rotational="1")
    block(tmp_path, "259:0")
    disk = block(tmp_path, "8:16", rotational="1")
    (disk / "part").mkdir()
    (disk / "part/partition").write_text("1")
    (tmp_path / "8:17").symlink_to(disk / "part")
    for number, below in (("253:0", ["8:16"]), ("253:1", ["259:0"]), ("9:0", ["259:0", "8:16"])):
        mapped = block(tmp_path, number)
        for slave in below:
            (mapped / "slaves").mkdir(exist_ok=True)
            (mapped / "slaves" / slave).mkdir()
            (mapped / "slaves" / slave / "dev").write_text(slave)
    virtual = tmp_path / "virtio1/vda"
    block(virtual.parent, "vda", rotational="1")
    (tmp_path / "254:0").symlink_to(virtual)
    kinds = {number: devices._kind_of_block(number, tmp_path) for number in
             ("8:0", "8:17", "259:0", "253:0", "253:1", "9:0", "254:0", "7:99")}  # fmt: skip
    assert kinds == {
        "8:0": "hdd", "8:17": "hdd", "259:0": "ssd", "253:0": "hdd", "253:1": "ssd", "9:0": "hdd",
        # The flag of a virtual disk says nothing; what is not there neither.
        "254:0": "ssd", "7:99": "ssd",
    }  # fmt: skip


def test_the_device_of_a_real_file_has_a_kind(tmp_path: Path) -> None:
    assert devices.READERS[devices.kind_of(tmp_path.stat().st_dev)] >= 1
    assert devices.kind_of(Path("/proc").stat().st_dev) == "ssd"
