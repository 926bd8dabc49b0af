"""By which files an archive volume on a drive is known: a folder of digits that holds its manifest. Pure."""

from collections.abc import Iterable

from indexer.finding import Found, is_below

MANIFEST = b"index.json"
UNBURNED = b"UNBURNED"


def volumes(files: Iterable[Found]) -> frozenset[bytes]:
    """The folders that are archive volumes, burned or not."""
    return frozenset(folder for folder, names in _marked(files).items() if names)


def sealed(files: Iterable[Found]) -> frozenset[bytes]:
    """Those of `volumes` that were burned: nothing in them changes any more."""
    return frozenset(folder for folder, names in _marked(files).items() if MANIFEST in names and UNBURNED not in names)


def _marked(files: Iterable[Found]) -> dict[bytes, set[bytes]]:
    marks: dict[bytes, set[bytes]] = {}
    for found in files:
        folder, _, name = found.path.rpartition(b"/")
        if name in (MANIFEST, UNBURNED) and folder.rpartition(b"/")[2].isdigit():
            marks.setdefault(folder, set()).add(name)
    return marks


def folder_of(path: bytes, folders: frozenset[bytes]) -> bytes | None:
    """Which of `folders` holds `path`; None for none."""
    return next((folder for folder in folders if is_below(path, folder)), None) if folders else None
