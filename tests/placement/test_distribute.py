"""Symlink distribution: files go to the drives, links lead to them, all can be undone."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributing import Bench

from placement import copying, relocation
from placement.distributions import Distributions, JobsDamaged
from placement.identity import DriveError, initialise
from placement.library import Finding
from placement.sources import Folder, overlap


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def found(report: Any) -> dict[str, str]:
    return {one.path: drive for one, drive in report.moved}


def test_files_go_to_the_drives_and_links_lead_to_them(bench: Bench) -> None:
    for number in range(6):
        bench.put(f"tv/Show/Season 1/e{number}.mkv", os.urandom(1000 + number))
    os.setxattr(bench.source / "tv/Show/Season 1/e3.mkv", "user.x", b"y")
    (bench.source / "tv/Show").chmod(0o750)
    before = bench.files(bench.source)
    report = bench.run()
    assert report.job == 1 and len(report.moved) == 6 and not report.failed and not report.waiting
    assert set(found(report).values()) == {"d1", "d2", "d3"}
    assert bench.on_drives() == before
    assert bench.files(bench.source) == {}
    for path, drive in found(report).items():
        link = bench.library / path
        assert os.readlink(link) == str(bench.base / drive / path)
        assert link.read_bytes() == before[path][-1]
    assert (bench.library / "tv/Show").stat().st_mode & 0o777 == 0o750
    bench.assert_tidy()


def test_a_second_run_does_only_what_is_new(bench: Bench) -> None:
    bench.put("a")
    bench.run()
    assert bench.run().job == 0
    bench.put("b")
    report = bench.run()
    assert list(found(report)) == ["b"]
    assert [job.moved for job in bench.asked(lambda journal: journal.jobs())] == [1, 1]


def test_names_of_any_bytes(bench: Bench) -> None:
    name = os.fsdecode(b"\xff \n'.mkv")
    bench.put(name)
    assert list(found(bench.run())) == [name]
    assert (bench.library / name).read_bytes() == b"content"
    assert list(found(bench.undo(1))) == [name]
    assert (bench.source / name).read_bytes() == b"content"


def test_a_failure_may_be_about_a_name_of_any_bytes(bench: Bench) -> None:
    bench.put("a")
    other = os.fsdecode(bytes(bench.base) + b"/\xff")
    Path(other).write_text("in the way")
    (bench.library / "a").symlink_to(other)
    ((_, reason),) = bench.run().failed
    assert other in reason
    (failure,) = bench.asked(lambda journal: journal.failures(str(bench.library)))
    assert failure.reason.endswith("\\udcff there")


def test_all_names_of_a_file_go_together(bench: Bench) -> None:
    bench.put("a/one").parent.joinpath("two").hardlink_to(bench.source / "a/one")
    bench.put("b")
    (bench.more / "elsewhere").hardlink_to(bench.source / "b")
    report = bench.run()
    ((group, drive),) = report.moved
    assert group.paths == ("a/one", "a/two")
    assert (bench.base / drive / "a/one").samefile(bench.base / drive / "a/two")
    assert [path for path, reason in report.failed if "other names outside this source" in reason] == [
        str(bench.source / "b"), str(bench.more / "elsewhere"),
    ]  # fmt: skip
    assert (bench.source / "b").samefile(bench.more / "elsewhere")
    assert bench.undo(1).failed == []
    assert (bench.source / "a/one").samefile(bench.source / "a/two")
    bench.assert_tidy()


def test_capacities_are_respected(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy="ff", capacities=(40_000, 90_000, None))
    try:
        for number in range(10):
            bench.put(f"f{number}", bytes([number + 1]) * 16_000)
        planned, report = bench.plan(), bench.run()
        assert len(planned.moved) == len(report.moved) == 10 and not report.failed
        for one in (planned, report):
            drives = list(found(one).values())
            # Folders and the drive's own files count as well.
            assert 1 <= drives.count("d1") <= 2 and 4 <= drives.count("d2") <= 5
        for drive, capacity in (("d1", 40_000), ("d2", 90_000)):
            blocks = [path.lstat().st_blocks for path in (bench.base / drive).rglob("*")]
            assert sum(blocks) * 512 <= capacity
    finally:
        bench.close()


def test_what_lies_on_a_drive_already_counts_from_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy="ff", capacities=(60_000, None, None))
    try:
        for number in range(300):
            folder = tmp_path / f"d1/{number}"
            folder.mkdir()
        (tmp_path / "d1/299/large").write_bytes(b"x" * 50_000)
        bench.put("a", b"x" * 20_000)
        assert found(bench.run()) == {"a": "d2"}
    finally:
        bench.close()


def test_what_fits_nowhere_fails_with_the_reasons_and_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacities=(20_000, 20_000, 20_000))
    try:
        file = bench.put("large", b"x" * 50_000)
        for tries in (1, 2):
            report = bench.run()
            ((path, reason),) = report.failed
            assert path == str(file) and "d1: 48.8 KiB needed" in reason and report.job == 0
            (failure,) = bench.asked(lambda journal: journal.failures(str(bench.library)))
            assert (failure.path, failure.tries) == ("large", tries)
        assert file.read_bytes() == b"x" * 50_000
        bench.put("large", b"small")
        assert list(found(bench.run())) == ["large"]
        assert bench.asked(lambda journal: journal.failures(str(bench.library))) == []
    finally:
        bench.close()


def test_folders_stay_together_where_the_policy_says_so(bench: Bench) -> None:
    bench.placement = type(bench.placement)(lambda: bench.drives, policy="rand", path_preserving=True, min_free=0)
    for number in range(8):
        bench.put(f"Show/Season 1/e{number}")
    assert len(set(found(bench.plan()).values())) == 1
    assert len(set(found(bench.run()).values())) == 1


def test_a_plan_changes_nothing(bench: Bench) -> None:
    bench.put("a/b")
    before = bench.files(bench.base)
    report = bench.plan()
    assert list(found(report)) == ["a/b"] and report.job == 0
    after = bench.files(bench.base)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) <= {"distribute.db", "distribute.db-wal", "distribute.db-shm"}


# What waits.


def test_what_changed_just_now_waits(bench: Bench) -> None:
    bench.put("new")
    report = bench.run(quiet=60.0)
    ((path, reason),) = report.waiting
    assert path.endswith("/new") and reason.startswith("it changed ") and not report.moved


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_what_is_open_for_writing_waits(bench: Bench, flags: int) -> None:
    file = bench.put("a")
    reader = os.open(bench.put("b"), os.O_RDONLY)
    writer = os.open(file, flags)
    try:
        report = bench.run()
        assert report.waiting == [(str(file), "it is open for writing")]
        assert list(found(report)) == ["b"], "readers do not matter"
        assert os.read(reader, 10) == b"content"
    finally:
        os.close(writer)
        os.close(reader)
    assert list(found(bench.run())) == ["a"]


def test_what_is_opened_for_writing_meanwhile_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from placement import distribute

    monkeypatch.setattr(distribute, "_FRESH", 0.0)
    file = bench.put("a")
    opened: list[int] = []

    def open_it(name: str, when: str) -> None:
        if (name, when) == ("compared", "after"):
            opened.append(os.open(file, os.O_WRONLY))

    try:
        report = bench.run(on_step=open_it)
    finally:
        os.close(opened[0])
    ((_, reason),) = report.failed
    assert "opened for writing meanwhile" in reason
    assert file.read_bytes() == b"content" and not (bench.library / "a").is_symlink()
    bench.assert_tidy()


def test_what_is_no_finished_file_is_passed_over(bench: Bench) -> None:
    bench.put("a.mkv.part")
    bench.put("b.!qB")
    (bench.source / "link").symlink_to(bench.base)
    os.mkfifo(bench.source / "fifo")
    report = bench.run()
    assert [(Path(path).name, reason) for path, reason in report.passed] == [
        ("a.mkv.part", "is unfinished, by its name"),
        ("b.!qB", "is unfinished, by its name"),
        ("fifo", "is no regular file"),
        ("link", "a symbolic link stays where it is"),
    ]
    assert not report.moved and not report.failed


# What stands in the way.


def test_nothing_is_ever_replaced(bench: Bench) -> None:
    bench.put("a", b"new")
    (bench.base / "d2/a").write_text("on a drive")
    bench.put("b", b"new")
    (bench.library / "b").write_text("in the library")
    bench.put("c", b"new")
    (bench.library / "c").symlink_to(bench.base / "elsewhere")
    (bench.base / "elsewhere").write_text("of somebody else")
    bench.put("d/e", b"new")
    (bench.library / "d").write_text("no folder")
    report = bench.run()
    reasons = {Path(path).name: reason for path, reason in report.failed}
    assert set(reasons) == {"a", "b", "c", "e"} and not report.moved
    assert "drive d2 has something of that path already" in reasons["a"]
    assert "the library has something else there" in reasons["b"]
    assert f"the library has a link to {bench.base}/elsewhere there" in reasons["c"]
    assert all((bench.source / name).read_bytes() == b"new" for name in ("a", "b", "c", "d/e"))
    assert (bench.base / "d2/a").read_text() == "on a drive"
    assert (bench.library / "b").read_text() == "in the library"
    bench.assert_tidy()


def test_a_link_that_leads_nowhere_is_replaced(bench: Bench) -> None:
    bench.put("a")
    (bench.library / "a").symlink_to("/nowhere/at/all")
    assert list(found(bench.run())) == ["a"]
    assert (bench.library / "a").read_bytes() == b"content"


def test_a_source_that_is_gone_or_a_drive_is_refused(bench: Bench) -> None:
    with pytest.raises(DriveError, match="it cannot be opened: No such file"):
        Folder(str(bench.base / "none"))
    initialise(bench.more, "x", 9)
    with pytest.raises(DriveError, match="it is a drive"):
        Folder(str(bench.more))
    with pytest.raises(OSError, match="another folder is mounted at its path"):
        folder = Folder(str(bench.source))
        bench.source.rename(bench.base / "away")
        bench.source.mkdir()
        try:
            folder.check()
            folder.require()
        finally:
            folder.close()


def test_folders_in_one_another_are_told(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    a, b, link = str(tmp_path / "a"), str(tmp_path / "a/b"), str(tmp_path / "link")
    assert overlap([a], [b]) == (a, b) and overlap([b], [link]) == (b, link)
    assert overlap([a], [str(tmp_path / "a2")]) is None


# Links that are not in order.


def test_links_are_mended_and_reported(bench: Bench) -> None:
    bench.put("a")
    bench.put("b")
    drives = found(bench.run())
    one = bench.base / drives["a"]
    other = bench.base / next(name for name in ("d1", "d2", "d3") if name != drives["a"])
    (one / "a").rename(other / "a")  # as a balance would
    (bench.base / drives["b"] / "b").unlink()
    (bench.library / "foreign").symlink_to("/proc")
    (bench.library / "broken").symlink_to("/nowhere")
    (bench.library / "renamed").symlink_to(other / "a")
    planned = bench.plan().findings
    report = bench.run()
    assert report.findings == planned == [
        Finding("a", "healed", str(other / "a")),
        Finding("b", "removed", str(bench.base / drives["b"] / "b")),
        Finding("broken", "broken", "/nowhere"),
        Finding("foreign", "foreign", "/proc"),
    ]  # fmt: skip
    assert (bench.library / "a").read_bytes() == b"content"
    assert not (bench.library / "b").is_symlink() and (bench.library / "renamed").exists()
    # What was removed can be put back.
    assert bench.undo(report.job).failed == []
    assert os.readlink(bench.library / "b") == str(bench.base / drives["b"] / "b")


def test_a_foreign_link_to_what_was_distributed_follows_it(bench: Bench) -> None:
    file = bench.put("a")
    (bench.library / "mine").symlink_to(file)
    report = bench.run()
    ((one, drive),) = report.moved
    assert report.findings == [Finding("mine", "healed", str(bench.base / drive / one.path))]
    assert (bench.library / "mine").read_bytes() == b"content"


def test_links_to_a_missing_drive_wait(bench: Bench) -> None:
    bench.put("a")
    ((_, drive),) = bench.run().moved
    (bench.base / drive).rename(bench.base / "away")
    (bench.base / drive).mkdir()
    for one in bench.drives:
        one.check()
    ((finding),) = bench.run().findings
    assert finding.kind == "waiting"
    assert (bench.library / "a").is_symlink()
    (bench.base / drive).rmdir()
    (bench.base / "away").rename(bench.base / drive)


# Undoing.


def test_undo_puts_all_back(bench: Bench) -> None:
    for number in range(5):
        bench.put(f"tv/e{number}", os.urandom(500))
    bench.put("film", b"film", bench.more)
    before = {**bench.files(bench.source), "film": bench.files(bench.more)["film"]}
    job = bench.run().job
    (bench.library / "tv/e1").rename(bench.library / "renamed")  # as Sonarr does
    report = bench.undo(job)
    assert len(report.moved) == 6 and not report.failed
    assert {**bench.files(bench.source), "film": bench.files(bench.more)["film"]} == before
    assert bench.files(bench.library) == {} and bench.on_drives() == {}
    assert not (bench.source / ".mediapool").exists()
    (told,) = bench.asked(lambda journal: journal.jobs())
    assert (told.moved, told.undone) == (0, 6)
    assert bench.undo(job).moved == []
    bench.assert_tidy()


def test_undo_never_replaces_and_says_what_it_left(bench: Bench) -> None:
    bench.put("a")
    bench.put("b")
    drives = found(bench.run())
    bench.put("a", b"another")
    (bench.base / drives["b"] / "b").unlink()
    report = bench.undo(1)
    assert not report.moved and len(report.failed) == 2
    assert (bench.source / "a").read_bytes() == b"another"
    assert (bench.library / "a").read_bytes() == b"content"
    (told,) = bench.asked(lambda journal: journal.jobs())
    assert told.moved == 2


def test_undo_without_the_source_does_nothing(bench: Bench) -> None:
    bench.put("a", source=bench.more)
    bench.run()
    journal = Distributions(bench.base / "distribute.db", durable=False)
    (item,) = journal.items("moved")
    journal.close()
    report = bench.work(lambda made, _: (bench.more.rmdir(), made.undo(1))[1])
    assert report.failed == [(str(bench.more / "a"), f"the folder {item.source} is not there")]
    bench.more.mkdir()


# Interruptions and failures.


def test_a_drive_that_runs_full_is_followed_by_the_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = relocation.Relocation._duplicate_running, list[str]()

    def full_once(self: Any) -> None:
        tried.append(self._target.name)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self)

    monkeypatch.setattr(relocation.Relocation, "_duplicate_running", full_once)
    bench.put("a")
    report = bench.run()
    assert found(report) == {"a": tried[1]} and tried[0] != tried[1] and not report.failed
    assert len(bench.asked(lambda journal: journal.items("moved"))) == 1
    bench.assert_tidy()


def test_a_killed_job_without_files_is_forgotten(bench: Bench) -> None:
    bench.asked(lambda journal: journal.open_job("/library"))
    bench.run()
    assert bench.asked(lambda journal: journal.jobs()) == []


def test_a_cancelled_run_is_whole_and_goes_on(bench: Bench) -> None:
    for number in range(4):
        bench.put(f"f{number}")
    cancel = threading.Event()

    def stop(name: str, when: str) -> None:
        if (name, when) == ("journal ended", "after"):
            cancel.set()

    report = bench.run(cancel=cancel, on_step=stop)
    assert report.interrupted and len(report.moved) == 1
    bench.assert_tidy()
    assert len(bench.run().moved) == 3


def test_a_copy_that_differs_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from placement import staging

    file = bench.put("a")
    monkeypatch.setattr(staging, "read_content", lambda *_: copying.Content(7, b"wrong"))
    ((_, reason),) = bench.run().failed
    assert "the copy, read back, differs" in reason
    assert file.read_bytes() == b"content" and not bench.on_drives()
    bench.assert_tidy()


@pytest.fixture
def light_bench() -> Iterator[Bench]:
    """In memory where that is possible: what disks do is looked at elsewhere."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as base:
        made = Bench(Path(base))
        yield made
        made.close()


@pytest.mark.timeout(600)  # half a minute on an idle machine
def test_ten_thousand_files_with_failures_then_undone(light_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every seventh copy fails on the way; the next run takes those; undoing puts all back."""
    bench = light_bench
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr("placement.staging._TICK_NS", 0)
    for number in range(10_000):
        bench.put(f"s{number // 1000}/f{number}", str(number).encode())
    real, count = relocation.Relocation._names, [0]

    def failing(self: Any, walk: bool) -> Any:
        count[0] += 1
        if count[0] % 7 == 0 and count[0] <= 10_000:
            raise OSError(errno.EIO, "injected")
        return real(self, walk)

    monkeypatch.setattr(relocation.Relocation, "_names", failing)
    report = bench.run()
    assert (len(report.moved), len(report.failed)) == (8572, 1428)
    assert len(bench.asked(lambda journal: journal.failures(str(bench.library)))) == 1428
    again = bench.run()
    assert (len(again.moved), again.failed) == (1428, [])
    contents = {name: file[-1] for name, file in bench.on_drives().items()}
    assert contents == {f"s{number // 1000}/f{number}": str(number).encode() for number in range(10_000)}
    assert all((bench.library / name).read_bytes() == content for name, content in contents.items())
    assert bench.undo(again.job).failed == bench.undo(report.job).failed == []
    assert {name: file[-1] for name, file in bench.files(bench.source).items()} == contents
    assert bench.on_drives() == {} and bench.files(bench.library) == {}
    bench.assert_tidy()


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database" * 100)
    with pytest.raises(JobsDamaged, match="Move it aside"):
        Distributions(tmp_path / "x.db")
