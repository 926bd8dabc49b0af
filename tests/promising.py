"""A program that works in a mount and notes what fsync has promised it, until the mount dies.

Run as `promising.py FOLDER REMOTE LEDGER`: it works in FOLDER, links the remote file REMOTE, and adds a line to LEDGER
after each promise, and before each change of something that was promised. `broken` reads that ledger later.
"""

import hashlib
import itertools
import os
import sys
from pathlib import Path

FOLDERS = ("new", "links", "kept")


def content(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * (number % 300)


def sync(*folders: Path) -> None:
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)


def write(path: Path, data: bytes, flags: int = os.O_CREAT | os.O_EXCL) -> None:
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    assert os.write(fd, data) == len(data)
    os.fsync(fd)
    os.close(fd)


def work(top: Path, remote: Path, ledger: Path) -> None:
    new, links, kept = (top / name for name in FOLDERS)
    for folder in (new, links, kept):
        folder.mkdir(parents=True, exist_ok=True)
    sync(top.parent, top)
    fd = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(what: str) -> None:
        os.write(fd, f"{what} {number}\n".encode())

    # What came after the last note may have left its traces.
    begin = max((number for _, number in noted(ledger)), default=-2) + 2
    for number in itertools.count(begin):
        name = str(number)
        write(new / name, content(number))
        sync(new)
        note("written")
        os.link(new / name, links / name)
        os.link(remote, links / f"remote {name}")
        sync(links)
        note("linked")
        os.rename(new / name, kept / name)
        os.rename(links / f"remote {name}", kept / f"remote {name}")
        sync(new, links, kept)
        note("renamed")
        # Often on another drive than the one before, which is work over several drives.
        write(new / "draft", b"%d" % number, os.O_CREAT | os.O_TRUNC)
        os.rename(new / "draft", top / "current")
        sync(new, top)
        write(top / "log", b"%d\n" % number, os.O_CREAT | os.O_APPEND)
        note("logged")


def noted(ledger: Path) -> list[tuple[str, int]]:
    """The whole lines of a ledger."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [(what, int(number)) for what, number in map(str.split, lines)]


def broken(top: Path, remote: Path, ledger: Path) -> list[str]:
    """The promises of a ledger that do not hold."""
    found = []
    last = {number: what for what, number in noted(ledger)}
    for number, what in last.items():
        # After "written" and "linked" the next step may have been done already, without its promise.
        places = [folder for folder in FOLDERS if os.path.lexists(top / folder / str(number))]
        allowed = {
            "written": (["new"], ["new", "links"]),
            "linked": (["new", "links"], ["links", "kept"]),
            "renamed": (["links", "kept"],),
            "logged": (["links", "kept"],),
        }[what]
        stats = [(top / folder / str(number)).stat() for folder in places]
        data = {(top / folder / str(number)).read_bytes() for folder in places}
        if places not in allowed or {st.st_nlink for st in stats} != {len(places)}:
            found.append(f"{number} {what}: in {places} with {[st.st_nlink for st in stats]} links")
        if len({st.st_ino for st in stats}) != 1 or data != {content(number)}:
            found.append(f"{number} {what}: not one file with its bytes")
        if what != "written":
            names = [folder for folder in FOLDERS if os.path.lexists(top / folder / f"remote {number}")]
            if names != ["kept"] and not (what == "linked" and names == ["links"]):
                found.append(f"{number} {what}: remote in {names}")
            elif (top / names[0] / f"remote {number}").stat().st_ino != remote.stat().st_ino:
                found.append(f"{number} {what}: another remote file")
    logged = [number for what, number in noted(ledger) if what == "logged"]
    if logged:
        lines = [int(line) for line in (top / "log").read_text().splitlines()]
        if not set(logged) <= set(lines) or lines != sorted(lines) or int((top / "current").read_text()) < logged[-1]:
            found.append(f"log {lines[-3:]}, current {(top / 'current').read_text()} after {logged[-1]}")
    return found


if __name__ == "__main__":
    work(*map(Path, sys.argv[1:]))
