"""The mounts that this process sees, as mountinfo(5) lists them. Where there is no /proc there are none."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

_TABLE = "/proc/self/mountinfo"


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo(5): `root` is the folder of the filesystem that is seen at `point`.

    `device` is "MAJOR:MINOR"; `tags` are those of propagation, such as "shared:7" and "master:3".
    """

    id: int
    device: str
    root: str
    point: str
    options: tuple[str, ...]
    tags: tuple[str, ...]
    kind: str
    source: str


def parse(line: str) -> Mount:
    """One line. ValueError where it is none."""
    left, _, right = line.rstrip("\n").partition(" - ")
    number, _parent, device, root, point, options, *tags = left.split(" ")
    kind, source, *_ = right.split(" ")
    return Mount(
        int(number), device, _unescaped(root), _unescaped(point), tuple(options.split(",")), tuple(tags), kind,
        _unescaped(source),
    )  # fmt: skip


def mounts() -> list[Mount]:
    """All mounts, in the order in which they were made."""
    try:
        with open(_TABLE, encoding=sys.getfilesystemencoding(), errors="surrogateescape") as lines:
            return [parse(line) for line in lines]
    except FileNotFoundError:
        return []


def mount_at(path: str | os.PathLike[str]) -> Mount | None:
    """What is mounted exactly at `path`, the topmost if several."""
    wanted = os.path.abspath(path)
    return next((mount for mount in reversed(mounts()) if mount.point == wanted), None)


def mount_of(path: str | os.PathLike[str], among: Iterable[Mount] | None = None) -> Mount | None:
    """The mount that `path` lies on, by its name alone: what is there is not asked, as it might not answer."""
    real = os.path.abspath(path)
    found = [mount for mount in (mounts() if among is None else among) if is_at_or_below(real, mount.point)]
    return max(reversed(found), key=lambda mount: len(mount.point), default=None)


def is_at_or_below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it; both absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _unescaped(field: str) -> str:
    """A field without its octal escapes of blank, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
