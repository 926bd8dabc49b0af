"""Checks of mount points: that of the configuration, and what processes that are gone left mounted elsewhere."""

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import vfs.mount
from cli.doctoring.finding import Case, Finding, quoted
from cli.folders import path_problems
from cli.pool import remembered
from cli.state import StateFolder
from placement.mounttable import mounts
from vfs.mount import KIND

_SECONDS = 3.0  # for other mounts to answer


def tree(case: Case) -> Iterator[Finding]:
    """What stands at the mount point. One that does not answer is a finding of `answers`, or of the deadline."""
    path = case.config.mount.path
    if case.is_silent:
        return
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
    points = list(dict.fromkeys(left))
    found = [Finding("stale mounts", "problem", f"{point}: {why}", "clear it, as root", f"umount -l {quoted(point)}")
             for point, why in zip(points, _ailments(points), strict=True) if why]  # fmt: skip
    yield from found
    if not found:
        yield Finding("stale mounts", "ok", "none")


def _ailments(points: Sequence[str]) -> list[str]:
    """What is wrong with each of these mounts, "" where nothing is."""
    said = ["its process is stopped, or stuck: it does not answer"] * len(points)

    def ask(number: int) -> None:
        said[number] = _ailment(points[number])

    # Daemons, and all at once: one that hangs shall cost no more than the time it is given.
    asking = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(points))]
    for thread in asking:
        thread.start()
    until = time.monotonic() + _SECONDS
    for thread in asking:
        thread.join(max(0.0, until - time.monotonic()))
    return list(said)


def _ailment(point: str) -> str:
    try:
        os.statvfs(point)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            return "mounted by a mediapool that is gone; every access there is an error"
    return ""


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
    if case.is_silent:
        return
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
