"""`Attr` into the C `struct stat` of this machine, in one packing step instead of thirteen assignments."""

import struct
from operator import itemgetter
from typing import Any

import mfusepy

from vfs.attr import Attr

_CODES = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q", (4, True): "i", (8, True): "q"}
_PLAIN = {
    "st_ino": "ino",
    "st_mode": "mode",
    "st_nlink": "nlink",
    "st_uid": "uid",
    "st_gid": "gid",
    "st_rdev": "rdev",
    "st_size": "size",
    "st_blocks": "blocks",
}
_TIMES = {"st_atimespec": "atime_ns", "st_mtimespec": "mtime_ns", "st_ctimespec": "ctime_ns"}
_SECOND = 10**9


def _layout() -> tuple[struct.Struct, tuple[int, ...]]:
    """The struct of `c_stat`'s known fields, and which member of an `Attr` (times counted twice) fills each."""
    members = Attr._fields
    slots: list[tuple[int, str, int]] = []
    for name, kind, *_ in mfusepy.c_stat._fields_:
        field = getattr(mfusepy.c_stat, name)
        if name in _PLAIN:
            signed = kind(-1).value == -1
            slots.append((field.offset, _CODES[field.size, signed], members.index(_PLAIN[name])))
        elif name in _TIMES:
            member = members.index(_TIMES[name])
            half = field.size // 2
            slots.append((field.offset, _CODES[half, True], member))
            slots.append((field.offset + half, _CODES[half, True], -member))
    slots.sort()
    form, at = "=", 0
    for offset, code, _member in slots:
        form += f"{offset - at}x{code}"
        at = offset + struct.calcsize("=" + code)
    return struct.Struct(form), tuple(member for *_, member in slots)


_STRUCT, _MEMBERS = _layout()
_FIRST_TIME = Attr._fields.index("atime_ns")
# Behind the members of an Attr come its times once more, split into seconds and ns.
_SPLIT = len(Attr._fields)
_pick = itemgetter(
    *(
        _SPLIT + 2 * (abs(member) - _FIRST_TIME) + (member < 0) if abs(member) >= _FIRST_TIME else member
        for member in _MEMBERS
    )
)


def pack_stat(stat: Any, attr: Attr) -> None:
    """Fill `stat`, a `mfusepy.c_stat`, from `attr`."""
    times = (*divmod(attr[-3], _SECOND), *divmod(attr[-2], _SECOND), *divmod(attr[-1], _SECOND))
    _STRUCT.pack_into(stat, 0, *_pick(attr + times))
