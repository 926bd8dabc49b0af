"""SIGKILL before and after every step of a move, of giving one up, and of recovering from either."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import in_child, kill_at
from moving import MemoryJournal, Pool, SqliteJournal

from placement.linkgroup import STAGING
from placement.moves import BACKWARD, FORWARD, STEPS

# Children do nothing but the move, so threads of other tests do not matter to them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

Point = tuple[str, str]
NAMES = ["torrents/a", "media/new/b", "media/c"]
CONTENT = b"content" * 1000
ENDING = ("temporary removed", "journal ended")


def points(*names: str) -> list[Point]:
    return [(name, when) for name in names for when in ("before", "after")]


FORWARD_POINTS = points(*FORWARD)
# How a move that cannot commit is given up.
BACKWARD_POINTS = points(*BACKWARD, *ENDING)
# Whatever recovery may have to do, in its order.
RECOVERY_POINTS = points("strays removed", *BACKWARD[1:], "old names removed", "old folders synced", *ENDING)


class UncommittedJournal(SqliteJournal):
    """Fails to commit, as on a full disk."""

    def update(self, ident: int, record: dict[str, Any]) -> None:
        if record["committed"]:
            raise OSError(28, "No space left on device")
        super().update(ident, record)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    # A process that is killed leaves what it wrote, synced or not; the order is looked at in test_moves.py.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    made = Pool(tmp_path, SqliteJournal(tmp_path / "journal"))
    made.group(*NAMES, content=CONTENT)
    os.setxattr(made.one / "media/new", "user.x", b"of the folder")
    (made.two / "media").mkdir()
    yield made
    made.close()


def crash_moving(pool: Pool, point: Point) -> None:
    assert in_child(lambda: pool.mover(on_step=kill_at(point)).move(pool.d1, NAMES[0], pool.d2))


def crash_giving_up(pool: Pool, point: Point) -> None:
    pool.journal = UncommittedJournal(pool.journal.path)
    assert in_child(lambda: pool.mover(on_step=kill_at(point)).move(pool.d1, NAMES[0], pool.d2))
    pool.journal = SqliteJournal(pool.journal.path)


def is_committed(point: Point) -> bool:
    return point in FORWARD_POINTS and FORWARD_POINTS.index(point) >= FORWARD_POINTS.index(("committed", "after"))


def assert_recovered(pool: Pool, committed: bool, before: dict[str, Any]) -> None:
    """One whole file with all its names, on the right side, and nothing but that."""
    pool.assert_whole(pool.two if committed else pool.one, NAMES, CONTENT)
    one, two = pool.files(pool.one), pool.files(pool.two)
    if committed:
        assert {path: two[path] for path in before if path != "media"} == {
            path: before[path] for path in before if path != "media"
        }
        assert set(two) == set(before) and set(one) == {"torrents", "media", "media/new"}
    else:
        assert {path: one[path] for path in NAMES} == {path: before[path] for path in NAMES}
        assert set(one) == set(before) and set(two) == {"media"}


def test_every_step_is_killed() -> None:
    killed = {name for name, _ in (*FORWARD_POINTS, *BACKWARD_POINTS, *RECOVERY_POINTS)}
    assert killed == set(STEPS) and len(set(STEPS)) == len(STEPS)


@pytest.mark.parametrize("point", FORWARD_POINTS, ids=" ".join)
def test_killed_while_moving(pool: Pool, point: Point) -> None:
    before = pool.files(pool.one)
    crash_moving(pool, point)
    results = [one.result for one in pool.mover().recover()]
    begun = point not in (("journal begun", "before"), ("journal ended", "after"))
    assert results == ([("finished" if is_committed(point) else "undone")] if begun else [])
    assert_recovered(pool, is_committed(point), before)
    assert pool.mover().recover() == []


@pytest.mark.parametrize("point", BACKWARD_POINTS, ids=" ".join)
def test_killed_while_giving_up(pool: Pool, point: Point) -> None:
    before = pool.files(pool.one)
    crash_giving_up(pool, point)
    pool.mover().recover()
    assert_recovered(pool, False, before)


@pytest.mark.parametrize("point", [*FORWARD_POINTS, *BACKWARD_POINTS], ids=" ".join)
def test_killed_again_at_every_step_of_recovery(pool: Pool, point: Point) -> None:
    """Each time it starts from what the last one left, and gets one step further."""
    before = pool.files(pool.one)
    (crash_moving if point in FORWARD_POINTS else crash_giving_up)(pool, point)
    reached = [again for again in RECOVERY_POINTS if in_child(pool.mover(on_step=kill_at(again)).recover)]
    assert reached[:2] == points("strays removed")
    pool.mover().recover()
    assert_recovered(pool, is_committed(point), before)


@pytest.mark.parametrize("again", RECOVERY_POINTS, ids=" ".join)
@pytest.mark.parametrize("point", [("folders synced", "after"), ("committed", "after")], ids=" ".join)
def test_recovery_killed_from_the_fullest_states(pool: Pool, point: Point, again: Point) -> None:
    before = pool.files(pool.one)
    crash_moving(pool, point)
    killed = in_child(pool.mover(on_step=kill_at(again)).recover)
    undoing = BACKWARD[1:]
    assert killed == (
        again[0] not in (("old names removed", "old folders synced") if not is_committed(point) else undoing)
    )
    pool.mover().recover()
    assert_recovered(pool, is_committed(point), before)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("call", ["link", "unlink", "mkdir"])
def test_killed_between_two_names(pool: Pool, call: str, count: int) -> None:
    """In the midst of a step."""
    before = pool.files(pool.one)
    real, calls = getattr(os, call), []

    def killing(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        calls.append(arguments)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        setattr(os, call, killing)
        pool.move(NAMES[1])

    killed = in_child(work)
    pool.mover().recover()
    assert_recovered(pool, call == "unlink" or not killed, before)


def test_killed_while_two_move(pool: Pool) -> None:
    pool.group("second")
    crash_moving(pool, ("names made", "after"))
    assert in_child(lambda: pool.mover(on_step=kill_at(("committed", "after"))).move(pool.d1, "second", pool.d2))
    assert [one.result for one in pool.mover().recover()] == ["undone", "finished"]
    pool.assert_whole(pool.one, NAMES, CONTENT)
    pool.assert_whole(pool.two, ["second"])


def test_strays_are_removed_and_nothing_else(pool: Pool) -> None:
    crash_moving(pool, ("copied", "after"))
    (token,) = os.listdir(pool.two / STAGING)
    for root in (pool.one, pool.two):
        (root / STAGING).mkdir(exist_ok=True)
        (root / STAGING / "stray").write_text("left by a program whose journal was lost")
    (pool.one / STAGING / "link").symlink_to(pool.one / NAMES[0])
    os.mkfifo(pool.two / STAGING / "fifo")
    (pool.two / STAGING / "folder").mkdir()
    assert [one.result for one in pool.mover().recover()] == ["undone"]
    assert os.listdir(pool.one / STAGING) == []
    assert os.listdir(pool.two / STAGING) == ["folder"], "no folder is ours"
    (pool.two / STAGING / "folder").rmdir()
    pool.assert_whole(pool.one, NAMES, CONTENT)


def test_a_lost_journal_loses_no_byte(pool: Pool) -> None:
    for point in (("names made", "after"), ("old names removed", "before")):
        crash_moving(pool, point)
        pool.journal.path.unlink()
        pool.journal = MemoryJournal()
        assert pool.mover().recover() == []
        pool.assert_tidy()
        for path in NAMES:
            assert (pool.one / path).read_bytes() == (pool.two / path).read_bytes() == CONTENT
        for path in NAMES:
            (pool.two / path).unlink()
        pool.journal = SqliteJournal(pool.base / "journal")
