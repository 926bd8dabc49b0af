import threading

from vfs.attr import Attr
from vfs.shown import Shown

FILE = Attr(7, 0o100644, 2, 0, 0, 0, 1, 8, 0, 0, 0)


def watched(seconds: float) -> tuple[Shown, list[set[str]]]:
    shown, forgotten = Shown(seconds), list[set[str]]()
    shown.forget = lambda paths: forgotten.append(set(paths))
    return shown, forgotten


def test_a_change_is_told_to_every_name_shown() -> None:
    shown, forgotten = watched(60)
    shown.note("a", FILE)
    shown.note("b", FILE)
    shown.note("other", FILE._replace(ino=8))
    shown.changed(7, "c")
    assert forgotten == [{"a", "b", "c"}]
    shown.changed(7)
    assert len(forgotten) == 1, "told once; until they are shown again the kernel knows nothing of them"


def test_what_is_being_read_is_not_forgotten() -> None:
    shown, forgotten = watched(60)
    shown.note("a", FILE)
    shown.note("b", FILE._replace(ino=8))
    with shown.reading(7), shown.reading(7):
        shown.changed(7)
        shown.changed(8)
        assert forgotten == [{"b"}]
    shown.note("a", FILE)
    shown.changed(7)
    assert forgotten == [{"b"}, {"a"}]


def test_a_change_waits_for_reads_that_end_soon() -> None:
    shown, forgotten = watched(60)
    shown.note("a", FILE)
    read = shown.reading(7)
    read.__enter__()
    ending = threading.Timer(0.01, read.__exit__, (None, None, None))
    ending.start()
    shown.changed(7)
    ending.join()
    assert forgotten == [{"a"}]


def test_files_with_one_name_cost_nothing() -> None:
    shown, forgotten = watched(60)
    shown.note("a", FILE._replace(nlink=1))
    shown.note("folder", FILE._replace(mode=0o040755, nlink=9))
    shown.changed(7)
    assert forgotten == []


def test_nothing_is_remembered_when_the_kernel_caches_nothing() -> None:
    shown, forgotten = watched(0)
    shown.note("a", FILE)
    shown.changed(7, "b")
    assert forgotten == []


def test_the_map_does_not_grow(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vfs.shown.time.monotonic", lambda: now[0])
    shown, _ = watched(1)
    for number in range(10_000):
        now[0] += 0.01
        shown.note(f"n{number}", FILE._replace(ino=number))
    assert len(shown._paths) < 2_500


def test_what_changed_after_a_mark_is_outdated() -> None:
    shown, _ = watched(60)
    before = shown.mark()
    shown.changed(7)
    shown.moved("folder/new")
    after = shown.mark()
    assert shown.outdated(before, "any", 7)
    assert shown.outdated(before, "folder/new", 9) and shown.outdated(before, "folder", 9)
    assert not shown.outdated(before, "other", 9)
    assert not shown.outdated(after, "folder/new", 7)
    shown.moved_folder()
    assert shown.outdated(after, "other", 9)


def test_a_forgotten_change_makes_everything_before_it_outdated() -> None:
    shown, _ = watched(60)
    marks = []
    for number in range(25_000):
        marks.append(shown.mark())
        shown.changed(number)
    assert all(shown.outdated(mark, "any", number) for number, mark in enumerate(marks))
    assert not shown.outdated(marks[-1], "other", 1)
    assert len(shown._changes) <= 10_000
