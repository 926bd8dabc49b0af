"""Sorting duplicates out: what is moved, and that a copy always stays."""

import os
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from settling import content_of

from indexer.duplicates import Search
from indexer.finding import find, roots
from indexer.moving import Mover
from indexer.runs import Run
from indexer.sort import Aside, Sorted, carry_out, plan
from indexer.undoing import undo


def fill(base: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(content)


def planned(base: Path, masters: list[str], trees: list[str], to: str = "aside") -> list[Aside]:
    kept, free = roots(base / one for one in masters), roots(base / one for one in trees)
    target = os.fsencode(base / to)
    found = find([*kept, *free], left_out=lambda path: path == target)
    return plan(Search().run(found.files).groups, found.files, kept, free, target)


def carried_out(base: Path, aside: list[Aside]) -> Sorted:
    with Run.begin(base / "runs", "sort", b"/") as run, closing(Mover(run)) as mover:
        return carry_out(aside, mover)


def names(base: Path, aside: list[Aside]) -> set[tuple[str, str, str]]:
    strip = len(os.fsencode(base)) + 1
    return {tuple(os.fsdecode(path[strip:]) for path in (one.found.path, one.target, one.keeper.path)) for one in aside}  # type: ignore[misc]


def test_duplicates_leave_with_their_folders_and_masters_keep_everything(tmp_path: Path) -> None:
    fill(tmp_path, {
        "master/a": "1", "master/again": "1", "dump/deep/a": "1", "dump/alone": "only here", "dump/empty": "",
        "other/x": "2", "dump/y/x": "2", "dump/y/z/x": "2", "dump/aside/x": "1",
    })  # fmt: skip
    aside = planned(tmp_path, ["master"], ["dump", "other"], "dump/aside")
    assert names(tmp_path, aside) == {
        ("dump/deep/a", "dump/aside/dump/deep/a", "master/a"),
        ("dump/y/z/x", "dump/aside/dump/y/z/x", "dump/y/x"),
        ("other/x", "dump/aside/other/x", "dump/y/x"),
    }
    before = content_of(tmp_path)
    assert len(carried_out(tmp_path, aside).moved) == 3
    after = content_of(tmp_path)
    assert {name for name in before if name not in after} == {"dump/deep/a", "dump/y/z/x", "other/x"}
    assert after["dump/aside/other/x"] == b"2"
    assert planned(tmp_path, ["master"], ["dump", "other"], "dump/aside") == []
    undo(tmp_path / "runs", "s1")
    assert {name: content for name, content in content_of(tmp_path).items() if "runs" not in name} == before


def test_archive_volumes_are_masters(tmp_path: Path) -> None:
    fill(tmp_path, {
        "tree/Archive/0001/index.json": "{}", "tree/Archive/0001/2014/a": "1", "tree/Archive/0002/UNBURNED": "",
        "tree/Archive/0002/a": "1", "tree/a": "1", "tree/0003/a": "1",
    })  # fmt: skip
    assert {one for one, _, _ in names(tmp_path, planned(tmp_path, [], ["tree"]))} == {"tree/a", "tree/0003/a"}


def test_a_file_with_a_name_in_a_master_is_no_duplicate_of_it(tmp_path: Path) -> None:
    fill(tmp_path, {"master/a": "1", "dump/copy": "1"})
    os.link(tmp_path / "master/a", tmp_path / "dump/link")
    os.link(tmp_path / "dump/copy", tmp_path / "dump/second")
    aside = planned(tmp_path, ["master"], ["dump"])
    assert {one for one, _, _ in names(tmp_path, aside)} == {"dump/copy", "dump/second"}
    carried_out(tmp_path, aside)
    assert (tmp_path / "aside/dump/copy").samefile(tmp_path / "aside/dump/second")


def test_trees_of_one_name_do_not_mix(tmp_path: Path) -> None:
    fill(tmp_path, {"m/a": "1", "x/photos/a": "1", "y/photos/a": "1"})
    found = {target for _, target, _ in names(tmp_path, planned(tmp_path, ["m"], ["x/photos", "y/photos"]))}
    assert found == {"aside/photos/a", "aside/photos (2)/a"}


def test_nothing_moves_once_the_copy_that_stays_is_not_what_it_was(tmp_path: Path) -> None:
    for harm in ("changed", "gone", "same size and time"):
        base = tmp_path / harm
        fill(base, {"m/a": "11", "d/a": "11"})
        aside = planned(base, ["m"], ["d"])
        before = (base / "m/a").stat()
        if harm == "gone":
            (base / "m/a").unlink()
        else:
            (base / "m/a").write_text("22" if harm != "changed" else "333")
            os.utime(base / "m/a", ns=(before.st_atime_ns, before.st_mtime_ns))
        done = carried_out(base, aside)
        assert done.moved == [] and "would stay" in done.kept[0].reason
        assert (base / "d/a").read_text() == "11"


PATHS = st.sampled_from([f"{tree}/{name}" for tree in ("m", "d", "e", "d/7") for name in ("a", "b", "c/a")])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(PATHS, st.sampled_from(["", "1", "2", "333"]), min_size=2), st.booleans())
def test_every_content_stays_outside_of_what_was_moved(files: dict[str, str], volume: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        fill(base, {**files, **{f"{tree}/own": tree for tree in "mde"}, **({"d/7/index.json": "{}"} if volume else {})})
        before = content_of(base)
        done = carried_out(base, planned(base, ["m"], ["d", "e"]))
        after = {name: content for name, content in content_of(base).items() if not name.startswith("runs/")}
        assert done.kept == []
        stayed = {name: content for name, content in after.items() if not name.startswith("aside/")}
        assert sorted(after.values()) == sorted(before.values())
        # What may never move did not, and every content has a copy that stayed, one only outside of the master.
        assert all(after.get(name) == before[name] for name in before if name.startswith("m/"))
        assert all(after.get(name) == before[name] for name in before if volume and name.startswith("d/7/"))
        assert set(stayed.values()) == set(before.values())
        free = [content for name, content in stayed.items() if content and not name.startswith(("m/", "d/7/"))]
        if not volume:
            free = [content for name, content in stayed.items() if content and not name.startswith("m/")]
        protected = {before[name] for name in before if name.startswith("m/") or (volume and name.startswith("d/7/"))}
        assert len(free) == len(set(free)) and not (set(free) & protected)
        undo(base / "runs", "s1")
        assert {name: one for name, one in content_of(base).items() if not name.startswith("runs/")} == before
