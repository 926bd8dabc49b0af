"""Links, renames and removals of remote files through a real mount, beside local ones."""

import errno
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from parity_rows import failing, rename_flags

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

FILM = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(50_000)
COMPLETE = "torrents/complete"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("Film", {"/film.mkv": FILM, "/extra/other.mkv": OTHER})
        yield simulator


@pytest.fixture
def tree(make_mount: MakeMount, simulator: Simulator) -> Mounted:
    mounted = make_mount()
    mounted.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    mounted.start()
    wait_for((mounted.path / COMPLETE / "Film").exists, "the torrent")
    (mounted.path / "media").mkdir()
    return mounted


def film(tree: Mounted) -> Path:
    return tree.path / COMPLETE / "Film/film.mkv"


def nothing_local(tree: Mounted) -> bool:
    return not [path for drive in tree.drive_paths for path in drive.rglob("*.mkv")]


def published(tree: Mounted) -> list[str]:
    return sorted(os.listdir(tree.path / COMPLETE))


def test_an_import_by_link_outlives_its_torrent(tree: Mounted) -> None:
    imported = tree.path / "media/Film (2024).mkv"
    os.link(film(tree), imported)
    assert (imported.stat().st_ino, imported.stat().st_nlink) == (film(tree).stat().st_ino, 2)
    assert nothing_local(tree), "a link costs no bytes"
    shutil.rmtree(tree.path / COMPLETE / "Film")
    assert imported.stat().st_nlink == 1 and imported.read_bytes() == FILM
    tree.stop()
    tree.start()
    assert imported.read_bytes() == FILM and published(tree) == []


def test_an_import_by_rename(tree: Mounted) -> None:
    number, imported = film(tree).stat().st_ino, tree.path / "media/film.mkv"
    film(tree).rename(imported)
    assert imported.stat().st_ino == number and not film(tree).exists() and nothing_local(tree)
    (tree.path / COMPLETE / "Film").rename(tree.path / "media/rest")
    assert (tree.path / "media/rest/extra/other.mkv").read_bytes() == OTHER
    assert imported.read_bytes() == FILM


def test_removed_names_do_not_come_back_but_an_explicit_add_brings_them(tree: Mounted, simulator: Simulator) -> None:
    shutil.rmtree(tree.path / COMPLETE / "Film")
    simulator.add_torrent("Another", {"/x.mkv": b"x"})
    wait_for(lambda: "Another" in published(tree), "a poll")
    tree.stop()
    tree.start()
    simulator.add_torrent("Third", {"/x.mkv": b"x"})
    wait_for(lambda: "Third" in published(tree), "a poll after the restart")
    assert "Film" not in published(tree)
    (first,) = [torrent for torrent in simulator.torrents if torrent.name == "Film"]
    simulator.add_torrent("Film", {"/film.mkv": FILM, "/extra/other.mkv": OTHER}, hash=first.hash)
    wait_for(lambda: "Film" in published(tree), "the torrent added anew")
    assert film(tree).read_bytes() == FILM


def test_a_torrent_that_disappears_keeps_its_names(tree: Mounted, simulator: Simulator) -> None:
    (torrent,) = simulator.torrents
    simulator.remove_torrent(torrent.id)
    wait_for(lambda: "missing" in tree.command("debrid", "list").stdout, "the poll that notices")
    assert film(tree).stat().st_size == len(FILM)


def test_what_the_provider_lost_is_listed_but_cannot_be_read(tree: Mounted, simulator: Simulator) -> None:
    imported, other = tree.path / "media/film.mkv", film(tree).parent / "extra/other.mkv"
    os.link(film(tree), imported)
    assert other.read_bytes() == OTHER
    (torrent,) = simulator.torrents
    simulator.remove_torrent(torrent.id)
    wait_for(lambda: "missing" in tree.command("debrid", "list").stdout, "the poll that notices")
    with simulator.faults.set(link_verdicts={"*": "hoster_unavailable"}):
        for name in (film(tree), imported):
            assert failing(name.read_bytes) == "EIO"
        assert imported.stat().st_nlink == 2 and other.read_bytes() == OTHER, "what is in the cache can be read"
        tree.stop()
        tree.start()
        assert published(tree) == ["Film"] and failing(imported.read_bytes) == "EIO"
        assert "no longer in the Real-Debrid account" in " ".join(tree.command("debrid", "list").stdout.split())
    shutil.rmtree(film(tree).parent)
    assert imported.stat().st_nlink == 1


def test_a_local_upgrade_replaces_a_remote_name(tree: Mounted) -> None:
    library = tree.path / "media/film.mkv"
    os.link(film(tree), library)
    (tree.path / "media/new.mkv").write_bytes(b"a better film")
    (tree.path / "media/new.mkv").rename(library)
    assert library.read_bytes() == b"a better film" and library.stat().st_nlink == 1
    assert film(tree).stat().st_nlink == 1 and film(tree).read_bytes() == FILM
    tree.stop()
    tree.start()
    assert library.read_bytes() == b"a better film"


def test_a_remote_file_replaces_a_local_one(tree: Mounted) -> None:
    library = tree.path / "media/film.mkv"
    library.write_bytes(b"an old local film")
    number = film(tree).stat().st_ino
    film(tree).rename(library)
    assert library.read_bytes() == FILM and library.stat().st_ino == number and nothing_local(tree)
    tree.stop()
    tree.start()
    assert library.read_bytes() == FILM


def test_a_folder_is_removed_while_its_film_plays(tree: Mounted) -> None:
    with open(film(tree), "rb", buffering=0) as playing:
        begin = playing.read(100_000)
        (film(tree).parent / "film.srt").write_text("subtitles")
        subprocess.run(["rm", "-rf", tree.path / COMPLETE / "Film"], check=True)
        assert published(tree) == []
        data = begin
        while piece := playing.read(500_000):
            data += piece
    assert data == FILM


def test_attributes_of_remote_files_last(tree: Mounted) -> None:
    path, second = film(tree), tree.path / "media/second.mkv"
    os.link(path, second)
    path.chmod(0o640)
    os.chown(second, 12, 34)
    os.utime(path, ns=(5, 7_000_000_001))
    os.setxattr(second, "user.note", b"seen")
    os.setxattr(path.parent, "user.folder", b"yes")
    for _ in range(2):
        for name in (path, second):
            st = name.stat()
            assert (st.st_mode & 0o777, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink) == (
                0o640, 12, 34, 7_000_000_001, 2,
            )  # fmt: skip
            assert os.getxattr(name, "user.note") == b"seen"
        assert os.getxattr(path.parent, "user.folder") == b"yes"
        tree.stop()
        tree.start()


def test_writing_is_refused_in_every_way(tree: Mounted) -> None:
    for attempt in (
        lambda: os.open(film(tree), os.O_WRONLY),
        lambda: os.open(film(tree), os.O_RDWR),
        lambda: os.open(film(tree), os.O_RDONLY | os.O_TRUNC),
        lambda: os.truncate(film(tree), 5),
    ):
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS
    assert "write a new file beside it" in tree.log.read_text()
    assert film(tree).read_bytes() == FILM


def test_never_a_cross_device_error(tree: Mounted) -> None:
    """Links and renames between all folders, remote and local, of files of both kinds."""
    folders = [tree.path / "media", tree.path / COMPLETE / "Film", tree.path / COMPLETE, tree.path / "new"]
    (tree.path / "new").mkdir()
    (tree.path / "media/local.txt").write_text("local")
    sources = [tree.path / "media/local.txt", film(tree)]
    for number, source in enumerate(sources):
        expected = source.read_bytes()
        for folder in folders:
            name = folder / f"link-{number}"
            os.link(source, name)
            name.rename(folder / f"moved-{number}")
            assert (folder / f"moved-{number}").read_bytes() == expected
        assert source.stat().st_nlink == 1 + len(folders)


def test_exchange_inside_one_branch_only(tree: Mounted) -> None:
    other = tree.path / COMPLETE / "Film/extra/other.mkv"
    rename_flags(film(tree), other, 2)
    assert film(tree).read_bytes() == OTHER and other.read_bytes() == FILM
    (tree.path / "media/local").write_text("x")
    assert failing(rename_flags, film(tree), tree.path / "media/local", 2) == "EINVAL"


def test_the_tree_says_where_things_lie(tree: Mounted) -> None:
    (tree.path / "media/local.txt").write_text("x")
    (holder,) = [drive.name for drive in tree.drive_paths if (drive / "media/local.txt").exists()]

    def attribute(path: Path, name: str) -> str:
        return os.getxattr(path, f"user.mediapool.{name}").decode()

    assert (attribute(film(tree), "source"), attribute(tree.path / "media/local.txt", "source")) == (
        "realdebrid",
        "drive",
    )
    assert attribute(tree.path / "media/local.txt", "drive") == holder
    assert "policy rand" in attribute(tree.path / "media/local.txt", "why")
    assert "Real-Debrid: torrent" in attribute(film(tree), "why")
    for path, name in ((film(tree), "drive"), (film(tree), "nonsense")):
        with pytest.raises(OSError) as refused:
            attribute(path, name)
        assert refused.value.errno == errno.ENODATA
    with pytest.raises(PermissionError):
        os.setxattr(film(tree), "user.mediapool.source", b"lies")
    assert os.listxattr(film(tree)) == []


def test_explain_says_what_is_there_and_where_new_files_go(tree: Mounted) -> None:
    (tree.path / "media/local.txt").write_text("x")
    asked = tree.command("explain", str(tree.path / "media/local.txt"), str(film(tree)), "media/none", "--json")
    local, remote, none = json.loads(asked.stdout)
    assert local["about"]["source"] == "drive" and remote["about"]["source"] == "realdebrid" and none["about"] is None
    assert {drive["drive"] for drive in none["drives"]} == {"drive1", "drive2", "drive3"}
    told = tree.command("explain", "media/none", "--size", "900TiB").stdout
    assert "Nothing is there" in told and told.count("900.0 TiB needed") == 3
    too_large = json.loads(tree.command("explain", "media/none", "--size", "900TiB", "--json").stdout)
    assert all(drive["rank"] is None for drive in too_large[0]["drives"])
    for arguments in (["/etc/passwd"], ["x", "--size", "many"], ["../x"]):
        refused = tree.command("explain", *arguments)
        assert refused.returncode != 0 and "Traceback" not in refused.stderr, refused
