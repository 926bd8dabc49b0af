"""What the reader of one byte says, asked as a program."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.web import onebyte
from cli.web.onebyte import candidates


def asked(mount: object, *drives: object) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", onebyte.__file__, str(mount), *map(str, drives)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


def test_files_with_content_are_found_near_the_root_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("deep/er/file", "deep/file", ".mediapool/pinned/file", "zero"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("" if name == "zero" else "x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert list(candidates(str(tmp_path))) == ["deep/file", "deep/er/file"]
    assert list(candidates(str(tmp_path / "nothing"))) == []
    monkeypatch.setattr(onebyte, "_LOOKS", 50)
    for number in range(60):
        (tmp_path / f"empty{number}").touch()
    assert len(list(candidates(str(tmp_path)))) <= 2


def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    assert asked(tmp_path) == (1, "the tree is not mounted\n")
    assert asked(tmp_path / "missing") == (1, "the tree is not mounted\n")
    # Any mounted filesystem will do, with a drive of the same names.
    (tmp_path / "version").write_text("x")
    assert asked("/proc", tmp_path) == (0, "")
    assert asked("/proc") == (0, "")
    (tmp_path / "version").rename(tmp_path / "gone")
    assert asked("/proc", tmp_path) == (0, ""), "what was removed just now is no trouble"
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mem").write_text("x")
    assert asked("/proc", tmp_path) == (1, "reading fails: Input/output error\n")
