"""What the commands of the index leave out, and what they say as a user who may not read everything."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mounting import ROOT
from settling import content_of, settle

from cli.main import main
from indexer.excluding import Excluded

NOBODY = 65534
# Imported as root, since a checkout may lie where others cannot look; then run as somebody else.
AS_NOBODY = f"""
import os, cli.main, cli.index_cmd, cli.ingest_cmd, cli.sizes, cli.config, indexer.crawling, indexer.excluding
import indexer.export, indexer.probing, indexer.sort, indexer.ingest, indexer.runs, indexer.undoing, indexer.moving
import indexer.duplicates, rich.console, rich.text, rich.table, rich.cells
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
cli.main.main()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def names(exported: str) -> set[str]:
    return {os.path.basename(one["path"]) for one in json.loads(exported)}


@pytest.mark.parametrize(
    ("pattern", "path", "itself", "covered"),
    [
        ("*.nfo", b"/t/a/x.nfo", True, True), ("*.nfo", b"/t/a/x.nfo.mkv", False, False),
        ("a", b"/t/a", True, True), ("a", b"/t/a/x", False, True), ("a/x", b"/t/a/x", True, True),
        ("a/x", b"/t/b/a/x", False, False), ("t", b"/t", False, False), ("\udcff*", b"/t/\xff\n", True, True),
        ("[!a]*", b"/t/b", True, True), ("A", b"/t/a", False, False), ("*", b"/elsewhere/a", False, False),
    ],
)  # fmt: skip
def test_patterns_are_of_names_or_of_paths_in_the_tree(pattern: str, path: bytes, itself: bool, covered: bool) -> None:
    excluded = Excluded((pattern,), [b"/t"])
    assert (excluded.itself(path), excluded.covers(path)) == (itself, covered)
    assert not Excluded((), [b"/t"]).covers(path)


def test_what_is_excluded_is_neither_read_nor_moved_nor_forgotten(tmp_path: Path) -> None:
    state = ("--state", tmp_path / "state")
    for path in ("tree/a.mkv", "tree/b.nfo", "tree/@eaDir/c.mkv", "tree/deep/@eaDir/d", "master/a.mkv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"same")
    settle(tmp_path)
    leave = ("--exclude", "*.nfo", "--exclude", "@eaDir")
    tree, master = tmp_path / "tree", tmp_path / "master"
    done = run("index", "crawl", tree, *leave, *state, "--media", "off", "--json")
    assert done.exit_code == 0 and (json.loads(done.stdout)["files"], json.loads(done.stdout)["media"]) == (1, None)
    assert names(run("index", "export", *state).stdout) == {"a.mkv"}
    # What is known of them stays known, though nobody looks any more; what is gone is forgotten.
    assert json.loads(run("index", "crawl", tree, *state, "--json").stdout)["read"] == 3
    (tree / "a.mkv").unlink()
    assert json.loads(run("index", "crawl", tree, *leave, *state, "--json").stdout)["gone"] == 1
    assert names(run("index", "export", *state).stdout) == {"b.nfo", "c.mkv", "d"}
    groups = json.loads(run("index", "duplicates", tree, master, *leave, *state, "--json").stdout)["groups"]
    assert groups == []
    (tree / "e.mkv").write_bytes(b"same")
    settle(tmp_path)
    to = ("--to", tmp_path / "aside", "--yes", "--json")
    moved = json.loads(run("index", "sort", tree, "--master", master, *leave, *state, *to).stdout)["moved"]
    assert [one["from"]["path"] for one in moved] == [str(tree / "e.mkv")]
    planned = run("ingest", tree, "--to", tmp_path / "photos", "--settle", "0s", *leave, *state, "--dry-run", "--json")
    assert json.loads(planned.stdout)["moved"] == []


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that others may look into, with a state folder of theirs."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        (base / "state").mkdir()
        yield base
        for folder, _, _ in os.walk(base):
            Path(folder).chmod(0o700)


def give(*paths: Path) -> None:
    """To the one that the commands run as."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


def as_nobody(base: Path, *arguments: object, code: int, json_wanted: bool = True) -> tuple[Any, str]:
    """What the command prints and what it warns of."""
    more = ["--json"] if json_wanted else []
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *map(str, arguments), "--state", str(base / "state"), *more],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stderr, done
    return json.loads(done.stdout) if json_wanted and done.stdout else None, done.stderr


def filled(base: Path) -> Path:
    """A tree with a file and a folder that others cannot read."""
    tree = base / "tree"
    (tree / "closed").mkdir(parents=True)
    for path in ("a", "b", "secret", "closed/c"):
        (tree / path).write_text("same" if path != "secret" else "hide")
    settle(tree)
    return tree


def test_a_crawl_and_a_search_by_a_user_who_may_not_read_everything(base: Path) -> None:
    tree = filled(base)
    known = content_of(tree)
    assert run("index", "crawl", tree, "--state", base / "state").exit_code == 0
    give(base / "state", *(base / "state").iterdir())
    (tree / "secret").write_text("HIDE")
    settle(tree)
    before = content_of(tree)
    (tree / "secret").chmod(0)
    (tree / "closed").chmod(0)
    done, said = as_nobody(base, "index", "crawl", tree, code=1)
    assert (done["files"], done["known"], done["gone"]) == (3, 2, 0)
    assert {(Path(one["path"]).name, one["reason"]) for one in done["problems"]} == {
        ("secret", "Permission denied"), ("closed", "Permission denied"),
    }  # fmt: skip
    assert said.count("Permission denied") == 2 and f"{tree}/secret" in said and f"{tree}/closed" in said
    # What is in the closed folder is still known, and so is what the file held when it could be read.
    exported = run("index", "export", "--state", base / "state")
    assert {Path(one["path"]).name for one in json.loads(exported.stdout)} == {"a", "b", "secret", "c"}
    groups, said = as_nobody(base, "index", "duplicates", tree, code=0)
    assert [len(group["files"]) for group in groups["groups"]] == [2] and said.count("Permission denied") == 2
    (tree / "closed").chmod(0o755)
    (tree / "secret").chmod(0o644)
    assert content_of(tree) == before and before.keys() == known.keys()


def test_a_sort_and_an_ingest_by_a_user_who_may_not_move_everything(base: Path) -> None:
    give(base / "state")
    tree = filled(base)
    (tree / "secret").chmod(0)
    (tree / "closed").chmod(0)
    aside = base / "aside"
    aside.mkdir()
    give(aside)
    # Nothing can be taken out of a folder of somebody else's.
    done, said = as_nobody(base, "index", "sort", tree, "--to", aside, "--yes", code=1)
    assert done["moved"] == [] and [one["reason"] for one in done["kept"]] == ["Permission denied"]
    assert f"{tree}/b stays: Permission denied" in said and content_of(aside) == {}
    (tree / "closed").chmod(0o755)
    (tree / "secret").chmod(0o644)
    assert content_of(tree) == {"a": b"same", "b": b"same", "secret": b"hide", "closed/c": b"same"}

    card, photos = base / "card", base / "photos"
    for folder in (card, photos):
        folder.mkdir()
    (card / "IMG_20240531_235958.jpg").write_text("picture")
    (card / "IMG_20240601_000000.jpg").write_text("closed")
    (card / "IMG_20240601_000000.jpg").chmod(0)
    settle(card)
    give(card, photos, card / "IMG_20240531_235958.jpg")
    into = ("ingest", card, "--to", photos, "--duplicates", base / "aside", "--settle", "0s", "--yes")
    done, said = as_nobody(base, *into, code=1)
    assert [one["to"]["path"].startswith(f"{photos}/2024/05/20240531_235958_") for one in done["moved"]] == [True]
    assert [(Path(one["path"]).name, one["reason"]) for one in done["kept"]] == [
        ("IMG_20240601_000000.jpg", "Permission denied")
    ]
    (card / "IMG_20240601_000000.jpg").chmod(0o644)
    assert content_of(card) == {"IMG_20240601_000000.jpg": b"closed"}
    assert list(content_of(photos).values()) == [b"picture"]


def test_a_state_folder_of_somebody_else_is_told(base: Path) -> None:
    tree = filled(base)
    (base / "state").chmod(0o555)
    _, said = as_nobody(base, "index", "crawl", tree, code=1, json_wanted=False)
    assert "contents.db cannot be used: Permission denied. Check its folder." in said
