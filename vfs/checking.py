"""What is wrong or odd in the pool, found by walking all its branches side by side; nothing is changed here.

A path should stand on one branch only, unless it is a directory on each. Where it stands on several the first is
shown and the others are hidden; `vfs.mending` can bring them to light. Names come from directory listings alone, so
the walk reads no inode of a file that stands once.
"""

import errno
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from placement import system as os
from placement.beneath import Root
from placement.copying import Allowance
from placement.identity import FOLDER
from placement.linkgroup import STAGING
from vfs.comparing import Compared, compare
from vfs.local import LocalBranch
from vfs.names import Names
from vfs.namescopies import KEPT
from vfs.nodes import Directory

Kind = Literal[
    "twice", "clash", "shadowed", "waiting", "leftover", "pinned", "missing", "unreadable", "name", "link", "type"
]
Mend = Literal["", "remove", "rename", "recover"]
# These may well be meant so.
REMARKS = ("name", "link", "type")
REMOTE = "realdebrid"

_DIRECTORY, _FILE, _LINK, _OTHER = "directory", "file", "link", "other"
_TYPES = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
# What is among the pinned copies, `vfs.pins` knows.
_OURS = {os.path.basename(STAGING), os.path.basename(KEPT), "pinned", "identity.json"}
_NAME_MAX = 255
# What is said of two files of one path, and what can be done about them.
_TOLD: Mapping[str, tuple[str, Mend]] = {
    "identical": ("the same to the last byte", "remove"),
    "alike": ("of one size, and the same in samples", ""),
    "different": ("different", "rename"),
}


@dataclass
class Finding:
    """One thing found. `shown` and `hidden` are names of drives, or REMOTE; `mend` is what `vfs.mending` would do."""

    kind: Kind
    path: str
    detail: str
    shown: str = ""
    hidden: str = ""
    mend: Mend = ""
    compared: Compared | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "kind": self.kind,
            "path": self.path,
            "detail": self.detail,
            "shown": self.shown,
            "hidden": self.hidden,
            "mend": self.mend,
            "same": None if self.compared is None else self.compared.same,
        }


@dataclass
class Progress:
    """How far a check has come; bytes compared. `cancel`, once set, ends it."""

    folders: int = 0
    names: int = 0
    compared: int = 0
    path: str = ""
    cancel: threading.Event = field(default_factory=threading.Event)

    def step(self) -> None:
        """OSError ECANCELED if it shall end."""
        if self.cancel.is_set():
            raise OSError(errno.ECANCELED, "the check was interrupted")


class _Counted(Allowance):
    """An allowance that tells how much was compared."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(None, progress.cancel)
        self._progress = progress

    def spend(self, count: int = 0) -> None:
        super().spend(count)
        self._progress.compared += count


# One branch in the walk: its name, and the drive's root; None for the remote names.
_Source = tuple[str, Root | None]


class Check:
    """One walk over the drives that are there, in their order, and the remote names."""

    def __init__(self, drives: Iterable[LocalBranch], names: Names, mount: str, progress: Progress) -> None:
        """`mount`: where the tree appears, by which absolute links are understood."""
        self._drives = list(drives)
        self._names = names
        self._mount = mount
        self._progress = progress
        self._complete = True
        self._sources: list[_Source] = []

    def run(
        self, strays: Iterable[tuple[str, str]], waiting: Iterable[tuple[str, str]], whole: bool
    ) -> Iterator[Finding]:
        """All findings. `strays`: (drive, token) of copies that no move knows; `waiting`: (path, why) of work that was
        begun.

        `whole`: two files of one path are compared to the last byte, and not only by size and samples.
        OSError ECANCELED when it was interrupted.
        """
        yield from self._open()
        for path, why in waiting:
            yield Finding("waiting", path, why, mend="recover")
        for drive, token in strays:
            detail = "an unfinished copy that no move knows; the next mount removes it"
            yield Finding("leftover", f"{STAGING}/{token}", detail, drive, mend="recover")
        for name, root in self._sources:
            if root is not None:
                yield from _unknown(name, root)
        folders = [("", self._sources)]
        while folders:
            path, sources = folders.pop()
            self._progress.step()
            self._progress.folders += 1
            self._progress.path = path
            yield from self._folder(path, sources, folders, whole)

    def _open(self) -> Iterator[Finding]:
        for branch in self._drives:
            try:
                self._sources.append((branch.drive.name, branch.drive.require()))
            except OSError as cause:
                self._complete = False
                yield Finding("missing", "", f"{cause.strerror}", branch.drive.name)
        self._sources.append((REMOTE, None))

    def _folder(
        self, path: str, sources: list[_Source], folders: list[tuple[str, list[_Source]]], whole: bool
    ) -> Iterator[Finding]:
        entries: dict[str, list[tuple[_Source, str]]] = {}
        for source in sources:
            try:
                for name, kind in self._entries(path, source):
                    entries.setdefault(name, []).append((source, kind))
            except (FileNotFoundError, NotADirectoryError):
                continue  # it went while we looked
            except OSError as cause:
                yield Finding("unreadable", path, f"cannot be listed: {cause.strerror}", source[0])
        self._progress.names += len(entries)
        for name, places in entries.items():
            inner = f"{path}/{name}" if path else name
            yield from self._name(inner, name, places[0])
            if len(places) > 1:
                yield from self._several(inner, places, whole)
            if places[0][1] == _DIRECTORY:
                folders.append((inner, [source for source, kind in places if kind == _DIRECTORY]))

    def _entries(self, path: str, source: _Source) -> Iterator[tuple[str, str]]:
        root = source[1]
        if root is None:
            node = self._names.find(path)
            children = node.children if isinstance(node, Directory) else {}
            return iter([(name, _DIRECTORY if isinstance(one, Directory) else _FILE) for name, one in children.items()])
        return iter(_listed(root, path))

    # One name.

    def _name(self, path: str, name: str, place: tuple[_Source, str]) -> Iterator[Finding]:
        (branch, root), kind = place
        if problem := _bad_name(name, remote=root is None, top=path == name):
            yield Finding("name", path, problem, branch)
        if root is not None and kind == _LINK:
            if problem := self._bad_link(root, path):
                yield Finding("link", path, problem, branch)
        elif root is not None and kind == _OTHER:
            yield Finding("type", path, f"is {_type(root, path)}", branch)

    def _bad_link(self, root: Root, path: str) -> str:
        try:
            with root.parent(path) as (dirfd, name):
                text = os.readlink(name, dir_fd=dirfd)
        except OSError:
            return ""
        if os.path.isabs(text):
            for branch in self._drives:
                if _is_below(text, branch.drive.path):
                    return f"points past the tree, into drive {branch.drive.name}: {text}"
            if not _is_below(text, self._mount):
                return ""
            target = os.path.relpath(text, self._mount)
        else:
            target = os.path.normpath(os.path.join(os.path.dirname(path), text))
        if target == "." or target.startswith("..") or not self._complete:
            return ""
        return "" if self._leads_somewhere(target) else f"leads nowhere: {text}"

    def _leads_somewhere(self, target: str) -> bool:
        """Whether the path is there, or goes through another link, which is not followed here."""
        parts = target.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            kinds = {kind for source in self._sources if (kind := self._kind(path, source))}
            if not kinds:
                return False
            if _LINK in kinds:
                return True
        return True

    def _kind(self, path: str, source: _Source) -> str:
        root = source[1]
        if root is None:
            return _FILE if self._names.find(path) else ""
        try:
            with root.parent(path) as (dirfd, name):
                return _LINK if stat.S_ISLNK(os.lstat(name, dir_fd=dirfd).st_mode) else _FILE
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            return _LINK  # who knows

    # One path on several branches.

    def _several(self, path: str, places: list[tuple[_Source, str]], whole: bool) -> Iterator[Finding]:
        (shown, shown_kind), *others = places
        for hidden, kind in others:
            if shown_kind == kind == _DIRECTORY:
                continue
            if _DIRECTORY in (shown_kind, kind):
                detail = f"a {kind} on {hidden[0]} is hidden by a {shown_kind} on {shown[0]}"
                yield Finding("clash", path, detail, shown[0], hidden[0], "rename")
            elif hidden[1] is None:
                detail = f"a remote file is hidden by a {shown_kind} on {shown[0]}"
                yield Finding("shadowed", path, detail, shown[0], REMOTE, "rename")
            elif shown[1] is not None:
                yield from self._twice(path, (shown[0], shown[1]), (hidden[0], hidden[1]), whole)

    def _twice(self, path: str, shown: tuple[str, Root], hidden: tuple[str, Root], whole: bool) -> Iterator[Finding]:
        try:
            compared = compare(shown[1], hidden[1], path, _Counted(self._progress), whole)
        except (FileNotFoundError, NotADirectoryError):
            return  # one of them went while we looked
        except OSError as cause:
            if cause.errno == errno.ECANCELED:
                raise
            detail = f"stands on {shown[0]} and {hidden[0]}, and cannot be compared: {cause.strerror}"
            yield Finding("twice", path, detail, shown[0], hidden[0])
            return
        words, mend = _TOLD[compared.same]
        if compared.stamps[0][:2] == compared.stamps[1][:2]:
            words, mend = "one file, as if a folder of one drive led into the other", ""
        detail = f"stands on {shown[0]}, which is shown, and on {hidden[0]}: {words}"
        yield Finding("twice", path, detail, shown[0], hidden[0], mend, compared)


def _listed(root: Root, path: str) -> list[tuple[str, str]]:
    fd = root.open_dir(path)
    try:
        with os.scandir(fd) as entries:
            return [(entry.name, _kind_of(entry)) for entry in entries if path or entry.name != FOLDER]
    finally:
        os.close(fd)


def _kind_of(entry: "os.DirEntry[str]") -> str:
    if entry.is_dir(follow_symlinks=False):
        return _DIRECTORY
    if entry.is_symlink():
        return _LINK
    return _FILE if entry.is_file(follow_symlinks=False) else _OTHER


def _unknown(drive: str, root: Root) -> Iterator[Finding]:
    """What lies in the drive's own folder without a reason."""
    look: list[tuple[str, Callable[[str], bool]]] = [
        (FOLDER, lambda name: name in _OURS),
        (KEPT, lambda name: not name.endswith(".new")),
    ]
    for folder, known in look:
        try:
            names = _listed(root, folder)
        except FileNotFoundError:
            continue
        except OSError as cause:
            yield Finding("unreadable", folder, f"cannot be listed: {cause.strerror}", drive)
            continue
        for name, _ in sorted(names):
            if not known(name):
                detail = "lies in the folder of mediapool, which does not know it; look at it, and remove it yourself"
                yield Finding("leftover", f"{folder}/{name}", detail, drive)


def _bad_name(name: str, remote: bool, top: bool) -> str:
    if remote and (name in ("", ".", "..") or "/" in name or "\0" in name or (top and name == FOLDER)):
        return "no file can have this name, so it cannot be reached"
    if len(os.fsencode(name)) > _NAME_MAX:
        return f"its name is longer than {_NAME_MAX} bytes, so it cannot be reached"
    if any("\udc80" <= char <= "\udcff" for char in name):
        return "its name is no UTF-8: some programs cannot open it"
    if not name.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "its name has control characters"
    return ""


def _type(root: Root, path: str) -> str:
    try:
        with root.parent(path) as (dirfd, name):
            return _TYPES.get(stat.S_IFMT(os.lstat(name, dir_fd=dirfd).st_mode), "no file")
    except OSError:
        return "no file"


def _is_below(path: str, folder: str) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(folder) + "/")
