"""Rows of calls that a mount must answer as a plain folder does.

Compared are the value or the errno of the row, and the whole tree afterwards: names, types, modes, owners, sizes,
link groups, contents, times where the row sets them, and user xattrs. A row names the verbs of `FileSystem` that it
exercises.
"""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import pickle
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, GROUP = 12345, 23456
Act = Callable[[Path], Any]


@dataclass(frozen=True)
class Row:
    name: str
    verbs: frozenset[str]
    act: Act
    user: int


ROWS: dict[str, Row] = {}


def row(*verbs: str, user: int = 0) -> Callable[[Act], Act]:
    def register(act: Act) -> Act:
        name = act.__name__
        assert name not in ROWS
        ROWS[name] = Row(name, frozenset(verbs), act, user)
        return act

    return register


def rename_flags(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def failing(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The errno of a call inside a row that goes on afterwards."""
    try:
        return call(*arguments, **options)
    except OSError as cause:
        return errno.errorcode[cause.errno or 0]


def facts(path: Path) -> tuple[Any, ...]:
    st = path.lstat()
    # A folder's links are counted over all drives, its size is that of one of them; a row of its own looks at links.
    own = (None, None) if stat.S_ISDIR(st.st_mode) else (st.st_nlink, st.st_size)
    return (stat.filemode(st.st_mode), *own, st.st_uid, st.st_gid)


# Creating and opening.


@row("create", "stat", "write", "release", "flush")
def create_and_write(root: Path) -> Any:
    (root / "new").write_bytes(b"content")
    return facts(root / "new")


@row("create")
def create_exclusive_twice(root: Path) -> Any:
    os.close(os.open(root / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    return failing(os.open, root / "new", os.O_CREAT | os.O_EXCL), facts(root / "new")


@row("create", "open")
def create_without_excl_opens(root: Path) -> Any:
    fd = os.open(root / "file", os.O_CREAT | os.O_RDWR, 0o600)
    data = os.read(fd, 100)
    os.close(fd)
    return data, facts(root / "file")


@row("create")
def create_in_missing_folder(root: Path) -> Any:
    (root / "none" / "new").write_bytes(b"")


@row("create")
def create_below_a_file(root: Path) -> Any:
    (root / "file" / "new").write_bytes(b"")


@row("create")
def create_on_a_folder(root: Path) -> Any:
    os.open(root / "folder", os.O_CREAT | os.O_WRONLY, 0o600)


@row("create")
def create_modes(root: Path) -> Any:
    for mode in (0o000, 0o444, 0o777, 0o4755, 0o2755, 0o1777):
        os.close(os.open(root / f"m{mode:o}", os.O_CREAT | os.O_WRONLY, mode))
    return [facts(root / f"m{mode:o}") for mode in (0o000, 0o444, 0o777, 0o4755, 0o2755, 0o1777)]


@row("create")
def create_with_umask(root: Path) -> Any:
    os.umask(0o027)
    (root / "masked").write_bytes(b"")
    (root / "masked-folder").mkdir()
    return facts(root / "masked"), facts(root / "masked-folder")


@row("create")
def create_long_name(root: Path) -> Any:
    (root / ("n" * 255)).write_bytes(b"x")
    return failing((root / ("n" * 256)).write_bytes, b"x"), failing((root / ("ü" * 128)).write_bytes, b"x")


@row("create", "readdir")
def create_odd_names(root: Path) -> Any:
    for name in (b"\xff\xfe", b"new\nline", "日本語".encode(), b" blank ", b"-rf", b"a'b\"c", b"\x01\x7f"):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(name)
    return sorted(os.listdir(os.fsencode(root)))


@row("open")
def open_missing(root: Path) -> Any:
    os.open(root / "none", os.O_RDONLY)


@row("open")
def open_folder_for_writing(root: Path) -> Any:
    os.open(root / "folder", os.O_WRONLY)


@row("open", "read")
def open_folder_and_read(root: Path) -> Any:
    fd = os.open(root / "folder", os.O_RDONLY)
    return failing(os.read, fd, 1)


@row("open")
def open_nofollow(root: Path) -> Any:
    return failing(os.open, root / "symlink", os.O_RDONLY | os.O_NOFOLLOW), (root / "symlink").read_bytes()


@row("open", "write")
def open_truncating(root: Path) -> Any:
    os.close(os.open(root / "file", os.O_WRONLY | os.O_TRUNC))
    return facts(root / "file")


@row("open")
def open_directory_flag(root: Path) -> Any:
    return failing(os.open, root / "file", os.O_RDONLY | os.O_DIRECTORY)


@row("open", "write")
def open_appending(root: Path) -> Any:
    one, other = (os.open(root / "file", os.O_WRONLY | os.O_APPEND) for _ in "ab")
    for fd in (one, other, one, other):
        os.write(fd, b"+%d" % (fd == one))
    os.close(one)
    os.close(other)
    return (root / "file").read_bytes()


@row("open", "read", "write")
def open_read_only_then_write(root: Path) -> Any:
    fd = os.open(root / "file", os.O_RDONLY)
    return failing(os.write, fd, b"x"), failing(os.ftruncate, fd, 1)


@row("open", "write", "fsync")
def open_sync(root: Path) -> Any:
    fd = os.open(root / "file", os.O_RDWR | os.O_SYNC)
    os.write(fd, b"synced")
    os.close(fd)
    return (root / "file").read_bytes()


@row("open", "write")
def open_direct(root: Path) -> Any:
    buffer = mmap.mmap(-1, 4096)
    buffer.write(b"d" * 4096)
    fd = os.open(root / "direct", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
    written = os.write(fd, buffer)
    os.close(fd)
    return written, (root / "direct").read_bytes() == b"d" * 4096


@row("open", user=USER)
def open_forbidden(root: Path) -> Any:
    return failing(os.open, root / "private", os.O_RDONLY), failing(os.open, root / "file", os.O_WRONLY)


# Reading and writing.


@row("read")
def read_everywhere(root: Path) -> Any:
    fd = os.open(root / "big", os.O_RDONLY)
    size = os.fstat(fd).st_size
    spots = [0, 1, 4095, 4096, 131071, 1 << 20, size - 1, size, size + 1, size + 5000]
    return [hashlib.sha1(os.pread(fd, 70000, spot)).hexdigest() for spot in spots]


@row("write", "read")
def write_and_read_back_in_pieces(root: Path) -> Any:
    with open(root / "pieces", "w+b", buffering=0) as file:
        for number in range(300):
            file.write(bytes([number % 251]) * 1009)
        file.seek(0)
        return hashlib.sha1(file.read()).hexdigest(), facts(root / "pieces")


@row("write")
def write_beyond_the_end(root: Path) -> Any:
    fd = os.open(root / "file", os.O_RDWR)
    os.pwrite(fd, b"far", 100_000)
    return os.fstat(fd).st_size, os.pread(fd, 10, 50_000), (root / "file").stat().st_size


@row("write", "fsync")
def write_and_sync(root: Path) -> Any:
    with open(root / "synced", "wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    return facts(root / "synced")


@row("write", "read", "fstat")
def write_through_two_descriptors(root: Path) -> Any:
    one, two = os.open(root / "file", os.O_RDWR), os.open(root / "file", os.O_RDWR)
    os.pwrite(one, b"ONE", 0)
    os.pwrite(two, b"TWO", 5)
    return os.pread(one, 100, 0), os.pread(two, 100, 0), os.fstat(one).st_size


@row("write", "stat", "open")
def write_through_one_name_read_through_the_other(root: Path) -> Any:
    os.link(root / "file", root / "other")
    seen = [(root / "other").read_bytes()]
    with open(root / "file", "r+b", buffering=0) as file:
        file.seek(0, 2)
        file.write(b"more")
        seen += [(root / "other").stat().st_size, (root / "other").read_bytes()]
    return seen


@row("write", "read")
def map_shared_memory(root: Path) -> Any:
    with open(root / "big", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        before = mapped[5000:5010]
        mapped[5000:5005] = b"MMAP!"
        mapped.flush()
        file.seek(5000)
        return before, file.read(10)


@row("read")
def map_private_memory(root: Path) -> Any:
    with open(root / "big", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return hashlib.sha1(mapped).hexdigest()


@row("seek")
def seek_data_and_holes(root: Path) -> Any:
    fd = os.open(root / "holes", os.O_CREAT | os.O_RDWR, 0o600)
    os.pwrite(fd, b"x" * 4096, 1 << 20)
    os.ftruncate(fd, 4 << 20)
    os.fsync(fd)
    answers = [
        os.lseek(fd, 0, os.SEEK_DATA),
        os.lseek(fd, 0, os.SEEK_HOLE),
        os.lseek(fd, 1 << 20, os.SEEK_HOLE),
    ]
    return answers, failing(os.lseek, fd, 5 << 20, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_END)


@row("allocate")
def allocate_space(root: Path) -> Any:
    fd = os.open(root / "allocated", os.O_CREAT | os.O_RDWR, 0o600)
    os.posix_fallocate(fd, 0, 300_000)
    st = os.fstat(fd)
    return st.st_size, st.st_blocks * 512 >= 300_000


@row("allocate", "fstat")
def allocate_keeping_size_and_punching(root: Path) -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(root / "big", os.O_RDWR)
    size = ctypes.c_int64
    kept = libc.fallocate64(fd, 1, size(0), size(10 << 20))
    punched = libc.fallocate64(fd, 3, size(4096), size(8192))
    return (
        kept,
        punched,
        os.fstat(fd).st_size,
        os.pread(fd, 3, 4096),
        hashlib.sha1(os.pread(fd, 1 << 20, 0)).hexdigest(),
    )


@row("truncate")
def truncate_by_path(root: Path) -> Any:
    os.truncate(root / "file", 3)
    os.truncate(root / "big", 5 << 20)
    return facts(root / "file"), facts(root / "big"), failing(os.truncate, root / "folder", 0)


@row("truncate")
def truncate_missing_and_negative(root: Path) -> Any:
    return failing(os.truncate, root / "none", 0), failing(os.truncate, root / "file", -1)


@row("ftruncate", "fstat")
def truncate_by_descriptor(root: Path) -> Any:
    fd = os.open(root / "file", os.O_RDWR)
    os.ftruncate(fd, 2)
    short = os.fstat(fd).st_size, os.pread(fd, 10, 0)
    os.ftruncate(fd, 10)
    return short, os.pread(fd, 20, 0)


@row("flush", "release")
def close_after_dup(root: Path) -> Any:
    fd = os.open(root / "dup", os.O_CREAT | os.O_WRONLY, 0o600)
    other = os.dup(fd)
    os.close(fd)
    os.write(other, b"still open")
    os.close(other)
    return (root / "dup").read_bytes()


@row("open")
def lock_whole_file(root: Path) -> Any:
    one, two = os.open(root / "file", os.O_RDWR), os.open(root / "file", os.O_RDWR)
    fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    busy = failing(fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(one, fcntl.LOCK_UN)
    return busy, fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)


@row("open")
def lock_ranges(root: Path) -> Any:
    fd = os.open(root / "file", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 0)
    child = os.fork()
    if not child:
        other = os.open(root / "file", os.O_RDWR)
        busy = failing(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 0)
        free = failing(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 4)
        os._exit((busy in ("EAGAIN", "EACCES")) * 2 + (free is None))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@row("read", "write", "fsync")
def sqlite_database(root: Path) -> Any:
    import sqlite3

    with sqlite3.connect(root / "db") as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (n)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])
        db.commit()
        total = db.execute("SELECT sum(n) FROM t").fetchone()
    db.close()
    return total


# Folders.


@row("mkdir")
def make_folders(root: Path) -> Any:
    (root / "a/b/c").mkdir(parents=True, mode=0o750)
    return (
        facts(root / "a"),
        facts(root / "a/b"),
        failing((root / "folder").mkdir),
        failing((root / "file").mkdir),
    )


@row("mkdir")
def make_folder_in_missing(root: Path) -> Any:
    return (
        failing((root / "x/y").mkdir),
        failing((root / "file/y").mkdir),
        failing((root / ("d" * 256)).mkdir),
    )


@row("mkdir", "create")
def make_in_setgid_folder(root: Path) -> Any:
    (root / "shared").mkdir()
    os.chown(root / "shared", 0, GROUP)
    (root / "shared").chmod(0o2775)
    (root / "shared/file").write_bytes(b"")
    (root / "shared/sub").mkdir()
    return facts(root / "shared/file"), facts(root / "shared/sub")


@row("create", "mkdir", "symlink", "mknod", user=USER)
def make_as_another_user(root: Path) -> Any:
    (root / "open/file").write_bytes(b"mine")
    (root / "open/sub").mkdir()
    (root / "open/link").symlink_to("file")
    os.mkfifo(root / "open/pipe")
    return [facts(root / "open" / name) for name in ("file", "sub", "link", "pipe")]


@row("mkdir", "create", user=USER)
def make_where_forbidden(root: Path) -> Any:
    return failing((root / "folder/sub").mkdir), failing((root / "folder/file").write_bytes, b"")


@row("rmdir")
def remove_folders(root: Path) -> Any:
    (root / "empty").mkdir()
    (root / "empty").rmdir()
    results = [failing((root / name).rmdir) for name in ("folder", "file", "none", "symlink")]
    return results, (root / "empty").exists()


@row("opendir", "readdir", "releasedir")
def list_a_folder(root: Path) -> Any:
    entries = sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in os.scandir(root))
    return entries, failing(os.listdir, root / "none"), failing(os.listdir, root / "file")


@row("readdir", "opendir", "create", "unlink")
def list_a_big_folder_while_removing(root: Path) -> Any:
    (root / "many").mkdir()
    for number in range(1500):
        (root / f"many/entry-with-a-longer-name-{number}").touch()
    seen = set()
    for entry in os.scandir(root / "many"):
        seen.add(entry.name)
        os.unlink(entry.path)
    return len(seen), os.listdir(root / "many")


@row("readdir", "stat")
def listing_and_stat_agree(root: Path) -> Any:
    return [e.name for e in os.scandir(root) if e.inode() != os.lstat(e.path).st_ino]


def listed(root: Path, change: Callable[[], Any], *paths: Path) -> list[Any]:
    """Facts of `paths` after a listing of `root` that began before `change` and went on after it."""
    entries = os.scandir(root)
    change()
    for _ in entries:
        pass
    return [failing(facts, path) for path in paths]


@row("readdir", "opendir", "chmod", "link", "rename", "unlink", "rmdir")
def changes_during_a_listing_show(root: Path) -> Any:
    file, big, folder, second = (root / name for name in ("file", "big", "folder", "folder/second"))
    results = [
        listed(root, lambda: file.chmod(0o611), file),
        listed(root, lambda: os.link(file, second), file),
        listed(root, second.unlink, file),
        listed(root, lambda: big.rename(second), big, second),
        listed(root, lambda: second.replace(file), file, second),
        listed(root, lambda: (file.unlink(), file.mkdir()), file),
        listed(root, file.rmdir, file),
    ]
    before = folder.stat().st_mtime_ns
    time.sleep(0.02)
    return [*results, listed(root, (folder / "new").touch, folder / "new"), folder.stat().st_mtime_ns == before]


@row("readdir", "opendir", "write", "truncate")
def sizes_during_a_listing_show(root: Path) -> Any:
    file, big = root / "file", root / "big"
    return listed(root, lambda: file.write_bytes(b"longer than before"), file), listed(
        root, lambda: os.truncate(big, 5), big
    )


@row("fsyncdir", "opendir")
def sync_a_folder(root: Path) -> Any:
    fd = os.open(root / "folder", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@row("stat", "rmdir")
def link_counts_of_folders(root: Path) -> Any:
    (root / "p/one").mkdir(parents=True)
    (root / "p/two").mkdir()
    counts = [(root / "p").stat().st_nlink]
    (root / "p/one").rmdir()
    return [*counts, (root / "p").stat().st_nlink]


@row("rmdir", "opendir", "stat")
def remove_the_current_folder(root: Path) -> Any:
    (root / "here").mkdir()
    os.chdir(root / "here")
    (root / "here").rmdir()
    return failing(os.open, "new", os.O_CREAT | os.O_WRONLY), failing(os.stat, root / "here")


# Links, symbolic links, special files.


@row("link", "stat")
def hard_link(root: Path) -> Any:
    os.link(root / "file", root / "folder/second")
    same = (root / "file").stat().st_ino == (root / "folder/second").stat().st_ino
    return same, facts(root / "file"), facts(root / "folder/second"), (root / "folder/second").read_bytes()


@row("link")
def hard_link_refusals(root: Path) -> Any:
    return [
        failing(os.link, root / "file", root / "folder"),
        failing(os.link, root / "file", root / "big"),
        failing(os.link, root / "none", root / "x"),
        failing(os.link, root / "file", root / "none/x"),
        failing(os.link, root / "folder", root / "x"),
    ]


@row("link", "symlink", "stat")
def hard_link_to_symlink(root: Path) -> Any:
    os.link(root / "symlink", root / "again", follow_symlinks=False)
    return os.readlink(root / "again"), facts(root / "again")


@row("link", "unlink", "chmod", "chown", "utime", "truncate", "stat")
def changes_show_under_every_name(root: Path) -> Any:
    one, two = root / "file", root / "folder/two"
    os.link(one, two)
    seen = [facts(one), facts(two)]
    one.chmod(0o600)
    seen.append(facts(two))
    os.chown(two, 5, 6)
    seen.append(facts(one))
    os.truncate(one, 1)
    seen.append(facts(two))
    os.utime(two, ns=(5, 7))
    seen.append((one.stat().st_atime_ns, one.stat().st_mtime_ns))
    one.unlink()
    seen.append(facts(two))
    return seen


@row("fchmod", "fchown", "futime", "ftruncate", "fstat", "stat")
def changes_by_descriptor_show_under_every_name(root: Path) -> Any:
    os.link(root / "file", root / "two")
    fd = os.open(root / "file", os.O_RDWR)
    seen = [facts(root / "two")]
    os.fchmod(fd, 0o604)
    seen.append(facts(root / "two"))
    os.fchown(fd, 8, 9)
    seen.append(facts(root / "two"))
    os.utime(fd, ns=(11, 13))
    seen.append((root / "two").stat().st_mtime_ns)
    os.ftruncate(fd, 77)
    seen.append(facts(root / "two"))
    os.unlink(root / "file")
    return [*seen, facts(root / "two")]


@row("symlink", "readlink")
def symbolic_links(root: Path) -> Any:
    (root / "dangling").symlink_to("nowhere/at all")
    (root / "long").symlink_to("x" * 4000)
    results = os.readlink(root / "dangling"), len(os.readlink(root / "long")), facts(root / "dangling")
    return results, failing(os.readlink, root / "file"), failing(os.symlink, "x", root / "file")


@row("readlink", "stat")
def symbolic_link_into_and_loop(root: Path) -> Any:
    (root / "to-folder").symlink_to("folder")
    (root / "loop").symlink_to("loop")
    return (root / "to-folder/inside").read_bytes(), failing(os.stat, root / "loop")


@row("mknod", "stat")
def special_files(root: Path) -> Any:
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "regular", stat.S_IFREG | 0o600)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    rdev = (root / "null").stat().st_rdev
    return (
        [facts(root / name) for name in ("fifo", "regular", "null", "socket")],
        rdev,
        failing(os.mkfifo, root / "file"),
    )


@row("mknod")
def fifo_carries_data(root: Path) -> Any:
    os.mkfifo(root / "fifo")
    if not (child := os.fork()):
        (root / "fifo").write_bytes(b"through the pipe")
        os._exit(0)
    data = (root / "fifo").read_bytes()
    os.waitpid(child, 0)
    return data


# Removing and renaming.


@row("unlink")
def unlink_things(root: Path) -> Any:
    (root / "file").unlink()
    (root / "symlink").unlink()
    return failing(os.unlink, root / "folder"), failing(os.unlink, root / "file"), sorted(os.listdir(root))


@row("unlink", user=USER)
def unlink_sticky(root: Path) -> Any:
    return failing(os.unlink, root / "open/roots"), failing(os.unlink, root / "folder/inside")


@row("create", "write", "read", "release", "unlink")
def unlink_right_after_close(root: Path) -> Any:
    for number in range(50):
        (root / "new").write_bytes(b"%d" % number)
        (root / "new").read_bytes()
        (root / "new").unlink()
    return sorted(os.listdir(root))


@row("link", "unlink", "fstat", "release")
def one_of_two_names_goes_while_open(root: Path) -> Any:
    os.link(root / "file", root / "other")
    with open(root / "other", "rb", buffering=0) as file:
        (root / "other").unlink()
        counts = [os.fstat(file.fileno()).st_nlink, (root / "file").stat().st_nlink]
        os.fchmod(file.fileno(), 0o611)
        counts.append(os.fstat(file.fileno()).st_nlink)
        (root / "file").unlink()
        return counts, os.fstat(file.fileno()).st_nlink


@row("unlink", "read", "write", "fstat", "release")
def unlink_while_open(root: Path) -> Any:
    with open(root / "file", "r+b", buffering=0) as file:
        os.unlink(root / "file")
        listed = sorted(os.listdir(root))
        file.seek(0, 2)
        file.write(b" and more")
        file.seek(0)
        data = file.read()
        os.fchmod(file.fileno(), 0o611)
        mode = os.fstat(file.fileno()).st_mode
        links = os.fstat(file.fileno()).st_nlink
    return listed, data, oct(mode), links, sorted(os.listdir(root))


@row("unlink", "rename", "fstat", "setxattr", "getxattr")
def unlinked_open_file_in_a_folder_that_is_renamed(root: Path) -> Any:
    fd = os.open(root / "folder/inside", os.O_RDONLY)
    os.unlink(root / "folder/inside")
    (root / "folder").rename(root / "renamed")
    (root / "other").mkdir()
    rename_flags(root / "renamed", root / "other", 0)
    os.setxattr(fd, "user.kept", b"yes")
    os.fchmod(fd, 0o604)
    st = os.fstat(fd)
    return os.getxattr(fd, "user.kept"), st.st_mode, st.st_nlink, os.pread(fd, 100, 0), sorted(os.listdir(root))


@row("open", "rename", "fstat", "write")
def exchanged_open_files(root: Path) -> Any:
    (root / "one").write_bytes(b"1")
    (root / "one2").hardlink_to(root / "one")
    fd = os.open(root / "one", os.O_RDWR)
    rename_flags(root / "one", root / "one2", 2)
    links = [os.fstat(fd).st_nlink]
    os.unlink(root / "one2")
    links.append(os.fstat(fd).st_nlink)
    return links, sorted(os.listdir(root))


@row("unlink", "rmdir", "read")
def remove_the_folder_of_an_open_file(root: Path) -> Any:
    with open(root / "folder/inside", "rb", buffering=0) as file:
        shutil.rmtree(root / "folder")
        return file.read(), (root / "folder").exists()


@row("unlink", "rename", "open")
def replace_while_open(root: Path) -> Any:
    with open(root / "file", "rb", buffering=0) as old:
        (root / "next").write_bytes(b"next")
        os.rename(root / "next", root / "file")
        return old.read(), (root / "file").read_bytes(), sorted(os.listdir(root))


@row("rename")
def rename_files(root: Path) -> Any:
    os.rename(root / "file", root / "renamed")
    os.rename(root / "renamed", root / "folder/moved")
    os.rename(root / "folder/moved", root / "big")
    return facts(root / "big"), (root / "big").read_bytes()[:20], (root / "file").exists()


@row("rename")
def rename_refusals(root: Path) -> Any:
    (root / "empty").mkdir()
    return [
        failing(os.rename, root / "none", root / "x"),
        failing(os.rename, root / "file", root / "folder"),
        failing(os.rename, root / "folder", root / "file"),
        failing(os.rename, root / "empty", root / "folder"),
        failing(os.rename, root / "folder", root / "folder/inner"),
        failing(os.rename, root / "file", root / "none/x"),
        failing(os.rename, root / "file", root / ("r" * 256)),
    ]


@row("rename")
def rename_onto_itself_and_its_link(root: Path) -> Any:
    os.rename(root / "file", root / "file")
    os.link(root / "file", root / "twin")
    os.rename(root / "file", root / "twin")
    return facts(root / "file"), facts(root / "twin")


@row("rename", "stat")
def rename_folders(root: Path) -> Any:
    number = (root / "folder").stat().st_ino
    os.rename(root / "folder", root / "moved")
    (root / "empty").mkdir()
    os.rename(root / "moved", root / "empty")
    same = (root / "empty").stat().st_ino == number
    return same, (root / "empty/inside").read_bytes(), sorted(os.listdir(root))


@row("rename")
def rename_without_replacing(root: Path) -> Any:
    return failing(rename_flags, root / "file", root / "big", 1), failing(rename_flags, root / "file", root / "new", 1)


@row("rename")
def rename_with_unknown_flags(root: Path) -> Any:
    return failing(rename_flags, root / "file", root / "new", 1 | 2)


@row("rename", "link", "stat")
def replaced_link_loses_a_count(root: Path) -> Any:
    os.link(root / "file", root / "keeps")
    (root / "next").write_bytes(b"next")
    before = facts(root / "keeps")
    os.rename(root / "next", root / "file")
    return before, facts(root / "keeps")


@row("rename", user=USER)
def rename_forbidden(root: Path) -> Any:
    return failing(os.rename, root / "file", root / "open/stolen"), failing(
        os.rename, root / "open/roots", root / "open/x"
    )


# Attributes.


@row("chmod")
def change_modes(root: Path) -> Any:
    modes = []
    for mode in (0o000, 0o777, 0o4711, 0o2711, 0o1755):
        (root / "file").chmod(mode)
        (root / "folder").chmod(mode)
        modes.append((facts(root / "file"), facts(root / "folder")))
    return modes, failing(os.chmod, root / "none", 0)


@row("chmod", "chown", "utime", user=USER)
def change_attributes_forbidden(root: Path) -> Any:
    return [
        failing(os.chmod, root / "file", 0o777),
        failing(os.chown, root / "file", USER, -1),
        failing(os.utime, root / "file", ns=(1, 2)),
        failing(os.utime, root / "file"),
    ]


@row("chmod", "chown", user=USER)
def change_own_attributes(root: Path) -> Any:
    path = root / "open/mine"
    path.write_bytes(b"x")
    path.chmod(0o6755)
    first = facts(path)
    os.chown(path, -1, GROUP)
    return first, facts(path), failing(os.chown, path, 0, -1)


@row("chown")
def change_owners(root: Path) -> Any:
    os.chown(root / "file", 7, 8)
    os.chown(root / "folder", -1, 9)
    os.lchown(root / "symlink", 10, 11)
    return facts(root / "file"), facts(root / "folder"), facts(root / "symlink")


@row("write", "chmod", user=USER)
def writing_clears_setuid(root: Path) -> Any:
    before = facts(root / "open/setuid")
    with open(root / "open/setuid", "r+b", buffering=0) as file:
        file.write(b"!")
    return before[0], facts(root / "open/setuid")[0]


@row("utime", "futime", "stat")
def set_times(root: Path) -> Any:
    os.utime(root / "file", ns=(1_000_000_001, 2_000_000_002))
    os.utime(root / "folder", ns=(3, 4_000_000_000_000_000_005))
    os.utime(root / "symlink", ns=(5, 6), follow_symlinks=False)
    with open(root / "big", "rb") as file:
        os.utime(file.fileno(), ns=(-1_000_000_000, 999_999_999))
    stats = [(root / name).lstat() for name in ("file", "folder", "symlink", "big")]
    return [(st.st_atime_ns, st.st_mtime_ns) for st in stats]


@row("utime")
def set_times_by_touch(root: Path) -> Any:
    os.utime(root / "file", ns=(1, 2))
    subprocess.run(["touch", "-a", "-d", "@5", root / "file"], check=True)
    kept = (root / "file").stat()
    subprocess.run(["touch", "-m", root / "file"], check=True)
    now = (root / "file").stat()
    return kept.st_atime_ns, kept.st_mtime_ns, now.st_atime_ns, now.st_mtime_ns > 10**18


@row("utime", "write")
def writing_moves_times(root: Path) -> Any:
    os.utime(root / "file", ns=(1, 2))
    (root / "file").write_bytes(b"new")
    os.utime(root / "folder", ns=(1, 2))
    (root / "folder/new").touch()
    return (root / "file").stat().st_mtime_ns > 10**18, (root / "folder").stat().st_mtime_ns > 10**18


@row("setxattr", "getxattr", "listxattr", "removexattr")
def extended_attributes(root: Path) -> Any:
    path = root / "file"
    os.setxattr(path, "user.one", b"1")
    os.setxattr(path, "user.two", b"\0\xff" * 500)
    results = [sorted(os.listxattr(path)), os.getxattr(path, "user.one"), len(os.getxattr(path, "user.two"))]
    results += [failing(os.setxattr, path, "user.one", b"x", os.XATTR_CREATE)]
    results += [failing(os.setxattr, path, "user.none", b"x", os.XATTR_REPLACE)]
    os.removexattr(path, "user.one")
    results += [failing(os.getxattr, path, "user.one"), failing(os.removexattr, path, "user.one")]
    os.setxattr(root / "folder", "user.f", b"folder")
    return results, os.getxattr(root / "folder", "user.f"), failing(os.setxattr, root / "none", "user.x", b"")


@row("setxattr", "getxattr")
def trusted_attributes(root: Path) -> Any:
    os.setxattr(root / "file", "trusted.t", b"root only")
    return os.getxattr(root / "file", "trusted.t")


@row("setxattr", user=USER)
def extended_attributes_forbidden(root: Path) -> Any:
    return failing(os.setxattr, root / "file", "user.x", b"x"), failing(os.getxattr, root / "private", "user.x")


@row("space")
def room_is_plausible(root: Path) -> Any:
    st = os.statvfs(root)
    return st.f_namemax, st.f_blocks >= st.f_bfree >= st.f_bavail > 0, st.f_files >= st.f_ffree > 0


@row("stat")
def access_checks(root: Path) -> Any:
    return [os.access(root / name, os.W_OK) for name in ("file", "folder", "private", "none")]


@row("stat", user=USER)
def access_checks_as_user(root: Path) -> Any:
    return [os.access(root / n, m) for n in ("file", "private", "open") for m in (os.R_OK, os.W_OK, os.X_OK)]


@row("create", "rename", "write", "utime", "chmod", "symlink", "link")
def copy_with_everything(root: Path) -> Any:
    os.setxattr(root / "folder/inside", "user.kept", b"yes")
    os.link(root / "folder/inside", root / "folder/inside2")
    subprocess.run(["cp", "-a", root / "folder", root / "copy"], check=True)
    copied = (root / "copy/inside").stat(), (root / "folder/inside").stat()
    linked = (root / "copy/inside").stat().st_ino == (root / "copy/inside2").stat().st_ino
    times = copied[0].st_mtime_ns == copied[1].st_mtime_ns
    return linked, times, os.getxattr(root / "copy/inside", "user.kept"), sorted(os.listdir(root / "copy"))


# Running them.


def furnish(root: Path, found: bool = True) -> None:
    """What each row finds; without `found`, only what cannot be remote."""
    if found:
        (root / "file").write_bytes(b"small\n")
        (root / "big").write_bytes(bytes(range(251)) * 9000)
        (root / "folder").mkdir()
        (root / "folder/inside").write_bytes(b"inside me")
        (root / "private").write_bytes(b"secret ones")
        (root / "private").chmod(0o600)
    (root / "symlink").symlink_to("file")
    (root / "open").mkdir()
    (root / "open").chmod(0o1777)
    (root / "open/roots").write_bytes(b"owned by root")
    (root / "open/setuid").write_bytes(b"program")
    (root / "open/setuid").chmod(0o6777)


def snapshot(root: Path, hashed: int = 1 << 30) -> dict[str, Any]:
    """Everything below `root` that two trees can be compared by; contents of files up to `hashed` bytes."""
    found: dict[str, Any] = {}
    groups: dict[int, list[str]] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in [*folders, *files]:
            path = Path(os.fsdecode(os.path.join(folder, name)))
            relative = str(path.relative_to(root))
            st = path.lstat()
            found[relative] = (*facts(path), content(path, st, hashed))
            groups.setdefault(st.st_ino, []).append(relative)
    found["link groups"] = sorted(sorted(group) for group in groups.values() if len(group) > 1)
    return found


def content(path: Path, st: os.stat_result, hashed: int) -> Any:
    if stat.S_ISLNK(st.st_mode):
        return os.readlink(path)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
    xattrs = sorted((name, os.getxattr(path, name)) for name in names)
    readable = stat.S_ISREG(st.st_mode) and st.st_size <= hashed
    return xattrs, hashlib.sha1(path.read_bytes()).hexdigest() if readable else None


def outcome(act: Act, root: Path, user: int) -> Any:
    """What a row answers, run in a child of its own as `user`."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.umask(0o022)
            if user:
                os.setgroups([GROUP])
                os.setgid(user)
                os.setuid(user)
            result: Any = ("value", act(root))
        except OSError as cause:
            result = ("errno", errno.errorcode[cause.errno or 0])
        except BaseException as cause:
            result = ("bug", repr(cause))
        os.write(writer, pickle.dumps(result))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


def compare(name: str, tree: Path, plain: Path, hashed: int = 1 << 30) -> None:
    """Run row `name` in both folders; `hashed`: contents of files up to so many bytes are compared."""
    case = ROWS[name]
    expected, found = (outcome(case.act, root, case.user) for root in (plain, tree))
    assert expected[0] != "bug", expected
    assert found == expected
    assert snapshot(tree, hashed) == snapshot(plain, hashed)
