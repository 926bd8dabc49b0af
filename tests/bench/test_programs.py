"""The trial of programs at a tiny size, with those that are installed: it compares, and leaves nothing behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mounting import ROOT, leftovers

pytestmark = pytest.mark.mount


def test_programs_are_compared_on_both_sides_and_nothing_is_left(tmp_path: Path) -> None:
    folder, figures = tmp_path / "room", tmp_path / "figures.json"
    folder.mkdir()
    # Copying is within reach of any machine that runs tests; the others are tried where they are.
    wanted = {"mediainfo": "mediainfo", "rsync in": "rsync"}
    command = [sys.executable, str(ROOT / "tests/bench/programs.py"), "--clips=6", "--seconds=1", f"--dir={folder}"]
    done = subprocess.run(
        [*command, f"--json={figures}", *(f"--only={name}" for name in wanted)],
        cwd=tmp_path, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    outcomes = json.loads(figures.read_text())["outcomes"]
    assert {one["trial"] for one in outcomes} == {name for name, program in wanted.items() if shutil.which(program)}
    assert all(one["worked"] for one in outcomes)
    assert all(one["fetched"] > 0 for one in outcomes if one["side"] == "mediapool")
    assert leftovers(folder) == []


def test_what_differs_on_the_tree_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/bench"))
    import programs

    answers = iter(["found", "lost"])
    trial = programs.Trial("a program", "true", lambda place: next(answers))
    stand = programs.Stand(programs.Clips(Path("/nowhere"), 3), None, None)
    outcome = programs.Outcome("a program", programs.MOUNT, True, 1.0)
    assert stand._compared(outcome, trial.use(None), trial.use(None)).worked is False
    assert "lost" in outcome.trouble and "found" in outcome.trouble
