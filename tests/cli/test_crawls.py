"""What a running mount is told of crawls and runs of other processes, also of those that were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from mounting import ROOT, wait_for

from cli.crawls import noted, under_way
from cli.state import StateFolder
from indexer import runs
from indexer.duplicates import Progress
from indexer.runs import Run


def test_only_a_crawl_that_goes_on_is_told_of(tmp_path: Path) -> None:
    file, heard = tmp_path / "crawl.json", []
    assert under_way(file) is None
    with noted(file, heard.append) as tell:
        assert under_way(file) == {}
        tell(Progress("reading", 5, 10, 1, 2))
        assert under_way(file) == {"what": "reading", "bytes": 5, "bytes_total": 10, "files": 1, "files_total": 2}
        with noted(file, heard.append) as other:
            other(Progress("another", 0, 0, 0, 0))
        found = under_way(file)
        assert found is not None and found["what"] == "reading"
    assert under_way(file) is None and [one.what for one in heard] == ["reading", "another"]
    file.chmod(0o600)
    file.write_text("damaged")
    assert under_way(file) is None
    with noted(tmp_path / "no" / "folder", heard.append) as tell:
        tell(Progress("unseen", 0, 0, 0, 0))
    assert heard[-1].what == "unseen"


def test_a_crawl_of_the_command_is_seen_until_it_is_killed(tmp_path: Path) -> None:
    state, tree = StateFolder(tmp_path / "state"), tmp_path / "tree"
    tree.mkdir()
    with (tree / "large").open("wb") as large:
        large.truncate(1 << 40)
    command = [sys.executable, "-m", "cli", "index", "crawl", str(tree), "--state", str(state.path)]
    crawl = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: under_way(state.crawl) is not None, "that it is seen")
    finally:
        crawl.send_signal(signal.SIGKILL)
        crawl.wait()
    assert state.crawl.exists() and under_way(state.crawl) is None


def test_a_run_that_goes_on_is_found_without_its_journal_being_read(tmp_path: Path) -> None:
    assert runs.under_way(tmp_path / "none") == []
    with Run.begin(tmp_path, "ingest", os.fsencode(tmp_path)) as run:
        (tmp_path / "s1.jsonl").write_text("not a journal")
        assert runs.under_way(tmp_path) == [run.id] == ["i1"]
    assert runs.under_way(tmp_path) == []
