"""The catalog of contents: what it keeps, what it believes, and crawls that fill it."""

import os
import sqlite3
import stat
import threading
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settling import settle, stopping_after
from xxhash import xxh3_128

from indexer import crawling, reading
from indexer.contents import Contents, Entry, is_settled
from indexer.contentsdb import ContentsError
from indexer.crawling import Crawled, Crawler
from indexer.export import Row, exported, named
from indexer.finding import Found, TreeError, roots
from indexer.remembered import Verdict, judge

FOUND = Found(b"/tree/file", 5, 77, 1000, 10**18, 10**18, 1)
ENTRY = Entry.of(FOUND, b"e" * 16, b"h" * 16, 1)


def test_entries_are_kept_by_the_bytes_of_their_path(tmp_path: Path) -> None:
    file = tmp_path / "contents.db"
    paths = [b"/a", b"/a/b", b"/a/\xff\n", b"/a.b", b"/a0", b"/ab/c", b"/a/z/y"]
    with Contents(file) as contents:
        contents.store(ENTRY._replace(path=path, ino=(1 << 63) + 5) for path in paths)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with Contents(file) as contents:
        assert [entry.path for entry in contents.files()] == sorted(paths)
        assert [entry.path for entry in contents.files(b"/a")] == [b"/a", b"/a/b", b"/a/z/y", b"/a/\xff\n"]
        assert [entry.path for entry in contents.files(b"/")] == sorted(paths)
        contents.forget([b"/a/b"])
        contents.moved(b"/ab/c", ENTRY._replace(path=b"/new"))
        assert {entry.path for entry in contents.with_hash(b"h" * 16)} == {*paths, b"/new"} - {b"/a/b", b"/ab/c"}
        assert contents.totals() == (6, 6000, 6, 6000)
        contents.media.tell_taken(b"h" * 16, "2024-05-31T23:59:59", "exif")
        assert contents.media.of(b"h" * 16) == ("2024-05-31T23:59:59", "exif", None, None)
        assert contents.media.of(b"x" * 16) == (None,) * 4


def test_what_is_no_catalog_is_refused_and_left_alone(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not a database" * 100)
    other = tmp_path / "other"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE file (mine)")
    db.close()
    for file in (garbage, other):
        before = file.read_bytes()
        with pytest.raises(ContentsError, match="Move it aside"):
            Contents(file)
        assert file.read_bytes() == before
    with pytest.raises(ContentsError, match="No such file or directory"):
        Contents(tmp_path / "nowhere/contents.db")


@given(st.data())
def test_a_hash_is_believed_only_where_nothing_can_have_changed(data: st.DataObject) -> None:
    """Each field that differs is noticed; a new path or link explains a new ctime, and nothing else does."""
    changed = data.draw(st.sets(st.sampled_from(["path", "dev", "ino", "size", "mtime_ns", "ctime_ns", "nlink"])))
    now = FOUND._replace(**{field: b"/other" if field == "path" else getattr(FOUND, field) + 1 for field in changed})
    verdict = judge(ENTRY, now)
    if changed & {"ino", "size", "mtime_ns"} or {"path", "dev"} <= changed:
        assert verdict is Verdict.NOTHING
    elif "ctime_ns" not in changed:
        assert verdict is Verdict.HOLDS
    elif changed & {"path", "nlink"} and "dev" not in changed:
        assert verdict is Verdict.IF_ENDS
    else:
        assert verdict is Verdict.NOTHING
    assert judge(ENTRY._replace(ends=None), now) is not Verdict.IF_ENDS


def test_a_file_is_settled_once_the_clock_has_ticked() -> None:
    assert not is_settled(FOUND, FOUND.ctime_ns)
    assert not is_settled(FOUND._replace(mtime_ns=FOUND.mtime_ns + 10**12), FOUND.ctime_ns + 10**9)
    assert is_settled(FOUND, FOUND.ctime_ns + 10**9)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Big files, so that their ends are asked for, and small ones; hostile names."""
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for number, name in enumerate((b"big", b"folder/big2", b"folder/\xff\nodd", b"small")):
        content = bytes([number]) * (reading.SMALL + 5000 if b"big" in name else 100)
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(content)
    settle(tree)
    return tree


@pytest.fixture
def contents(tmp_path: Path) -> "Contents":
    with Contents(tmp_path / "contents.db") as contents:
        yield contents  # type: ignore[misc]


def crawl(contents: Contents, *trees: Path, **options: object) -> Crawled:
    max_age = options.pop("max_age", None)
    return Crawler(contents, **options).run(roots(trees), max_age=max_age)  # type: ignore[arg-type]


def hashes(contents: Contents, tree: Path) -> dict[str, bytes | None]:
    return {os.fsdecode(entry.path): entry.hash for entry in contents.files(os.fsencode(tree))}


def truth(tree: Path) -> dict[str, bytes]:
    return {str(path): xxh3_128(path.read_bytes()).digest() for path in tree.rglob("*") if path.is_file()}


def test_every_file_is_hashed_once(tree: Path, contents: Contents) -> None:
    done = crawl(contents, tree)
    assert (done.files, done.read, done.known, done.gone, done.whole) == (4, 4, 0, 0, True)
    assert hashes(contents, tree) == truth(tree)
    again = crawl(contents, tree)
    assert (again.read, again.known, again.renamed) == (0, 4, 0)
    assert [known.path for known in contents.trees()] == [os.fsencode(tree)]


def test_renames_links_and_changes(tree: Path, contents: Contents) -> None:
    crawl(contents, tree)
    (tree / "folder").rename(tree / "renamed")
    again = crawl(contents, tree)
    assert (again.read, again.gone, again.renamed) == (0, 2, 2) and hashes(contents, tree) == truth(tree)
    # The file itself: ctime changes, so its ends are asked for.
    (tree / "big").rename(tree / "new")
    os.link(tree / "renamed/big2", tree / "linked")
    settle(tree)
    again = crawl(contents, tree)
    assert (again.read, again.renamed) == (0, 1) and hashes(contents, tree) == truth(tree)
    # Not explained by a rename: size and mtime as before, other bytes in the middle.
    for name in ("new", "small"):
        before = (tree / name).stat()
        with (tree / name).open("r+b") as file:
            file.seek(50)
            file.write(b"changed")
        os.utime(tree / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    (tree / "linked").unlink()
    settle(tree)
    again = crawl(contents, tree)
    assert again.read == 2 and again.gone == 1 and hashes(contents, tree) == truth(tree)
    # It was told that nothing but the bytes had changed.
    assert sorted(again.damaged) == [os.fsencode(tree / "new"), os.fsencode(tree / "small")]


def test_a_rename_whose_ends_differ_is_read_whole(tree: Path, contents: Contents) -> None:
    crawl(contents, tree)
    before = (tree / "big").stat()
    with (tree / "big").open("r+b") as file:
        file.write(b"changed")
    os.utime(tree / "big", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tree / "big").rename(tree / "moved")
    settle(tree)
    again = crawl(contents, tree)
    assert again.read == 1 and hashes(contents, tree) == truth(tree)


def test_age_decides_about_static_trees(tree: Path, contents: Contents) -> None:
    crawl(contents, tree)
    (tree / "small").write_bytes(b"changed")
    settle(tree)
    skipped = crawl(contents, tree, max_age=3600.0)
    assert skipped.skipped == [os.fsencode(tree)] and skipped.files == 0
    assert crawl(contents, tree, max_age=0.0).read == 1


def test_nothing_is_forgotten_that_was_not_looked_for(
    tree: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl(contents, tree)
    known = hashes(contents, tree)
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/folder"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        done = crawl(contents, tree)
    assert done.gone == 0 and [one.path for one in done.problems] == [os.fsencode(tree / "folder")]
    assert hashes(contents, tree) == known
    # The disk is not mounted: an empty folder stands where it was.
    # Nor where only a disk inside is not mounted: an empty folder, and its files were on another device.
    contents.store([ENTRY._replace(path=os.fsencode(tree) + b"/disk/deep/file", dev=1)])
    (tree / "disk").mkdir()
    assert crawl(contents, tree).gone == 0
    (tree / "disk/file").touch()
    assert crawl(contents, tree).gone == 1
    (tree / "disk/file").unlink()
    known = hashes(contents, tree)
    tree.rename(tree.with_name("away"))
    tree.mkdir()
    with pytest.raises(TreeError, match="its disk is not mounted"):
        crawl(contents, tree)
    assert hashes(contents, tree) == known


def test_a_crawl_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(200):
        (tree / f"{number}").write_bytes(b"%d" % number)
    settle(tree)
    monkeypatch.setattr(crawling, "_STORE_SECONDS", 0.0)
    stop = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_one", stopping_after(90, stop))
        done = crawl(contents, tree, stop=stop, readers=1)
    assert not done.whole and done.gone == 0 and contents.trees() == []
    known = len(hashes(contents, tree))
    assert known == 90
    rest = crawl(contents, tree)
    assert rest.read == 200 - known and hashes(contents, tree) == truth(tree)


def test_a_sealed_volume_is_believed_and_a_share_of_it_read_again(tmp_path: Path, contents: Contents) -> None:
    volume = tmp_path / "Archive/0001"
    volume.mkdir(parents=True)
    for name in ("index.json", "a", "b", "c"):
        (volume / name).write_text(name * 10)
    settle(volume)
    crawl(contents, tmp_path / "Archive")
    # Copied back from a disc: other inodes, the same times.
    for name in ("a", "b", "c"):
        before = (volume / name).stat()
        (volume / "draft").write_text(name * 10 if name != "b" else "damaged ! ")
        os.utime(volume / "draft", ns=(before.st_atime_ns, before.st_mtime_ns))
        (volume / "draft").replace(volume / name)
    settle(volume)
    assert crawl(contents, tmp_path / "Archive", sample=0.0).read == 0
    damaged: list[bytes] = []
    for _ in range(8):
        damaged += crawl(contents, tmp_path / "Archive", sample=0.3).damaged
    # One file each time, the one not read for longest, so the damaged one comes up.
    assert set(damaged) == {os.fsencode(volume / "b")}
    # Not burned yet: any other file.
    (volume / "UNBURNED").touch()
    settle(volume)
    assert crawl(contents, tmp_path / "Archive").read >= 2


def test_exports_hold_every_name(tree: Path, contents: Contents) -> None:
    import base64
    import csv
    import json

    crawl(contents, tree)
    entries = list(contents.files())
    rows = [Row(*one) for one in contents.files_and_media()]
    listed = json.loads("\n".join(exported(rows, "json")))
    odd = os.fsencode(tree) + b"/folder/\xff\nodd"
    assert {base64.b64decode(one["path_b64"]) if "path_b64" in one else one["path"].encode() for one in listed} == {
        entry.path for entry in entries
    }
    assert named(b"plain") == {"path": "plain"} and "path_b64" in named(odd)
    assert [one["xxh3_128"] for one in listed] == [(entry.hash or b"").hex() for entry in entries]
    lines = list(csv.DictReader(StringIO("\n".join(exported(rows, "csv")), newline="")))
    assert [int(line["size"]) for line in lines] == [entry.size for entry in entries]
    struct = json.loads("\n".join(exported(rows, "mediastruct")))
    assert struct.pop("du") == sum(entry.size for entry in entries)
    assert {one["path"] for one in struct.values()} == {os.fsdecode(entry.path) for entry in entries}
    assert {len(one["year"]) for one in struct.values()} == {4}
