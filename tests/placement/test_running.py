"""Jobs without a mount: what becomes of each file, whatever stands in its way, and over restarts."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mounting import wait_for
from moving import SqliteJournal

from placement.drive import Drive
from placement.inventory import take
from placement.jobs import Jobs, look
from placement.moves import Mover
from placement.purposes import Pool, Regular
from placement.relocation import Moved
from placement.rules import Placement, Rule
from placement.running import MoveJobs

Maker = Callable[..., Drive]
AGAIN = 0.01


class Still:
    """Moves files of a tree that is not mounted, by the real engine. `busy_files` and `hooks` interfere."""

    def __init__(self, drives: Sequence[Drive], journal: Path) -> None:
        self.mover = Mover(lambda: drives, SqliteJournal(journal), min_free=0)
        self.busy_files: set[str] = set()
        self.hooks: dict[str, Callable[[], None]] = {}
        self.moved: list[str] = []
        self.kept: list[str] = []

    def move_file(
        self, drive: Drive, names: Sequence[str], target: Drive, *, cancel: threading.Event, rate: int | None,
        attempt: int, progress: Callable[[str, int, int], None],
    ) -> Moved:  # fmt: skip
        self.hooks.get(names[0], lambda: None)()
        moved = self.mover.move(drive, names[0], target, cancel=cancel, rate=rate)
        self.moved.append(names[0])
        return moved

    def busy(self, drive: Drive, path: str) -> str:
        return "it is open" if path in self.busy_files else ""

    def keep_folders(self, drive: Drive, folders: Sequence[str]) -> None:
        self.kept += folders


class Running:
    """Three drives with files, and their jobs."""

    def __init__(self, base: Path, drives: Sequence[Drive]) -> None:
        self.base, self.drives = base, drives
        self.still = Still(drives, base / "journal")
        self.pool = Pool(lambda: drives, Placement(lambda: drives, "ff", min_free=0, rules=RULES))
        self.start()

    def start(self) -> None:
        self.jobs = MoveJobs(Jobs(self.base / "jobs.db"), self.pool, self.still, AGAIN)
        self.jobs.start()

    def plant(self, drive: str, *paths: str, size: int = 100, mtime: int = 0) -> None:
        for path in paths:
            file = self.base / drive / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(size))
            os.utime(file, (mtime, mtime))

    def on(self, drive: Drive) -> list[str]:
        return [name for group in take(drive, threading.Event()).groups for name in group.names]

    def begin(self, kind: str, **spec: Any) -> int:
        return self.jobs.begin(kind, {"rate": None, "log": None, **spec})

    def job(self, number: int) -> dict[str, Any]:
        return self.jobs.list()[number - 1]

    def ended(self, number: int) -> dict[str, Any]:
        wait_for(lambda: self.job(number)["state"] == "done", f"the end of job {number}")
        return self.job(number)

    def ended_when_there(self, number: int) -> None:
        wait_for(lambda: len(self.jobs.list()) >= number, f"job {number}")
        self.ended(number)


RULES = [Rule("tv/**", "ff", keep_together="season"), Rule("only/**", "ff", drives=("d1",))]


@pytest.fixture
def running(make_drive: Maker, tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, [make_drive("d1", tier="a"), make_drive("d2", tier="b"), make_drive("d3", tier="b")])
    yield made
    made.jobs.close()


def test_a_drain_empties_a_drive_and_it_stays_out_of_use(running: Running) -> None:
    running.plant("d1", "a", "tv/S/Season 1/e1", "tv/S/Season 1/e2", "x/y/z", "only/here")
    (running.base / "d1/link").hardlink_to(running.base / "d1/a")
    job = running.ended(running.begin("drain", drive="d1"))
    assert running.on(running.drives[0]) == ["only/here"], "a rule wants it there and nowhere else"
    assert job["problem"] == "1 files could not be moved"
    assert "only d1" in job["told"][0]["problem"] and job["files"] == {"moved": 4, "failed": 1}
    assert sorted(running.still.kept) == ["only", "tv", "tv/S", "tv/S/Season 1", "x", "x/y"]
    assert (running.base / "d2/a").stat().st_nlink == 2
    assert running.drives[0].retiring and running.pool.placement.place("new")[0] is running.drives[1]
    running.jobs.close()
    running.drives[0].retiring = ""
    running.start()
    assert running.drives[0].retiring == "it is drained (job 1)"
    assert running.jobs.keep("d1") == [1] and not running.drives[0].retiring
    assert running.job(1)["state"] == "cancelled"


def test_an_undo_brings_all_back(running: Running) -> None:
    running.plant("d1", *(f"f{number}" for number in range(10)))
    before = {path.name: path.read_bytes() for path in (running.base / "d1").glob("f*")}
    running.ended(running.begin("drain", drive="d1"))
    (running.base / "d2/f3").rename(running.base / "d2/renamed")
    other = running.jobs.undo(1)
    assert running.ended(other)["files"] == {"moved": 9, "gone": 1}
    assert not running.drives[0].retiring
    del before["f3"]
    assert {path.name: path.read_bytes() for path in (running.base / "d1").glob("f*")} == before
    with pytest.raises(ValueError, match="undone already"):
        running.jobs.undo(1)
    # The undo can be undone as well.
    assert running.ended(running.jobs.undo(other))["files"] == {"moved": 9}
    assert running.on(running.drives[0]) == []


def test_what_is_busy_waits_and_the_others_go_on(running: Running) -> None:
    running.plant("d1", "a", "b", "c")
    running.still.busy_files.add("b")
    number = running.begin("drain", drive="d1")
    wait_for(lambda: running.job(number)["held_up"] == 1 and running.job(number)["files"]["moved"] == 2, "the others")
    assert running.job(number)["told"] == [{"path": "b", "state": "waiting", "problem": "it is open"}]
    running.plant("d2", "old", mtime=1)
    assert running.ended(running.begin("tier", source="b", target="a", older=60, above=0.0))["files"] == {}, "drained"
    running.still.busy_files.clear()
    assert running.ended(number)["files"] == {"moved": 3}
    assert running.still.moved.count("b") == 1


def test_many_files_of_which_many_are_busy(running: Running) -> None:
    running.plant("d1", *(f"f{number:03}" for number in range(200)), size=1)
    running.still.busy_files.update(f"f{number:03}" for number in range(0, 200, 2))
    number = running.begin("drain", drive="d1")
    wait_for(lambda: running.job(number)["files"].get("moved") == 100, "those that are not")
    wait_for(lambda: running.job(number)["held_up"] == 100, "the others to be put off")
    assert len(running.job(number)["told"]) == 20, "a list for people"
    running.still.busy_files.clear()
    assert running.ended(number)["files"] == {"moved": 200}


def test_files_that_change_while_they_are_copied_are_tried_again(running: Running) -> None:
    running.plant("d1", "a")
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.EBUSY, "it changed while it was copied", "a")

    running.still.hooks["a"] = refuse
    assert running.ended(running.begin("drain", drive="d1"))["files"] == {"moved": 1}
    assert len(tries) == 3


def test_a_drive_that_takes_it_not_is_followed_by_the_next(running: Running) -> None:
    running.plant("d1", "a")
    running.plant("d2", "a")  # hidden below it: the same path may not be twice on one drive
    assert running.ended(running.begin("drain", drive="d1"))["files"] == {"moved": 1}
    assert (running.base / "d3/a").exists() and running.on(running.drives[0]) == []


def test_what_is_removed_or_made_meanwhile(running: Running) -> None:
    running.plant("d1", "a", "b")
    running.still.hooks["a"] = lambda: (running.base / "d1/b").rename(running.base / "d1/c")
    job = running.ended(running.begin("drain", drive="d1"))
    assert job["files"] == {"moved": 2, "gone": 1} and running.on(running.drives[0]) == []
    assert (running.base / "d2/c").exists()


def test_a_missing_drive_holds_its_files_up(running: Running) -> None:
    running.plant("d1", "a")
    away = running.base / "away"
    number = running.begin("drain", drive="d1")
    running.still.hooks["a"] = lambda: (running.base / "d1").rename(away) and running.drives[0].check()
    wait_for(lambda: running.job(number)["files"].get("waiting") == 1 and away.exists(), "the pulled drive")
    running.still.hooks.clear()
    wait_for(lambda: running.job(number)["held_up"] == 1, "the job to notice")
    away.rename(running.base / "d1")
    assert running.ended(number)["files"] == {"moved": 1}


def test_pause_resume_and_restart(running: Running) -> None:
    running.plant("d1", "a", "b", "c")
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(30)

    running.still.hooks["a"] = running.still.hooks["b"] = running.still.hooks["c"] = hold
    number = running.begin("drain", drive="d1")
    assert held.wait(30)
    running.jobs.pause(number)
    go.set()
    wait_for(lambda: running.job(number)["state"] == "paused", "the pause")
    running.jobs.close()
    assert look(running.base / "jobs.db")[0]["state"] == "paused"
    running.start()
    for wrong in (running.jobs.pause,):
        with pytest.raises(ValueError, match="paused"):
            wrong(number)
    running.jobs.resume(number)
    assert running.ended(number)["files"] == {"moved": 3}
    with pytest.raises(ValueError, match="is not paused"):
        running.jobs.resume(number)
    with pytest.raises(LookupError, match="no job 9"):
        running.jobs.pause(9)


def test_a_move_that_was_not_noted_is_not_done_again(running: Running) -> None:
    """As after a kill between the two: the file is seen to have arrived."""
    running.jobs.close()
    running.plant("d1", "a", "b")
    jobs = Jobs(running.base / "jobs.db")
    number = jobs.add("drain", {"drive": "d1", "id": running.drives[0].id, "rate": None, "log": None})
    jobs.close()
    hold = threading.Event()
    running.still.hooks["b"] = lambda: hold.wait(30) and None
    running.start()
    wait_for(lambda: running.job(number)["files"].get("moved") == 1, "the first")
    running.still.mover.move(running.drives[0], "b", running.drives[1])
    hold.set()
    assert running.ended(number)["files"]["moved"] + running.job(number)["files"].get("gone", 0) == 2
    assert running.still.moved == ["a"]


def test_a_tier_gives_away_what_is_old(running: Running) -> None:
    running.plant("d2", "old1", "old2", mtime=1_000_000)
    running.plant("d2", "new", mtime=2_000_000_000)
    planned = running.jobs.planned("tier", {"source": "b", "target": "a", "older": 3600, "above": 0.0})
    assert [(one["path"], one["source"], one["target"]) for one in planned] == [
        ("old1", "d2", "d1"), ("old2", "d2", "d1"),
    ]  # fmt: skip
    assert running.on(running.drives[0]) == []
    job = running.ended(running.begin("tier", source="b", target="a", older=3600, above=0.0))
    assert job["files"] == {"moved": 2} and running.on(running.drives[1]) == ["new"]


def test_a_regular_job_begins_when_there_is_something_to_move(running: Running) -> None:
    running.jobs.close()
    running.plant("d2", "new", mtime=2_000_000_000)
    spec = {"source": "b", "target": "a", "older": 3600, "above": 0.0, "rate": None, "log": None}
    wrong = {**spec, "source": "none"}
    running.jobs = MoveJobs(
        Jobs(running.base / "jobs.db"),
        running.pool,
        running.still,
        AGAIN,
        [Regular(wrong, AGAIN), Regular(spec, AGAIN)],
    )
    running.jobs.start()
    running.plant("d2", "old1", mtime=1)
    running.ended_when_there(1)
    running.plant("d3", "old2", mtime=1)
    running.ended_when_there(2)
    assert sorted(running.on(running.drives[0])) == ["old1", "old2"] and running.on(running.drives[1]) == ["new"]
    assert [job["kind"] for job in running.jobs.list()] == ["tier", "tier"], "none of them for nothing"


def test_the_log_for_parity_programs(running: Running) -> None:
    running.plant("d1", "a b\udcff")
    (running.base / "d1/other").hardlink_to(running.base / "d1/a b\udcff")
    log = running.base / "moves"
    running.ended(running.begin("drain", drive="d1", log=str(log)))
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["from"] == [f"{running.base}/d1/a b\udcff", f"{running.base}/d1/other"]
    assert line["to"] == [f"{running.base}/d2/a b\udcff", f"{running.base}/d2/other"] and line["size"] == 100


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("drain", {"drive": "d9"}, "there are: d1, d2, d3"),
        ("tier", {"source": "ssd", "target": "a"}, "there are: a, b"),
        ("tier", {"source": "a", "target": "a"}, "the same"),
        ("dance", {}, "no job is called"),
    ],
)
def test_what_cannot_be_done_is_refused(running: Running, kind: str, spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        running.jobs.begin(kind, spec)
    assert running.jobs.list() == []


def test_one_drain_of_a_drive_at_a_time(running: Running) -> None:
    running.plant("d1", "a")
    running.still.busy_files.add("a")
    running.begin("drain", drive="d1")
    with pytest.raises(ValueError, match="job 1 drains this drive already"):
        running.begin("drain", drive="d1")
