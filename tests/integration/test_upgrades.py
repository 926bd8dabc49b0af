"""An upgrade keeps what older versions left: states made by their own code are mounted by this one."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from clienting import Arr
from conftest import MakeMount
from mounting import wait_for
from pulling import status
from upgrading import COMPLETE, FILMS, GRABBED, GRABBED_HASH, KEPT, account, configured, entries

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("kept", sorted(KEPT.glob("*.tar.xz")), ids=lambda kept: kept.name.partition(".")[0])
def test_all_is_there_after_an_upgrade(kept: Path, make_mount: MakeMount) -> None:
    mounted = make_mount(drives=2)
    with tarfile.open(kept) as archive:
        archive.extractall(mounted.base, filter="data")
    for private in (mounted.state, *(drive / ".mediapool" for drive in mounted.drive_paths)):
        private.chmod(0o700)
    told = json.loads((mounted.base / "told.json").read_text())
    for path, mtime in told["times"].items():
        # Archives keep less of it.
        os.utime(mounted.base / path, ns=(mtime, mtime))
    with account((mounted.base / "clip.mkv").read_bytes(), grabbed=told["grabs"]) as simulator:
        configured(mounted, simulator)
        mounted.start()
        # Whatever the poll may bring has come.
        wait_for(lambda: status(mounted)["remote"]["account"]["polled_at"], "the account")
        assert entries(mounted.path) == told["entries"]
        assert (mounted.path / "media/movies/Zero/Zero.mkv").read_bytes() == FILMS["Film.0"]
        if told["pins"]:
            assert status(mounted)["pinned"]["pinned"] == 1
            before = simulator.cdn_requests
            assert (mounted.path / COMPLETE / "Film.3/film.mkv").read_bytes() == FILMS["Film.3"]
            assert simulator.cdn_requests == before, "it was fetched although there is a local copy"
        if told["grabs"]:
            arr = Arr(json.loads((mounted.state / "daemon.json").read_text())["url"], "radarr")
            (row,) = arr.poll()
            assert (row["hash"], row["name"], row["progress"], row["category"]) == (GRABBED_HASH, GRABBED, 1, "radarr")
        if told["jobs"]:
            jobs = json.loads(mounted.command("jobs", "list", "--json").stdout)
            assert [job["kind"] for job in jobs] == ["drain"]
