"""The keeper of names.db: when it copies, to where, and that nothing stops it; and which copy is offered."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import wait_for
from uniting import Pool

from cli import keeping
from cli.keeping import Found, Keeper
from cli.state import StateFolder
from vfs import namescopies
from vfs.namescopies import KEPT, Copy, Mark
from vfs.planting import NewFile, Owner, make_directories, plant

OWNER = Owner(0, 0, 0o22)
ONE, TWO = "1" * 8 + "-1111" * 3 + "-" + "1" * 12, "2" * 8 + "-2222" * 3 + "-" + "2" * 12


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    for drive in pool.drives:
        drive.close()
    pool.names.close()


@pytest.fixture
def keeper(pool: Pool, tmp_path: Path) -> Keeper:
    return Keeper(pool.db, pool.names, pool.drives, StateFolder(tmp_path / "state"))


def publish(pool: Pool) -> None:
    make_directories(pool.names, "torrents", OWNER)
    files = [NewFile(("film.mkv",), ("torrent", "a" * 40, "1"), 10, 5, b"x")]
    plant(pool.names, "add:1", "torrents", "Film", files, OWNER)


def kept(pool: Pool, ending: str) -> str:
    return "".join(path.name for path in pool.paths if list((path / KEPT).glob(f"*.{ending}")))


def test_a_long_mount_copies_by_itself(
    pool: Pool, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TICK", 0.01)
    monkeypatch.setattr(keeping, "FIRST", 0.0)
    monkeypatch.setattr(keeping, "DAILY", 0.05)
    (tmp_path / "state").mkdir()
    keeper.start()
    assert kept(pool, "json") == kept(pool, "db") == "", "there are no names to lose yet"
    publish(pool)
    wait_for(lambda: kept(pool, "db") == "ab", "the first copies")
    assert kept(pool, "json") == "abc"
    first = namescopies.found_on(pool.drives[1])[1][0].time
    wait_for(lambda: namescopies.found_on(pool.drives[1])[1][0].time > first, "the next ones")
    keeper.close()
    (copy,) = namescopies.copies_in(tmp_path / "state/copies")
    assert copy.names == 1 and copy.pool == pool.db.pool


def test_what_fails_is_told_and_does_not_stop_the_rest(
    pool: Pool, keeper: Keeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(pool)
    (tmp_path / "state").write_text("no folder")
    (pool.paths[0] / KEPT).write_text("in the way")
    pool.drives[1].mode = "ro"
    with caplog.at_level(logging.WARNING):
        keeper.close()
    assert kept(pool, "db") == "c" == kept(pool, "json")
    assert str(tmp_path / "state") in caplog.text and "drive a" in caplog.text and "drive b" not in caplog.text


def test_no_drive_at_all_is_told(pool: Pool, keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    publish(pool)
    for drive in pool.drives:
        drive.mode = "ro"
    with caplog.at_level(logging.WARNING):
        keeper.save()
    assert "no drive has a copy" in caplog.text


def copy(pool: str, time: float, problem: str = "") -> Copy:
    return Copy(Path(f"/{pool[:1]}/{time}"), pool, 5, time, problem)


@pytest.mark.parametrize(
    ("copies", "marks", "own", "offered"),
    [
        ([copy(ONE, 3), copy(ONE, 2)], [], {ONE}, copy(ONE, 3)),
        ([copy(ONE, 3, "damaged"), copy(ONE, 2)], [], {ONE}, copy(ONE, 2)),
        # Of several drives the newest, if all are of one pool.
        ([copy(ONE, 3), copy(ONE, 2)], [Mark("a", ONE, ""), Mark("b", ONE, "")], set(), copy(ONE, 3)),
        # Another pool's is never taken, newer or not; nor any where it is not known which pool this is.
        ([copy(TWO, 3), copy(ONE, 2)], [], {ONE}, copy(ONE, 2)),
        ([copy(TWO, 3)], [], {ONE}, None),
        ([copy(TWO, 3), copy(ONE, 2)], [], set(), None),
        ([copy(TWO, 3)], [Mark("a", ONE, "")], set(), None),
        ([], [Mark("a", ONE, "")], set(), None),
    ],
)
def test_which_copy_is_offered(copies: list[Copy], marks: list[Mark], own: set[str], offered: Copy | None) -> None:
    found = Found(copies, marks, own)
    assert found.offered() == offered and found.lost
    assert len(found.lines()) == len(copies)
