"""`mediapool index duplicates --remote` on a real mount: a local copy of a remote film is said to be probably one."""

import json
import random

import pytest
from conftest import MakeMount
from mounting import wait_for

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

FILM = random.Random(1).randbytes(300_000)


def test_a_local_copy_of_a_remote_file_is_told(make_mount: MakeMount) -> None:
    with Simulator() as simulator:
        files = {"/S1/e1.mkv": FILM, "/S1/e2.mkv": FILM[::-1], "/other.mkv": FILM[:-1]}
        simulator.add_torrent("Show", files, added=simulator.now() - 7200)
        tree = make_mount()
        tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n')
        drive = tree.drive_paths[0]
        refused = tree.command("index", "duplicates", str(drive), "--remote")
        assert refused.returncode == 3 and "Nothing is mounted" in refused.stderr
        tree.start()
        wait_for((tree.path / "torrents/complete/Show").exists, "the torrent")
        (drive / "copy.mkv").write_bytes(FILM)
        requests = []
        for _ in range(2):
            done = tree.command("index", "duplicates", str(drive), "--remote", "--json")
            assert done.returncode == 0, done
            (pair,) = json.loads(done.stdout)["probable"]
            assert pair["files"] == [{"path": str(drive / "copy.mkv")}]
            assert pair["remote"] == [{"path": "torrents/complete/Show/S1/e1.mkv"}]
            requests.append(simulator.cdn_requests)
        # Asked for once: the second time the catalog knows. What has another size was never read.
        assert requests[0] == requests[1] > 0
        assert simulator.cdn_bytes <= 2 * len(FILM)
        assert tree.command("index", "crawl").returncode == 0
        (told,) = json.loads(tree.command("explain", "copy.mkv", "--json").stdout)
        assert told["about"]["content"] == [
            {"where": "Real-Debrid, probably", "path": "torrents/complete/Show/S1/e1.mkv"}
        ]
        assert simulator.cdn_requests == requests[1]
