"""How several branches look as one: attributes of merged directories, and room counted together. Pure."""

from collections.abc import Iterable

from vfs.attr import Attr, Space


def merge(attrs: Iterable[Attr]) -> Attr:
    """One directory on several branches: the first one's attributes, newest times, links counted together."""
    merged, *others = attrs
    for other in others:
        single = merged.nlink == 1 or other.nlink == 1
        merged = merged._replace(
            nlink=1 if single else merged.nlink + other.nlink - 2,
            mtime_ns=max(merged.mtime_ns, other.mtime_ns),
            ctime_ns=max(merged.ctime_ns, other.ctime_ns),
        )
    return merged


def within(filesystem: Space, room: Space) -> Space:
    """What drives together offer, limited by the one filesystem they lie on."""
    return filesystem._replace(
        total=min(filesystem.total, room.total),
        free=min(filesystem.free, room.free),
        available=min(filesystem.available, room.available),
    )


def total(rooms: Iterable[Space]) -> Space:
    """The room of all of them together."""
    whole = Space(4096, 0, 0, 0, 0, 0)
    for room in rooms:
        whole = Space(
            whole.block_size,
            whole.total + room.total,
            whole.free + room.free,
            whole.available + room.available,
            whole.files + room.files,
            whole.files_free + room.files_free,
            min(whole.name_max, room.name_max),
        )
    return whole
