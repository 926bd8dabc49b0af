"""The benchmark of local files at a tiny size: it has all its rows, and leaves nothing behind. No times are judged."""

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

TINY = ("--size=2MiB", "--files=90", "--small=20", "--reads=20", "--names=50", "--rounds=2")
ROWS = (
    "sequential read, drives warm", "sequential read, warm", "sequential write", "sequential write and fsync",
    "random 4 KiB read, drives warm", "random 4 KiB read, warm", "find -size, warm", "small files: create",
    "small files: rename", "small files: unlink",
)  # fmt: skip
COLD = ("sequential read, cold", "random 4 KiB read, cold", "find -size, all cold", "find -size, cold, drives warm")
OF_MOUNTS = ("start until it answers", "memory after the start", "memory at the peak (VmHWM)")


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "tests/bench/local.py"), *TINY, f"--dir={folder}", *options]


def test_all_rows_of_all_contenders_and_nothing_left(tmp_path: Path) -> None:
    folder, figures = tmp_path / "room", tmp_path / "figures.json"
    folder.mkdir()
    own = shutil.which("mergerfs")
    more = [f"--mergerfs={own}"] if own else []
    # A setting of the user's own must not reach the mount that is measured.
    done = subprocess.run(
        command(folder, f"--json={figures}", *more), cwd=tmp_path, capture_output=True, text=True, timeout=110,
        env={**os.environ, "MEDIAPOOL_MOUNT__PATH": str(tmp_path / "mine"), "HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    found = json.loads(figures.read_text())
    columns = {contender["column"] for contender in found["contenders"]}
    assert columns & {"mediapool passthrough", "mediapool plain"}
    assert len([column for column in columns if column.startswith("mergerfs")]) == (2 if own else 0)
    rows = {row["title"]: row["columns"] for row in found["rows"]}
    wanted = {*ROWS, *(COLD if os.geteuid() == 0 else ())}
    assert set(rows) == {*wanted, *OF_MOUNTS}
    for title, cells in rows.items():
        assert set(cells) == (columns if title in wanted else columns - {"bare disk"})
        assert all(cell["median"] > 0 for cell in cells.values())
        assert title in done.stdout
    assert all(
        len(figures["values"]) == 2 for cell in rows["sequential write"].values() for figures in cell["sets"].values()
    )
    assert {"start", "start memory"} <= {target["row"] for target in found["targets"]}
    assert leftovers(folder) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "room"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(command(tmp_path, "--rounds=1000"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: list(tmp_path.glob("*/drive1/spread/run*")), "the benchmark at work", 60)
    finally:
        process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert leftovers(tmp_path) == []
