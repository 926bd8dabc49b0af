"""Many remote files open and read at once through a real mount."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import wait_for

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

MIB = 1 << 20
FILES = 50
SIZE = 5 * MIB + 4321


def test_fifty_files_open_at_once(make_mount: MakeMount) -> None:
    films = {f"/film{number:02}.mkv": random.Random(number).randbytes(SIZE) for number in range(FILES)}
    with Simulator() as simulator:
        simulator.add_torrent("Films", films)
        tree = make_mount()
        account = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n'
        tree.write_config(debrid=account + "read_deadline = 60")
        tree.environment |= {"MEDIAPOOL_CACHE__SIZE": "100MiB", "MEDIAPOOL_CACHE__MEMORY": "32MiB"}
        tree.start()
        folder = tree.path / "torrents/complete/Films"
        wait_for(folder.exists, "the torrent")
        opened = [os.open(folder / name[1:], os.O_RDONLY) for name in sorted(films)]

        def read(number: int) -> bool:
            """The whole file in blocks of 128 KiB, while 49 others do the same."""
            data = b"".join(iter(lambda: os.read(opened[number], MIB // 8), b""))
            return data == films[sorted(films)[number]]

        try:
            with ThreadPoolExecutor(FILES) as pool:
                assert all(pool.map(read, range(FILES)))
            told = json.loads(tree.command("status", "--json").stdout)
            assert told["requests"]["open"] == FILES
            assert told["reader"]["memory"] <= 32 * MIB, "for all of them together"
            assert told["cache"]["main"] + told["cache"]["edges"] <= 100 * MIB
        finally:
            for fd in opened:
                os.close(fd)
        wait_for(lambda: json.loads(tree.command("status", "--json").stdout)["requests"]["open"] == 0, "the end")
        assert sum(path.stat().st_size for path in Path(tree.cache).rglob("*") if path.is_file()) < 110 * MIB
