"""Who is told of changes in a pool, and when: as `cli/app.py` ties it together, without a mount."""

from pathlib import Path

import pytest
from mounting import wait_for
from uniting import Pool

from cli.announcing import after_reload, announcers, why_incomplete
from cli.checking import PoolCheck
from cli.config import Config, parse
from vfs.about import About
from vfs.filesystem import FileSystem
from vfs.hearing import unheard
from vfs.journal import Journal
from vfs.pins import Pins
from vfs.relocating import Relocating

SERVER = '[[media_server]]\nkind = "plex"\nurl = "http://127.0.0.1:9"\ntoken = "x"\n'


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def filesystem(pool: Pool) -> FileSystem:
    return FileSystem(pool.union, About(pool.union.lookup, lambda path: ""))


def made(config: Config, pool: Pool, tmp_path: Path, *changing: FileSystem | PoolCheck):  # type: ignore[no-untyped-def]
    return announcers(config, tmp_path / "untold.json", pool.union, changing, lambda: "")


def test_nobody_hears_anything_without_a_server(pool: Pool, tmp_path: Path) -> None:
    tree = filesystem(pool)
    told = made(parse(""), pool, tmp_path, tree)
    assert tree.heard is unheard and told.status() == []
    told.start()
    told.close()
    assert not (tmp_path / "untold.json").exists()


def test_a_server_is_told_by_the_path_of_the_mount_if_none_is_given(pool: Pool, tmp_path: Path) -> None:
    tree = filesystem(pool)
    told = made(parse(SERVER + '[mount]\npath = "/srv/pool"'), pool, tmp_path, tree)
    tree.heard("media/tv")
    (status,) = told.status()
    assert (status["kind"], status["name"], status["folders"]) == ("plex", "plex", ["media/tv"])
    assert told._all[0].server.paths.told("media/tv") == "/srv/pool/media/tv"


def test_what_a_check_mends_and_a_drive_that_joins_are_heard_of(pool: Pool, tmp_path: Path) -> None:
    pool.write("a", "tv/one", "first")
    pool.write("b", "tv/one", "other")
    relocating = Relocating(pool.union, pool.branches, pool, Journal(pool.names, "move"), 0)
    pins = Pins(pool.db, pool.names, pool.branches)
    check = PoolCheck(pool.union, pool.branches, pool.names, pins, relocating, "/data")
    told = made(parse(SERVER + 'paths = { tv = "/tv", films = "/films" }'), pool, tmp_path, check)
    number = check.start(whole=True)
    wait_for(lambda: not check.state()["running"], "the check")
    (done,) = check.mend(number, [0])
    assert done["done"] and told.status()[0]["folders"] == ["tv"]
    answers = iter(({"joined": [], "left": []}, {"joined": ["d"], "left": []}))
    reload = after_reload(told, lambda: next(answers))
    assert reload({}) == {"joined": [], "left": []} and told.status()[0]["waiting"] == 1
    reload({})
    assert told.status()[0]["folders"] == ["films", "tv"]


def test_the_tree_is_incomplete_while_a_drive_is_missing(pool: Pool) -> None:
    assert why_incomplete(pool.drives, lambda: None) == ""
    pool.paths[1].rename(pool.paths[1].with_name("away"))
    pool.drives[1].check()
    assert why_incomplete(pool.drives, lambda: None) == "missing drives: b"
    pool.paths[1].with_name("away").rename(pool.paths[1])
    pool.drives[1].check()
    assert why_incomplete(pool.drives, lambda: None) == ""
