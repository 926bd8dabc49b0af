"""SIGKILL at every step of distributing and of undoing: the next run goes on, and no byte is lost."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributing import Bench
from killing import in_child, kill, kill_at

from placement import distributions, library
from placement.moves import BACKWARD, FORWARD

# Children do nothing but the move, so threads of other tests do not matter to them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

CONTENT = b"content" * 1000
NAMES = ["tv/a", "tv/b"]
POINTS = [(name, when) for name in FORWARD for when in ("before", "after")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # A process that is killed leaves what it wrote, synced or not.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    made = Bench(tmp_path)
    made.put(NAMES[0], CONTENT)
    (made.source / NAMES[1]).hardlink_to(made.source / NAMES[0])
    made.put("other", b"other", made.more)
    yield made
    made.close()


def assert_nothing_lost(bench: Bench) -> None:
    """Under each name the whole file stands, in its source or on a drive, and no link leads to anything else."""
    places = [bench.source, *(Path(drive.path) for drive in bench.drives)]
    for name in NAMES:
        found = [(place / name).read_bytes() for place in places if os.path.lexists(place / name)]
        assert found and set(found) == {CONTENT}, name
        link = bench.library / name
        assert not link.is_symlink() or not link.exists() or link.read_bytes() == CONTENT


def assert_distributed(bench: Bench) -> None:
    on_drives = bench.on_drives()
    assert set(on_drives) == {*NAMES, "other"}
    assert all(on_drives[name][-1] == CONTENT and on_drives[name][-3] == 2 for name in NAMES)
    assert bench.files(bench.source) == {} and bench.files(bench.more) == {}
    assert all((bench.library / name).read_bytes() == CONTENT for name in NAMES)
    assert len(bench.files(bench.library)) == 3
    assert len(bench.asked(lambda journal: journal.items("moved"))) == 3
    bench.assert_tidy()


def assert_undone(bench: Bench) -> None:
    sources = {**bench.files(bench.source), **bench.files(bench.more)}
    assert set(sources) == {*NAMES, "other"} and all(sources[name][-1] == CONTENT for name in NAMES)
    assert bench.on_drives() == {} and bench.files(bench.library) == {}
    bench.assert_tidy()


def recovery(point: tuple[str, str]) -> tuple[str, ...]:
    """What recovery does after a kill there, in its order."""
    ending = FORWARD[-4:] if point == ("committed", "after") else (*BACKWARD[1:], *FORWARD[-2:])
    return ("strays removed", *ending)


def undo_all(bench: Bench) -> None:
    for job in reversed(bench.asked(lambda journal: journal.jobs())):
        assert bench.undo(job.id).failed == []


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_killed_while_distributing(bench: Bench, point: tuple[str, str]) -> None:
    assert in_child(lambda: bench.run(on_step=kill_at(point)))
    assert_nothing_lost(bench)
    assert bench.run().failed == []
    assert_distributed(bench)
    undo_all(bench)
    assert_undone(bench)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_killed_while_undoing(bench: Bench, point: tuple[str, str]) -> None:
    job = bench.run().job
    assert in_child(lambda: bench.undo(job, on_step=kill_at(point)))
    assert_nothing_lost(bench)
    assert bench.undo(job).failed == []
    assert_undone(bench)


@pytest.mark.parametrize(
    "point", [("folders synced", "after"), ("swapped", "after"), ("committed", "after")], ids=" ".join
)
def test_killed_again_at_every_step_of_recovery(bench: Bench, point: tuple[str, str]) -> None:
    assert in_child(lambda: bench.run(on_step=kill_at(point)))
    killed = 0
    for again in [(name, when) for name in recovery(point) for when in ("before", "after")]:
        killed += in_child(lambda again=again: bench.recover(on_step=kill_at(again)))
        assert_nothing_lost(bench)
    assert killed > 4
    assert bench.run().failed == []
    assert_distributed(bench)


JOURNAL = distributions.Distributions
CALLS: list[tuple[bool, Any, str, int]] = [
    *((False, os, "symlink", count) for count in (1, 2)),
    *((False, library, "renameat2", count) for count in (1, 2)),
    *((False, os, "unlink", count) for count in (1, 3)),
    *((False, JOURNAL, "add", count) for count in (1, 2, 3)),
    *((False, JOURNAL, "set_state", count) for count in (1, 2)),
    (False, JOURNAL, "close_job", 1),
    *((True, os, "unlink", count) for count in (1, 2, 4, 5)),
    *((True, JOURNAL, "set_state", count) for count in (1, 2, 3)),
]


@pytest.mark.parametrize(("undoing", "module", "call", "count"), CALLS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_call(bench: Bench, undoing: bool, module: Any, call: str, count: int, when: str) -> None:
    """Of the library's links and of the journal, which are between the steps of the engine."""
    job = bench.run().job if undoing else 0
    real, calls = getattr(module, call), []

    def killing(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == count and when == "before":
            kill()
        answer = real(*arguments, **options)
        if len(calls) == count:
            kill()
        return answer

    def work() -> None:
        setattr(module, call, killing)
        bench.undo(job) if undoing else bench.run()

    assert in_child(work)
    assert_nothing_lost(bench)
    if undoing:
        assert bench.undo(job).failed == []
        assert_undone(bench)
    else:
        assert bench.run().failed == []
        assert_distributed(bench)


def test_a_mount_leaves_copies_of_an_interrupted_distribution_alone(bench: Bench) -> None:
    """Two journals on the same drives: neither takes the copies of the other for strays."""
    from moving import MemoryJournal

    from placement.linkgroup import STAGING
    from placement.moves import Mover

    assert in_child(lambda: bench.run(on_step=kill_at(("copied", "after"))))
    (copy,) = [path for drive in bench.drives for path in (Path(drive.path) / STAGING).glob("*")]
    tokens = bench.asked(lambda journal: {record["token"] for _, record in journal.pending()})
    assert tokens == {copy.name}
    Mover(lambda: bench.drives, MemoryJournal(), others=lambda: tokens).recover()
    assert copy.exists()
    stray = copy.with_name("of-a-mount")
    stray.write_text("a move of the mount")
    assert bench.recover(others=lambda: {"of-a-mount"}) == []
    assert stray.exists() and not copy.exists()
    stray.unlink()
    bench.run()
    assert_distributed(bench)
