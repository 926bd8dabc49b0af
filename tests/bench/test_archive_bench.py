"""The benchmark of the planner at a small size: all rows, all targets but the time."""

import json
import subprocess
import sys
from pathlib import Path

from mounting import ROOT


def test_all_rows_and_targets(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/bench/archive.py"), "--files=9000", f"--json={figures}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done
    found = json.loads(figures.read_text())
    assert found["files"] == 9000 and len(found["rows"]) == 24 and found["missed"] == []
    assert all(row["discs"] >= row["lower_bound"] >= 1 and row["seconds"] > 0 for row in found["rows"])
