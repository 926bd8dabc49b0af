"""Duplicates: exactly the files with the same bytes, with as little reading as possible."""

import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settling import content_of, settle, stopping_after

from indexer import duplicates, reading
from indexer.containment import contained
from indexer.contents import Contents
from indexer.duplicates import Group, Result, Search, proven
from indexer.finding import find, roots

# So small that a few bytes are a file with a head, a middle and a tail.
END, SMALL = 2, 6


@pytest.fixture(scope="module", autouse=True)
def tiny_ends() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, duplicates):
            patch.setattr(module, "END", END)
            patch.setattr(module, "SMALL", SMALL)
        yield


def search(*trees: Path, contents: Contents | None = None, **options: object) -> Result:
    chosen = roots(trees)
    return Search(contents, chosen, **options).run(find(chosen).files)  # type: ignore[arg-type]


def groups(result: Result, tree: Path) -> set[frozenset[str]]:
    return {
        frozenset(os.fsdecode(found.path).removeprefix(f"{tree}/") for found in group.files) for group in result.groups
    }


def truth(tree: Path) -> set[frozenset[str]]:
    """By the bytes of each file, one name an inode."""
    parts: dict[bytes, dict[int, str]] = defaultdict(dict)
    for path, content in sorted(content_of(tree).items()):
        if content:
            parts[content].setdefault((tree / path).stat().st_ino, path)
    return {frozenset(part.values()) for part in parts.values() if len(part) > 1}


# Lengths around SMALL and two ENDs, of so few bytes that equal ones and near misses are common.
CONTENTS = st.one_of(
    st.binary(max_size=3),
    st.lists(st.sampled_from(b"ab"), min_size=5, max_size=9).map(bytes),
    st.sampled_from([b"a" * 8, b"aaaabaaa", b"aaaaaaab", b"baaaaaaa"]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(CONTENTS, max_size=14), st.lists(st.integers(0, 13), max_size=3))
def test_groups_are_exact_with_and_without_what_was_known(files: list[bytes], linked: list[int]) -> None:
    with tempfile.TemporaryDirectory() as base, Contents(Path(base, "contents.db")) as contents:
        tree = Path(base, "tree")
        tree.mkdir()
        for number, content in enumerate(files):
            (tree / f"{number}").write_bytes(content)
        for number, other in enumerate(linked):
            if other < len(files):
                os.link(tree / f"{other}", tree / f"link{number}")
        wanted = truth(tree)
        assert groups(search(tree), tree) == wanted
        settle(tree)
        assert groups(search(tree, contents=contents), tree) == wanted
        again = search(tree, contents=contents)
        assert groups(again, tree) == wanted and again.read == 0
        assert all(len(one.files) * one.size - one.size == one.wasted > 0 for one in again.groups)


def test_only_what_may_be_equal_is_read(tmp_path: Path) -> None:
    for name, content in {"a": b"x" * 50, "b": b"y" * 51, "c": b"12" + b"z" * 48, "d": b"34" + b"z" * 48}.items():
        (tmp_path / name).write_bytes(content)
    # b is alone with its size; the ends of the others differ.
    result = search(tmp_path)
    assert result.groups == [] and result.read == 3 * 2 * END


def test_a_change_with_size_and_mtime_as_they_were_is_seen(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "ab":
        (tree / name).write_bytes(b"0123456789")
    settle(tree)
    with Contents(tmp_path / "contents.db") as contents:
        assert groups(search(tree, contents=contents), tree) == {frozenset("ab")}
        before = (tree / "a").stat()
        (tree / "a").write_bytes(b"01234_6789")
        os.utime(tree / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
        settle(tree)
        assert groups(search(tree, contents=contents), tree) == set()


def test_a_hash_that_is_known_without_the_ends_is_used(tmp_path: Path) -> None:
    """As of a file that was moved."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_bytes(b"0123456789")
    settle(tree)
    with Contents(tmp_path / "contents.db") as contents:
        search(tree, contents=contents)
        contents.store([entry._replace(ends=None) for entry in list(contents.files())[:1]])
        again = search(tree, contents=contents)
        assert groups(again, tree) == {frozenset("abc")} and again.read == 2 * END


def test_a_file_that_changed_a_moment_ago_is_read_again_next_time(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    future = 4_000_000_000_000_000_000
    for name in "ab":
        (tree / name).write_bytes(b"0123456789")
        os.utime(tree / name, ns=(future, future))
    with Contents(tmp_path / "contents.db") as contents:
        assert search(tree, contents=contents).read > 0
        assert search(tree, contents=contents).read > 0


def test_what_vanishes_or_cannot_be_read_is_a_problem_and_in_no_group(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"same content")
    files = find(roots([tmp_path])).files
    (tmp_path / "b").unlink()
    (tmp_path / "c").write_bytes(b"longer than it was")
    result = Search().run(files)
    assert result.groups == []
    assert {os.path.basename(one.path): one.reason for one in result.problems} == {
        b"b": "No such file or directory",
        b"c": "it changed meanwhile",
    }


def test_hard_links_are_names_and_not_duplicates(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"content")
    os.link(tmp_path / "b", tmp_path / "a")
    assert search(tmp_path).groups == []
    (tmp_path / "c").write_bytes(b"content")
    (group,) = search(tmp_path).groups
    assert [os.path.basename(one.path) for one in group.files] == [b"a", b"c"]
    assert [os.path.basename(one.path) for one in group.links] == [b"b"]


def test_a_search_that_is_stopped_says_so_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(100):
        (tree / f"{number}").write_bytes(b"%10d" % (number // 2))
    settle(tree)
    stop = threading.Event()
    with Contents(tmp_path / "contents.db") as contents:
        with monkeypatch.context() as patch:
            patch.setattr(reading, "read_one", stopping_after(30, stop))
            result = search(tree, contents=contents, stop=stop, readers=1)
        assert not result.whole
        assert sum(1 for entry in contents.files() if entry.ends) == 30
        rest = search(tree, contents=contents)
        assert rest.whole and groups(rest, tree) == truth(tree)


def test_bytes_are_compared_where_asked_for(tmp_path: Path) -> None:
    for name, content in {"a": b"one", "b": b"one", "c": b"two", "d": b"two", "e": b"six"}.items():
        (tmp_path / name).write_bytes(content)
    files = tuple(sorted(find(roots([tmp_path])).files))
    # As if all five had the same hash.
    found = proven(Group(3, bytes(16), files, ()), lambda _count: None)
    assert [[os.path.basename(one.path) for one in group.files] for group in found] == [[b"a", b"b"], [b"c", b"d"]]


def folders(tree: Path) -> list[tuple[str, str, int, bool]]:
    chosen = roots([tree])
    files = find(chosen).files
    found = contained(files, Search().run(files).groups)
    strip = os.fsencode(tree) + b"/"
    return [
        (os.fsdecode(one.folder.removeprefix(strip)), os.fsdecode(one.within.removeprefix(strip)), one.files, one.equal)
        for one in found
    ]


def test_folders_contained_in_others(tmp_path: Path) -> None:
    for path, content in {
        "master/a": "1", "master/deep/b": "2", "master/c": "3", "master/d": "4",
        "dump/x/a": "1", "dump/x/y/b": "2", "dump/x/empty": "",
        "part/a": "1", "part/own": "9",
        "twin1/q": "7", "twin2/r": "7",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert folders(tmp_path) == [("dump", "master", 2, False), ("twin1", "twin2", 1, True)]
