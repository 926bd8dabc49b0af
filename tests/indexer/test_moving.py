"""Moving single files: never over anything, never what changed, whole across filesystems; and undoing a run."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from settling import content_of

from indexer import moving
from indexer.hashing import Changed
from indexer.moving import Mover, found_at, is_written
from indexer.runs import Run, RunError, list_runs
from indexer.undoing import undo, where
from placement.copying import Content

ODD = "a \xff\n%41.jpg".encode("latin-1")
Move = Callable[..., bytes]


def digest_of(path: Path) -> bytes:
    from xxhash import xxh3_128

    return xxh3_128(path.read_bytes()).digest()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(runs: Path) -> Iterator[Run]:
    with Run.begin(runs, "sort", b"/to") as run:
        yield run


@pytest.fixture
def mover(run: Run) -> Iterator[Mover]:
    with closing(Mover(run)) as mover:
        yield mover


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "from").mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(tree) + b"/from/" + ODD)).write_bytes(b"content")
    return tree


@pytest.fixture
def shm() -> Iterator[Path]:
    """A folder on another filesystem."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def moved(mover: Mover, source: bytes | Path, target: bytes | Path, **options: bool) -> str:
    path = os.fsencode(source)
    now = mover.move(found_at(path), os.fsencode(target), digest_of(Path(os.fsdecode(path))), **options)
    return os.fsdecode(now.path)


def odd(tree: Path) -> bytes:
    return os.fsencode(tree) + b"/from/" + ODD


def test_a_move_makes_folders_and_keeps_the_file(tree: Path, run: Run, mover: Mover) -> None:
    before = os.lstat(odd(tree))
    target = os.fsencode(tree) + b"/to/deep/" + ODD
    assert os.fsencode(moved(mover, odd(tree), target)) == target
    assert os.lstat(target)[:7] == before[:7] and not os.path.lexists(odd(tree))
    (intended,) = run.moves()
    assert (intended.source, intended.target, intended.temporary) == (odd(tree), target, None)
    assert where(intended) == "new"


def test_nothing_is_ever_overwritten(tree: Path, mover: Mover) -> None:
    for name, content in (("x.jpg", "1"), ("x (2).jpg", "2"), ("dangling", "")):
        (tree / name).write_text(content) if content else (tree / name).symlink_to("nowhere")
    source = tree / "from/new"
    source.write_text("new")
    with pytest.raises(FileExistsError):
        moved(mover, source, tree / "x.jpg", exactly=True)
    assert moved(mover, source, tree / "x.jpg") == str(tree / "x (3).jpg")
    assert moved(mover, tree / "x (3).jpg", tree / "dangling") == str(tree / "dangling (2)")
    assert {name: content for name, content in content_of(tree).items() if "/" not in name} == {
        "x.jpg": b"1", "x (2).jpg": b"2", "dangling (2)": b"new",
    }  # fmt: skip


def test_a_target_that_appears_in_the_last_moment_stays(
    tree: Path, mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.lexists
    late = os.fsencode(tree / "late")

    def lexists(path: bytes) -> bool:
        answer = real(path)
        if path == late and not answer:
            (tree / "late").write_text("of somebody else")
        return answer

    (tree / "from/file").write_text("mine")
    monkeypatch.setattr(os.path, "lexists", lexists)
    assert moved(mover, tree / "from/file", tree / "late") == str(tree / "late (2)")
    assert (tree / "late").read_text() == "of somebody else"


@pytest.mark.parametrize("flags", [True, False])
def test_without_the_flag_a_link_is_as_careful(
    tree: Path, mover: Mover, monkeypatch: pytest.MonkeyPatch, flags: bool
) -> None:
    def renameat2(*_: object) -> None:
        raise OSError(errno.EINVAL, "no flags here")

    if not flags:
        monkeypatch.setattr(moving, "renameat2", renameat2)
    (tree / "from/file").write_text("mine")
    (tree / "x").write_text("other")
    assert moved(mover, tree / "from/file", tree / "x") == str(tree / "x (2)")
    assert (tree / "x").read_text() == "other"
    assert not (tree / "from/file").exists() and (tree / "x (2)").stat().st_nlink == 1


def test_what_is_not_what_was_found_stays(tree: Path, run: Run, mover: Mover) -> None:
    source = tree / "from/file"
    source.write_text("one")
    found, digest = found_at(os.fsencode(source)), digest_of(source)
    target = os.fsencode(tree / "to")
    with pytest.raises(Changed):
        mover.move(found, target, bytes(16))
    source.write_text("other")
    with pytest.raises(Changed):
        mover.move(found, target, digest)
    source.unlink()
    source.symlink_to("elsewhere")
    with pytest.raises(OSError):
        mover.move(found, target, digest)
    assert not os.path.lexists(target) and run.moves() == []


@pytest.mark.parametrize("change", ["write", "replace"])
def test_what_changes_after_it_was_hashed_goes_back(tree: Path, runs: Path, change: str) -> None:
    source = tree / "from/file"
    source.write_text("one")

    def on_step(step: str) -> None:
        if step == "journaled" and change == "write":
            source.write_text("written meanwhile")
        elif step == "journaled":
            (tree / "draft").write_text("written meanwhile")
            (tree / "draft").rename(source)

    with Run.begin(runs, "sort", b"/to") as run, closing(Mover(run, on_step)) as mover:
        with pytest.raises(Changed):
            moved(mover, source, tree / "to")
        assert run.moves() == []
    assert source.read_text() == "written meanwhile" and not (tree / "to").exists()


def test_a_link_put_in_the_way_is_not_followed(tree: Path, mover: Mover) -> None:
    (tree / "elsewhere").mkdir()
    (tree / "to").symlink_to("elsewhere")
    with pytest.raises(NotADirectoryError):
        moved(mover, odd(tree), tree / "to/file")
    assert list((tree / "elsewhere").iterdir()) == []


def test_between_filesystems_it_is_copied_compared_and_only_then_removed(
    tree: Path, shm: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree / "from/file"
    source.write_bytes(os.urandom(3 << 20))
    os.setxattr(source, "user.x", b"kept")
    os.utime(source, ns=(5, 10**18))
    content = source.read_bytes()
    seen: list[tuple[str, bool]] = []
    with Run.begin(runs, "sort", b"/to") as run:
        with closing(Mover(run, lambda step: seen.append((step, source.exists())))) as mover:
            assert moved(mover, source, shm / "a/file") == str(shm / "a/file")
        assert seen == [
            ("journaled", True), ("copied", True), ("compared", True), ("named", True), ("source removed", False),
            ("done", False),
        ]  # fmt: skip
        assert content_of(shm) == {"a/file": content}
        now = (shm / "a/file").stat()
        assert now.st_mtime_ns == 10**18
        # What reads back differently is no copy.
        (shm / "a/file").rename(shm / "again")
        monkeypatch.setattr(moving, "read_content", lambda *_: Content(1, b"other"))
        with closing(Mover(run)) as mover, pytest.raises(OSError, match="read back, differs"):
            moved(mover, shm / "again", tree / "back")
    assert content_of(shm) == {"again": content} and not (tree / "back").exists()
    assert [path.name for path in tree.iterdir()] == ["from"]


def test_what_has_other_links_is_not_parted_from_them(tree: Path, shm: Path, mover: Mover) -> None:
    os.link(odd(tree), tree / "link")
    with pytest.raises(OSError, match="other hard links"):
        moved(mover, tree / "link", shm / "link")
    assert (tree / "link").exists() and not list(shm.iterdir())


def test_somebody_who_writes_is_noticed(tree: Path) -> None:
    fd = os.open(odd(tree), os.O_RDONLY)
    try:
        assert not is_written(fd)
        with open(odd(tree), "ab"):
            assert is_written(fd)
        assert not is_written(fd)
        # Nothing of it stays behind: a writer is not made to wait.
        os.close(os.open(odd(tree), os.O_WRONLY | os.O_NONBLOCK))
    finally:
        os.close(fd)


def test_a_run_is_undone_as_far_as_its_files_are_what_they_were(tree: Path, runs: Path) -> None:
    for name in "abcd":
        (tree / f"from/{name}").write_text(f"content of {name}")
    before = content_of(tree)
    with Run.begin(runs, "sort", os.fsencode(tree / "to")) as run, closing(Mover(run)) as mover:
        for name in "abcd":
            moved(mover, tree / f"from/{name}", tree / f"to/{name}")
        with pytest.raises(RunError, match="goes on now"):
            undo(runs, run.id)
    (tree / "to/b").write_text("edited since")
    (tree / "from/c").write_text("a new one")
    planned = undo(runs, "s1", dry_run=True)
    assert (len(planned.moved), len(planned.kept)) == (3, 1)
    done = undo(runs, "s1")
    assert sorted(os.path.basename(to) for _, to in done.moved) == [b"a", b"d"]
    assert {os.path.basename(one.path) for one in done.kept} == {b"b", b"c"}
    assert content_of(tree) == {
        **{name: content for name, content in before.items() if name != "from/b"},
        "from/c": b"a new one", "to/b": b"edited since", "to/c": b"content of c",
    }  # fmt: skip
    (tree / "from/c").unlink()
    again = undo(runs, "s1")
    assert [os.path.basename(to) for _, to in again.moved] == [b"c"] and len(again.kept) == 1
    (info,) = list_runs(runs)
    assert (info.id, info.kind, info.intended, info.undone, info.running) == ("s1", "sort", 4, 3, False)


def test_runs_are_numbered_and_odd_journals_told(runs: Path) -> None:
    assert list_runs(runs) == []
    for kind, ident in (("sort", "s1"), ("ingest", "i1"), ("sort", "s2")):
        with Run.begin(runs, kind, ODD) as run:  # type: ignore[arg-type]
            assert run.id == ident
            assert [one.running for one in list_runs(runs) if one.id == ident] == [True]
    assert {one.to for one in list_runs(runs)} == {ODD}
    with pytest.raises(RunError, match="no run 's9'"):
        undo(runs, "s9")
    with pytest.raises(RunError, match="no run"):
        undo(runs, "../x")
    with Run.begin(runs, "sort", ODD), pytest.raises(RunError, match="goes on now"):
        Run.begin(runs, "ingest", ODD)
    # What a power cut left half written was never begun.
    with (runs / "s1.jsonl").open("ab") as file:
        file.write(b'{"move": 1, "from": "/x')
    assert undo(runs, "s1").moved == []
    (runs / "s4.jsonl").write_text("garbage")
    with pytest.raises(RunError, match="Move it aside"):
        list_runs(runs)
