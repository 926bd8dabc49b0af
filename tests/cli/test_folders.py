"""Folders that cannot be used together are refused by name, with a remedy."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.config import Config, parse
from cli.folders import check_paths
from cli.problems import ConfigError

MakeConfig = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> MakeConfig:
    """A configuration of two drives in which these paths replace the good ones."""
    for name in ("mount", "one", "two"):
        (tmp_path / name).mkdir()

    def make(**paths: Path | str) -> Config:
        at = {name: str(paths.get(name, tmp_path / name)) for name in ("mount", "one", "two", "state", "cache")}
        return parse(
            f'[mount]\npath = "{at["mount"]}"\n'
            f'[state]\npath = "{at["state"]}"\n[cache]\npath = "{at["cache"]}"\n'
            f'[[drive]]\nname = "one"\npath = "{at["one"]}"\n[[drive]]\nname = "two"\npath = "{at["two"]}"\n'
        )

    return make


def refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        check_paths(config)
    return str(caught.value)


def test_good_folders_pass(config: MakeConfig) -> None:
    check_paths(config())


def test_a_mount_point_that_is_not_there_yet(config: MakeConfig, tmp_path: Path) -> None:
    check_paths(config(mount=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_mount_point_without_a_folder_above(config: MakeConfig, tmp_path: Path) -> None:
    message = refusal(config(mount=tmp_path / "no" / "new"))
    assert f'[mount] path = "{tmp_path}/no/new"' in message
    assert "Make it: mkdir -p " in message


def test_a_mount_point_that_is_not_empty(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "mount" / "film.mkv").touch()
    message = refusal(config())
    assert f'[mount] path = "{tmp_path}/mount"' in message
    assert "It is not empty." in message and "Empty the folder or name another" in message


def test_a_mount_point_that_is_a_file(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(config(mount=tmp_path / "file"))
    assert "It is not a folder." in message and "Name an empty folder." in message


def test_the_root_is_no_mount_point(config: MakeConfig) -> None:
    message = refusal(config(mount="/"))
    assert '[mount] path = "/"' in message and 'as in "/data"' in message


def test_something_mounted_there_is_not_judged_here(config: MakeConfig) -> None:
    check_paths(config(mount="/proc"))


@pytest.mark.parametrize(("code", "refused"), [(errno.ENOTCONN, False), (errno.EACCES, True)])
def test_only_a_stale_mount_is_passed_over(
    code: int, refused: bool, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "scandir", scandir)
    if refused:
        assert "It cannot be used: Permission denied." in refusal(config())
    else:
        check_paths(config())


def test_a_drive_that_was_mounted_before_may_be_missing(config: MakeConfig, tmp_path: Path) -> None:
    check_paths(config(two=tmp_path / "gone"), known={"two"})
    with pytest.raises(ConfigError, match="does not exist"):
        check_paths(config(two=tmp_path / "gone"), known={"one"})
    (tmp_path / "gone").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        check_paths(config(two=tmp_path / "gone"), known={"two"})


def test_a_missing_drive_folder(config: MakeConfig, tmp_path: Path) -> None:
    message = refusal(config(two=tmp_path / "gone"))
    assert f'[[drive]] path (drive 2) = "{tmp_path}/gone"' in message
    assert "It does not exist." in message and "mediapool pool remove two" in message


def test_a_drive_that_is_a_file(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(config(one=tmp_path / "file"))
    assert "[[drive]] path (drive 1)" in message and "It is not a folder." in message


def test_a_drive_that_cannot_be_looked_at(config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path == tmp_path / "one":
            raise PermissionError(errno.EACCES, "Permission denied")
        return look(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    message = refusal(config())
    assert "[[drive]] path (drive 1)" in message and "Check its disk" in message


NESTED = [
    ("mount", "one/m", "[[drive]] path (drive 1)", "It holds the mount point", "Move one of the two"),
    ("one", "mount/d", "[[drive]] path (drive 1)", "It lies inside the mount point", "Move one of the two"),
    (
        "mount",
        "one",
        "[[drive]] path (drive 1)",
        "It is the same folder as the mount point",
        "Move one of the two",
    ),
    ("two", "one/d", "[[drive]] path (drive 2)", 'It lies inside drive "one"', "Remove one of the two"),
    ("one", "two/d", "[[drive]] path (drive 2)", 'It holds drive "one"', "Remove one of the two"),
    ("state", "one/s", "[state] path", 'It lies inside drive "one"', "Name a folder outside"),
    ("state", "mount/s", "[state] path", "It lies inside the mount point", "Name a folder outside"),
    ("cache", "two/c", "[cache] path", 'It lies inside drive "two"', "Name a folder outside"),
    ("cache", "mount", "[cache] path", "It is the same folder as the mount point", "Name a folder outside"),
    ("one", "cache/d", "[cache] path", 'It holds drive "one"', "Name a folder outside"),
    ("mount", "state/m", "[state] path", "It holds the mount point", "Name a folder outside"),
    ("state", "cache", "[state] path", "It is inside the cache folder", "Name another folder"),
    ("state", "cache/s", "[state] path", "It is inside the cache folder", "Name another folder"),
]


@pytest.mark.parametrize(("which", "where", "place", "wrong", "remedy"), NESTED)
@pytest.mark.parametrize("linked", [False, True])
def test_folders_inside_one_another(
    which: str,
    where: str,
    place: str,
    wrong: str,
    remedy: str,
    linked: bool,
    config: MakeConfig,
    tmp_path: Path,
) -> None:
    inner = tmp_path / where
    inner.mkdir(parents=True, exist_ok=True)
    if linked:
        (tmp_path / "link").symlink_to(inner)
        inner = tmp_path / "link"
    message = refusal(config(**{which: inner}))
    assert place in message and wrong in message and remedy in message


def test_a_longer_name_is_not_inside(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "one-more").mkdir()
    check_paths(config(two=tmp_path / "one-more"))


def test_the_cache_may_lie_in_the_state_folder(config: MakeConfig, tmp_path: Path) -> None:
    check_paths(config(state=tmp_path / "own", cache=tmp_path / "own" / "cache"))


def test_all_problems_are_told_at_once(config: MakeConfig, tmp_path: Path) -> None:
    message = refusal(config(one=tmp_path / "gone", state=tmp_path / "mount" / "s"))
    assert "2 problems" in message
