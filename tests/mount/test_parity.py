"""The mount answers as a plain folder does: each row makes the same calls on both and compares what comes back.

Three columns: files on drives; the same with a hidden copy of each on another drive; and remote files in folders that
are merged from remote names and drives. The column for a missing drive is test_missing.py. A verb of `FileSystem`
without a row fails the last test.
"""

import inspect
from collections.abc import Iterator

import pytest
from mounting import Mounted, wait_for
from parity_rows import ROWS, compare, furnish

from debrid.simulator import Simulator
from vfs.filesystem import FileSystem

pytestmark = pytest.mark.mount

# Rows that write into the files they find, which for remote files is EROFS by design; test_remote_names.py looks at
# that.
WRITE_INTO_FILES = {
    "allocate_keeping_size_and_punching",
    "changes_by_descriptor_show_under_every_name",
    "changes_show_under_every_name",
    "create_without_excl_opens",
    "lock_ranges",
    "lock_whole_file",
    "map_shared_memory",
    "open_appending",
    "open_sync",
    "open_truncating",
    "sizes_during_a_listing_show",
    "truncate_by_descriptor",
    "truncate_by_path",
    "unlink_while_open",
    "write_beyond_the_end",
    "write_through_one_name_read_through_the_other",
    "write_through_two_descriptors",
    "writing_moves_times",
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """An account with one torrent: a folder for each row, with the files that rows find."""
    files: dict[str, bytes] = {}
    for name in ROWS:
        for path, data in FOUND.items():
            files[f"/{name}/{path}"] = data
    with Simulator() as simulator:
        simulator.add_torrent("All", files, rar=False)
        yield simulator


FOUND = {"file": b"small\n", "big": bytes(range(251)) * 9000, "folder/inside": b"inside me", "private": b"secret ones"}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Mounted]:
    base = tmp_path_factory.mktemp("parity")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(0o755)
    mount = Mounted(base)
    mount.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
    mount.start()
    yield mount
    mount.stop()


@pytest.mark.parametrize("name", ROWS)
def test_files_on_drives(name: str, mounted: Mounted) -> None:
    plain, tree = mounted.base / "plain" / name, mounted.path / name
    for root in (plain, tree):
        root.mkdir(parents=True)
        furnish(root)
    compare(name, tree, plain)


@pytest.mark.parametrize("name", ROWS)
def test_files_with_a_hidden_copy_on_another_drive(name: str, mounted: Mounted) -> None:
    plain, tree = mounted.base / "plain-twice" / name, mounted.path / "twice" / name
    for root in (plain, tree):
        root.mkdir(parents=True)
        furnish(root)
    for path in FOUND:
        first = min(
            number for number, drive in enumerate(mounted.drive_paths) if (drive / "twice" / name / path).exists()
        )
        for drive in mounted.drive_paths[first + 1 :]:
            copy = drive / "twice" / name / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"a hidden copy that must never be seen")
    compare(name, tree, plain)


@pytest.mark.parametrize("name", sorted(ROWS.keys() - WRITE_INTO_FILES))
def test_remote_files_in_merged_folders(name: str, mounted: Mounted) -> None:
    plain, tree = mounted.base / "plain-remote" / name, mounted.path / "remote" / name
    plain.mkdir(parents=True)
    furnish(plain)
    source = mounted.path / "torrents/complete/All" / name
    wait_for(source.exists, "the torrent")
    tree.parent.mkdir(exist_ok=True)
    source.rename(tree)
    furnish(tree, found=False)
    for path in FOUND:
        assert not any((drive / "remote" / name / path).exists() for drive in mounted.drive_paths), "not remote"
    (tree / "private").chmod(0o600)
    # Each remote file costs a second of the provider's patience with unrestricting; one of each row is enough.
    compare(name, tree, plain, hashed=len(FOUND["file"]))


def test_every_verb_has_a_row() -> None:
    verbs = {name for name, _ in inspect.getmembers(FileSystem, inspect.isfunction) if not name.startswith("_")}
    rows = set().union(*(case.verbs for case in ROWS.values()))
    assert verbs - {"close"} == rows


def test_the_exceptions_are_rows() -> None:
    assert ROWS.keys() >= WRITE_INTO_FILES
