"""The benchmark of remote files at a tiny size: it has all its rows, and leaves nothing behind. No times are judged."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mounting import ROOT, leftovers, wait_for

pytestmark = pytest.mark.mount

TINY = ("--size=3MiB", "--clip=1MiB", "--clips=2", "--play=0.2", "--rounds=1")
ROWS = {
    "first byte", "first fetched", "seek", "seek fetched", "probe", "probe fetched", "probe again",
    "probe again fetched", "stalls", "latest", "memory",
    *(f"{speed} {row}" for speed in ("limited", "free") for row in ("order", "order fetched", "again", "cpu")),
}  # fmt: skip
OF_MEDIAINFO = {"mediainfo", "mediainfo requests", "mediainfo again", "mediainfo again requests"}
COLD = {"limited again cold", "free again cold"}


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "tests/bench/stream.py"), *TINY, f"--dir={folder}", *options]


def test_all_rows_of_all_mounts_and_nothing_left(tmp_path: Path) -> None:
    folder, figures = tmp_path / "room", tmp_path / "figures.json"
    folder.mkdir()
    # A setting of the user's own must not reach the mount that is measured.
    done = subprocess.run(
        command(folder, f"--json={figures}"), cwd=tmp_path, capture_output=True, text=True, timeout=110,
        env={**os.environ, "MEDIAPOOL_MOUNT__PATH": str(tmp_path / "mine"), "HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    found = json.loads(figures.read_text())
    mounts = {contender["column"] for contender in found["contenders"]}
    rclone = Path(sys.executable).with_name("rclone").exists() or shutil.which("rclone")
    assert mounts == {"mediapool", *(("rclone", "rclone, 8 streams") if rclone else ())}
    rows = {row["key"]: row["columns"] for row in found["rows"]}
    possible = (OF_MEDIAINFO if shutil.which("mediainfo") else set()) | (COLD if os.geteuid() == 0 else set())
    assert set(rows) == ROWS | possible
    assert all(mounts <= set(cells) for cells in rows.values())
    assert all(len(cell["sets"][""]["values"]) == 1 for cell in rows["seek"].values())
    targets = {target["row"]: target for target in found["targets"]}
    assert {"first byte", "seek", "probe fetched", "limited order", "memory", "stalls"} <= set(targets)
    # What can be said without a clock.
    assert targets["probe again fetched"]["ok"]
    assert rows["limited order fetched"]["mediapool"]["median"] == 1
    assert leftovers(folder) == []


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path, "--rounds=50"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: list(tmp_path.glob("*/mediapool/torrents")), "the benchmark at work")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert leftovers(tmp_path) == []
