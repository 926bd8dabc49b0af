"""`mediapool index`, `ingest` and `jobs` as people and programs use them."""

import base64
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from filming import film
from mounting import ROOT
from settling import content_of, settle

from cli.indexing import described
from cli.main import main
from indexer.duplicates import Progress


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for path, content in {
        "media/a.jpg": "1", "media/sub/b.jpg": "2", "dump/a.jpg": "1", "dump/deep/c\udcff\n.jpg": "2", "dump/own": "3",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    settle(tmp_path)
    return tmp_path


def told(base: Path, *arguments: object, code: int = 0) -> Any:
    done = run(*arguments, "--json", "--state", base / "state")
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout)


def path_of(one: dict[str, str]) -> str:
    return os.fsdecode(base64.b64decode(one["path_b64"])) if "path_b64" in one else one["path"]


def test_crawl_status_and_export(base: Path) -> None:
    done = told(base, "index", "crawl", base / "media", base / "dump")
    assert (done["files"], done["read"], done["damaged"], done["whole"]) == (5, 5, [], True)
    assert told(base, "index", "crawl", base / "media", "--max-age", "1h")["skipped"] == [{"path": str(base / "media")}]
    status = told(base, "index", "status")
    assert (status["files"], status["hashed"]) == (5, 5)
    assert [one["path"] for one in status["trees"]] == [str(base / "dump"), str(base / "media")]
    plain = run("index", "status", "--state", base / "state")
    assert "5 files" in plain.output and str(base / "media") in plain.output
    exported = run("index", "export", base / "dump", "--state", base / "state")
    assert {path_of(one) for one in json.loads(exported.output)} == {
        str(base / path) for path in ("dump/a.jpg", "dump/deep/c\udcff\n.jpg", "dump/own")
    }
    assert run("index", "export", "--format", "csv", "--state", base / "state").output.startswith("path,path_b64,size")


def test_a_crawl_looks_at_media_and_tells_of_what_is_none(base: Path) -> None:
    film(base / "media/film.mkv")
    (base / "media/fake.mkv").write_bytes(b"PK\x03\x04" + bytes(1000))
    settle(base)
    off = told(base, "index", "crawl", base / "media", "--media", "off")
    assert off["media"] is None and told(base, "index", "status")["media"]["to_do"] == 2
    plain = run("index", "crawl", base / "media", "--state", base / "state")
    assert plain.exit_code == 0 and "Media facts of 1 files." in plain.stdout and "ZIP archive" in plain.stderr
    # Nothing is left to look at, so nothing is imported for it.
    quick = (
        "import sys; from cli.main import main\n"
        "try: main()\nfinally: print(*(name for name in ('indexer.probing', 'indexer.media') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", quick, "index", "crawl", base / "media", "--state", base / "state"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[1:] == [""] and done.stderr == ""
    again = told(base, "index", "crawl", base / "media", "--media", "again")["media"]
    assert (again["known"], again["left"]) == (0, 0) and again["failed"][0]["path"] == str(base / "media/fake.mkv")
    counts = told(base, "index", "status")["media"]
    assert counts == {"known": 1, "failed": 1, "to_do": 0, "remote_known": 0, "remote_failed": 0}
    assert "Media facts of 1 contents" in run("index", "status", "--state", base / "state").output
    exported = {path_of(one): one for one in json.loads(run("index", "export", "--state", base / "state").output)}
    assert exported[str(base / "media/film.mkv")]["media"]["video"][0]["width"] == 320
    assert "ZIP archive" in exported[str(base / "media/fake.mkv")]["media_problem"]
    rows = list(
        csv.DictReader(run("index", "export", "--format", "csv", "--state", base / "state").output.splitlines())
    )
    assert [json.loads(row["media"])["container"] for row in rows if row["media"]] == ["matroska,webm"]


def test_duplicates_in_words_and_as_json(base: Path) -> None:
    found = told(base, "index", "duplicates", base / "media", base / "dump", "--folders", "--hard-links", "--bytes")
    groups = {frozenset(path_of(one) for one in group["files"]) for group in found["groups"]}
    assert groups == {
        frozenset((str(base / "media/a.jpg"), str(base / "dump/a.jpg"))),
        frozenset((str(base / "media/sub/b.jpg"), str(base / "dump/deep/c\udcff\n.jpg"))),
    }
    assert [one["folder"]["path"] for one in found["folders"]] == [str(base / "media")]
    words = run("index", "duplicates", base / "media", base / "dump", "--state", base / "state")
    assert "2 duplicates in 2 groups, 2 B wasted." in words.output and "\\udcff\\n.jpg" in words.output
    none = run("index", "duplicates", base, "--min-size", "1KiB", "--state", base / "state")
    assert "0 duplicates" in none.output
    missing = run("index", "duplicates", base / "nothing", "--state", base / "state")
    assert missing.exit_code == 2 and "is no folder" in missing.stderr


def test_sort_and_undo(base: Path) -> None:
    arguments = ("index", "sort", base / "dump", "--master", base / "media", "--to", base / "aside")
    before = content_of(base)
    planned = told(base, *arguments, "--dry-run")
    assert len(planned["moved"]) == 2 and {**before} == {
        name: content for name, content in content_of(base).items() if not name.startswith("state/")
    }
    asked = run(*arguments, "--state", base / "state")
    assert asked.exit_code == 2 and "--yes" in asked.stderr
    done = told(base, *arguments, "--yes")
    assert done["run"] == "s1" and done["kept"] == []
    assert content_of(base / "aside") == {"dump/a.jpg": b"1", "dump/deep/c\udcff\n.jpg": b"2"}
    assert [one["id"] for one in told(base, "jobs", "list")] == ["s1"]
    assert "s1" in run("jobs", "list", "--state", base / "state").output
    assert len(told(base, "jobs", "undo", "s1", "--dry-run")["moved"]) == 2
    undone = told(base, "jobs", "undo", "s1", "--yes")
    assert undone["kept"] == [] and content_of(base / "dump")["a.jpg"] == b"1" and content_of(base / "aside") == {}
    # The catalog went along: nothing has to be read again.
    assert told(base, "index", "crawl", base / "dump")["damaged"] == []
    unknown = run("jobs", "undo", "s9", "--yes", "--state", base / "state")
    assert unknown.exit_code == 1 and "jobs list" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("media/sub", "--master", "media", "--to", "aside"), "lies in a master"),
        (("dump", "--master", "media", "--to", "media/sub/aside"), "--to lies in a master"),
        (("dump", "--master", "media", "--to", "dump"), "is a TREE itself"),
        (("dump", "--to", "aside", "--min-size", "many"), "--min-size many"),
    ],
)
def test_a_sort_that_makes_no_sense_is_refused(base: Path, arguments: tuple[str, ...], cause: str) -> None:
    given = [base / one if "/" in one or one in ("media", "dump", "aside") else one for one in arguments]
    done = run("index", "sort", *given, "--yes", "--state", base / "state")
    assert done.exit_code == 2 and cause in done.stderr


def test_ingest_and_undo(base: Path) -> None:
    card = base / "card"
    card.mkdir()
    (card / "IMG_20240531_235958.jpg").write_text("new")
    (card / "IMG_20240531_235958.xmp").write_text("side")
    (card / "IMG_20240601_000000.jpg").write_text("1")
    arguments = ("ingest", card, "--to", base / "media", "--settle", "0s")
    assert len(told(base, *arguments, "--dry-run")["moved"]) == 2 and len(content_of(card)) == 3
    done = told(base, *arguments, "--yes")
    assert (done["run"], content_of(card)) == ("i1", {})
    assert sorted(len(one["sidecars"]) for one in done["moved"]) == [0, 1]
    assert [path_of(one["known"]) for one in done["moved"] if one["known"]] == [str(base / "media/a.jpg")]
    assert {one["taken_by"] for one in done["moved"]} == {"name"}
    assert list(content_of(base / "duplicates").values()) == [b"1"]
    assert run("jobs", "undo", "i1", "--yes", "--state", base / "state").exit_code == 0
    assert sorted(content_of(card).values()) == [b"1", b"new", b"side"]
    inside = run("ingest", card, "--to", card / "x", "--state", base / "state")
    assert inside.exit_code == 2 and "inside one another" in inside.stderr
    pattern = run(*arguments, "--pattern", "{nonsense}{ext}", "--state", base / "state")
    assert pattern.exit_code == 2 and "{nonsense} is not known" in pattern.stderr


def test_trees_in_the_mount_are_refused_and_drives_are_the_default(tmp_path: Path) -> None:
    config = tmp_path / "mediapool.toml"
    for name in ("disk1", "data/media"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "disk1/file").write_text("x")
    config.write_text(
        f'[mount]\npath = "{tmp_path}/data"\n[state]\npath = "{tmp_path}/state"\n'
        f'[[drive]]\nname = "disk1"\npath = "{tmp_path}/disk1"\n'
    )
    refused = run("index", "crawl", tmp_path / "data/media", "--config", config)
    assert refused.exit_code == 2 and "lies in the mounted tree" in refused.stderr
    # A folder that is no drive yet is none to be crawled by default.
    nothing = run("index", "crawl", "--config", config)
    assert nothing.exit_code == 2 and "no drive to crawl" in nothing.stderr
    from placement.identity import initialise

    initialise(tmp_path / "disk1", "disk1", 1)
    done = run("index", "crawl", "--config", config, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["files"] == 1
    relative = run("ingest", tmp_path / "data", "--to", "media/photos", "--config", config)
    assert relative.exit_code == 3 and "nothing is mounted" in relative.stderr


def test_ctrl_c_ends_a_crawl_with_what_was_read_kept(base: Path) -> None:
    # A FIFO cannot stand for a slow file, so the process is interrupted before it begins to read.
    script = (
        "import os, signal, sys; from cli.main import main; import indexer.crawling as c; real = c.Crawler._tree\n"
        "def tree(self, *given): os.kill(os.getpid(), signal.SIGINT); return real(self, *given)\n"
        "c.Crawler._tree = tree; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "index", "crawl", base / "media", "--state", base / "state"],
        cwd=ROOT, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == 1 and "repeat the command to go on" in done.stderr and "Traceback" not in done.stderr


def test_progress_tells_rate_and_time_left() -> None:
    assert described(Progress("reading", 10 << 20, 40 << 20, 1, 4), 2.0) == (
        "reading: 1 of 4 files, 10.0 MiB of 40.0 MiB, 5.0 MiB/s, 0:06 left"
    )
    assert described(Progress("finding files", 0, 0, 7, 0), 2.0) == "finding files: 7 files"


def test_looking_for_duplicates_imports_little() -> None:
    script = (
        "import sys, cli.main, cli.index_cmd, indexer.duplicates, indexer.export\n"
        "print(*(name for name in ('sqlalchemy', 'pydantic', 'requests', 'rich', 'flask') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
