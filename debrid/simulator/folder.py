"""A folder of files as torrents: each entry is one."""

import os
from pathlib import Path


def torrents_in(folder: Path) -> list[tuple[str, dict[str, Path]]]:
    """(name, files by inner path) of each entry of `folder`, by name; hidden and empty ones are skipped."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        files = {f"/{entry.name}": entry} if entry.is_file() else _files_below(entry)
        if files:
            found.append((entry.name, files))
    return found


def _files_below(top: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for directory, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory, name)
            if not name.startswith(".") and path.is_file():
                files["/" + path.relative_to(top).as_posix()] = path
    return files
