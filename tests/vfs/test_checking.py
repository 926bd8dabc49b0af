"""What a check of the pool finds, and that mending it loses no byte."""

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from uniting import Pool

from placement.copying import PIECE
from vfs.checking import Check, Finding, Progress
from vfs.mending import Mending
from vfs.namescopies import KEPT
from vfs.planting import NewFile, Owner, make_directories, plant

BIG = bytes(range(256)) * 8192  # two pieces


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    for drive in pool.drives:
        drive.close()
    pool.names.close()


def found(pool: Pool, whole: bool = True, **more: object) -> dict[tuple[str, str], Finding]:
    """Findings by kind and path."""
    check = Check(pool.branches, pool.names, "/data", Progress(**more))  # type: ignore[arg-type]
    return {(one.kind, one.path): one for one in check.run([], [], whole)}


def mend(pool: Pool, finding: Finding) -> str:
    return Mending(pool.union, lambda: None).mend(finding)


def remote(pool: Pool, folder: str, *names: str) -> None:
    make_directories(pool.names, folder.rpartition("/")[0], Owner(0, 0, 0o22))
    files = [NewFile((name,), ("torrent", "a" * 40, name), 10, 5, b"x") for name in names]
    plant(pool.names, f"add:{folder}", folder.rpartition("/")[0], folder.rpartition("/")[2], files, Owner(0, 0, 0o22))


def everything(pool: Pool) -> set[bytes]:
    """All contents on the drives, under whatever name."""
    return {path.read_bytes() for drive in pool.paths for path in drive.rglob("*") if path.is_file()}


def test_a_pool_in_order_has_no_findings(pool: Pool) -> None:
    pool.write("a", "top/one")
    pool.write("b", "top/two")
    remote(pool, "top/three", "film.mkv")
    assert found(pool) == {}


def test_the_same_path_twice_is_told_by_what_the_files_hold(pool: Pool) -> None:
    for drive in "abc":
        pool.write(drive, "same").write_bytes(BIG)
    pool.write("b", "size", "short")
    pool.write("c", "size", "longer")
    pool.write("a", "end").write_bytes(BIG)
    pool.write("b", "end").write_bytes(BIG[:-1] + b"x")
    # Where no sample is taken.
    pool.write("a", "inner").write_bytes(BIG)
    pool.write("b", "inner").write_bytes(BIG[: PIECE // 2] + b"x" + BIG[PIECE // 2 + 1 :])
    one = found(pool, whole=False)
    words = {path: each.compared and each.compared.same for (_, path), each in one.items()}
    assert words == {"same": "alike", "size": "different", "end": "different", "inner": "alike"}
    assert {each.mend for each in one.values() if each.path in ("same", "inner")} == {""}, "samples prove nothing"
    whole = found(pool, whole=True)
    assert {path: each.mend for (_, path), each in whole.items()} == {
        "same": "remove", "size": "rename", "end": "rename", "inner": "rename"
    }  # fmt: skip
    assert (whole["twice", "size"].shown, whole["twice", "size"].hidden) == ("b", "c")


def test_an_identical_hidden_copy_is_removed_and_others_get_a_name(pool: Pool) -> None:
    for drive in "ab":
        pool.write(drive, "top/same.mkv", "equal")
        pool.write(drive, "top/other.mkv", drive)
        (pool.paths["ab".index(drive)] / "link").symlink_to("top/same.mkv")
    before = everything(pool)
    for finding in found(pool).values():
        mend(pool, finding)
    assert everything(pool) == before
    assert pool.everywhere("top/same.mkv") == pool.everywhere("top/other.mkv") == pool.everywhere("link") == "a"
    (renamed,) = (path for path in (pool.paths[1] / "top").iterdir())
    assert renamed.name.startswith("other%+") and renamed.suffix == ".mkv" and renamed.read_text() == "b"
    assert found(pool) == {}


def test_what_changed_since_it_was_compared_is_left_alone(pool: Pool) -> None:
    pool.write("a", "file", "equal")
    hidden = pool.write("b", "file", "equal")
    finding = found(pool)["twice", "file"]
    hidden.write_text("EQUAL")
    with pytest.raises(OSError) as refused:
        mend(pool, finding)
    assert refused.value.errno == errno.EBUSY and hidden.read_text() == "EQUAL"
    finding = found(pool)["twice", "file"]
    (pool.paths[0] / "file").unlink()
    with pytest.raises(OSError):
        mend(pool, finding)
    assert hidden.exists()


def test_one_folder_in_two_places_is_no_second_copy(pool: Pool) -> None:
    """A bind mount or a hard link: removing the one would remove the other."""
    pool.write("a", "top/file", "alone")
    (pool.paths[1] / "top").mkdir()
    subprocess.run(["mount", "--bind", pool.paths[0] / "top", pool.paths[1] / "top"], check=True)
    try:
        finding = found(pool)["twice", "top/file"]
        assert finding.mend == ""
        # Were it not known by its number, as on some network filesystems, it would be noticed in time.
        finding.mend = "remove"
        with pytest.raises(OSError) as refused:
            mend(pool, finding)
        assert refused.value.errno == errno.EXDEV
        assert (pool.paths[0] / "top/file").read_text() == "alone" and len(os.listdir(pool.paths[0] / "top")) == 1
    finally:
        subprocess.run(["umount", pool.paths[1] / "top"], check=True)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_file_where_a_folder_is_gets_another_name(pool: Pool, order: str) -> None:
    pool.write(order[0], "top/thing/inside", "inside")
    pool.write(order[1], "top/thing", "file")
    before = everything(pool)
    (finding,) = found(pool).values()
    assert finding.kind == "clash" and finding.shown == "a" and finding.hidden == "b"
    mend(pool, finding)
    assert found(pool) == {}
    assert everything(pool) == before >= {b"inside", b"file"}


def test_a_remote_name_under_a_local_file_is_found_and_freed(pool: Pool) -> None:
    remote(pool, "top/Show", "e1.mkv", "e2.mkv")
    pool.write("c", "top/Show/e1.mkv", "local")
    pool.write("c", "top/Other")
    remote(pool, "top/Other", "film.mkv")
    findings = found(pool)
    assert {key: one.shown for key, one in findings.items()} == {
        ("shadowed", "top/Show/e1.mkv"): "c", ("clash", "top/Other"): "c"
    }  # fmt: skip
    for finding in findings.values():
        mend(pool, finding)
    assert found(pool) == {} and pool.names.count() == 3
    shown = [name for name, _ in pool.union.entries("top/Show")]
    assert len(shown) == 3 and pool.read("top/Show/e1.mkv") == "local"


def test_odd_names_types_and_links(pool: Pool) -> None:
    top = pool.paths[1]
    (top / "sub").mkdir()
    os.mkfifo(top / "sub/pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        old = os.getcwd()
        os.chdir(top)
        sock.bind("sock")
        os.chdir(old)
    (top / os.fsdecode(b"caf\xe9")).touch()
    (top / "line\nbreak").touch()
    for name, target in {
        "gone": "nothing/there", "here": "sub/pipe", "up": "../../etc/passwd", "through": "mid/pipe", "mid": "sub",
        "past": f"{pool.paths[0]}/x", "tree": "/data/sub/pipe", "treegone": "/data/none", "out": "/etc/hosts",
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    findings = set(found(pool))
    assert findings == {
        ("type", "sub/pipe"), ("type", "sock"), ("name", os.fsdecode(b"caf\xe9")), ("name", "line\nbreak"),
        ("link", "gone"), ("link", "past"), ("link", "treegone"),
    }  # fmt: skip


def test_leftovers_in_the_folder_of_a_drive(pool: Pool) -> None:
    hidden = pool.paths[0] / ".mediapool"
    for name in ("moving", "names", "pinned", "other"):
        (hidden / name).mkdir()
    for name in ("names/x.json", "names/x.db.new", "pinned/content", "identity.json.0123"):
        (hidden / name).touch()
    kept = {path for _, path in found(pool)}
    assert kept == {f"{KEPT}/x.db.new", ".mediapool/other", ".mediapool/identity.json.0123"}
    assert all(not one.mend for one in found(pool).values())


def test_a_missing_drive_is_told_and_links_are_not_judged(pool: Pool) -> None:
    (pool.paths[0] / "gone").symlink_to("nothing")
    pool.write("b", "file")
    pool.write("c", "file")
    shutil.move(pool.paths[2], pool.paths[2].with_suffix(".unplugged"))
    pool.drives[2].check()
    assert set(found(pool)) == {("missing", "")}


def test_a_drive_that_is_read_only_keeps_its_copy(pool: Pool) -> None:
    pool.write("a", "file", "equal")
    hidden = pool.write("b", "file", "equal")
    pool.drives[1].mode = "ro"
    with pytest.raises(OSError) as refused:
        mend(pool, found(pool)["twice", "file"])
    assert refused.value.errno == errno.EROFS and hidden.exists()


def test_a_check_can_be_interrupted(pool: Pool) -> None:
    pool.write("a", "file").write_bytes(BIG)
    pool.write("b", "file").write_bytes(BIG)
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(OSError) as ended:
        list(Check(pool.branches, pool.names, "/data", progress).run([], [], True))
    assert ended.value.errno == errno.ECANCELED
