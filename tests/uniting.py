"""A union over three real folders, without a mount."""

import os
from pathlib import Path

from placement.drive import Drive, DriveConfig
from placement.identity import initialise
from vfs.attr import Caller
from vfs.cache import ChunkCache
from vfs.inodes import Inodes
from vfs.journal import Journal
from vfs.known import KnownFiles
from vfs.local import LocalBranch
from vfs.names import Names
from vfs.namesdb import NamesDb
from vfs.reader import Reader
from vfs.remote import NoLibrary, RemoteBranch
from vfs.union import Union

ROOT = Caller(0, 0)


class Pool:
    """Three drives, and a union that places new objects on the one whose name is in `next`."""

    def __init__(self, base: Path, known: KnownFiles | None = None) -> None:
        self.paths = [base / name for name in ("a", "b", "c")]
        self.next = "a"
        for number, path in enumerate(self.paths, 1):
            path.mkdir()
            initialise(path, path.name, number)
        self.drives = [Drive.open(DriveConfig(path.name, str(path))) for path in self.paths]
        self.db = NamesDb(base / "names.db")
        self.names = Names(self.db)
        inodes = Inodes(self.db)
        self.branches = [LocalBranch(drive, inodes, known=known) for drive in self.drives]
        self.union = Union(self.branches, remote_of(self.names), self, Journal(self.names, "union"))

    def close(self) -> None:
        """Close the drives and names.db."""
        for drive in self.drives:
            drive.close()
        self.db.close()

    def place(self, path: str, size_hint: int | None = None) -> list[Drive]:
        return sorted(self.drives, key=lambda drive: drive.name != self.next)

    def write(self, drive: str, path: str, text: str = "") -> Path:
        file = self.paths["abc".index(drive)] / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text or drive)
        return file

    def everywhere(self, path: str) -> str:
        return "".join(drive.name for drive in self.paths if os.path.lexists(drive / path))

    def read(self, path: str) -> str:
        handle = self.union.open(path, os.O_RDONLY)
        try:
            return handle.read(100, 0).decode()
        finally:
            handle.close()

    def create(self, path: str) -> None:
        self.union.create(path, os.O_WRONLY, 0o644, ROOT).close()


def remote_of(names: Names) -> RemoteBranch:
    return RemoteBranch(names, Reader(NoLibrary(), ChunkCache("", 0)))
