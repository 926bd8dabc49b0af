"""Checks of what containers make of mounts: which of them see the tree, and whether it stays one filesystem for them.

A mount shows only in copies of the folder above it that are bound with propagation (mount_namespaces(7)): "shared"
where it is made, "slave" or "shared" where it is to be seen. The same makes a tree that is mounted anew show up in
containers that run already, in which else every access says "transport endpoint is not connected".
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cli.doctoring.finding import Case, Finding, quoted
from placement.mounttable import Mount, is_at_or_below, mount_of, mounts
from vfs.mount import KIND

_ENGINES = ("docker", "podman", "nerdctl", "lxc-start", "k3s")
# What container engines leave in what they run, and what control groups are called there.
_MARKS = {"/.dockerenv": "Docker", "/run/.containerenv": "Podman"}
_GROUPS = {"docker": "Docker", "libpod": "Podman", "kubepods": "Kubernetes", "lxc": "LXC", "containerd": "containerd"}


def container() -> str:
    """What kind of container this process runs in; "" where none is known."""
    for mark, name in _MARKS.items():
        if os.path.exists(mark):
            return name
    if said := os.environ.get("container"):  # noqa: SIM112
        return said
    try:
        groups = Path("/proc/1/cgroup").read_text(errors="replace")
    except OSError:
        return ""
    return next((name for word, name in _GROUPS.items() if f"/{word}" in groups), "")


def propagation(case: Case) -> Iterator[Finding]:
    """The folder above the mount point hands on what is mounted in it."""
    what, inside = "propagation", container()
    here = f"in a container ({inside})" if inside else "on this machine"
    above = os.path.realpath(case.config.mount.path.parent)
    holder = mount_of(above)
    if holder is None or not (inside or any(map(shutil.which, _ENGINES))):
        yield Finding(what, "ok", "no containers are run here")
        return
    if above == "/":
        found = f"containers that bind {case.config.mount.path} itself keep the old tree when it is mounted anew"
        remedy = f'write path = "/srv/pool{case.config.mount.path}" in [mount], and let containers bind /srv/pool'
        yield Finding(what, "note", found, remedy)
        return
    if any(tag.startswith("shared:") for tag in holder.tags):
        yield Finding(what, "ok", f"{here}: the tree shows in other containers that bind {above}")
        return
    found = f"{here}: {holder.point} is private, so containers do not see a tree that is mounted after they start"
    bind = f"--mount type=bind,src={above},dst={above},bind-propagation"
    if inside:
        remedy = f"start this container with {bind}=rshared, others with {bind}=rslave"
        yield Finding(what, "note", found, remedy)
    else:
        remedy = f"share it, as root, and start containers with {bind}=rslave"
        yield Finding(what, "note", found, remedy, f"mount --make-rshared {quoted(holder.point)}")


def sub_mounts(case: Case) -> Iterator[Finding]:
    """Nothing is mounted inside the tree: link and rename cannot cross such a border."""
    tree = str(case.config.mount.path)
    found = [one for one in mounts() if one.point != tree and is_at_or_below(one.point, tree)]
    for one in found:
        cause = f"{one.point} ({one.kind}) is mounted inside the tree, so nothing can be linked or renamed across it"
        remedy = "take it away, as root, and give containers all of the tree as one volume"
        yield Finding("mounts in the tree", "problem", cause, remedy, f"umount {quoted(one.point)}")
    if not found:
        yield Finding("mounts in the tree", "ok", "none")


def volumes(case: Case) -> Iterator[Finding]:
    """The tree is not cut into pieces on this machine: bind mounts of its folders are filesystems of their own."""
    pieces = [one for one in mounts() if one.kind == KIND and one.root != "/"]
    by_tree: dict[str, list[Mount]] = {}
    for one in pieces:
        by_tree.setdefault(one.device, []).append(one)
    for same in by_tree.values():
        if len(same) > 1:
            points = " and ".join(sorted(one.point for one in same))
            cause = f"{points} are separate mounts of one tree: between them files are copied, not linked"
            whole = os.path.commonpath([one.root for one in same])
            remedy = f"use one mount for all: bind the tree's folder {whole} in place of these"
            command = "umount " + " ".join(quoted(one.point) for one in same)
            yield Finding("volumes", "problem", cause, remedy, command)


CHECKS = (("propagation", propagation), ("mounts in the tree", sub_mounts), ("volumes", volumes))
