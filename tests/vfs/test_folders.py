"""Open directories: offsets that last, and when the kernel may list by itself."""

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uniting import ROOT, Pool

from vfs import folders
from vfs.about import About
from vfs.attr import Attr
from vfs.branch import Folder
from vfs.filesystem import FileSystem
from vfs.folders import Listed, Listing

HERE = Attr(1, 0o40755, 2, 0, 0, 0, 4096, 8, 0, 0, 0)
NAMES = st.sets(st.text(min_size=1, max_size=3).filter(lambda name: name not in (".", "..")), max_size=40)
OLD_NS = time.time_ns() - 3600 * 10**9


def listing(names: set[str]) -> Listing:
    return Listing(0, Folder(HERE, iter([(name, HERE) for name in sorted(names)])))


def shown(of: Listing, offset: int = 0) -> list[str]:
    return [name for _, name, _ in of.after(offset)]


@given(before=NAMES, after=NAMES)
def test_going_on_after_a_change_neither_misses_nor_repeats_what_stays(before: set[str], after: set[str]) -> None:
    old, new = listing(before), listing(after)
    assert sorted(shown(old)) == sorted([".", "..", *before])
    stay = before & after
    entries = list(old.after(0))
    for cut, (offset, _, _) in enumerate(entries, 1):
        first = {name for _, name, _ in entries[:cut]} & stay
        rest = set(shown(new, offset)) & stay
        assert first | rest == stay and not first & rest
        assert shown(old, offset) == [name for _, name, _ in entries[cut:]]


def test_names_that_meet_at_one_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_SPAN", 3)
    entries = list(listing({f"name{number}" for number in range(30)}).after(0))
    offsets = [offset for offset, _, _ in entries]
    assert len(entries) == 32 and offsets == sorted(set(offsets)) and offsets[0] == 1


def test_what_the_kernel_may_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    listed, old = Listed(60), HERE._replace(mtime_ns=OLD_NS, ctime_ns=OLD_NS)
    assert not listed.lately("d") and not listed.unchanged("d", old)
    assert listed.note("d", old) and listed.lately("d") and listed.unchanged("d", old)
    for change in ({"mtime_ns": OLD_NS + 1}, {"ctime_ns": OLD_NS - 1}, {"nlink": 3}, {"ino": 9}):
        assert not listed.unchanged("d", old._replace(**change))
    now[0] += 30
    assert not listed.lately("d"), "the kernel still has the names then, but no attributes soon"
    # Another change may get the same time as the last one.
    assert not listed.note("d", old._replace(mtime_ns=time.time_ns())) and not listed.lately("d")
    assert not Listed(0).note("d", old)


def test_a_folder_that_nobody_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(tmp_path)
    pool.write("a", "d/one")
    pool.write("b", "d/two")
    filesystem = FileSystem(pool.union, About(pool.union.lookup, lambda path: ""), 60)
    monkeypatch.setattr(folders, "_TICK_NS", 0)

    def opened() -> tuple[bool, list[str]]:
        fh, _, unchanged = filesystem.opendir("d")
        names = sorted(name for _, name, _ in filesystem.readdir(fh, 2))
        filesystem.releasedir(fh)
        return unchanged, names

    assert opened() == (False, ["one", "two"])
    assert opened() == (True, ["one", "two"])
    pool.write("b", "d/three")
    assert opened() == (False, ["one", "three", "two"])
    assert opened()[0]
    (pool.paths[0] / "d/one").unlink()
    assert opened() == (False, ["three", "two"])
    filesystem.mkdir("d/four", 0o755, ROOT)
    assert opened() == (False, ["four", "three", "two"])
    for path in (*(drive / "d" for drive in pool.paths if (drive / "d").exists()),):
        for name in os.listdir(path):
            (path / name).rmdir() if (path / name).is_dir() else (path / name).unlink()
        path.rmdir()
    with pytest.raises(OSError) as caught:
        opened()
    assert caught.value.errno == errno.ENOENT
    pool.db.close()
