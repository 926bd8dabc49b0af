"""`mediapool debrid prune` and what the daemon makes of its requests, with a tree that is only pretended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from mounting import ROOT, Mounted

from cli.daemon import Daemon, prune_wanted
from cli.main import main
from cli.state import Contact, StateFolder
from debrid.errors import StoreError

ONE, TWO, THREE = "1" * 40, "2" * 40, "a" * 40


def torrent(info_hash: str, name: str, status: str, path: str = "") -> dict[str, Any]:
    return {
        "id": info_hash[:13], "name": name, "hash": info_hash, "status": status, "bytes": 5, "progress": 100.0,
        "problem": "gone" if status == "missing" else "", "path": path, "since": None, "released_at": None,
    }  # fmt: skip


class Pretended:
    """Three torrents, of which two are missing; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str] | None, bool]] = []
        self.names = {ONE: ["torrents/complete/One/a.mkv", "media/a.mkv"], TWO: ["torrents/complete/Two\n.mkv"]}
        self.problem = ""
        self.error: Exception | None = None

    def listing(self) -> list[dict[str, Any]]:
        return [
            torrent(ONE, "One", "missing", "torrents/complete/One"),
            torrent(TWO, "Two", "missing"),
            torrent(THREE, "Three", "downloaded", "torrents/complete/Three"),
        ]

    def prune(self, hashes: list[str] | None, dry_run: bool) -> list[dict[str, Any]]:
        self.asked.append((hashes, dry_run))
        if self.error:
            raise self.error
        chosen = [each for each in self.names if hashes is None or each in hashes]
        found = [
            {"hash": each, "name": {ONE: "One", TWO: "Two"}[each], "reason": "gone", "since": 1e9,
             "paths": self.names[each], "problem": "" if dry_run else self.problem}
            for each in chosen
        ]  # fmt: skip
        if not dry_run:
            self.names = {each: paths for each, paths in self.names.items() if each not in chosen}
        return found


@pytest.fixture
def pretended() -> Pretended:
    return Pretended()


@pytest.fixture
def pool(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path)


@pytest.fixture
def contact(pool: Mounted, pretended: Pretended) -> Iterator[Contact]:
    """A daemon that the commands of this pool find, as if the tree were mounted."""
    state = StateFolder(pool.state)
    state.acquire()
    gets = {"/api/debrid/torrents": pretended.listing}
    posts = {"/api/debrid/prune": lambda body: pretended.prune(*prune_wanted(body))}
    daemon = Daemon(("127.0.0.1", 0), gets, posts)
    daemon.start()
    contact = daemon.contact(pool.path)
    state.announce(contact)
    yield contact
    daemon.close()
    state.release()


@pytest.fixture
def prune(pool: Mounted, contact: Contact) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["debrid", "prune", *arguments, "--config", str(pool.config)])

    return run


def test_without_a_mount_it_says_what_to_do(pool: Mounted) -> None:
    done = CliRunner().invoke(main, ["debrid", "prune", "--yes", "--config", str(pool.config)])
    assert done.exit_code == 3 and "mediapool mount" in done.output


def test_a_dry_run_tells_and_removes_nothing(prune: Callable[..., Result], pretended: Pretended) -> None:
    done = prune("--dry-run")
    assert done.exit_code == 0
    assert "media/a.mkv" in done.stdout and "gone, since 2001-09-0" in done.stdout
    assert "Two\\n.mkv" in done.stdout, "no name may break the table"
    assert pretended.asked == [(None, True)]


def test_it_asks_before_it_removes(prune: Callable[..., Result], pretended: Pretended) -> None:
    done = prune()
    assert done.exit_code == 2 and "--yes" in done.output
    assert "Remove 3 names of 2 torrents" in done.output and "media/a.mkv" in done.output
    assert pretended.asked == [(None, True)]


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_on_a_terminal_it_does_as_answered(
    pool: Mounted, contact: Contact, pretended: Pretended, answer: str, code: int
) -> None:
    reader, writer = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "debrid", "prune", "One", "--config", str(pool.config)],
        cwd=ROOT, stdin=writer, stdout=subprocess.PIPE, stderr=writer, start_new_session=True,
    )  # fmt: skip
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(reader, 1000)
    os.write(reader, answer.encode() + b"\n")
    assert process.communicate(timeout=20)[0] and process.returncode == code
    os.close(writer)
    os.close(reader)
    assert pretended.asked == [([ONE], True)] + [([ONE], False)] * (answer == "y")


def test_with_yes_it_removes_exactly_what_it_showed(prune: Callable[..., Result], pretended: Pretended) -> None:
    done = prune("--yes")
    assert done.exit_code == 0 and "Removed 3 names of 2 torrents." in done.stdout
    assert pretended.asked == [(None, True), ([ONE, TWO], False)]
    again = prune("--yes")
    assert again.exit_code == 0 and "Nothing to prune" in again.stdout
    assert pretended.asked[2:] == [(None, True)]


@pytest.mark.parametrize("word", ["One", ONE, "torrents/complete/One"])
def test_one_torrent_by_name_hash_or_path(prune: Callable[..., Result], pretended: Pretended, word: str) -> None:
    assert prune(word, word, "--yes").exit_code == 0
    assert pretended.asked == [([ONE], True), ([ONE], False)] and list(pretended.names) == [TWO]


def test_hashes_may_be_written_in_capitals(prune: Callable[..., Result], pretended: Pretended) -> None:
    done = prune(THREE.upper(), "--yes")
    assert done.exit_code == 1 and THREE in done.output


@pytest.mark.parametrize("words", [["Three"], ["One", "Three"]])
def test_what_is_there_is_refused_with_everything_else(
    prune: Callable[..., Result], pretended: Pretended, words: list[str]
) -> None:
    done = prune(*words, "--yes")
    assert done.exit_code == 1 and "still" in done.output and THREE in done.output
    assert all(dry for _, dry in pretended.asked)


def test_an_unknown_name_is_refused(prune: Callable[..., Result], pretended: Pretended) -> None:
    done = prune("One", "Four", "--yes")
    assert done.exit_code == 1 and "'Four'" in done.output and "debrid list" in done.output
    assert pretended.asked == []


def test_json(prune: Callable[..., Result]) -> None:
    would = json.loads(prune("--json", "--dry-run").stdout)
    done = json.loads(prune("--json", "--yes").stdout)
    assert would == done and [each["hash"] for each in done] == [ONE, TWO]
    assert json.loads(prune("--json", "--yes").stdout) == []


def test_what_could_not_be_removed_is_told(prune: Callable[..., Result], pretended: Pretended) -> None:
    pretended.problem = "disk full"
    done = prune("One", "--yes")
    assert done.exit_code == 1 and "One: disk full" in done.output


def test_an_error_of_the_daemon_is_told(prune: Callable[..., Result], pretended: Pretended) -> None:
    pretended.error = StoreError("debrid.db cannot be used")
    done = prune("--yes")
    assert done.exit_code == 1 and "debrid.db cannot be used" in done.output


# -- the daemon


def post(contact: Contact, body: Any, **changes: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {contact.token}", "Content-Type": "application/json"}
    sent = body if isinstance(body, str) else json.dumps(body)
    options = {"headers": headers | changes.pop("headers", {}), "data": sent, "timeout": 10, **changes}
    return requests.post(f"{contact.url}/api/debrid/prune", **options)


BAD: list[Any] = [
    "",
    "{",
    "null",
    [],
    {},
    {"hashes": None},
    {"dry_run": True},
    {"hashes": None, "dry_run": "true"},
    {"hashes": None, "dry_run": 0},
    {"hashes": None, "dry_run": None},
    {"hashes": ONE, "dry_run": True},
    {"hashes": [ONE, "x"], "dry_run": True},
    {"hashes": [ONE + "\n"], "dry_run": True},
    {"hashes": [1], "dry_run": True},
    {"hashes": {}, "dry_run": True},
    {"hashes": None, "dry_run": False, "force": True},
]


@pytest.mark.parametrize("body", BAD, ids=str)
def test_a_body_that_is_not_quite_right_is_refused(contact: Contact, pretended: Pretended, body: Any) -> None:
    answer = post(contact, body)
    assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("text/plain")
    assert "must be" in answer.text
    assert pretended.asked == []


def test_nor_is_anything_that_a_page_of_a_browser_could_send(contact: Contact, pretended: Pretended) -> None:
    body = {"hashes": None, "dry_run": False}
    assert post(contact, body, headers={"Content-Type": "text/plain"}).status_code == 400
    assert post(contact, body, headers={"Authorization": ""}).status_code == 401
    assert post(contact, body, headers={"Authorization": "Bearer wrong"}).status_code == 401
    headers = {"Authorization": f"Bearer {contact.token}"}
    assert requests.get(f"{contact.url}/api/debrid/prune", headers=headers, timeout=10).status_code == 405
    assert post(contact, " " * (2 << 20)).status_code in (400, 413)
    assert pretended.asked == []


def test_good_bodies(contact: Contact, pretended: Pretended) -> None:
    assert post(contact, {"hashes": [ONE, THREE.upper()], "dry_run": True}).json()[0]["hash"] == ONE
    assert post(contact, {"hashes": [], "dry_run": False}).json() == []
    assert pretended.asked == [([ONE, THREE], True), ([], False)]
    assert prune_wanted({"hashes": None, "dry_run": False}) == (None, False)


@pytest.mark.parametrize("error", [StoreError("disk full"), OSError(28, "disk full")])
def test_failures_are_told_in_words(contact: Contact, pretended: Pretended, error: Exception) -> None:
    pretended.error = error
    answer = post(contact, {"hashes": None, "dry_run": False})
    assert answer.status_code == 500 and "disk full" in answer.text and "<" not in answer.text
