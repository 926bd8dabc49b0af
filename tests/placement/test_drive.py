"""A drive that goes is missing and never written to; one that comes back is used again."""

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from placement import drive as drive_module
from placement.drive import Drive, DriveConfig, refuse_clashes
from placement.identity import IDENTITY, DriveError, Identity, initialise

Maker = Callable[..., Drive]


def open_known(path: Path, name: str, known: Identity | None) -> Drive:
    return Drive.open(DriveConfig(name, str(path)), known=known)


def pull(path: Path) -> Path:
    """Take the drive at `path` away and leave what a pulled disk leaves: an empty mount point."""
    away = path.with_name(path.name + ".away")
    path.rename(away)
    path.mkdir()
    return away


def put_back(path: Path) -> None:
    path.rmdir()
    path.with_name(path.name + ".away").rename(path)


def test_a_new_drive_is_present(make_drive: Maker, tmp_path: Path) -> None:
    drive = make_drive("d1", mode="nc", tier="ssd", min_free=5)
    assert drive.present and drive.check() and drive.problem is None
    assert (drive.name, drive.path, drive.mode, drive.tier) == ("d1", str(tmp_path / "d1"), "nc", "ssd")
    assert drive.number == 1 and len(drive.id) == 36
    assert drive.space().f_blocks == os.statvfs(tmp_path).f_blocks


def test_a_folder_without_identity_is_no_drive(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="pool add") as caught:
        open_known(tmp_path, "d1", None)
    assert caught.value.name == "d1" and caught.value.path == str(tmp_path)
    assert os.listdir(tmp_path) == []


def test_damage_and_absence_are_errors_for_an_unknown_drive(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="No such file"):
        open_known(tmp_path / "gone", "d1", None)
    initialise(tmp_path, "d1", 1)
    (tmp_path / IDENTITY).write_bytes(b"\0" * 90)
    with pytest.raises(DriveError, match="damaged: it is no JSON"):
        open_known(tmp_path, "d1", None)


@pytest.mark.parametrize("state", ["empty", "gone", "damaged", "other"])
def test_a_known_drive_may_be_missing(tmp_path: Path, state: str) -> None:
    path = tmp_path / "d1"
    path.mkdir()
    known = initialise(path, "d1", 4)
    pull(path)
    if state == "gone":
        path.rmdir()
    if state == "damaged":
        (path / ".mediapool").mkdir()
        (path / IDENTITY).write_text("{}")
    if state == "other":
        initialise(path, "d2", 5)
    before = sorted(str(found) for found in path.rglob("*"))
    drive = open_known(path, "d1", known)
    try:
        assert not drive.present and drive.number == 4 and drive.id == known.id
        for call in (drive.require, drive.space):
            with pytest.raises(OSError, match="d1") as caught:
                call()
            assert caught.value.errno == errno.EIO
        assert sorted(str(found) for found in path.rglob("*")) == before
        expected = {
            "empty": "Is the drive mounted",
            "gone": "No such file",
            "damaged": "damaged",
            "other": "another drive is mounted there: 'd2', number 5",
        }
        assert expected[state] in str(drive.problem)
    finally:
        drive.close()


def test_the_number_must_be_the_known_one(tmp_path: Path) -> None:
    known = initialise(tmp_path, "d1", 4)
    drive = open_known(tmp_path, "d1", Identity(known.id, 5, "d1"))
    assert not drive.present
    drive.close()


def test_a_renamed_drive_is_the_same_drive(tmp_path: Path) -> None:
    known = initialise(tmp_path, "d1", 4)
    drive = open_known(tmp_path, "films", known)
    assert drive.present and drive.name == "films"
    drive.close()


def test_pulled_and_put_back(make_drive: Maker, tmp_path: Path) -> None:
    drive = make_drive("d1")
    (tmp_path / "d1/file").write_text("here")
    for _ in range(3):
        pull(tmp_path / "d1")
        assert not drive.check() and not drive.present
        with pytest.raises(OSError, match="Is the drive mounted"):
            drive.require()
        assert os.listdir(tmp_path / "d1") == []
        put_back(tmp_path / "d1")
        assert drive.check() and drive.problem is None
        with drive.require().parent("file") as (dirfd, name):
            assert os.stat(name, dir_fd=dirfd).st_size == 4


def test_a_copy_at_the_path_takes_over_and_a_damaged_identity_ends_it(make_drive: Maker, tmp_path: Path) -> None:
    """A disk restored to another one has the right identity, though another inode."""
    drive = make_drive("d1")
    old = drive.require().key
    shutil.copytree(pull(tmp_path / "d1"), tmp_path / "d1", dirs_exist_ok=True)
    assert drive.check() and drive.require().key != old
    (tmp_path / "d1" / IDENTITY).write_text("{")
    assert not drive.check()
    assert "damaged" in str(drive.problem)


def test_checked_once_a_second_not_each_time(
    make_drive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = make_drive("d1")
    reads = []
    real = drive_module.read_identity
    monkeypatch.setattr(drive_module, "read_identity", lambda root: reads.append(1) or real(root))
    monkeypatch.setattr(drive_module, "FRESH", 0.05)
    drive.check()
    for _ in range(1000):
        assert drive.present
    assert len(reads) < 5
    pull(tmp_path / "d1")
    time.sleep(0.06)
    assert not drive.present
    put_back(tmp_path / "d1")
    time.sleep(0.06)
    assert drive.present


def test_a_drive_that_hangs_does_not_hold_up_the_others(make_drive: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = make_drive("d1")
    answer = threading.Event()
    real = drive_module.read_identity

    def hang(root: object) -> Identity:
        answer.wait(10)
        return real(root)

    monkeypatch.setattr(drive_module, "read_identity", hang)
    monkeypatch.setattr(drive_module, "HUNG", 0.05)
    stuck = threading.Thread(target=drive.check)
    stuck.start()
    try:
        drive._fresh_until = 0.0
        assert drive.present, "only just asked"
        time.sleep(0.1)
        assert not drive.present
        with pytest.raises(OSError, match="does not answer"):
            drive.require()
    finally:
        answer.set()
        stuck.join()
    assert drive.present


def test_threads_only_ever_see_the_drive_or_eio(
    make_drive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive_module, "FRESH", 0.0)
    drive = make_drive("d1")
    (tmp_path / "d1/folder").mkdir()
    (tmp_path / "d1/folder/file").write_text("right")
    stop, wrong, counts = threading.Event(), [], {"here": 0, "missing": 0}

    def work() -> None:
        while not stop.is_set():
            try:
                with drive.require().parent("folder/file") as (dirfd, name):
                    fd = os.open(name, os.O_RDONLY, dir_fd=dirfd)
                if os.read(fd, 9) != b"right":
                    wrong.append("content")
                os.close(fd)
                counts["here"] += 1
            except OSError as error:
                if error.errno != errno.EIO:
                    wrong.append(error)
                counts["missing"] += 1
            time.sleep(0.0005)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        pull(tmp_path / "d1")
        time.sleep(0.01)
        shutil.copytree(tmp_path / "d1.away", tmp_path / "new")
        (tmp_path / "d1").rmdir()
        (tmp_path / "new").rename(tmp_path / "d1")
        shutil.rmtree(tmp_path / "d1.away")
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    # A thread inside the old root while it is deleted sees ENOENT there, as on any disk.
    assert [found for found in wrong if not isinstance(found, FileNotFoundError)] == []
    assert counts["here"] and counts["missing"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_an_unmounted_drive_is_missing_and_its_mount_point_stays_empty(tmp_path: Path) -> None:
    disk, point = tmp_path / "disk", tmp_path / "point"
    disk.mkdir()
    point.mkdir()
    initialise(disk, "d1", 1)

    def run(*words: str) -> None:
        subprocess.run(words, check=True)

    run("mount", "--bind", str(disk), str(point))
    drive = Drive.open(DriveConfig("d1", str(point)))
    try:
        assert drive.check()
        run("umount", "--lazy", str(point))
        assert not drive.check()
        assert os.listdir(point) == []
        run("mount", "--bind", str(disk), str(point))
        assert drive.check()
        run("mount", "-t", "tmpfs", "tmpfs", str(point))
        assert not drive.check(), "something else is mounted over it"
        run("umount", str(point))
        assert drive.check()
    finally:
        drive.close()
        run("umount", str(point))


def test_closed_is_missing_for_good(make_drive: Maker) -> None:
    drive = make_drive("d1")
    with drive.require().parent("x") as (dirfd, _):
        drive.close()
        assert not drive.check() and not drive.present
        os.fstat(dirfd)
    with pytest.raises(OSError, match="closed"):
        drive.require()


def test_a_remembered_problem_holds_nothing_open(make_drive: Maker, tmp_path: Path) -> None:
    drive = make_drive("d1")
    (tmp_path / "d1" / IDENTITY).unlink()
    drive.check()
    problem = drive.problem
    assert problem is not None
    assert problem.__traceback__ is None and problem.__cause__ is None and problem.__context__ is None
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert str(tmp_path / "d1") not in held


def _is_open(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_a_cloned_disk_is_refused_with_both_paths(make_drive: Maker, tmp_path: Path) -> None:
    one = make_drive("d1")
    shutil.copytree(tmp_path / "d1", tmp_path / "clone")
    clone = open_known(tmp_path / "clone", "d2", None)
    with pytest.raises(DriveError, match="is a copy of the one on drive 'd1'") as caught:
        refuse_clashes([one, clone])
    assert str(tmp_path / "d1") in str(caught.value) and str(tmp_path / "clone") in str(caught.value)
    clone.close()


def test_other_clashes(make_drive: Maker, tmp_path: Path) -> None:
    one, two, three = make_drive("d1"), make_drive("d2"), make_drive("d3")
    refuse_clashes([one, two, three])

    (tmp_path / "same").mkdir()
    initialise(tmp_path / "same", "same", two.number)
    same_number = open_known(tmp_path / "same", "same", None)
    with pytest.raises(DriveError, match="same number 2 as drive 'd2'"):
        refuse_clashes([one, two, same_number])

    (tmp_path / "link").symlink_to("d3")
    linked = open_known(tmp_path / "link", "link", None)
    with pytest.raises(DriveError, match="same folder as drive 'd3'"):
        refuse_clashes([one, three, linked])

    (tmp_path / "d1/inner").mkdir()
    initialise(tmp_path / "d1/inner", "inner", 9)
    inner = open_known(tmp_path / "d1/inner", "inner", None)
    with pytest.raises(DriveError, match="one inside the other"):
        refuse_clashes([inner, one])
    for drive in (same_number, linked, inner):
        drive.close()


def test_a_missing_drive_clashes_too(make_drive: Maker, tmp_path: Path) -> None:
    one = make_drive("d1")
    (tmp_path / "empty").mkdir()
    missing = open_known(tmp_path / "empty", "d2", Identity(one.id, one.number, "d2"))
    with pytest.raises(DriveError, match="copy"):
        refuse_clashes([one, missing])
    missing.close()
