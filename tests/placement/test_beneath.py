"""Nothing reached through a Root lies outside of it, and both ways of resolving a path agree."""

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from placement import beneath
from placement.beneath import RENAME_EXCHANGE, RENAME_NOREPLACE, Resolver, Root, birth_time_ns, renameat2

resolvers = pytest.mark.parametrize("resolve", [beneath.openat2, beneath.walk])


@contextlib.contextmanager
def fails(code: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:
        yield
    assert errno.errorcode[caught.value.errno] == errno.errorcode[code]


def inode(root: Root, rel: str) -> int:
    with root.parent(rel) as (dirfd, name):
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_ino


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    (top / "up").symlink_to("../outside")
    (top / "absolute").symlink_to(tmp_path / "outside")
    (top / "within").symlink_to("a")
    (top / "loop").symlink_to("loop")
    return top


@resolvers
def test_finds_what_is_there(tree: Path, resolve: Resolver) -> None:
    with Root(tree, resolve) as root:
        for rel in ("", "a", "a/b", "a/b/file", "up"):
            assert inode(root, rel) == os.lstat(tree / rel).st_ino
        with root.parent("") as (_, name):
            assert name == "."


@resolvers
@pytest.mark.parametrize("rel", ["..", "../outside/file", "a/../../outside/file", "a/..", "/etc/passwd", "/"])
def test_dots_and_absolute_paths_are_refused(tree: Path, resolve: Resolver, rel: str) -> None:
    with Root(tree, resolve) as root, fails(errno.EXDEV), root.parent(rel):
        pass


@resolvers
@pytest.mark.parametrize("rel", ["up/file", "absolute/file", "within/b", "loop/x", "a/b/file/x"])
def test_links_and_files_in_the_middle_are_no_directories(tree: Path, resolve: Resolver, rel: str) -> None:
    with Root(tree, resolve) as root, fails(errno.ENOTDIR), root.parent(rel):
        pass


def test_what_is_surely_not_there(tree: Path) -> None:
    long = "/".join(["x" * 200] * 30)
    with Root(tree) as root:
        for rel, kind in (
            ("a/none", FileNotFoundError),
            ("none/f", FileNotFoundError),
            ("a/b/file/g", NotADirectoryError),
        ):
            with pytest.raises(kind):
                root.must_exist(rel)
        # What is there, and what only the long way tells.
        for rel in ("a/b/file", "a", "within/b", "../none", long, "a\0b"):
            root.must_exist(rel)


@resolvers
def test_open_dir_opens_neither_a_link_nor_a_file(tree: Path, resolve: Resolver) -> None:
    with Root(tree, resolve) as root:
        fd = root.open_dir("a/b")
        assert os.listdir(fd) == ["file"]
        os.close(fd)
        for rel in ("up", "a/b/file"):
            with fails(errno.ENOTDIR):
                root.open_dir(rel)
        with fails(errno.ENOENT):
            root.open_dir("gone")


@resolvers
def test_malformed_and_long_names(tree: Path, resolve: Resolver) -> None:
    with Root(tree, resolve) as root:
        for rel in ("a\0b", "a/b\0", "a/"):
            with fails(errno.EINVAL), root.parent(rel):
                pass
        for rel in ("x" * 256, "a/" + "x" * 256, "x" * 5000, "x" * 256 + "/a", "x" * 5000 + "/a"):
            with fails(errno.ENAMETOOLONG):
                inode(root, rel)
        with fails(errno.ENOENT):
            inode(root, "gone/" + "x" * 256)


def test_names_that_are_no_text(tree: Path) -> None:
    raw = b"a/\xff\xfe"
    Path(os.fsdecode(os.fsencode(tree) + b"/" + raw)).mkdir()
    with Root(tree) as root:
        assert inode(root, os.fsdecode(raw)) == os.stat(os.fsencode(tree) + b"/" + raw).st_ino


@resolvers
def test_paths_longer_than_the_kernel_takes(tmp_path: Path, resolve: Resolver) -> None:
    component = "n" * 250
    with Root(tmp_path, resolve) as root:
        rel = ""
        while len(rel) < 3 * beneath.PATH_MAX:
            rel = f"{rel}/{component}" if rel else component
            with root.parent(rel) as (dirfd, name):
                os.mkdir(name, dir_fd=dirfd)
        with root.parent(rel + "/file") as (dirfd, name):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=dirfd))
        assert inode(root, rel + "/file")
        fd = root.open_dir(rel)
        assert os.listdir(fd) == ["file"]
        os.close(fd)
        with fails(errno.ENOENT):
            inode(root, rel + "/gone/file")
    # pytest could not clean this up by its path either.
    subprocess.run(["rm", "-rf", str(tmp_path / component)], check=True)


@resolvers
@pytest.mark.parametrize("length", range(beneath.PATH_MAX - 3, beneath.PATH_MAX + 3))
def test_every_length_about_the_limit(tmp_path: Path, resolve: Resolver, length: int) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").touch()
    rel = "d" + "/" * length
    with Root(tmp_path, resolve) as root:
        assert inode(root, rel + "x") == os.stat(tmp_path / "d/x").st_ino
        with fails(errno.ENOENT):
            inode(root, rel + "y")


def _outcome(root: Root, rel: str) -> tuple[str, int | str]:
    try:
        with root.parent(rel) as (dirfd, name):
            return name, os.fstat(dirfd).st_ino
    except OSError as error:
        return "error", errno.errorcode[error.errno]


@pytest.fixture(scope="module")
def fixed_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "top"
        (top / "d/d/d").mkdir(parents=True)
        (top / "d/f").touch()
        (top / "f").touch()
        for place in (top, top / "d", top / "d/d"):
            (place / "up").symlink_to("../..")
            (place / "here").symlink_to(".")
            (place / "dead").symlink_to("nowhere")
        yield top


COMPONENTS = ["d", "f", "up", "here", "dead", "gone", "", ".", "..", "x" * 255, "x" * 256]


@given(st.lists(st.sampled_from(COMPONENTS), max_size=30).map("/".join))
@example("/".join(["d"] * 3000))
@example("d/" + "./" * 4000 + "d")
@settings(deadline=None, max_examples=300)
def test_the_walk_answers_as_openat2(fixed_tree: Path, rel: str) -> None:
    with Root(fixed_tree, beneath.openat2) as kernel, Root(fixed_tree, beneath.walk) as walk:
        assert _outcome(kernel, rel) == _outcome(walk, rel)


@resolvers
def test_a_directory_swapped_for_a_link_never_leads_out(tree: Path, resolve: Resolver) -> None:
    outside = os.stat(tree.parent / "outside/file").st_ino
    (tree / "trap").symlink_to("../outside")
    (tree / "a/file").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        top = os.open(tree, os.O_RDONLY)
        while not stop.is_set():
            renameat2(top, "a", top, "trap", RENAME_EXCHANGE)
        os.close(top)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        with Root(tree, resolve) as root:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                try:
                    seen.add(inode(root, "a/file"))
                except NotADirectoryError:
                    seen.add(0)
    finally:
        stop.set()
        swapper.join()
    assert len(seen) == 2 and outside not in seen


def test_a_mount_inside_is_crossed(tree: Path) -> None:
    if os.geteuid():
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tree / "a/b")], check=True)
    try:
        (tree / "a/b/mounted").touch()
        with Root(tree) as root:
            assert inode(root, "a/b/mounted") == os.stat(tree / "a/b/mounted").st_ino
    finally:
        subprocess.run(["umount", str(tree / "a/b")], check=True)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_openat2_paths_are_walked(tree: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def missing(*_: object) -> int:
        beneath.ctypes.set_errno(code)
        return -1

    beneath.resolver.cache_clear()
    monkeypatch.setattr(beneath, "_syscall", missing)
    try:
        assert beneath.resolver() is beneath.walk
        with Root(tree) as root:
            assert inode(root, "a/b/file") == os.stat(tree / "a/b/file").st_ino
    finally:
        beneath.resolver.cache_clear()


def test_this_kernel_has_openat2() -> None:
    assert beneath.resolver() is beneath.openat2


def test_a_dropped_root_stays_open_for_whoever_is_inside(tree: Path) -> None:
    root = Root(tree)
    with root.parent("a") as (dirfd, name):
        number = dirfd
        del root
        assert os.stat(name, dir_fd=dirfd).st_ino == os.stat(tree / "a").st_ino
    with fails(errno.EBADF):
        os.fstat(number)


def test_close_may_be_repeated(tree: Path) -> None:
    root = Root(tree)
    root.close()
    root.close()


def test_rename_flags(tree: Path) -> None:
    with Root(tree) as root, root.parent("a/b") as (one, b), root.parent("new") as (other, new):
        renameat2(one, b, other, new)
        assert (tree / "new/file").read_text() == "inside"
        with fails(errno.EEXIST):
            renameat2(other, "new", other, "a", RENAME_NOREPLACE)
        renameat2(other, "new", other, "a", RENAME_EXCHANGE)
        assert (tree / "a/file").read_text() == "inside"
        with fails(errno.ENOENT):
            renameat2(other, "gone", other, "x", RENAME_NOREPLACE)
        with fails(errno.EINVAL):
            renameat2(other, "a\0", other, "x", RENAME_NOREPLACE)


def test_birth_time(tree: Path) -> None:
    before = time.time_ns()
    (tree / "young").touch()
    os.utime(tree / "young", (1, 1))
    with Root(tree) as root, root.parent("young") as (dirfd, name):
        born = birth_time_ns(dirfd, name)
        if born is None:
            pytest.skip("this filesystem records no birth times")
        # Filesystems stamp with the clock of the last tick.
        assert before - 20_000_000 <= born <= time.time_ns()
        fd = os.open(name, os.O_RDONLY, dir_fd=dirfd)
        assert birth_time_ns(fd, "") == born
        os.close(fd)
        assert birth_time_ns(dirfd, "loop") is not None, "a link is not followed"
        with fails(errno.ENOENT):
            birth_time_ns(dirfd, "gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_whole_filesystem_is_told_from_a_folder_of_one(tmp_path: Path) -> None:
    mounted, bound = tmp_path / "a disk", tmp_path / "bound"
    mounted.mkdir()
    bound.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)], check=True)
    try:
        (mounted / "folder").mkdir()
        subprocess.run(["mount", "--bind", str(mounted / "folder"), str(bound)], check=True)
        try:
            for path, whole in ((mounted, True), (mounted / "folder", False), (bound, False)):
                with Root(path) as root:
                    assert root.is_whole_filesystem() is whole
        finally:
            subprocess.run(["umount", str(bound)], check=True)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_the_module_is_importable_where_the_c_library_has_nothing() -> None:
    program = "import ctypes; ctypes.CDLL = lambda *a, **k: object(); import placement.beneath as b; "
    program += "assert b.birth_time_ns(0, 'x') is None"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
