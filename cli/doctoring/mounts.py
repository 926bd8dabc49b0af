"""Checks of mount points: that of the configuration, and what processes that are gone left mounted elsewhere."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import vfs.mount
from cli.doctoring.finding import Case, Finding, quoted
from cli.folders import path_problems
from cli.pool import remembered
from cli.state import StateFolder
from placement.mounttable import mounts
from vfs.mount import KIND


def tree(case: Case) -> Iterator[Finding]:
    """What stands at the mount point."""
    path = case.config.mount.path
    state = vfs.mount.state(path)
    if state == "stale":
        remedy = "clear it, then mount again"
        yield Finding("mount", "problem", f"{path}: its process is gone", remedy, case.command("unmount"))
    elif state == "foreign":
        remedy = "take it away, or name another [mount] path"
        yield Finding("mount", "problem", f"{path}: another filesystem is there", remedy, f"umount {quoted(path)}")
    else:
        yield Finding("mount", "ok", f"{path}: {'mounted' if state == 'mounted' else 'not mounted now'}")


def stale(case: Case) -> Iterator[Finding]:
    """No mount of mediapool is left without its process, wherever it is."""
    left = [one.point for one in mounts() if one.kind == KIND and one.point != str(case.config.mount.path)]
    dead = [point for point in dict.fromkeys(left) if _is_dead(point)]
    for point in dead:
        found = f"{point}: mounted by a mediapool that is gone; every access there is an error"
        yield Finding("stale mounts", "problem", found, "clear it, as root", f"umount -l {quoted(point)}")
    if not dead:
        yield Finding("stale mounts", "ok", "none")


def _is_dead(point: str) -> bool:
    try:
        os.statvfs(point)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def answers(case: Case) -> Iterator[Finding]:
    """The process of a running mount answers."""
    contact = case.contact
    if contact is None:
        return
    if case.status is None:
        remedy = f"see what it says in {StateFolder(case.config.state.path).log}, or end it and mount again"
        found = f"the running mount (process {contact.pid}) does not answer"
        yield Finding("process", "problem", found, remedy, f"kill -KILL {contact.pid}")
    else:
        yield Finding("process", "ok", f"number {contact.pid} answers")


def folders(case: Case) -> Iterator[Finding]:
    """The folders of the configuration can be used together: none is missing, occupied or inside another."""
    known = remembered(StateFolder(case.config.state.path).names)
    found = path_problems(case.config, known)
    for one in found:
        yield Finding(one.place, "problem", f"{one.value}: {one.wrong}", one.remedy.rstrip("."))
    if not found:
        yield Finding("folders", "ok", "none lies inside another")


def other_tree(case: Case) -> Iterator[Finding]:
    """No mount is under way that this configuration knows nothing of, in the place of this one."""
    contact = case.contact
    if contact is not None and Path(contact.mount) != case.config.mount.path:
        found = f"process {contact.pid} uses this state folder, but for {contact.mount}"
        remedy = "unmount it with the configuration it was mounted by, or give each its own [state] path"
        yield Finding("state folder", "problem", found, remedy, f"kill {contact.pid}")


CHECKS = (
    ("mount", tree),
    ("process", answers),
    ("state folder", other_tree),
    ("stale mounts", stale),
    ("folders", folders),
)
