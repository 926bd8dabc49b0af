"""Each thing that `mediapool doctor` finds is provoked, and what it tells to type clears it."""

import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from provoking import Step, cured, provoke


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two drives, the first of which is a folder for mounts of the test."""
    return write(tmp_path)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that all users get to, which they do not to those of tests: access(2) heeds no capability."""
    with tempfile.TemporaryDirectory(prefix="mediapool-doctor-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def write(base: Path, **sections: str) -> Path:
    """A configuration with these lines in its sections."""
    lines = {
        "mount": f'path = "{base}/tree/data"\nallow_other = true\n',
        "state": f'path = "{base}/state"\n',
        "cache": f'path = "{base}/cache"\nsize = "1MiB"\nmin_free = "1MiB"\n',
        "http": 'listen = "127.0.0.1:0"\n',
        "placement": 'min_free = "1GiB"\n',
    }
    for section, more in sections.items():
        lines[section] += more + "\n"
    for folder in ("tree", "one", "two"):
        (base / folder).mkdir(exist_ok=True)
    drives = "".join(f'[[drive]]\nname = "{name}"\npath = "{base}/{name}"\n' for name in ("one", "two"))
    file = base / "mediapool.toml"
    file.write_text("".join(f"[{section}]\n{text}" for section, text in lines.items()) + drives)
    file.chmod(0o600)
    return file


def added(config: Path, *names: str) -> str:
    """Shell that makes these folders drives, as the first mount does."""
    base = config.parent
    return "true" + "".join(
        f" && mkdir -p -m 700 {base}/{name}/.mediapool && printf '%s' "
        + shlex.quote(json.dumps({"format": 1, "id": f"00000000-0000-4000-8000-00000000000{number}",
                                  "number": number, "name": name}))
        + f" > {base}/{name}/.mediapool/identity.json"
        for number, name in enumerate(names, 1)
    )  # fmt: skip


def image(base: Path, name: str, megabytes: int, place: Path | str, options: str = "", make: str = "") -> str:
    """Shell that mounts a new ext4 filesystem of its own."""
    file = base / f"{name}.image"
    mount = f"mount -o {','.join(filter(None, ('loop', options)))} {file} {place}"
    return f"truncate -s {megabytes}M {file} && mkfs.ext4 -q -F -m 0 {make} {file} && mkdir -p {place} && {mount}"


@pytest.mark.mount
def test_what_the_system_lacks(open_folder: Path) -> None:
    config = write(open_folder)
    config.chmod(0o644)
    # Somebody who may write nothing, but read all, as Python and these tests may lie where nobody else gets to.
    reads = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"
    nobody = f"setpriv --reuid 65534 --regid 65534 --clear-groups {reads}"
    base = open_folder
    conf = f"cp /etc/fuse.conf {base}/fuse.conf && sed -i '/^user_allow_other/d' {base}/fuse.conf"
    watches = "/proc/sys/fs/inotify/max_user_watches"
    gone, closed, others, unwritable, cacheless, files, watched, capable = provoke(
        config,
        Step("/dev/fuse", "mount -t tmpfs none /dev"),
        Step("/dev/fuse", f"chmod 600 /dev/fuse && {conf} && "
             f"mount --bind {base}/fuse.conf /etc/fuse.conf", prefix=nobody, also=("other users", "state", "cache"),
             tidy="umount /dev"),
        Step("open files", "true", prefix="sh -c 'ulimit -n 1024; \"$0\" \"$@\"'"),
        Step("watched folders", f"echo 8192 > {base}/watches && mount --bind {base}/watches {watches}"),
        Step("right to mount", "true", clear="true", prefix="setpriv --bounding-set -sys_admin"),
    )  # fmt: skip
    assert "missing" in cured(gone, "problem")["found"]
    assert "this user may not open it" in cured(closed, "problem")["found"]
    assert "does not allow it" in cured(others, "problem")["found"]
    assert "cannot be written" in cured(unwritable, "problem")["found"]
    assert "cannot be written" in cured(cacheless, "problem")["found"]
    assert "8192" in cured(watched, "note")["found"]
    # A limit is of a shell, and not every root may raise one: the same in a shell that has the limit of the tests.
    assert "1024 at most" in files.before[0]["found"] and files.before[0]["command"] == "ulimit -n 65536"
    assert [one.before for one in provoke(config, Step("open files"))] == [[]]
    assert "--cap-add SYS_ADMIN" in capable.before[0]["remedy"] and "CAP_SYS_ADMIN" in capable.before[0]["found"]


@pytest.mark.mount
def test_drives_that_are_not_as_they_should_be(config: Path) -> None:
    base = config.parent
    fill = f"dd if=/dev/zero of={base}/one/filler bs=1M 2> /dev/null || true"
    read_only, clash, room, all_full, inodes, attributes = provoke(
        config,
        Step("drive one", f"{image(base, 'one', 24, base / 'one')} && {added(config, 'one')} && "
             f"mount -o remount,ro {base}/one"),
        Step("drive two: identity", f"mkdir -p {base}/two/.mediapool && "
             f"cp {base}/one/.mediapool/identity.json {base}/two/.mediapool/"),
        # Filled up to its min_free: the note goes when there is less of that, or room.
        Step("drive one: room", f"{fill}; truncate -s -100K {base}/one/filler", clear="write"),
        Step("room", f"sed -i '/^min_free = .0./d' {config}; {fill}; "
             f"{image(base, 'two', 8, base / 'two')} && {added(config, 'none', 'two')} && "
             f"dd if=/dev/zero of={base}/two/filler bs=1M 2> /dev/null; mkdir {base}/three",
             clear=f"mediapool pool add {base}/three --yes --config {config}"),
        Step("drive two: inodes", f"umount {base}/two && {image(base, 'inodes', 8, base / 'two', make='-N 32')} && "
             f"{added(config, 'none', 'two')} && i=0; while touch {base}/two/small$i 2> /dev/null; do i=$((i+1)); done",
             clear=f"rm {base}/two/small*"),
        Step("drive two: attributes", f"umount {base}/two; mount -t ramfs none {base}/two && "
             f"{added(config, 'no', 'two')}",
             clear=f"umount {base}/two && mount -o loop {base}/inodes.image {base}/two"),
    )  # fmt: skip
    assert "read-only" in cured(read_only, "problem")["found"]
    assert "a copy of the one" in cured(clash, "problem")["found"]
    assert "min_free" in cured(room, "note")["remedy"]
    assert cured(all_full, "problem")["command"].startswith("mediapool pool add")
    assert "0 of" in cured(inodes, "problem")["found"]
    assert "ramfs" in cured(attributes, "note")["found"]


@pytest.mark.mount
def test_folders_of_our_own(config: Path) -> None:
    base = config.parent
    larger = f"sed -i 's|^size = .*|size = \"10GiB\"|' {config}"
    limited, full, unwritable = provoke(
        config,
        Step("cache", f"{image(base, 'cache', 64, base / 'cache')} && {larger}"),
        Step("state", f"{image(base, 'state', 80, base / 'state')} && head -c 30M /dev/zero > {base}/state/filler",
             clear=f"rm {base}/state/filler", tidy=f"umount {base}/state"),
        Step("state", f"mount -t tmpfs -o ro none {base}/state"),
    )  # fmt: skip
    assert "MiB" in cured(limited, "note")["remedy"]
    assert "free" in cured(full, "problem")["found"] and full.before[0]["command"].startswith("du -xh")
    assert "cannot be written" in cured(unwritable, "problem")["found"]


@pytest.mark.mount
def test_mounts_that_containers_cut(config: Path) -> None:
    base = config.parent
    tree = base / "tree/data"
    files, torrents, media = base / "files", base / "container/torrents", base / "container/media"
    make = f"mkdir -p {files}/torrents {files}/media {torrents} {media} {tree}/media"
    bind = f"mount --bind {files}/torrents {torrents} && mount --bind {files}/media {media}"
    paths = ("--paths", "--try", str(torrents), str(media))
    inside, private, foreign, bound, devices, whole = provoke(
        config,
        Step("mounts in the tree", f"{make} && mount -t tmpfs none {tree}/media"),
        Step("propagation", f"mount --bind {base}/tree {base}/tree && mount --make-private {base}/tree",
             prefix="env container=podman",
             clear=f"mount --make-rshared {base}/tree"),
        Step("mount", f"mount -t tmpfs none {tree}"),
        Step(f"{torrents} and {media}", bind, arguments=paths),
        Step(f"{torrents} and {media}", f"umount {base}/container && mount -t tmpfs none {torrents}", arguments=paths,
             clear=f"umount {torrents}"),
        Step(f"{torrents} and {media}", f"mkdir -p {torrents} {media} && mount -t ramfs -o ro none {base}/container",
             arguments=paths, clear=f"umount {base}/container"),
    )  # fmt: skip
    assert "inside the tree" in cured(inside, "problem")["found"]
    assert "rslave" in cured(private, "note")["remedy"]
    assert "another filesystem" in cured(foreign, "problem")["found"]
    cut = cured(bound, "problem")
    assert "separate mounts of one filesystem" in cut["found"] and f"-v {files}:{base}/container" in cut["remedy"]
    assert "two filesystems" in cured(devices, "problem")["found"]
    assert "no folder" in cured(whole, "problem")["found"]
