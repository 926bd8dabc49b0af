"""Finding all names of a file, and the folders around them."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from placement import metadata
from placement.drive import Drive
from placement.linkgroup import STAGING, are_all_names, find_names, lstat, missing_folders, sync_folders

Maker = Callable[..., Drive]


def nothing() -> None:
    pass


def make(root: Path, *paths: str) -> int:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path is paths[0]:
            (root / path).touch()
        else:
            os.link(root / paths[0], root / path)
    return (root / paths[0]).stat().st_ino


def test_names_are_found_wherever_they_are(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()
    names = ["a/b/c/d", "a/b/x", ".mediapool/pinned/y", "z"]
    ino = make(tmp_path / "d1", *names, f"{STAGING}/hidden")
    (tmp_path / "d1/loop").symlink_to(tmp_path / "d1")
    assert find_names(root, ino, 9, nothing) == sorted(names)
    assert len(find_names(root, ino, 2, nothing)) == 2, "it stops when it has them"
    assert find_names(root, ino + 10**6, 1, nothing) == []


def test_the_walk_can_be_ended(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()

    def stop() -> None:
        raise OSError(errno.ECANCELED, "enough")

    with pytest.raises(OSError, match="enough"):
        find_names(root, 1, 1, stop)


def test_a_folder_that_vanishes_is_passed_over(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()
    ino = make(tmp_path / "d1", "keep/a", "gone/x/b")
    calls = []

    def vanish() -> None:
        calls.append(1)
        if len(calls) == 2:
            (tmp_path / "d1/gone").rename(tmp_path / "elsewhere")

    assert find_names(root, ino, 2, vanish) == ["keep/a"]


def test_all_names_means_all(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()
    ino = make(tmp_path / "d1", "a", "b/c")
    make(tmp_path / "d1", "other")
    assert are_all_names(root, ino, ["a", "b/c"])
    for wrong in ([], ["a"], ["a", "a"], ["a", "other"], ["a", "b/c", "gone"], ["a/under", "b/c"]):
        assert not are_all_names(root, ino, wrong)


def test_folders_that_are_missing_outermost_first(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()
    (tmp_path / "d1/here/too").mkdir(parents=True)
    paths = ["here/too/file", "x/y/z/file", "here/new/file", "x/file", "file"]
    assert missing_folders(root, paths) == ["x", "here/new", "x/y", "x/y/z"]
    (tmp_path / "d1/x").symlink_to("here")
    with pytest.raises(NotADirectoryError) as caught:
        missing_folders(root, paths)
    assert caught.value.filename == "x"


def test_nothing_stands_below_a_file(make_drive: Maker, tmp_path: Path) -> None:
    root = make_drive("d1").require()
    (tmp_path / "d1/file").touch()
    assert lstat(root, "file/below") is None and lstat(root, "gone") is None
    assert lstat(root, "file") is not None


def test_for_a_folder_that_is_gone_the_one_above_is_synced(
    make_drive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_drive("d1").require()
    (tmp_path / "d1/a").mkdir()
    (tmp_path / "d1/file").touch()
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    sync_folders(root, ["a/b/c", "a", "a/b", "", "file/x"])
    assert synced == ["a", "d1"]


def test_special_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("somewhere")
    (tmp_path / "same").symlink_to("somewhere")
    (tmp_path / "other").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    fds = {path.name: os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in tmp_path.iterdir()}
    same = {(a, b) for a in fds for b in fds if a < b and metadata.is_same_special(fds[a], fds[b])}
    assert same == {("one", "same")}
    assert not metadata.is_fixed(fds["fifo"])
    for fd in fds.values():
        os.close(fd)
