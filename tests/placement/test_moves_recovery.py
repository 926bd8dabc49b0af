"""What happens to moves that cannot be ended at once, and to drives that others changed meanwhile."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moving import Pool, pull

from placement.drive import Drive, DriveConfig
from placement.linkgroup import STAGING
from placement.moves import Recovered
from placement.transfer import Record


class Died(BaseException):
    """As if the program had been killed: nobody catches it to clean up."""


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    yield made
    made.close()


def die_at(pool: Pool, step: str, when: str, path: str = "a") -> None:
    """Leave the drives and the journal as a crash at this point would."""
    mover = pool.mover(on_step=lambda *now: crash() if now == (step, when) else None)

    def crash() -> None:
        # What would be done on the way out finds a program that is gone.
        mover._endings.undo = lambda *_: ()  # type: ignore[method-assign]
        raise Died

    with pytest.raises(Died):
        mover.move(pool.d1, path, pool.d2)


def recover(pool: Pool) -> Recovered:
    (result,) = pool.mover().recover()
    return result


# Drives that are not there.


@pytest.mark.parametrize("missing", ["one", "two"])
@pytest.mark.parametrize(("step", "result"), [("names made", "undone"), ("committed", "finished")])
def test_a_record_waits_for_its_drives(pool: Pool, missing: str, step: str, result: str) -> None:
    names = pool.group("x/a", "b")
    die_at(pool, step, "after", "x/a")
    put_back = pull(getattr(pool, missing))
    for drive in pool.drives:
        drive.check()
    for _ in range(2):
        waiting = recover(pool)
        assert waiting.result == "waiting" and sorted(waiting.paths) == ["b", "x/a"]
        assert (waiting.source, waiting.target) == (pool.d1.id, pool.d2.id)
        assert "Is the drive mounted" in waiting.cause
    assert os.listdir(getattr(pool, missing)) == []
    put_back()
    for drive in pool.drives:
        drive.check()
    assert recover(pool).result == result
    pool.assert_whole(pool.two if result == "finished" else pool.one, names)


def test_a_drive_that_left_the_pool(pool: Pool) -> None:
    names = pool.group("a")
    die_at(pool, "names made", "after")
    removed = pool.drives.pop()
    waiting = recover(pool)
    assert waiting.result == "waiting" and waiting.paths == ("a",) and removed.id in waiting.cause
    pool.drives.append(removed)
    assert recover(pool).result == "undone"
    pool.assert_whole(pool.one, names)


@pytest.mark.parametrize("which", [0, 1])
def test_a_drive_that_became_read_only(pool: Pool, which: int) -> None:
    names = pool.group("a")
    die_at(pool, "committed", "after")
    writable = pool.drives[which]
    pool.drives[which] = Drive.open(DriveConfig(writable.name, writable.path, mode="ro"))
    (Path(writable.path) / STAGING).mkdir(exist_ok=True)
    (Path(writable.path) / STAGING / "stray").touch()
    waiting = recover(pool)
    assert waiting.result == "waiting" and "read-only" in waiting.cause
    assert "stray" in os.listdir(Path(writable.path) / STAGING)
    pool.drives[which].close()
    pool.drives[which] = writable
    assert recover(pool).result == "finished"
    pool.assert_whole(pool.two, names)


# The tree and the journal fail.


def fail() -> None:
    raise OSError(errno.EMFILE, "too many handles")


def test_a_tree_that_cannot_swap(pool: Pool) -> None:
    names = pool.group("a", "new/b")
    pool.tree.on_swap = fail
    with pytest.raises(OSError, match="too many handles"):
        pool.move("a")
    pool.assert_whole(pool.one, names)
    assert pool.files(pool.two) == {} and [call[0] for call in pool.tree.calls] == ["freeze"]


@pytest.mark.parametrize("state", ["begun", "journaled", "committed"])
def test_a_journal_that_is_full(pool: Pool, state: str) -> None:
    names = pool.group("a", "new/b")
    ino = (pool.one / "a").stat().st_ino
    wanted = {"begun": 1, "journaled": 2, "committed": 3}[state]
    calls: list[Any] = []
    pool.journal.failing = lambda record: calls.append(record) or len(calls) == wanted
    with pytest.raises(OSError, match="the journal is full"):
        pool.move("a")
    pool.assert_whole(pool.one, names)
    assert pool.files(pool.two) == {}
    swaps = [call for call in pool.tree.calls if call[0] == "swap"]
    if state == "committed":
        assert [swap[1:4:2] for swap in swaps] == [("d1", "d2"), ("d2", "d1")] and swaps[1][4] == ino
    else:
        assert swaps == []


def test_neither_commit_nor_swapping_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open handles go on with the copy, so nothing is taken away while this program runs."""
    names = pool.group("a", "b")
    swaps: list[bool] = []
    pool.tree.on_swap = lambda: fail() if swaps else swaps.append(True)
    pool.journal.failing = lambda record: record["committed"]
    mover = pool.mover()
    with pytest.raises(OSError, match="the journal is full"):
        mover.move(pool.d1, "a", pool.d2)
    assert mover.recover() == [] and len(pool.journal.pending()) == 1
    assert len(os.listdir(pool.two / STAGING)) == 1
    with (pool.two / "a").open("ab") as handle:
        handle.write(b" written through a handle")
    result = recover(pool)
    assert result.result == "undone" and sorted(result.kept) == names
    pool.assert_tidy()
    for path in names:
        assert (pool.two / path).read_bytes() == b"content written through a handle"
        assert (pool.one / path).read_bytes() == b"content"


def test_a_commit_that_was_durable_though_it_failed(pool: Pool) -> None:
    names = pool.group("a", "b")
    put = pool.journal._put

    def lying(ident: int, record: dict[str, Any]) -> None:
        put(ident, record)
        if record["committed"]:
            raise OSError(errno.EIO, "who knows")

    pool.journal._put = lying
    pool.journal.end = lambda ident: fail()
    with pytest.raises(OSError, match="who knows"):
        pool.move("a")
    del pool.journal.end
    assert pool.journal.pending()[0][1]["committed"]
    assert recover(pool).result == "finished"
    pool.assert_whole(pool.one, names)


def test_the_source_goes_after_the_commit(pool: Pool) -> None:
    """The file is moved all the same; what is left of it waits."""
    names = pool.group("a", "b")
    put_back = []

    def go(*now: str) -> None:
        if now == ("committed", "after"):
            put_back.append(pull(pool.one))
            pool.d1.check()

    mover = pool.mover(on_step=go)
    moved = mover.move(pool.d1, "a", pool.d2)
    assert "Is the drive mounted" in moved.waiting and sorted(moved.paths) == names
    assert [one.result for one in mover.recover()] == ["waiting"]
    put_back[0]()
    pool.d1.check()
    assert [one.result for one in mover.recover()] == ["finished"]
    pool.assert_whole(pool.two, names)


def test_the_target_goes_before_the_commit(pool: Pool) -> None:
    names = pool.group("a", "b")
    put_back = []

    def go(*now: str) -> None:
        if now == ("names made", "after"):
            put_back.append(pull(pool.two))
            pool.d2.check()

    with pytest.raises(OSError, match="Is the drive mounted") as caught:
        pool.mover(on_step=go).move(pool.d1, "a", pool.d2)
    assert caught.value.errno == errno.EIO
    assert os.listdir(pool.two) == []
    put_back[0]()
    pool.d2.check()
    assert recover(pool).result == "undone"
    pool.assert_whole(pool.one, names)


# Others changed the drives between the crash and the recovery.


def test_a_name_of_the_source_that_was_written_to_is_kept(pool: Pool) -> None:
    pool.group("a")
    die_at(pool, "committed", "after")
    (pool.one / "a").write_bytes(b"newer")
    result = recover(pool)
    assert (result.result, result.kept) == ("finished", ("a",))
    assert (pool.one / "a").read_bytes() == b"newer" and (pool.two / "a").read_bytes() == b"content"
    pool.assert_tidy()


def test_a_name_the_copy_lost_is_kept_on_the_source(pool: Pool) -> None:
    pool.group("a", "b")
    die_at(pool, "committed", "after")
    (pool.two / "b").unlink()
    result = recover(pool)
    assert (result.result, result.kept) == ("finished", ("b",))
    assert (pool.one / "b").read_bytes() == (pool.two / "a").read_bytes() == b"content"
    assert not (pool.one / "a").exists()
    pool.assert_tidy()


def test_the_copy_is_kept_where_the_source_is_gone(pool: Pool) -> None:
    pool.group("a", "b")
    die_at(pool, "names made", "after")
    (pool.one / "a").unlink()
    (pool.one / "b").unlink()
    result = recover(pool)
    assert result.result == "undone" and sorted(result.kept) == ["a", "b"]
    pool.assert_whole(pool.two, ["a", "b"])


def test_another_file_at_a_name_of_the_copy_is_not_touched(pool: Pool) -> None:
    pool.group("new/a", "b")
    die_at(pool, "names made", "after", "new/a")
    (pool.two / "new/a").unlink()
    (pool.two / "new/a").write_text("another")
    assert recover(pool).result == "undone"
    assert (pool.two / "new/a").read_text() == "another"
    (pool.two / "new/a").unlink()
    pool.assert_whole(pool.one, ["new/a", "b"])


def test_a_folder_in_use_by_then_stays(pool: Pool) -> None:
    names = pool.group("new/er/a")
    die_at(pool, "names made", "after", "new/er/a")
    (pool.two / "new/other").write_text("other")
    assert recover(pool).result == "undone"
    assert sorted(pool.files(pool.two)) == ["new", "new/other"]
    pool.assert_whole(pool.one, names)


def test_what_was_undone_before_is_not_undone_again(pool: Pool) -> None:
    """Only the journal did not hear of it; the folder is another one by then."""
    names = pool.group("new/a")
    die_at(pool, "names made", "after", "new/a")
    pool.journal.end = lambda ident: fail()
    assert recover(pool).result == "waiting"
    del pool.journal.end
    (pool.two / "new").mkdir()
    assert recover(pool).result == "undone"
    assert (pool.two / "new").is_dir()
    pool.assert_whole(pool.one, names)


def test_a_file_in_the_place_of_a_folder(pool: Pool) -> None:
    names = pool.group("new/a")
    die_at(pool, "names made", "after", "new/a")
    (pool.two / "new/a").unlink()
    (pool.two / "new").rmdir()
    (pool.two / "new").write_text("in its place")
    assert recover(pool).result == "undone"
    assert (pool.two / "new").read_text() == "in its place"
    pool.assert_whole(pool.one, names)


# Records.


def test_other_kinds_of_records_are_left_alone(pool: Pool) -> None:
    pool.journal.begin({"kind": "intent"})
    assert pool.mover().recover() == []
    assert pool.journal.pending() == [(1, {"kind": "intent"})]


@pytest.mark.parametrize("record", [{"format": 2}, {"format": 1}, {"format": 1, "token": "0123", "paths": []}])
def test_a_record_that_cannot_be_read_waits(pool: Pool, record: dict[str, Any]) -> None:
    (pool.two / STAGING).mkdir()
    (pool.two / STAGING / "0123").touch()
    pool.journal.begin({"kind": "move", "token": "0123", **record})
    result = recover(pool)
    assert result.result == "waiting" and result.cause
    assert os.listdir(pool.two / STAGING) == ["0123"], "that may be all there is"


def test_records_keep_the_bytes_of_names() -> None:
    names = tuple(os.fsdecode(name) for name in (b"\xff\x00"[:1], b"100%/\n\t", "ü ☃".encode(), b"a b"))
    record = Record("t", "one", "two", 1 << 60, names, 1, 2, 3, names[:1], True)
    fields = record.as_json()
    assert all(path.isascii() for path in fields["paths"]) and fields["paths"][3] == "a b"
    assert Record.from_json(fields) == record
