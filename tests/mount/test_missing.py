"""The column of the matrix for a missing drive: what each verb answers while a drive is pulled.

Rows of `ROWS` are run in folders made meanwhile, below one that only the missing drive has: there everything works as
in a plain folder. `MISSING` has further rows for what the missing drive itself holds: what is known is answered as
before, opening and changing give EIO and change nothing, new names go to other drives. A verb of `FileSystem` without
a row in `MISSING` fails the last test.
"""

import errno
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mounting import Mounted, wait_for
from parity_rows import ROWS, compare, failing, furnish, rename_flags
from pulling import Pulled, settled

from debrid.simulator import Simulator
from vfs.filesystem import FileSystem

pytestmark = pytest.mark.mount

EIO = "EIO"


@dataclass
class Pool:
    """A mount with three drives and a torrent, of which the second drive is pulled.

    On that drive alone lie `there` and `only`. In `merged` are `one` on the first drive, `two` on the second, `both` on
    both, `remote` at the provider, `sub`, a folder on both drives and filled on the second, and `empty` on both.
    """

    mounted: Mounted
    pulled: Pulled
    before: dict[str, Any] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.mounted.path

    def drive(self, number: int) -> Path:
        return self.mounted.drive_paths[number - 1]


Act = Callable[[Pool], None]
MISSING: dict[str, tuple[frozenset[str], Act]] = {}


def row(*verbs: str) -> Callable[[Act], Act]:
    def register(act: Act) -> Act:
        assert act.__name__ not in MISSING
        MISSING[act.__name__] = (frozenset(verbs), act)
        return act

    return register


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.add_torrent("All", {"/remote": b"from afar"}, rar=False)
        yield simulator


@pytest.fixture(scope="module", params=["an empty folder in its place", "nothing in its place"])
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Any:
    base = tmp_path_factory.mktemp("missing")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(0o755)
    mounted = Mounted(base)
    mounted.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    fill(mounted)
    mounted.start()
    source = mounted.path / "torrents/complete/All/remote"
    wait_for(source.exists, "the torrent")
    source.rename(mounted.path / "merged/remote")
    pool = Pool(mounted, Pulled(mounted.drive_paths[1], empty="empty" in request.param))
    pool.held = {
        "reads": os.open(mounted.path / "held/reads", os.O_RDONLY),
        "writes": os.open(mounted.path / "held/writes", os.O_RDWR),
        "folder": os.open(mounted.path / "there", os.O_RDONLY),
    }
    settled(mounted, but=1)
    pool.before = {name: look(mounted.path / name) for name in LOOKED_AT}
    pool.pulled.pull()
    wait_for(lambda: failing(os.open, mounted.path / "there/file", os.O_RDONLY) == EIO, "the drive to be missed")
    yield pool
    for fd in pool.held.values():
        os.close(fd)
    pool.pulled.put_back()
    mounted.stop()


LOOKED_AT = ("", "there", "there/folder", "merged", "merged/sub")


def fill(mounted: Mounted) -> None:
    one, two, _ = mounted.drive_paths
    for folder in ("there/folder", "there/empty", "merged/sub", "merged/empty", "held", "only/deep"):
        (two / folder).mkdir(parents=True)
    for path in ("there/file", "there/folder/inside", "merged/two", "merged/both", "merged/sub/filled"):
        (two / path).write_bytes(b"of the second drive\n")
    for path in ("held/reads", "held/writes"):
        (two / path).write_bytes(b"0123456789")
    os.link(two / "there/file", two / "there/folder/again")
    os.mkfifo(two / "there/fifo")
    (two / "there/symlink").symlink_to("file")
    (two / "there/file").chmod(0o640)
    os.chown(two / "there/folder", 5, 6)
    (two / "only").chmod(0o2751)
    os.chown(two / "only", 7, 8)
    for folder in ("merged/sub", "merged/empty"):
        (one / folder).mkdir(parents=True)
    for path in ("merged/one", "merged/both"):
        (one / path).write_bytes(b"of the first drive\n")


def facts(path: Path) -> tuple[Any, ...]:
    """All that lstat says, the time of the last access aside."""
    st = path.lstat()
    times = (st.st_mtime_ns, st.st_ctime_ns)
    return (st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, st.st_size, st.st_blocks, *times)


def look(folder: Path) -> dict[str, Any]:
    return {name: facts(folder / name) for name in sorted(os.listdir(folder))}


def content(drive: Path) -> dict[str, Any]:
    """All that lies on a drive."""
    return {str(path.relative_to(drive)): facts(path) for path in sorted(drive.rglob("*"))}


def refused(*calls: Any) -> None:
    """Each of these (function, *arguments) gives EIO."""
    assert [(call[0].__name__, call[1:], failing(*call)) for call in calls] == [
        (call[0].__name__, call[1:], EIO) for call in calls
    ]


# What is known.


@row("stat")
def attributes_are_as_before(pool: Pool) -> None:
    for folder in ("there", "there/folder", "merged/sub"):
        for name, known in pool.before[folder].items():
            assert facts(pool.root / folder / name) == known, name
    for name in ("one", "two", "both", "remote"):
        assert facts(pool.root / "merged" / name) == pool.before["merged"][name], name
    assert (pool.root / "there/file").stat().st_ino == (pool.root / "there/folder/again").stat().st_ino


@row("stat")
def what_is_surely_absent_is_enoent(pool: Pool) -> None:
    for path in ("there/none", "there/none/below", "merged/none", "there/folder/none", ".mediapool"):
        assert failing(os.lstat, pool.root / path) == "ENOENT", path
    assert failing(os.lstat, pool.root / "there/file/below") == "ENOTDIR"


@row("opendir", "readdir", "releasedir")
def listings_are_whole(pool: Pool) -> None:
    for folder in ("there", "there/folder", "merged/sub"):
        assert look(pool.root / folder) == pool.before[folder]
    assert pool.before["merged"].keys() <= look(pool.root / "merged").keys()
    assert pool.before[""].keys() <= look(pool.root).keys()


@row("readlink")
def the_target_of_a_symbolic_link_is_not_known(pool: Pool) -> None:
    assert os.path.islink(pool.root / "there/symlink")
    refused((os.readlink, pool.root / "there/symlink"))


@row("getxattr", "listxattr")
def extended_attributes_are_not_known(pool: Pool) -> None:
    file = pool.root / "there/file"
    refused((os.getxattr, file, "user.x"), (os.listxattr, file))
    assert failing(os.getxattr, file, "system.posix_acl_access") == "ENOTSUP", "or `ls -l` would report errors"
    assert os.getxattr(file, "user.mediapool.drive") == b"drive2"
    assert b"missing" in os.getxattr(file, "user.mediapool.why")


@row("space")
def there_is_room_without_it(pool: Pool) -> None:
    st = os.statvfs(pool.root)
    assert st.f_blocks >= st.f_bavail > 0


# What is refused.


@row("open", "read", "write")
def nothing_of_it_is_opened(pool: Pool) -> None:
    for path in ("there/file", "there/folder/again", "merged/two", "merged/sub/filled"):
        refused(*((os.open, pool.root / path, flags) for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC)))
    refused((os.open, pool.root / "there/file", os.O_CREAT | os.O_WRONLY))


@row("chmod", "chown", "utime", "truncate", "setxattr", "removexattr")
def attributes_do_not_change(pool: Pool) -> None:
    for path in ("there/file", "there/folder", "merged/two", "merged", "merged/both"):
        refused(
            (os.chmod, pool.root / path, 0o600),
            (os.chown, pool.root / path, 1, 2),
            (os.utime, pool.root / path, (1, 2)),
            (os.setxattr, pool.root / path, "user.x", b""),
            (os.removexattr, pool.root / path, "user.x"),
        )
    refused((os.truncate, pool.root / "there/file", 0), (os.truncate, pool.root / "merged/two", 0))


@row("unlink", "rmdir")
def nothing_of_it_is_removed(pool: Pool) -> None:
    for path in ("there/file", "there/symlink", "there/fifo", "merged/two"):
        refused((os.unlink, pool.root / path))
    for path in ("there/empty", "merged/empty"):
        refused((os.rmdir, pool.root / path))
    refused((os.rmdir, pool.root / "there/folder"), (os.rmdir, pool.root / "merged/sub"))
    assert (pool.drive(1) / "merged/empty").is_dir()


@row("unlink")
def a_name_whose_hidden_copy_it_has_is_not_removed(pool: Pool) -> None:
    refused((os.unlink, pool.root / "merged/both"))
    assert (pool.drive(1) / "merged/both").exists() and (
        pool.root / "merged/both"
    ).read_text() == "of the first drive\n"


@row("rename")
def nothing_is_renamed_from_or_over_it(pool: Pool) -> None:
    root = pool.root
    (root / "merged/mine").write_text("mine")
    (root / "mine").mkdir()
    for source, target in (
        ("there/file", "there/new"),
        ("there/folder", "new"),
        ("merged", "new"),
        ("merged/both", "merged/new"),
        ("merged/mine", "merged/two"),
        ("merged/mine", "merged/both"),
        ("merged/remote", "merged/two"),
        ("mine", "there/empty"),
        ("mine", "merged/empty"),
    ):
        refused((os.rename, root / source, root / target))
    refused((rename_flags, root / "mine", root / "there", 2))
    assert failing(rename_flags, root / "merged/mine", root / "merged/two", 1) == "EEXIST"
    assert (root / "merged/mine").read_text() == "mine" and (root / "merged/remote").stat().st_size == 9
    (root / "merged/mine").unlink()
    (root / "mine").rmdir()


@row("link")
def its_files_get_no_further_names(pool: Pool) -> None:
    refused((os.link, pool.root / "there/file", pool.root / "there/new"))
    refused((os.link, pool.root / "merged/two", pool.root / "new"))


@row("mkdir", "create", "mknod", "symlink", "link")
def names_that_it_has_are_taken(pool: Pool) -> None:
    root = pool.root
    for path in ("there/file", "there/folder", "merged/two", "merged/sub"):
        assert failing(os.mkdir, root / path) == "EEXIST"
        assert failing(os.open, root / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) == "EEXIST"
        assert failing(os.mkfifo, root / path) == "EEXIST"
        assert failing(os.symlink, "x", root / path) == "EEXIST"
        assert failing(os.link, root / "merged/one", root / path) == "EEXIST"


# What goes elsewhere.


@row("create", "write", "read", "mkdir", "mknod", "symlink", "link", "rename", "unlink", "rmdir")
def new_names_go_to_other_drives(pool: Pool) -> None:
    for folder in ("there", "there/folder", "merged", "merged/sub", "only/deep"):
        new = pool.root / folder / "new"
        new.mkdir()
        (new / "file").write_text("new")
        os.mkfifo(new / "fifo")
        (new / "symlink").symlink_to("file")
        os.link(new / "file", pool.root / folder / "linked")
        (new / "file").rename(pool.root / folder / "renamed")
        assert (pool.root / folder / "linked").read_text() == (pool.root / folder / "renamed").read_text() == "new"
        assert (new / "symlink").is_symlink() and {"new", "linked", "renamed"} <= set(os.listdir(pool.root / folder))
        (pool.root / folder / "linked").unlink()
        (pool.root / folder / "renamed").unlink()
        shutil.rmtree(new)


@row("create", "stat")
def its_folders_are_made_elsewhere_as_they_are(pool: Pool) -> None:
    only = pool.root / "only"
    before = facts(only)
    (only / "kept").write_text("new")
    made = next(drive / "only" for drive in (pool.drive(1), pool.drive(3)) if (drive / "only/kept").exists()).stat()
    assert (made.st_mode, made.st_uid, made.st_gid) == (before[1], 7, 8)
    assert facts(only)[:2] == before[:2], "the folder has the number that it had"
    (only / "kept").unlink()


@row("open", "read", "write", "chmod", "utime", "unlink", "rename", "link")
def others_in_the_same_folder_go_on(pool: Pool) -> None:
    one, remote, merged = pool.root / "merged/one", pool.root / "merged/remote", pool.root / "merged"
    assert one.read_text() == "of the first drive\n" and remote.read_bytes() == b"from afar"
    with one.open("a") as file:
        file.write("more")
    one.chmod(0o600)
    os.utime(one, (1, 2))
    for path in (one, remote):
        os.link(path, merged / "again")
        (merged / "again").rename(merged / "moved")
        assert (merged / "moved").stat().st_ino == path.stat().st_ino
        (merged / "moved").unlink()
    one.write_text("of the first drive\n")


# Handles from before.


def goes_on(*call: Any) -> None:
    """The call on a handle from before the pull works or gives EIO."""
    try:
        call[0](*call[1:])
    except OSError as cause:
        assert cause.errno == errno.EIO, call


@row("read", "write", "fstat", "seek", "flush", "fsync", "ftruncate", "allocate", "release")
def open_handles_go_on_or_give_eio(pool: Pool) -> None:
    reads, writes = pool.held["reads"], pool.held["writes"]
    goes_on(os.pread, reads, 10, 0)
    goes_on(os.fstat, reads)
    goes_on(os.lseek, reads, 0, os.SEEK_DATA)
    goes_on(os.pwrite, writes, b"more", 3)
    goes_on(os.fsync, writes)
    goes_on(os.fdatasync, writes)
    goes_on(os.ftruncate, writes, 12)
    goes_on(os.posix_fallocate, writes, 0, 20)
    goes_on(os.close, os.dup(writes))


@row("fchmod", "fchown", "futime")
def attributes_do_not_change_by_open_handles(pool: Pool) -> None:
    # Linux asks for these by path, though the program did by descriptor.
    reads = pool.held["reads"]
    refused((os.fchmod, reads, 0o600), (os.fchown, reads, 1, 2), (os.utime, reads, (1, 2)))


@row("fsyncdir")
def a_folder_it_has_part_of_cannot_be_synced(pool: Pool) -> None:
    refused((os.fsync, pool.held["folder"]))
    own = pool.root / "own"
    own.mkdir()
    fd = os.open(own, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    own.rmdir()


@pytest.mark.parametrize("name", MISSING)
def test_what_the_missing_drive_holds(name: str, pool: Pool) -> None:
    before = content(pool.pulled.away)
    MISSING[name][1](pool)
    if name != open_handles_go_on_or_give_eio.__name__:
        assert content(pool.pulled.away) == before
    pool.pulled.check_place()


@pytest.mark.parametrize("name", ROWS)
def test_new_folders_while_a_drive_is_missing(name: str, pool: Pool) -> None:
    plain, tree = pool.mounted.base / "plain" / name, pool.root / "only/deep" / name
    plain.mkdir(parents=True)
    tree.mkdir()
    for root in (plain, tree):
        furnish(root)
    compare(name, tree, plain)
    pool.pulled.check_place()


def test_every_verb_has_a_row() -> None:
    verbs = {name for name, _ in inspect.getmembers(FileSystem, inspect.isfunction) if not name.startswith("_")}
    assert verbs - {"close"} == set().union(*(verbs for verbs, _ in MISSING.values()))
