"""The order of fsync and commit, as the kernel sees it: what a power cut may leave behind follows from that alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MakeMount
from mounting import Mounted, wait_for
from traced import Call, Request, requests, tracing

from debrid.simulator import Simulator

pytestmark = pytest.mark.mount

COMPLETE = "torrents/complete"
LOG = "names.db-wal"
CHANGES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir")
SYNCS = ("fsync", "fdatasync")


@pytest.fixture
def tree(make_mount: MakeMount) -> Iterator[Mounted]:
    """lib/ on three drives and in the remote names, lib/film on two drives, in/new on the third."""
    with Simulator() as simulator:
        simulator.add_torrent("Film", {"/film.mkv": b"remote", "/other.mkv": b"another"})
        tree = make_mount()
        tree.under = tracing(tree.base / "trace")
        tree.write_config(debrid=f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1')
        for drive, path in ((0, "lib/film"), (1, "lib/film"), (2, "in/new"), (2, "lib/third"), (1, "empty/x")):
            file = tree.drive_paths[drive] / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{drive} {path}")
        (tree.drive_paths[1] / "empty/x").unlink()
        tree.start()
        wait_for((tree.path / COMPLETE / "Film/film.mkv").exists, "the torrent")
        os.rename(tree.path / COMPLETE / "Film/film.mkv", tree.path / "lib/remote")
        yield tree


def replace_on_another_drive(path: Path) -> None:
    os.rename(path / "in/new", path / "lib/film")


def rename_a_folder_on_all_branches(path: Path) -> None:
    os.rename(path / "lib", path / "moved")


def replace_an_empty_folder_elsewhere(path: Path) -> None:
    os.rename(path / "in", path / "empty")


def replace_a_remote_name(path: Path) -> None:
    os.rename(path / "in/new", path / "lib/remote")


def remote_replaces_local(path: Path) -> None:
    os.rename(path / "lib/remote", path / "lib/film")


INTENTS: list[Callable[[Path], None]] = [
    replace_on_another_drive,
    rename_a_folder_on_all_branches,
    replace_an_empty_folder_elsewhere,
    replace_a_remote_name,
    remote_replaces_local,
]


def answered(tree: Mounted, kind: str) -> list[Request]:
    tree.stop()
    return [request for request in requests(tree.base / "trace") if request.kind == kind]


def is_log(call: Call, *names: str) -> bool:
    return call.name in names and call.on(LOG)


def touched(tree: Mounted, call: Call) -> list[str]:
    """The folders of drives that a call changes."""
    drives = tuple(f"{drive}" for drive in tree.drive_paths)
    return [path for path in call.paths if path.startswith(drives)] if call.name in CHANGES else []


@pytest.mark.parametrize("act", INTENTS, ids=lambda act: act.__name__)
def test_an_intent_is_on_disk_before_its_first_step_and_its_steps_before_its_end(
    tree: Mounted, act: Callable[[Path], None]
) -> None:
    act(tree.path)
    calls = answered(tree, "rename")[-1].calls
    steps = [index for index, call in enumerate(calls) if touched(tree, call)]
    records = [index for index, call in enumerate(calls) if is_log(call, "pwrite64")]
    syncs = [index for index, call in enumerate(calls) if is_log(call, *SYNCS)]
    assert steps, calls
    begun = max(index for index in records if index < steps[0])
    assert any(begun < index < steps[0] for index in syncs), "the first step before the record is on disk"
    ended = min(index for index in records if index > steps[-1])
    assert not [index for index in records if steps[0] < index < ended]
    for index in steps:
        for folder in touched(tree, calls[index]):
            later = [call for call in calls[index:ended] if call.name == "fsync" and call.paths == [folder]]
            assert later, f"{folder} may not be on disk when the record goes"
    assert syncs[-1] > records[-1], "the end is on disk before the reply"


def link(path: Path) -> None:
    os.link(path / "lib/remote", path / "lib/linked")


def rename(path: Path) -> None:
    os.rename(path / "lib/remote", path / "lib/renamed")


def unlink(path: Path) -> None:
    os.unlink(path / "lib/remote")


@pytest.mark.parametrize("act", [link, rename, unlink], ids=lambda act: act.__name__)
def test_fsync_of_a_folder_writes_its_remote_names_out(tree: Mounted, act: Callable[[Path], None]) -> None:
    act(tree.path)
    folder = os.open(tree.path / "lib", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
    (request,) = answered(tree, "fsyncdir")
    written_out(request)
    for drive in tree.drive_paths:
        assert any(call.name == "fsync" and call.paths == [str(drive / "lib")] for call in request.calls)


def test_fsync_of_a_remote_file_writes_its_attributes_out(tree: Mounted) -> None:
    file = os.open(tree.path / "lib/remote", os.O_RDONLY)
    os.fchmod(file, 0o600)
    os.fsync(file)
    os.close(file)
    (request,) = answered(tree, "fsync")
    written_out(request)


def written_out(request: Request) -> None:
    """Something is committed with a sync of the log: that one covers every commit before it."""
    logged = [call.name for call in request.calls if call.on(LOG)]
    assert "pwrite64" in logged and logged[-1] in SYNCS, request.calls


def test_local_work_of_one_drive_leaves_the_database_alone(tree: Mounted) -> None:
    (tree.path / "in/more").write_text("x")
    os.rename(tree.path / "in/new", tree.path / "in/renamed")
    os.link(tree.path / "in/renamed", tree.path / "in/second")
    os.unlink(tree.path / "in/second")
    tree.stop()
    found = requests(tree.base / "trace")
    begin = max(index for index, request in enumerate(found) if request.kind == "rename")
    assert not [call for request in found[begin:] for call in request.calls if call.on(LOG)]
