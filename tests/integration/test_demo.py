"""The demo as people run it, and that each of its checks fails when what it looks at is broken."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from checkout import checkout
from mounting import ROOT, wait_for

from cli import demo
from cli.demo import CheckFailed, Stage, check_link, check_remote, check_rename, check_write, make_clip
from indexer.media import MediaFacts

pytestmark = pytest.mark.mount


def leftovers(base: Path) -> list[str]:
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(base) in line]
    return [*map(str, base.iterdir()), *mounts]


def test_once_checks_itself_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "demo", "--once"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout.count("\nok: ") == len(demo.CHECKS) == 4
    assert done.stdout.count("Real-Debrid (simulated)") == 3
    assert "Traceback" not in done.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.timeout(900)
def test_the_first_command_of_the_readme_in_a_fresh_clone(tmp_path: Path) -> None:
    clone, temporary = checkout(tmp_path / "a fresh clone"), tmp_path / "temporary"
    temporary.mkdir()
    # Nothing of this environment may help.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL", "PYTHON"))}
    clean["PATH"] = os.pathsep.join(part for part in clean["PATH"].split(os.pathsep) if ".venv" not in part)
    for _ in range(2):
        done = subprocess.run(
            [clone / "scripts/run", "--once"],
            cwd="/", env={**clean, "TMPDIR": str(temporary)}, capture_output=True, text=True, timeout=800,
        )  # fmt: skip
        assert done.returncode == 0, done
        assert done.stdout.count("\nok: ") == len(demo.CHECKS)
        assert leftovers(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_until_told_to_stop_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    output = tmp_path.with_suffix(".out")
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "cli", "demo"],
            cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        wait_for(lambda: "Ctrl-C" in output.read_text(), "the demo")
        process.send_signal(number)
        assert process.wait(60) == 0, output.read_text()
    finally:
        process.terminate()
    assert "nothing is left behind" in output.read_text() and "Traceback" not in output.read_text()
    assert leftovers(tmp_path) == []


# A plain folder in place of the tree does all right; each test breaks one thing about it.


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    drive = tmp_path / "drive"
    (drive / "media/tv").mkdir(parents=True)
    stage = Stage(drive, {"one": drive, "two": tmp_path / "two"}, tmp_path / "remote")
    torrent, name, seconds, picture = demo.CLIPS[0]
    make_clip(stage.remote / torrent / name, seconds, picture)
    shutil.copytree(stage.remote, stage.mount / demo.REMOTE)
    return stage


def test_the_checks_pass_where_nothing_is_broken(stage: Stage) -> None:
    for check in demo.CHECKS:
        assert check(stage)


def test_wrong_remote_bytes_are_noticed(stage: Stage) -> None:
    shown, _ = demo.remote_files(stage)[0]
    data = bytearray(shown.read_bytes())
    data[len(data) // 2] ^= 1
    shown.write_bytes(data)
    with pytest.raises(CheckFailed, match="has hash"):
        check_remote(stage)


def test_a_short_remote_file_is_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "probe", lambda *_, **__: MediaFacts("matroska,webm", 3.0, ()))
    with pytest.raises(CheckFailed, match="ffprobe finds 3.0 seconds"):
        check_remote(stage)


def test_a_file_on_two_drives_or_none_is_noticed(stage: Stage, tmp_path: Path) -> None:
    stage.drives["two"] = stage.drives["one"]
    with pytest.raises(CheckFailed, match="lies on 2 drives"):
        check_write(stage)
    shutil.rmtree(stage.mount / "media")
    stage.drives.clear()
    with pytest.raises(CheckFailed, match="lies on 0 drives"):
        check_write(stage)


def test_wrong_bytes_on_the_drive_are_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: honest(path)[:-1] + b"?!")
    with pytest.raises(CheckFailed, match="other bytes"):
        check_write(stage)


def test_a_copy_in_place_of_a_link_is_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    check_write(stage)
    monkeypatch.setattr(os, "link", shutil.copy)
    with pytest.raises(CheckFailed, match="not a second name"):
        check_link(stage)


def test_a_copy_in_place_of_a_rename_is_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    check_write(stage)
    check_link(stage)
    monkeypatch.setattr(Path, "rename", lambda source, target: shutil.copy(source, target))
    with pytest.raises(CheckFailed, match="still there"):
        check_rename(stage)


def test_a_broken_tree_ends_the_command_with_an_error(tmp_path: Path) -> None:
    """The whole command, with a provider that delivers wrong bytes."""
    code = """
import sys
from debrid.simulator import Simulator
start = Simulator.start
Simulator.start = lambda self: (start(self), setattr(self.faults, "cdn_corrupt_at", 100_000))[0]
from cli.main import main
main(["demo", "--once"])
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 1 and "check remote" in done.stderr and "has hash" in done.stderr, done
    assert leftovers(tmp_path) == []
    assert tempfile.gettempdir() != str(tmp_path)
