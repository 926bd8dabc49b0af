"""Files that the kernel reads by itself: that it does, and that nobody can tell by anything but the speed.

The rest of the tests of mounts runs with passthrough and without; see scripts/test.
"""

import errno
import json
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for

pytestmark = pytest.mark.mount

MIB = 1 << 20
DATA = Random(1).randbytes(3 * MIB)


def status(tree: Mounted) -> dict[str, dict[str, int]]:
    answer: dict[str, dict[str, int]] = json.loads(tree.command("status", "--json").stdout)
    return answer


def reads(tree: Mounted) -> int:
    return status(tree)["requests"]["reads"]


def started(tree: Mounted) -> Mounted:
    """The tree mounted, passing reads through; where that cannot be, CI fails and people are told."""
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = "auto"
    tree.start()
    passthrough = status(tree)["passthrough"]
    if not passthrough["on"]:
        reason = f"no passthrough here: {passthrough['why']}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return tree


@pytest.fixture(params=["0", "1PiB"], ids=["writers too", "readers only"])
def tree(make_mount: MakeMount, request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """With room for the kernel to write by itself, and without."""
    tree = make_mount(drives=2)
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH_ROOM"] = request.param
    started(tree)
    (tree.path / "file").write_bytes(DATA)
    yield tree
    tree.stop()


def settled(tree: Mounted) -> None:
    """Wait until everything closed so far is released."""
    wait_for(lambda: status(tree)["requests"]["open"] == 0, "the release of what was open")


def test_the_daemon_reads_nothing(tree: Mounted) -> None:
    settled(tree)
    before = reads(tree)
    assert (tree.path / "file").read_bytes() == DATA
    with (tree.path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[MIB : MIB + 10] == DATA[MIB : MIB + 10]
    assert reads(tree) == before


def test_without_it_the_daemon_does_and_says_why(make_mount: MakeMount) -> None:
    tree = make_mount(drives=1)
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH"] = "off"
    tree.start()
    (tree.path / "file").write_bytes(DATA)
    assert (tree.path / "file").read_bytes() == DATA and reads(tree) > 0
    assert "turned off by [mount] passthrough" in tree.command("status").stdout


def test_a_writer_after_a_reader(tree: Mounted) -> None:
    """Both see every byte at once, sizes too."""
    settled(tree)
    with (
        (tree.path / "file").open("rb", buffering=0) as reader,
        (tree.path / "file").open("r+b", buffering=0) as writer,
    ):
        mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
        for round in range(5):
            os.pwrite(writer.fileno(), b"%d" % round * 100, round * MIB // 2)
            assert os.pread(reader.fileno(), 100, round * MIB // 2) == b"%d" % round * 100
            assert mapped[round * MIB // 2 :][:100] == b"%d" % round * 100
            assert os.pread(writer.fileno(), 100, round * MIB // 2) == b"%d" % round * 100
        mapped.close()
        writer.truncate(10)
        assert os.fstat(reader.fileno()).st_size == 10 and os.pread(reader.fileno(), 100, 0) == b"0" * 10
        os.pwrite(writer.fileno(), b"end", len(DATA))
        assert os.fstat(reader.fileno()).st_size == len(DATA) + 3
        assert os.pread(reader.fileno(), 100, len(DATA)) == b"end"
    with (tree.path / "file").open("ab") as writer:
        writer.write(b"more")
    assert (tree.path / "file").read_bytes().endswith(b"endmore")


def test_a_reader_after_a_writer(tree: Mounted) -> None:
    with (
        (tree.path / "file").open("r+b", buffering=0) as writer,
        (tree.path / "file").open("rb", buffering=0) as reader,
    ):
        assert reader.read(10) == DATA[:10]
        writer.write(b"changed")
        assert os.pread(reader.fileno(), 10, 0) == b"changed" + DATA[7:10]
    settled(tree)
    before = reads(tree)
    assert (tree.path / "file").read_bytes() == b"changed" + DATA[7:]
    assert reads(tree) == before, "idle once, so the kernel reads it by itself"


def test_a_writer_with_room_is_passed_through_unless_there_are_two_names(make_mount: MakeMount) -> None:
    tree = make_mount(drives=1)
    tree.environment["MEDIAPOOL_MOUNT__PASSTHROUGH_ROOM"] = "0"
    started(tree)
    with (tree.path / "file").open("w+b", buffering=0) as writer:
        writer.write(DATA)
        writer.seek(0)
        assert writer.read() == DATA and os.fstat(writer.fileno()).st_size == len(DATA)
    assert reads(tree) == 0
    os.link(tree.path / "file", tree.path / "second")
    settled(tree)
    with (tree.path / "file").open("r+b", buffering=0) as writer:
        assert writer.read() == DATA
        writer.write(b"longer")
        assert (tree.path / "second").stat().st_size == len(DATA) + 6
    assert reads(tree) > 0


@pytest.mark.parametrize("first", ["rb", "r+b"])
def test_mapped_writers(tree: Mounted, first: str) -> None:
    """Stores through a mapping reach the file, whoever was first."""
    settled(tree)
    with (tree.path / "file").open(first) as _, (tree.path / "file").open("r+b", buffering=0) as writer:
        with mmap.mmap(writer.fileno(), 0) as mapped:
            mapped[MIB : MIB + 6] = b"mapped"
            mapped.flush()
        assert os.pread(writer.fileno(), 6, MIB) == b"mapped"
    assert (tree.path / "file").read_bytes() == DATA[:MIB] + b"mapped" + DATA[MIB + 6 :]


def test_names_change_while_it_is_read(tree: Mounted) -> None:
    root = tree.path
    (root / "folder").mkdir()
    (root / "folder/other").write_bytes(b"other")
    settled(tree)
    with (root / "file").open("rb", buffering=0) as file, (root / "folder/other").open("rb", buffering=0) as other:
        (root / "file").rename(root / "folder/moved")
        (root / "folder").rename(root / "renamed")
        assert os.pread(file.fileno(), 5, 7) == DATA[7:12]
        assert (root / "renamed/moved").read_bytes() == DATA and (root / "renamed/other").read_bytes() == b"other"
        (root / "file").write_bytes(b"a new one")
        assert (root / "file").read_bytes() == b"a new one"
        os.replace(root / "file", root / "renamed/moved")
        assert (root / "renamed/moved").read_bytes() == b"a new one"
        assert os.pread(file.fileno(), 5, 7) == DATA[7:12]
        (root / "renamed/other").unlink()
        assert other.read() == b"other" and os.fstat(other.fileno()).st_nlink == 0


def test_two_names_are_read_and_written(tree: Mounted) -> None:
    os.link(tree.path / "file", tree.path / "second")
    settled(tree)
    with (tree.path / "file").open("rb", buffering=0) as reader, (tree.path / "second").open("r+b") as writer:
        writer.write(b"by the other name")
        writer.flush()
        assert reader.read(17) == b"by the other name"
    assert (tree.path / "second").read_bytes() == (tree.path / "file").read_bytes()


def test_a_file_replaced_on_the_drive_while_it_is_read(tree: Mounted) -> None:
    """Past the tree, as by a backup that is played back: who opens it now sees the new bytes."""
    drive = next(path for path in tree.drive_paths if (path / "file").exists())
    settled(tree)
    with (tree.path / "file").open("rb", buffering=0) as old:
        (drive / "new").write_bytes(b"replaced")
        (drive / "new").rename(drive / "file")
        wait_for(lambda: (tree.path / "file").stat().st_size == 8, "the new size")
        assert (tree.path / "file").read_bytes() == b"replaced"
        assert os.pread(old.fileno(), 5, 0) == DATA[:5]


def test_many_open_and_close_at_once(tree: Mounted) -> None:
    failures: list[object] = []

    def work(seed: int) -> None:
        random = Random(seed)
        try:
            for _ in range(60):
                mode = random.choice(["rb", "rb", "r+b"])
                with (tree.path / "file").open(mode, buffering=0) as file:
                    at = random.randrange(len(DATA) - 100)
                    if mode == "r+b":
                        os.pwrite(file.fileno(), DATA[at : at + 100], at)
                    if os.pread(file.fileno(), 100, at) != DATA[at : at + 100]:
                        failures.append(at)
        except OSError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert (tree.path / "file").read_bytes() == DATA


def test_it_stays_on_its_drive_while_the_kernel_reads_it(make_mount: MakeMount) -> None:
    """A full drive is the writer's error then; once the reader is gone the file moves, and is passed through again."""
    tree = make_mount(drives=2)
    for path, size in zip(tree.drive_paths, (8, 40), strict=True):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)], check=True)
    try:
        started(tree)
        full, name = tree.drive_paths[0] / "file", tree.path / "file"
        full.write_bytes(DATA)
        with name.open("rb") as reader, pytest.raises(OSError) as failed:
            append(name, bytes(10 * MIB))
        assert failed.value.errno == errno.ENOSPC and full.exists() and reader.closed
        settled(tree)
        append(name, bytes(10 * MIB))
        settled(tree)
        assert not full.exists() and name.read_bytes()[: len(DATA)] == DATA
        before = reads(tree)
        name.read_bytes()
        assert reads(tree) == before
        tree.stop()
    finally:
        for path in tree.drive_paths:
            subprocess.run(["umount", "-l", str(path)], check=True)


def append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        for at in range(0, len(data), MIB):
            file.write(data[at : at + MIB])
