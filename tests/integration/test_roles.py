"""The layout's profile "apps" through the mount: forbidden writes give EACCES, the importer's link succeeds."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounting import Mounted
from roles import APPS, IMPORTER, SERVER, TORRENT, USENET, attempt, read, write

from placement.layout import create_layout

pytestmark = pytest.mark.mount


@pytest.fixture
def data() -> Iterator[Path]:
    """The layout, made through a mount that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        mounted = Mounted(Path(folder)).start()
        try:
            create_layout(mounted.path, APPS)
            yield mounted.path / "data"
        finally:
            mounted.stop()
            mounted.path.chmod(0o755)


def test_each_client_writes_its_own_folder_only(data: Path) -> None:
    assert write(TORRENT, data / "torrents/complete/film.mkv") == "ok"
    assert write(USENET, data / "usenet/incomplete/film.mkv") == "ok"
    for client, other in ((TORRENT, "usenet"), (USENET, "torrents")):
        assert write(client, data / other / "complete/x") == "EACCES"
        assert write(client, data / "media/tv/x") == "EACCES"
        assert attempt(client, "mkdir", data / "media/movies/x") == "EACCES"
        assert write(client, data / "personal/rip/x") == "EACCES"


def test_media_servers_read_media_and_nothing_else(data: Path) -> None:
    (data / "media/tv/episode.mkv").write_bytes(b"x")
    assert read(SERVER, data / "media/tv/episode.mkv") == "ok"
    assert write(SERVER, data / "media/tv/episode.nfo") == "EACCES"
    assert attempt(SERVER, "unlink", data / "media/tv/episode.mkv") == "EACCES"
    assert attempt(SERVER, "listdir", data / "torrents") == "EACCES"
    assert attempt(SERVER, "listdir", data / "usenet/complete") == "EACCES"


def test_the_importer_links_what_the_clients_wrote(data: Path) -> None:
    for client, source in ((TORRENT, data / "torrents/complete/a.mkv"), (USENET, data / "usenet/complete/b.mkv")):
        assert write(client, source) == "ok"
        target = data / "media/tv" / source.name
        assert attempt(IMPORTER, "link", source, target) == "ok"
        assert (target.stat().st_ino, target.stat().st_nlink) == (source.stat().st_ino, 2)
        assert read(SERVER, target) == "ok"
        # The importer may also take it: the client's name goes, the library's stays.
        assert attempt(IMPORTER, "unlink", source) == "ok"
        assert target.stat().st_nlink == 1
