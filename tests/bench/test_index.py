"""The benchmark of duplicates at a tiny size: everybody's groups are read and compared. No times are judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mounting import ROOT

COLD = {"first run, nothing cached", "second run, nothing cached", "first run: read from the disk",
        "second run: read from the disk"}  # fmt: skip
WARM = {"first run, files in the page cache", "second run, files in the page cache"}


def test_all_rows_exact_groups_and_nothing_left(tmp_path: Path) -> None:
    folder, figures = tmp_path / "room", tmp_path / "figures.json"
    folder.mkdir()
    command = [sys.executable, str(ROOT / "tests/bench/index.py"), "--files=400", "--size=3MB", "--rounds=1",
               f"--dir={folder}", f"--json={figures}"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    found = json.loads(figures.read_text())
    exact = {one["column"]: one["exact"] for one in found["contenders"]}
    assert exact.pop("mediapool") is True and set(exact) <= {"jdupes", "fdupes", "rmlint", "rmlint --xattr"}
    rows = {row["title"]: row["columns"] for row in found["rows"]}
    assert set(rows) == WARM | (COLD if os.geteuid() == 0 else set())
    assert all("mediapool" in cells for cells in rows.values())
    assert found["tree"]["groups"] > 20
    assert list(folder.iterdir()) == []
