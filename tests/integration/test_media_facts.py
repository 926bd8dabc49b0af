"""Media facts on a real mount: by `explain` and an attribute, of local, remote and pinned files, looked at once."""

import errno
import json
import os
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeMount
from filming import film
from mounting import Mounted, wait_for

from cli.mediafacts import NOT_ENOUGH
from debrid.simulator import Simulator

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]

MIB = 1 << 20
SHOW = "torrents/complete/Show"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A film of some MiB; one whose index lies neither in its head nor in its tail; and what is none."""
    folder = tmp_path_factory.mktemp("films")
    content = film(folder / "film.mkv", seconds=8, rate="6M").read_bytes()
    assert len(content) > 3 * MIB
    fast = film(folder / "fast.mp4", seconds=8, rate="6M", faststart=True).read_bytes()
    at = int.from_bytes(fast[:4], "big")
    free = (2 * MIB).to_bytes(4, "big") + b"free" + bytes(2 * MIB - 8)
    return {
        "film.mkv": content,
        "inner.mp4": fast[:at] + free + fast[at:],
        "fake.mkv": b"Rar!\x1a\x07\x01\x00" + os.urandom(3 * MIB),
    }


def attribute(path: Path) -> Any:
    """What the attribute says; None where there is none."""
    try:
        return json.loads(os.getxattr(path, "user.mediapool.media"))
    except OSError as error:
        assert error.errno == errno.ENODATA
        return None


def explained(tree: Mounted, *paths: str) -> list[Any]:
    """What `explain` is told once nothing is looked at any more, asked from the daemon itself."""
    contact = json.loads((tree.state / "daemon.json").read_text())
    headers = {"Authorization": f"Bearer {contact['token']}", "Content-Type": "application/json"}
    body = json.dumps({"paths": paths, "size": None}).encode()
    found: list[Any] = []

    def is_told() -> bool:
        request = urllib.request.Request(contact["url"] + "/api/explain", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found[:] = [one["about"]["media"] for one in json.load(answer)]
        return all(one is None or one["state"] != "waiting" for one in found)

    wait_for(is_told, "the end of the look")
    return found


def remote_known(tree: Mounted) -> int:
    """Of how many remote files the catalog has facts; who asks for those of a file has it looked at."""
    with closing(sqlite3.connect(f"file:{tree.state}/contents.db?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(facts) FROM remote").fetchone()[0])


def check(facts: Any) -> None:
    """They are those of the film."""
    assert facts["container"] in ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
    assert facts["seconds"] == pytest.approx(8, abs=0.5)
    (picture,) = facts["video"]
    assert (picture["codec"], picture["width"], picture["height"]) == ("mpeg4", 320, 180)
    assert [(one["codec"], one["channels"], one["language"]) for one in facts["audio"]] == [
        ("aac", 1, "eng"), ("aac", 2, "ger"),
    ]  # fmt: skip
    assert [one["language"] for one in facts["subtitles"]] == ["eng"]


def test_facts_are_told_and_looked_at_once(make_mount: MakeMount, films: dict[str, bytes]) -> None:
    with Simulator() as simulator:
        content = {f"/{name}": data for name, data in films.items()}
        content |= {f"/{name}.mkv": films["film.mkv"] + name.encode() for name in ("pinned", "warm")}
        content |= {"/read.txt": b"text" * 100}
        simulator.add_torrent("Show", content, added=simulator.now() - 7200, rar=False)
        tree = make_mount()
        tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n')
        local = tree.drive_paths[0] / "media/local.mkv"
        local.parent.mkdir()
        local.write_bytes(films["film.mkv"])
        tree.start()
        show = tree.path / SHOW
        wait_for((show / "film.mkv").exists, "the torrent")

        # A local file: by the catalog, which a running mount sees being filled.
        assert explained(tree, "media/local.mkv") == [{"state": "unknown", "facts": None, "problem": None}]
        assert tree.command("index", "crawl").returncode == 0
        wait_for(lambda: attribute(tree.path / "media/local.mkv"), "the facts of the local film")
        check(attribute(tree.path / "media/local.mkv"))
        assert "user.mediapool.media" not in os.listxattr(tree.path / "media/local.mkv")
        words = tree.command("explain", "media/local.mkv").stdout
        assert "320x180 mpeg4, 8 s, sound eng (aac mono), ger (aac stereo), subtitles eng" in words
        assert attribute(tree.path / "media") is None
        assert simulator.cdn_bytes == 0

        # A remote one: the attribute never waits; what it lacks is looked at, in head and tail, once.
        assert attribute(show / "film.mkv") is None
        wait_for(lambda: attribute(show / "film.mkv"), "the facts of the remote film")
        check(attribute(show / "film.mkv"))
        first = simulator.cdn_bytes
        assert 0 < first <= MIB
        done = tree.command("explain", f"{SHOW}/film.mkv", "--json")
        told = json.loads(done.stdout)[0]["about"]["media"]
        assert told["state"] == "known" and told["facts"] == attribute(show / "film.mkv")
        assert attribute(show / "read.txt") is None and explained(tree, f"{SHOW}/read.txt") == [None]
        # Another name is the same content.
        os.link(show / "film.mkv", tree.path / "media/linked.mkv")
        check(attribute(tree.path / "media/linked.mkv"))
        assert simulator.cdn_bytes == first

        # What is warmed is looked at, and costs nothing more.
        assert tree.command("cache", "warm", f"{SHOW}/warm.mkv").returncode == 0
        warmed = simulator.cdn_bytes
        wait_for(lambda: remote_known(tree) == 2, "the look")
        check(attribute(show / "warm.mkv"))
        assert simulator.cdn_bytes == warmed <= first + MIB
        first = warmed

        # Whoever writes to the catalog meanwhile is in nobody's way.
        with sqlite3.connect(tree.state / "contents.db", isolation_level=None) as writer:
            writer.execute("BEGIN IMMEDIATE")
            check(attribute(show / "film.mkv"))
            check(attribute(tree.path / "media/local.mkv"))
            writer.execute("ROLLBACK")
        writer.close()

        # What head and tail do not say, and what is no film: told with the reason, and not looked at again.
        said = tree.command("explain", f"{SHOW}/inner.mp4").stdout
        inner, fake = explained(tree, f"{SHOW}/inner.mp4", f"{SHOW}/fake.mkv")
        assert NOT_ENOUGH in said or "not known yet" in said, "the command waits for it, but not for ever"
        assert (inner["state"], inner["problem"]) == ("failed", NOT_ENOUGH)
        assert fake["state"] == "failed" and "RAR archive" in fake["problem"]
        assert simulator.cdn_bytes <= first + 2 * MIB
        assert attribute(show / "inner.mp4") is None
        again = simulator.cdn_bytes
        assert explained(tree, f"{SHOW}/inner.mp4", f"{SHOW}/fake.mkv") == [inner, fake]
        assert simulator.cdn_bytes == again

        # Pinned: all of it is here, so nothing is fetched to look at it.
        assert tree.command("pin", f"{SHOW}/pinned.mkv", f"{SHOW}/inner.mp4").returncode == 0
        pinned = simulator.cdn_bytes
        for told in explained(tree, f"{SHOW}/pinned.mkv", f"{SHOW}/inner.mp4"):
            assert told["state"] == "known", told
            check(told["facts"])
        check(attribute(show / "pinned.mkv"))
        assert simulator.cdn_bytes == pinned

        rows = json.loads(tree.command("index", "export").stdout)
        remote = {(one["kind"], one["size"]): one for one in rows if "provider" in one}
        assert len(remote) == 5 and {kind for kind, _ in remote} == {"torrent"}
        check(remote["torrent", len(films["film.mkv"])]["media"])
        assert remote["torrent", len(films["fake.mkv"])]["media_problem"] == fake["problem"]
        check(next(one["media"] for one in rows if one.get("path") == str(local)))
        counts = json.loads(tree.command("index", "status", "--json").stdout)["media"]
        assert counts == {"known": 1, "failed": 0, "to_do": 0, "remote_known": 4, "remote_failed": 1}
        tree.stop()
