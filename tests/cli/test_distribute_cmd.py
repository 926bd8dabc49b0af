"""`mediapool distribute` and `jobs`, as people and cron call them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arrserving import KEY, ArrServer, serving
from click.testing import CliRunner, Result
from mounting import ROOT, Mounted

from cli.main import main
from cli.state import StateFolder

OLD = 10**18


class Setup:
    """A pool of three drives that is not mounted, a source and a library."""

    def __init__(self, base: Path) -> None:
        self.pool = Mounted(base)
        self.source, self.library = base / "in", base / "library"
        self.source.mkdir()
        self.library.mkdir()

    def put(self, path: str, content: bytes = b"content", *, new: bool = False) -> Path:
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def run(self, *arguments: object, **options: Any) -> Result:
        words = [*map(str, arguments), "--config", str(self.pool.config)]
        return CliRunner().invoke(main, words, **options)

    def distribute(self, *arguments: object, **options: Any) -> Result:
        where = (self.source, "--library", self.library, "--unchanged-for", "0s")
        return self.run("distribute", *where, *arguments, **options)

    def on_drives(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(drive)): path.read_bytes()
            for drive in self.pool.drive_paths
            for path in drive.rglob("*")
            if path.is_file() and ".mediapool" not in path.parts
        }


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    yield Setup(tmp_path)


def test_from_the_plan_to_the_undoing(setup: Setup) -> None:
    setup.put("tv/e1.mkv", b"one")
    setup.put("tv/e2.mkv", b"two")
    planned = setup.distribute("--dry-run")
    assert planned.exit_code == 0 and "To be moved" in planned.output and "tv/e2.mkv" in planned.output
    assert not (setup.pool.drive_paths[0] / ".mediapool").exists(), "nothing has become a drive by that"
    assert setup.on_drives() == {} and len(list(setup.source.rglob("*.mkv"))) == 2

    done = setup.distribute("--yes", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["job"] == "d1" and [one["paths"] for one in told["moved"]] == [["tv/e1.mkv"], ["tv/e2.mkv"]]
    assert setup.on_drives() == {"tv/e1.mkv": b"one", "tv/e2.mkv": b"two"}
    assert (setup.library / "tv/e2.mkv").read_bytes() == b"two"

    (job,) = json.loads(setup.run("jobs", "list", "--json").stdout)
    assert (job["id"], job["state"], job["moved"], job["bytes"]) == ("d1", "done", 2, 6)
    assert "d1" in setup.run("jobs", "list").output
    assert "Would undo 2 files" in setup.run("jobs", "undo", "d1", "--dry-run").output
    assert setup.run("jobs", "undo", "d1").exit_code == 2, "nobody can be asked"
    assert setup.run("jobs", "undo", "d1", "--yes").output.strip() == "Put back 2 files."
    assert setup.on_drives() == {} and setup.put("tv/e1.mkv").exists()
    assert json.loads(setup.run("jobs", "list", "--json").stdout)[0]["state"] == "undone"


def test_it_asks_before_it_moves(setup: Setup) -> None:
    setup.put("a")
    assert setup.distribute().exit_code == 2
    assert setup.on_drives() == {}


def test_failures_are_tried_again(setup: Setup) -> None:
    setup.put("a")
    setup.put("b")
    (setup.library / "a").write_text("in the way")
    failed = setup.distribute("--yes")
    assert failed.exit_code == 1 and "the library has something else there" in failed.output
    assert set(setup.on_drives()) == {"b"}
    setup.put("new")
    (setup.library / "a").unlink()
    assert setup.distribute("--yes", "--retry").exit_code == 0
    assert set(setup.on_drives()) == {"a", "b"}


def test_new_files_wait(setup: Setup) -> None:
    setup.put("a")
    done = setup.run("distribute", setup.source, "--library", setup.library, "--yes")
    assert done.exit_code == 0 and "it changed" in done.output and not setup.on_drives()


@pytest.mark.parametrize(
    ("source", "library"),
    [("in", "in"), ("in", "in/sub"), ("in/sub", "in"), ("drive1/x", "library"), ("in", "drive2/x"), ("in", "data/x")],
)
def test_folders_in_one_another_are_refused(setup: Setup, source: str, library: str) -> None:
    base = setup.pool.base
    for name in (source, library):
        (base / name).mkdir(parents=True, exist_ok=True)
    done = setup.run("distribute", base / source, "--library", base / library, "--yes")
    assert done.exit_code == 1 and "must lie side by side" in done.output


def test_wrong_calls_are_told(setup: Setup) -> None:
    assert "There is no job 'd7'" in setup.run("jobs", "undo", "d7", "--yes").output
    assert "There is no job '1'" in setup.run("jobs", "undo", "1", "--yes").output
    assert "There are no jobs" in setup.run("jobs", "list").output
    assert setup.distribute("--unchanged-for", "soon").exit_code == 2
    assert setup.distribute("--limit", "0").exit_code == 2
    assert setup.distribute("--limit", "much").exit_code == 2


def test_it_refuses_while_the_pool_is_used(setup: Setup) -> None:
    setup.put("a")
    state = StateFolder(setup.pool.state)
    state.acquire()
    try:
        done = setup.distribute("--yes")
    finally:
        state.release()
    assert done.exit_code == 1 and "is used by another mediapool" in done.output
    assert setup.on_drives() == {}


def test_a_damaged_journal_is_told(setup: Setup) -> None:
    setup.pool.state.mkdir()
    (setup.pool.state / "distribute.db").write_bytes(b"no database" * 100)
    done = setup.distribute("--yes")
    assert done.exit_code == 1 and "is damaged" in done.output
    assert "is damaged" in setup.run("jobs", "list").output


def test_ctrl_c_leaves_all_whole(setup: Setup) -> None:
    """The first file is large and slow; the program is told to end while it copies."""
    setup.put("large", os.urandom(3 << 20))
    command = [
        "distribute",
        setup.source,
        "--library",
        setup.library,
        "--unchanged-for",
        "0s",
        "--yes",
        "--limit",
        "1MiB",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "-vv", *map(str, command), "--config", str(setup.pool.config)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    moving = [drive / ".mediapool/moving" for drive in setup.pool.drive_paths]
    while process.poll() is None and not any(folder.exists() and os.listdir(folder) for folder in moving):
        os.sched_yield()
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "It was interrupted" in output
    assert setup.on_drives() == {} and len(setup.put("other").parent.joinpath("large").read_bytes()) == 3 << 20
    assert not any(folder.exists() and os.listdir(folder) for folder in moving)
    assert setup.distribute("--yes").exit_code == 0
    assert set(setup.on_drives()) == {"large", "other"}


def test_sonarr_is_told_of_folders_that_went_whole(setup: Setup) -> None:
    setup.put("One/e1")
    setup.put("Two/e1")
    setup.put("Two/e2.part")
    server = ArrServer()
    for number, name in enumerate(("One", "Two", "Three"), 1):
        server.add_item(number, str(setup.source / name))
    with serving(server) as url:
        setup.pool.options = f'[[arr]]\nkind = "sonarr"\nurl = "{url}"\napi_key = "{KEY}"\n'
        setup.pool.write_config()
        done = setup.distribute("--yes", "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["services"] == [f"sonarr: Title 1 is at {setup.library}/One now"]
        assert [call[:2] for call in server.writes()] == [("PUT", "/api/v3/series/1"), ("POST", "/api/v3/command")]
        server.calls.clear()
        assert setup.distribute("--yes").exit_code == 0
        assert server.calls == [], "nothing moved"
    setup.put("Three/e1")
    done = setup.distribute("--yes")
    assert done.exit_code == 0 and "cannot be reached" in done.output and KEY not in done.output
