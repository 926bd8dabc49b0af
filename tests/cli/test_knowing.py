"""What is known of a new file's size: from a remote file of its name, else from its like beside it."""

from pathlib import Path

import pytest

from cli.knowing import PoolKnowledge
from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.nodes import Directory, RemoteFile

TIMES = (0, 0, 0)


@pytest.fixture
def names(tmp_path: Path) -> Names:
    """Remote names: two films of one name in two folders."""
    names = Names(NamesDb(tmp_path / "names.db"))
    for number, size in ((10, 5 << 30), (20, 7 << 30)):
        folder = Directory(number, 0o40755, 0, 0, TIMES)
        file = RemoteFile(number + 1, 0o100644, 0, 0, TIMES, size, ("torrent", f"{number}", "1"))
        folder.attach("film.mkv", file)
        names.root.attach(f"folder{number}", folder)
        names.adopt([file])
    return names


def test_sizes(tmp_path: Path, names: Names) -> None:
    (tmp_path / "d1/tv").mkdir(parents=True)
    initialise(tmp_path / "d1", "d1", 1)
    drive = Drive.open(DriveConfig("d1", str(tmp_path / "d1")))
    try:
        knowledge = PoolKnowledge([drive], names)
        knowledge.read()
        assert knowledge.expected_size("media/new/film.mkv") == 7 << 30, "the larger of both"
        assert knowledge.expected_size("tv/e2.mkv") is None
        (tmp_path / "d1/other").mkdir()
        (tmp_path / "d1/other/e1.mkv").write_bytes(bytes(1000))
        assert knowledge.expected_size("other/e2.mkv") == 1000
        assert knowledge.expected_size("other/e2.nfo") is None and knowledge.expected_size("other/e2") is None
        assert knowledge.together(drive, "other") > 1 and knowledge.together(drive, "none") == 0
    finally:
        drive.close()
        names.close()
