"""The journal of marks and the marks in it: what survives, and what a loss of it means."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

import indexer.journal
import indexer.marks
from indexer.catalog import Known
from indexer.journal import FILES_OF, MOVED, NAME, Journal, Record
from indexer.marks import Marks
from indexer.tree import Listing

ODD = os.fsdecode(b"\xff\n\"'")
FOLDER = Known.of(os.stat("/"))


def journal(tmp_path: Path, *records: Record) -> Journal:
    made = Journal(tmp_path / "marks")
    made.rewrite(records)
    return made


def reopened(tmp_path: Path) -> Marks:
    """The marks as another process would find them."""
    again = Journal(shutil.copy(tmp_path / "marks", tmp_path / "copy"))
    records = again.read()
    assert records is not None
    return Marks(again, records, 0.0)


def listing(path: str, **files: Known) -> Listing:
    return Listing(path, 1, FOLDER, {}, {os.fsencode(name): known for name, known in files.items()})


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """Their journal is never closed: whatever happens next happens after a crash."""
    return Marks(Journal(tmp_path / "marks"), (), 0.0)


@pytest.fixture(autouse=True)
def close_journals(monkeypatch: pytest.MonkeyPatch) -> object:
    made: list[Journal] = []
    init = Journal.__init__

    def noted(self: Journal, path: Path) -> None:
        made.append(self)
        init(self, path)

    monkeypatch.setattr(Journal, "__init__", noted)
    yield
    for one in made:
        one.close()


def test_it_holds_any_name_and_is_private(tmp_path: Path) -> None:
    made = journal(tmp_path, (FILES_OF, 1, "a"), (NAME, 2, ODD))
    made.append(MOVED, 3, f"{ODD}/b")
    assert made.read() == [(FILES_OF, 1, "a"), (NAME, 2, ODD), (MOVED, 3, f"{ODD}/b")]
    assert stat.S_IMODE((tmp_path / "marks").stat().st_mode) == 0o600
    assert (tmp_path / "marks").read_bytes().isascii()


def test_none_and_a_damaged_one_are_not_relied_upon(tmp_path: Path) -> None:
    assert Journal(tmp_path / "marks").read() is None
    journal(tmp_path, (NAME, 1, "a"), (NAME, 1, "b"))
    whole = (tmp_path / "marks").read_bytes()
    cut = whole[: whole.rindex(b"[")]
    for damaged in (b"", b"\n", b"[]\n", b"{}\n", cut, whole.replace(b'"name"', b'name"', 1), whole + b"1\n"):
        (tmp_path / "marks").write_bytes(damaged)
        assert Journal(tmp_path / "marks").read() is None, damaged


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    journal(tmp_path, (NAME, 1, "a"))
    with (tmp_path / "marks").open("ab") as file:
        file.write(b'["name", 1, "b')
    assert Journal(tmp_path / "marks").read() == [(NAME, 1, "a")]


def test_one_that_cannot_be_written_is_made_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = journal(tmp_path, (NAME, 1, "a"))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    made.append(NAME, 1, "b")
    made.append(NAME, 1, "c")
    assert Journal(tmp_path / "marks").read() is None and made.wants_rewrite
    assert caplog.text.count("cannot be written") == 1
    made.rewrite([])
    monkeypatch.undo()
    assert Journal(tmp_path / "marks").read() is None and caplog.text.count("cannot be written") == 1
    made.rewrite([(NAME, 1, "b")])
    assert made.read() == [(NAME, 1, "b")] and not made.wants_rewrite


def test_marks_survive_a_crash(tmp_path: Path, marks: Marks) -> None:
    marks.changed(1, f"dir/{ODD}", file=True)
    marks.changed(1, "dir/sub")
    marks.renamed(2, "old", "deep/new")
    after = reopened(tmp_path)
    # After a crash every file of the directory is uncertain, of its directories the one that was named.
    assert not after.certain(1, "dir", ODD, False) and not after.certain(1, "dir", "another", False)
    assert not after.certain(1, "dir", "sub", True) and after.certain(1, "dir", "another", True)
    assert not after.clean(1, "dir") and after.clean(1, "") and after.clean(1, "dir/sub")
    assert not after.certain(2, "", "old", True) and not after.certain(2, "deep", "new", True)
    assert after.certain(2, "", "deep", True)
    assert after.due(1) == ["dir"] and after.due(2) == ["", "deep"] and after.due(3) == []
    assert after.looking(2, "") == {b"old"}


def test_one_record_per_directory_of_changed_files(tmp_path: Path, marks: Marks) -> None:
    for number in range(100):
        marks.changed(1, f"dir/{number}", file=True)
        marks.changed(1, f"dir/{number}", file=True)
    assert len((tmp_path / "marks").read_bytes().splitlines()) == 2
    assert marks.certain(1, "dir", "100", False)


def test_a_look_takes_away_what_was_before_it(tmp_path: Path, marks: Marks) -> None:
    marks.changed(1, "dir/a", file=True)
    marks.changed(1, "dir/b")
    before = marks.version(1)
    assert marks.looking(1, "dir") == set()
    assert not marks.certain(1, "dir", "a", False) and not marks.clean(1, "dir") and marks.any(1)
    marks.changed(1, "dir/a", file=True)
    marks.looked(1, [listing("dir")])
    assert marks.version(1) > before
    assert not marks.certain(1, "dir", "a", False) and marks.certain(1, "dir", "b", True)
    assert not reopened(tmp_path).clean(1, "dir")
    marks.looking(1, "dir")
    marks.looked(1, [listing("dir")])
    assert marks.clean(1, "dir") and not marks.any(1) and marks.count(1) == 0
    assert reopened(tmp_path).clean(1, "dir")


def test_a_look_that_fails_changes_nothing(tmp_path: Path, marks: Marks) -> None:
    marks.renamed(1, "dir/a", "dir/b")
    for end in (lambda: marks.given_up(1, "dir"), lambda: None):
        assert marks.looking(1, "dir") == {b"a", b"b"}
        marks.changed(1, "dir/c")
        end()
        assert not marks.certain(1, "dir", "a", True) and not marks.certain(1, "dir", "c", True)
    assert marks.looking(1, "dir") == {b"a", b"b"}
    marks.gone(1, "dir")
    assert marks.clean(1, "dir") and reopened(tmp_path).clean(1, "dir")


def test_a_file_that_is_closed_during_a_look_stays_uncertain(tmp_path: Path, marks: Marks) -> None:
    file = FOLDER._replace(ino=77)
    marks.writing(1, "dir/a", 77)
    marks.looking(1, "dir")
    # The look sees the file here; then more is written, and it is closed.
    marks.written(1, 77)
    marks.looked(1, [listing("dir", a=file)])
    assert not marks.certain(1, "dir", "a", False) and not reopened(tmp_path).clean(1, "dir")
    marks.looking(1, "dir")
    assert marks.count(1) == 1, "what is being looked at is not certain yet"
    marks.looked(1, [listing("dir", a=file)])
    assert marks.certain(1, "dir", "a", False) and marks.count(1) == 0


def test_a_file_stays_uncertain_while_it_is_written_whatever_its_name(marks: Marks) -> None:
    file = FOLDER._replace(ino=77)
    marks.writing(1, "dir/a", 77)
    marks.writing(1, "dir/a", 77)
    marks.looking(1, "dir")
    marks.looked(1, [listing("dir", a=file)])
    assert not marks.certain(1, "dir", "a", False) and marks.is_writing(1, 77)
    marks.looking(1, "other")
    marks.looked(1, [listing("other", b=file, c=FOLDER)])
    assert not marks.certain(1, "other", "b", False) and marks.certain(1, "other", "c", False)
    marks.written(1, 77)
    assert marks.is_writing(1, 77)
    marks.written(1, 77)
    assert not marks.is_writing(1, 77) and not marks.certain(1, "dir", "a", False)
    marks.looking(1, "dir")
    marks.looked(1, [listing("dir", a=file)])
    assert marks.certain(1, "dir", "a", False)


def test_very_many_names_become_one_mark(tmp_path: Path, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer.marks, "_MANY", 10)
    for number in range(50):
        marks.changed(1, f"files/{number}", file=True)
        marks.renamed(1, f"names/{number}", f"names/{number}")
    for one in (marks, reopened(tmp_path)):
        assert not one.certain(1, "files", "other", False) and one.certain(1, "files", "other", True)
        assert not one.certain(1, "names", "other", True)
        assert b"anything" in one.looking(1, "names")


def test_the_journal_does_not_grow_without_end(tmp_path: Path, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer.journal, "_SLACK", 50)
    marks.changed(1, "kept/sub")
    for _ in range(2000):
        marks.changed(1, "dir/a", file=True)
        marks.looking(1, "dir")
        marks.looked(1, [listing("dir")])
    assert len((tmp_path / "marks").read_bytes().splitlines()) < 2100
    marks.changed(1, "dir/a", file=True)
    marks.close()
    assert sorted(Journal(tmp_path / "marks").read() or []) == [("files", 1, "dir"), ("name", 1, "kept/sub")]


def test_a_busy_directory_is_due_less_and_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("indexer.marks.time.monotonic", lambda: now)
    marks = Marks(Journal(tmp_path / "marks"), (), 5.0)
    marks.changed(1, "dir/a")
    waits = []
    for _ in range(9):
        began = now
        while not marks.due(1):
            now += 5
        waits.append(now - began)
        marks.looking(1, "dir")
        marks.changed(1, "dir/a")
        marks.looked(1, [listing("dir")])
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_our_own_folder_and_another_drive_leave_no_mark(marks: Marks) -> None:
    marks.changed(1, ".mediapool/pinned/film")
    marks.renamed(1, ".mediapool/a", ".mediapool/b")
    assert not marks.any(1)
    marks.changed(2, "film")
    assert not marks.any(1) and marks.any(2)
    marks.forget(2)
    assert not marks.any(2)


def test_a_forgotten_drive_stays_forgotten(tmp_path: Path, marks: Marks) -> None:
    marks.changed(1, "a")
    marks.changed(2, "a")
    marks.forget(1)
    assert not reopened(tmp_path).any(1) and reopened(tmp_path).any(2)
    assert json.loads((tmp_path / "marks").read_bytes().splitlines()[0])[0] == "mediapool marks"
