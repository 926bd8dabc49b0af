"""`mediapool pool check` on a running mount and without one."""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import MakeMount
from mounting import ROOT, Mounted, wait_for

from placement.linkgroup import STAGING
from vfs.journal import Journal
from vfs.names import Names
from vfs.namesdb import NamesDb

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]

FILM = os.urandom(3_000_000)


def furnished(make_mount: MakeMount, **options: object) -> Mounted:
    """The same path twice: equal, and different; a file where another drive has a folder."""
    tree = make_mount(**options)
    for number, drive in enumerate(tree.drive_paths):
        (drive / "lib").mkdir()
        (drive / "lib/film.mkv").write_bytes(FILM)
        (drive / "lib/note.txt").write_text(f"note {number}")
    (tree.drive_paths[0] / "lib/thing").write_text("file")
    (tree.drive_paths[1] / "lib/thing").mkdir()
    (tree.drive_paths[1] / "lib/thing/inside").write_text("inside")
    return tree


def check(tree: Mounted, *options: str, code: int) -> dict[str, Any]:
    done = tree.command("pool", "check", "--json", *options)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ask(tree: Mounted, method: str, route: str, body: object = None) -> requests.Response:
    """The answer of the running mount."""
    contact = json.loads((tree.state / "daemon.json").read_text())
    headers = {"Authorization": f"Bearer {contact['token']}"}
    return requests.request(method, f"{contact['url']}/api/pool/check{route}", headers=headers, json=body, timeout=10)


def state(tree: Mounted) -> dict[str, Any]:
    answer: dict[str, Any] = ask(tree, "GET", "").json()
    return answer


def contents(tree: Mounted) -> dict[Path, bytes]:
    return {path: path.read_bytes() for drive in tree.drive_paths for path in drive.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "not mounted"])
def test_what_stands_twice_is_found_and_mended(make_mount: MakeMount, mounted: bool) -> None:
    tree = furnished(make_mount).start()
    if not mounted:
        tree.stop()
    before = contents(tree)
    found = check(tree, code=1)["findings"]
    assert sorted((one["kind"], one["path"], one["same"]) for one in found) == [
        ("clash", "lib/thing", None),
        *[("twice", "lib/film.mkv", "alike")] * 2,
        *[("twice", "lib/note.txt", "different")] * 2,
    ]
    assert {one["same"] for one in check(tree, "--compare", code=1)["findings"]} == {None, "identical", "different"}
    planned = check(tree, "--fix", "--dry-run", code=1)
    assert sorted(one["mend"] for one in planned["findings"]) == ["remove"] * 2 + ["rename"] * 3
    assert check(tree, code=1)["findings"] == found and contents(tree) == before
    assert tree.command("pool", "check", "--fix").returncode == 2, "without a terminal it wants --yes"
    assert contents(tree) == before
    mended = check(tree, "--fix", "--yes", code=0)
    assert [one["problem"] for one in mended["mended"]] == [""] * 5
    assert check(tree, code=0)["findings"] == []
    assert set(contents(tree).values()) == set(before.values())
    assert sum(data == FILM for data in contents(tree).values()) == 1
    if not mounted:
        tree.start()
    shown = {path.read_bytes() for path in tree.path.rglob("*") if path.is_file()}
    assert shown >= {FILM, b"note 0", b"note 1", b"note 2", b"file", b"inside"}


def test_it_tells_people_what_it_found(make_mount: MakeMount) -> None:
    tree = furnished(make_mount).start()
    done = tree.command("pool", "check")
    assert done.returncode == 1 and "lib/film.mkv" in done.stdout and "--compare" in done.stdout
    done = tree.command("pool", "check", "--fix", "--yes")
    assert done.returncode == 0 and "removed the copy on drive" in done.stdout
    done = tree.command("pool", "check")
    assert done.returncode == 0 and "Nothing is wrong" in done.stdout


def test_a_check_without_a_mount_makes_no_drives(make_mount: MakeMount) -> None:
    tree = make_mount()
    found = check(tree, code=1)["findings"]
    assert {one["kind"] for one in found} == {"missing"} and len(found) == 3
    assert all(list(drive.iterdir()) == [] for drive in tree.drive_paths)


def test_an_interrupted_check_changes_nothing_and_ends_in_the_mount(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    for drive in tree.drive_paths[:2]:
        # As large as a disc, and no room on the disk: all zeros, but each has to be read.
        with open(drive / "disc.iso", "wb") as file:
            file.truncate(300 << 30)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "pool", "check", "--fix", "--yes", "--config", str(tree.config)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: state(tree)["compared"] > 0, "the comparison")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(30) == 1 and "interrupted" in said, said
    process.stderr.close()
    wait_for(lambda: not state(tree)["running"], "the end of the check")
    assert all((drive / "disc.iso").exists() for drive in tree.drive_paths[:2])
    assert check(tree, code=1)["findings"][0]["same"] == "alike"


def test_the_end_of_the_mount_ends_a_check(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    for drive in tree.drive_paths[:2]:
        with open(drive / "disc.iso", "wb") as file:
            file.truncate(300 << 30)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "pool", "check", "--compare", "--config", str(tree.config)],
        cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: state(tree)["running"], "the check")
    tree.stop()
    assert process.wait(60) == 1


def test_what_is_no_request_is_refused(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    for body in ({}, {"whole": 1}, {"whole": True, "more": 1}, [], {"check": 1, "findings": ["1"]}):
        for route in ("/start", "/mend"):
            reply = ask(tree, "POST", route, body)
            assert reply.status_code == 400, reply.text


@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "not mounted"])
def test_copies_that_no_move_knows_are_removed(make_mount: MakeMount, mounted: bool) -> None:
    tree = make_mount().start()
    (tree.path / "film.mkv").write_bytes(FILM)
    if not mounted:
        tree.stop()
    stray = tree.drive_paths[2] / STAGING / ("0" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(FILM)
    (found,) = check(tree, code=1)["findings"]
    assert (found["kind"], found["path"], found["shown"]) == ("leftover", f"{STAGING}/{stray.name}", "drive3")
    assert stray.exists()
    check(tree, "--fix", "--yes", code=0)
    assert not stray.exists() and list(contents(tree).values()).count(FILM) == 1


def test_interrupted_work_is_told_and_finished(make_mount: MakeMount) -> None:
    tree = make_mount().start()
    tree.stop()
    new = tree.drive_paths[0] / "new"
    new.write_text("new")
    number = 1 << 48 | new.stat().st_ino
    names = Names(NamesDb(tree.state / "names.db"))
    coded = [base64.b64encode(path).decode() for path in (b"new", b"renamed")]
    Journal(names, "union").begin({"steps": [["rename", 1, number, *coded]]})
    names.close()
    assert {one["path"] for one in check(tree, code=1)["findings"]} == {"new", "renamed"}
    assert new.exists(), "a check alone changes nothing"
    check(tree, "--fix", "--yes", code=0)
    assert (tree.drive_paths[0] / "renamed").read_text() == "new" and not new.exists()
    assert check(tree, code=0)["findings"] == []
