"""The crawl: it records a drive as it is, writes only differences, can be stopped, and goes on where it was."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

import indexer.scan
from indexer.catalog import Catalog, CatalogError, Known
from indexer.look import look
from indexer.scan import Crawl, Progress, crawl
from indexer.tree import Directory, Listing, Tree
from indexer.treewriter import TreeWriter
from placement.beneath import Root
from placement.drive import Drive, DriveConfig
from placement.identity import initialise

Recorded = dict[str, Known]


def recorded(catalog: Catalog, number: int = 3) -> Recorded:
    """Everything in the catalog by path, the root as ""; asserts that all of it is complete."""
    found: Recorded = {}

    def visit(tree: Tree, path: str, place: Directory) -> None:
        assert place.complete_ns is not None and tree.path_of(place.id) == path
        found[path] = place.known
        for name, known in tree.files(place.id).items():
            found[os.path.join(path, os.fsdecode(name))] = known
        for name, child in tree.directories(place.id).items():
            visit(tree, os.path.join(path, os.fsdecode(name)), child)

    with catalog.reading() as connection:
        tree = Tree(connection, number)
        top = tree.root()
        assert top is not None
        visit(tree, "", top)
        assert tree.count() == len(found) - 1
    return found


def there(root: Path) -> dict[str, tuple[int | None, ...]]:
    """What a crawl should find, without the times of the last access."""
    found = {"": promised(Known.of(root.lstat()))}
    for folder, folders, files in os.walk(root):
        if folder == str(root):
            folders.remove(".mediapool")
        for name in folders + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = promised(Known.of(os.lstat(path)))
    return found


def promised(known: Known) -> tuple[int | None, ...]:
    return (*known[:8], *known[9:11])


def assert_true(catalog: Catalog, root: Path) -> None:
    assert {path: promised(known) for path, known in recorded(catalog).items()} == there(root)


def grow(root: Path) -> None:
    """Every kind of name, hostile ones among them."""
    (root / "film").mkdir()
    (root / "film" / "a.mkv").write_bytes(b"x" * 5000)
    os.link(root / "film" / "a.mkv", root / "b.mkv")
    (root / "empty").mkdir()
    (root / "link").symlink_to("/etc")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    os.makedirs(os.fsencode(root) + b"/deep/\xff\xfe/new\nline/" + b"n" * 255)
    Path(root / "deep" / os.fsdecode(b"\xff\xfe") / "100%_'quoted\"").write_bytes(b"")


class Writes:
    """Counts the statements that change the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self.rows: list[tuple[str, int]] = []
        event.listen(catalog._engine, "before_cursor_execute", self)

    def __call__(self, _1: object, _2: object, statement: str, values: list[object], _3: object, many: bool) -> None:
        verb, *words = statement.split()
        if verb in ("INSERT", "DELETE", "UPDATE"):
            self.rows.append((f"{verb} {words[0] if verb == 'UPDATE' else words[1]}", len(values) if many else 1))

    def taken(self) -> list[tuple[str, int]]:
        rows, self.rows = self.rows, []
        return rows


def test_it_records_everything_as_lstat_says_it(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    assert crawl(catalog, drive)[:3] == (7, 6, 0)
    assert_true(catalog, root)
    assert not any(path.startswith(".mediapool") for path in recorded(catalog))


def test_directories_have_a_birth_time_and_files_where_it_is_wanted(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    wanted = (root / "b.mkv").stat().st_ino
    crawl(catalog, drive, wants_birth=lambda ino: ino == wanted)
    births = {path: known.birth_ns for path, known in recorded(catalog).items()}
    assert births["film/a.mkv"] == births["b.mkv"] is not None and births["film"] and births["link"] is None


def test_a_second_crawl_writes_only_differences(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    crawl(catalog, drive)
    writes = Writes(catalog)
    crawl(catalog, drive)
    assert {what for what, _ in writes.taken()} <= {"UPDATE directory", "UPDATE drive"}
    with (root / "film" / "a.mkv").open("ab") as file:
        file.write(b"more")
    (root / "pipe").unlink()
    (root / "new").write_bytes(b"")
    crawl(catalog, drive)
    rows = writes.taken()
    # Both names of the file that grew.
    assert rows.count(("UPDATE entry", 1)) == 2 and ("DELETE entry", 1) in rows and ("INSERT entry", 1) in rows
    assert not any(what == "INSERT directory" for what, _ in rows)
    assert_true(catalog, root)


def test_it_follows_every_kind_of_change(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    crawl(catalog, drive)
    shutil.rmtree(root / "film")
    (root / "film").write_bytes(b"a file now")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "link" / "inside").write_bytes(b"")
    (root / "deep").rename(root / "empty" / "deep")
    (root / "b.mkv").chmod(0o600)
    crawl(catalog, drive)
    assert_true(catalog, root)


def test_numbers_beyond_63_bits_survive(catalog: Catalog, drive: Drive) -> None:
    largest = (1 << 64) - 1
    directory, file = Known.of(os.stat(drive.path)), Known.of(os.stat(drive.path))._replace(ino=largest, mode=0o100644)
    with catalog.writing() as connection:
        tree = TreeWriter(connection, 3)
        place = tree.make_root(directory)
        several = file._replace(nlink=2)
        tree.store(place, Listing("", 1, directory, {b"d": directory._replace(ino=largest)}, {b"f": several}))
        assert tree.files(place.id) == {b"f": several}
        assert tree.directories(place.id)[b"d"].known.ino == largest
        assert [other.name for other in tree.linked(place.filesystem, [largest])] == [b"f"]


def test_filesystems_mounted_inside_have_numbers_of_their_own(catalog: Catalog) -> None:
    folder = Known.of(os.stat("/"))
    file = folder._replace(ino=5, mode=0o100644, nlink=2)
    with catalog.writing() as connection:
        tree = TreeWriter(connection, 3)
        top = tree.make_root(folder)
        found = Listing("", 1, folder, {b"disk": folder, b"plain": folder}, {b"one": file}, frozenset([b"disk"]))
        stored = tree.store(top, found)
        assert stored is not None
        disk, plain = stored.children[b"disk"], stored.children[b"plain"]
        assert disk.filesystem == disk.id and plain.filesystem == top.filesystem == top.id
        # Another file with the same number, there; and on the drive a second name of the first one.
        grown = file._replace(size=99)
        elsewhere = tree.store(disk, Listing("disk", 1, folder, {}, {b"other": grown}))
        assert elsewhere is not None and list(tree.outdated(elsewhere.touched)) == []
        second = tree.store(plain, Listing("plain", 1, folder, {}, {b"two": grown}))
        assert second is not None and list(tree.outdated(second.touched)) == ["one"]
        # Unmounted: what was in it is not what is there now.
        stored = tree.store(top, found._replace(mounts=frozenset()))
        assert stored is not None and stored.new == {b"disk"}
        assert tree.files(stored.children[b"disk"].id) == {}


def test_below_a_moved_name_nothing_old_is_believed(catalog: Catalog) -> None:
    folder = Known.of(os.stat("/"))
    with catalog.writing() as connection:
        tree = TreeWriter(connection, 3)
        top = tree.make_root(folder)
        found = Listing("", 1, folder, {b"a": folder, b"b": folder}, {})
        stored = tree.store(top, found)
        assert stored is not None
        for child in stored.children.values():
            tree.store(child, Listing("?", 1, folder, {}, {b"film": folder}))
        # A new directory may well get the number of the old one.
        stored = tree.store(top, found, moved={b"a"})
        assert stored is not None and stored.new == {b"a"}
        assert tree.files(stored.children[b"a"].id) == {} != tree.files(stored.children[b"b"].id)
        assert stored.children[b"a"].complete_ns is None
        gone = Directory(12345, 1, None, 0, folder)
        assert tree.store(gone, found) is None


def test_a_drive_with_another_identity_starts_empty(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    crawl(catalog, drive)
    with catalog.writing() as connection:
        assert not TreeWriter(connection, 3).adopt(drive.id)
        assert TreeWriter(connection, 3).adopt("another")
        assert TreeWriter(connection, 3).root() is None and TreeWriter(connection, 3).count() == 0


def test_two_drives_do_not_touch_each_other(catalog: Catalog, make_drive: Callable[[int], Drive]) -> None:
    one, two = make_drive(1), make_drive(2)
    (Path(one.path) / "same").mkdir()
    (Path(two.path) / "same").mkdir()
    (Path(two.path) / "same" / "film").write_bytes(b"")
    crawl(catalog, one)
    crawl(catalog, two)
    assert recorded(catalog, 1).keys() == {"", "same"}
    assert recorded(catalog, 2).keys() == {"", "same", "same/film"}


def test_it_sees_where_another_filesystem_begins() -> None:
    with Root("/") as opened:
        found = look(opened, "")
    assert found is not None and b"proc" in found.mounts <= found.directories.keys()


def test_a_very_deep_tree(catalog: Catalog, drive: Drive) -> None:
    depth = sys.getrecursionlimit() + 100
    fd = os.open(drive.path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 9, dir_fd=fd)
        below = os.open("d" * 9, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert crawl(catalog, drive).directories == depth + 1
    deepest = "/".join(["d" * 9] * depth)
    with catalog.writing() as connection:
        tree = TreeWriter(connection, 3)
        place = tree.find(deepest)
        assert place is not None and tree.path_of(place.id) == deepest
        top = tree.root()
        assert top is not None
        tree.forget_contents(top)
        assert tree.count() == 0
    subprocess.run(["rm", "-r", f"{drive.path}/ddddddddd"], check=True)


def test_a_clock_that_is_set_back_hides_nothing(
    catalog: Catalog, drive: Drive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "dir").mkdir()
    now = time.time_ns()
    monkeypatch.setattr("indexer.look.time.time_ns", lambda: now + 10**18)
    crawl(catalog, drive)
    monkeypatch.setattr("indexer.look.time.time_ns", lambda: now)
    (root / "dir/new").touch()
    crawl(catalog, drive)
    assert_true(catalog, root)


def test_it_stops_in_the_middle_of_a_directory(root: Path, drive: Drive) -> None:
    for number in range(3000):
        (root / str(number)).touch()
    stop = threading.Event()
    with Root(root) as opened:
        whole = look(opened, "", stop)
        assert whole is not None and len(whole.files) == 3000
        stop.set()
        assert look(opened, "", stop) is None


def test_it_is_stopped_and_goes_on_where_it_was(
    catalog: Catalog, drive: Drive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        (root / f"d{number}" / "sub").mkdir(parents=True)
    looked: list[str] = []

    def counting(top: Root, path: str, *rest: object) -> Listing | None:
        looked.append(path)
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", counting)
    stop = threading.Event()
    crawl(catalog, drive, stop=stop, progressed=lambda done: stop.set() if done.directories == 30 else None)
    assert len(looked) == 30
    with catalog.reading() as connection:
        broken_off = Tree(connection, 3).walk()
        assert broken_off.began_ns is not None and broken_off[0] == 1 and broken_off[2:] == (None, None)
    crawl(catalog, drive)
    assert len(looked) == len(set(looked)) == 81
    assert_true(catalog, root)
    with catalog.reading() as connection:
        assert Tree(connection, 3).walk() == (1, None, broken_off.began_ns, 80)
    crawl(catalog, drive)
    assert len(looked) == 2 * 81


def test_an_old_broken_off_walk_is_begun_anew(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    begun = Crawl.whole(catalog, drive)
    while begun.progress.directories < 4:
        begun.step()
    begun.flush()
    assert crawl(catalog, drive, resumable=0.0).directories == 7


def test_progress_tells_rate_and_time_left(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    seen: list[Progress] = []
    crawl(catalog, drive, progressed=seen.append)
    assert [one.directories for one in seen] == list(range(1, 8))
    assert seen[0].expected is None and seen[0].left is None and seen[-1].rate > 0
    crawl(catalog, drive, progressed=seen.append)
    assert seen[7].expected == 12 and (seen[7].left or 0) > 0 and seen[-1].left == 0
    assert (Progress(30, 70, 0, 2.0, 400).rate, Progress(30, 70, 0, 2.0, 400).left) == (50.0, 6.0)


def test_it_leaves_time_to_others(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    began = time.monotonic()
    crawl(catalog, drive, pause=0.02)
    assert time.monotonic() - began >= 7 * 0.02


def test_a_missing_drive_keeps_its_record(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    crawl(catalog, drive)
    before = recorded(catalog)
    begun = Crawl.whole(catalog, drive)
    begun.step()
    root.rename(root.parent / "pulled")
    root.mkdir()
    drive.check()
    for _ in range(2):
        with pytest.raises(OSError) as raised:
            begun.step()
        assert raised.value.errno == errno.EIO
    begun.flush()
    with pytest.raises(OSError):
        crawl(catalog, drive)
    assert recorded(catalog).keys() == before.keys()
    root.rmdir()
    (root.parent / "pulled").rename(root)
    drive.check()
    while begun.step():
        pass
    assert recorded(catalog).keys() == before.keys()


def test_a_drive_that_is_going_may_say_anything(
    catalog: Catalog, drive: Drive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(root)
    crawl(catalog, drive)
    before = recorded(catalog)

    def going(top: Root, path: str, *rest: object) -> Listing | None:
        if path:
            (root / ".mediapool").rename(root / "identity-gone")
            raise OSError(errno.ENOENT, "it is not there")
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", going)
    with pytest.raises(OSError, match="it is not there"):
        crawl(catalog, drive)
    assert recorded(catalog).keys() == before.keys()


def test_a_directory_that_cannot_be_read_is_left_as_it_was(
    catalog: Catalog, drive: Drive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(root)
    crawl(catalog, drive)
    before = recorded(catalog)
    (root / "film" / "a.mkv").unlink()

    def broken(top: Root, path: str, *rest: object) -> Listing | None:
        if path == "film":
            raise OSError(errno.EIO, "bad sector")
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", broken)
    assert crawl(catalog, drive)[:3] == (6, 5, 1)
    assert recorded(catalog)["film/a.mkv"] == before["film/a.mkv"]


def test_a_directory_that_goes_meanwhile_is_forgotten(
    catalog: Catalog, drive: Drive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(root)
    crawl(catalog, drive)

    def late(top: Root, path: str, *rest: object) -> Listing | None:
        if path == "film":
            shutil.rmtree(root / "film")
        return look(top, path)

    monkeypatch.setattr(indexer.scan, "look", late)
    crawl(catalog, drive)
    with catalog.reading() as connection:
        place = Tree(connection, 3).find("film")
        assert place is not None and place.complete_ns is None
        assert Tree(connection, 3).files(place.id) == {}
    crawl(catalog, drive)
    assert_true(catalog, root)


def test_a_catalog_that_fails_loses_no_mark(catalog: Catalog, drive: Drive, root: Path) -> None:
    grow(root)
    begun = Crawl.whole(catalog, drive)
    begun.step()
    catalog.close()
    with pytest.raises(CatalogError, match="closed"):
        begun.flush()
    begun.flush()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="a disk would be measured instead of the crawl")
def test_a_hundred_thousand_names(tmp_path: Path) -> None:
    """A first crawl takes a few times the processor time of the bare walk, and so does a second."""
    root = Path(f"/dev/shm/mediapool-{os.getpid()}")
    try:
        for folder in range(500):
            os.makedirs(root / str(folder))
            fd = os.open(root / str(folder), os.O_RDONLY)
            for name in range(199):
                os.mknod(f"Some Show - S01E{name:02} - The Title.mkv", dir_fd=fd)
            os.close(fd)
        initialise(root, "d", 1)
        drive = Drive.open(DriveConfig("d", str(root)))
        with Catalog(tmp_path / "catalog.db") as catalog:
            bare = min(cpu(lambda: walk(root)) for _ in range(2))
            first, second = cpu(lambda: crawl(catalog, drive)), cpu(lambda: crawl(catalog, drive))
            with catalog.reading() as connection:
                assert Tree(connection, 1).count() == 100_000
        drive.close()
    finally:
        shutil.rmtree(root)
    print(f"bare walk {bare:.2f} s, first crawl {first:.2f} s, second {second:.2f} s")
    assert first < 8 * bare and second < 8 * bare


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def walk(root: Path) -> None:
    todo = [str(root)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
