"""The identity file: written whole or not at all, read back exactly, every damage named."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import identity
from placement.beneath import Root
from placement.identity import (
    IDENTITY,
    MAX_NUMBER,
    DriveError,
    Identity,
    initialise,
    next_number,
    parse_identity,
    read_identity,
)


def read(path: Path) -> Identity:
    with Root(path) as root:
        return read_identity(root)


def test_round_trip(tmp_path: Path) -> None:
    written = initialise(tmp_path, "d1 \udcff é", 7)
    assert read(tmp_path) == written
    assert (written.number, written.name) == (7, "d1 \udcff é")


def test_only_the_daemon_may_look(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        initialise(tmp_path, "d1", 1)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / IDENTITY).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".mediapool").stat().st_mode) == 0o700
    assert os.listdir(tmp_path / ".mediapool") == ["identity.json"]


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    (tmp_path / ".mediapool").mkdir(mode=0o755)
    initialise(tmp_path, "d1", 1)
    assert stat.S_IMODE((tmp_path / ".mediapool").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_an_identity_is_never_replaced(tmp_path: Path, content: bytes | None) -> None:
    first = initialise(tmp_path, "d1", 1)
    if content is not None:
        (tmp_path / IDENTITY).write_bytes(content)
    with pytest.raises(DriveError, match="already an identity file") as caught:
        initialise(tmp_path, "d2", 2)
    assert str(tmp_path) in str(caught.value) and "'d2'" in str(caught.value)
    assert os.listdir(tmp_path / ".mediapool") == ["identity.json"]
    if content is None:
        assert read(tmp_path) == first


def test_a_filesystem_without_noreplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(olddir: int, old: str, newdir: int, new: str, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, "no such flag")
        os.rename(old, new, src_dir_fd=olddir, dst_dir_fd=newdir)

    monkeypatch.setattr(identity, "renameat2", rename)
    first = initialise(tmp_path, "d1", 1)
    with pytest.raises(DriveError, match="already"):
        initialise(tmp_path, "d1", 2)
    assert read(tmp_path) == first


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(identity.os, "fsync", fsync)
        with pytest.raises(DriveError, match="No space left on device"):
            initialise(tmp_path, "d1", 1)
    assert os.listdir(tmp_path / ".mediapool") == []
    initialise(tmp_path, "d1", 1)


@pytest.mark.parametrize("number", [0, -1, MAX_NUMBER + 1])
def test_numbers_out_of_range_are_refused(tmp_path: Path, number: int) -> None:
    with pytest.raises(DriveError, match=r"not in 1\.\.32767"):
        initialise(tmp_path, "d1", number)
    assert os.listdir(tmp_path) == []


def test_where_no_drive_can_be(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="No such file"):
        initialise(tmp_path / "gone", "d1", 1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".mediapool").symlink_to("elsewhere")
    with pytest.raises(DriveError, match="Not a directory"):
        initialise(tmp_path, "d1", 1)
    assert os.listdir(tmp_path / "elsewhere") == []


GOOD = {"format": 1, "id": "0f8fad5b-d9cb-469f-a165-70867728950e", "number": 3, "name": "d3"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"format": 2}, "format is 2"),
        ({"format": None}, "format is None"),
        ({"number": 0}, "number 0"),
        ({"number": 32768}, "number 32768"),
        ({"number": True}, "number True"),
        ({"number": "3"}, "number '3'"),
        ({"name": 5}, "no name"),
        ({"id": "x"}, "no UUID"),
        ({"id": None}, "no UUID"),
        ({"id": 5}, "no UUID"),
    ],
)
def test_each_damage_is_named(change: dict[str, object], cause: str) -> None:
    assert parse_identity(json.dumps(GOOD).encode()) == Identity(GOOD["id"], 3, "d3")
    with pytest.raises(ValueError, match=cause):
        parse_identity(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xff", b"\0" * 4096, b"[" * 60000])
def test_what_is_no_identity_at_all(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is no JSON"):
        parse_identity(content)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_identity_or_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_identity(content)


@given(st.integers(1, len(json.dumps(GOOD)) - 1))
def test_a_torn_file_is_noticed(length: int) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        parse_identity(json.dumps(GOOD).encode()[:length])


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    folder = tmp_path / ".mediapool"
    folder.mkdir()
    os.mkfifo(folder / "identity.json")
    with pytest.raises(ValueError, match="no regular file"):
        read(tmp_path)
    (folder / "identity.json").unlink()
    (folder / "identity.json").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        read(tmp_path)
    (folder / "identity.json").rmdir()
    (tmp_path / "real").write_text(json.dumps(GOOD))
    (folder / "identity.json").symlink_to("../real")
    with pytest.raises(OSError, match="Too many levels"):
        read(tmp_path)


@given(st.sets(st.integers(1, MAX_NUMBER), max_size=50))
def test_the_next_number_is_free(used: set[int]) -> None:
    number = next_number(used)
    assert number not in used and 1 <= number <= MAX_NUMBER
    assert number > max(used, default=0) or MAX_NUMBER in used


def test_numbers_run_out() -> None:
    assert next_number([]) == 1
    assert next_number([MAX_NUMBER, 1, 3]) == 2
    with pytest.raises(ValueError, match="all 32767"):
        next_number(range(1, MAX_NUMBER + 1))
