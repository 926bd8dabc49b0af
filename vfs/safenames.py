"""One reversible rule that turns a provider's path into names a Linux directory can hold.

* A character that cannot stand in a name or breaks terminals and scripts (control characters, "/", lone
  surrogates) becomes "%" and two hex digits for each of its UTF-8 bytes, and so does a "%" that would otherwise
  read like one of these. "." and ".." become "%2E" and "%2E%2E", an empty name "%".
* A name over 255 bytes is cut and ends in "%~" and eight hex digits of its xxh32, before its ending.
* A name that is taken already gets "%+" and six hex digits of what it belongs to, before its ending.

`original` undoes the first rule by itself; for the other two the tree keeps the provider's path beside the file.
Nothing else is changed: names that Windows forbids are the business of the Windows adapter.
"""

import re
from collections.abc import Container

import xxhash

LONGEST = 255
# Control characters (C0, DEL, C1), the slash, lone surrogates; and "%" where it reads like one of our escapes.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f/\ud800-\udfff]|%(?=[0-9A-F]{2}|[~+]|$)")
_ESCAPE = re.compile("(?:%[0-9A-F]{2})+")
# Endings longer than this are part of the title ("Dr. Strangelove"), not a file type.
_LONGEST_ENDING = 10
_RESERVED = {".": "%2E", "..": "%2E%2E", "": "%", ".mediapool": "%2Emediapool"}


def safe(name: str) -> str:
    """One component that can stand in a directory; equal to `name` if nothing is wrong with it."""
    if name in _RESERVED:
        return _RESERVED[name]
    escaped = _UNSAFE.sub(lambda found: _percent(found.group()), name)
    return _with_mark(escaped, f"%~{xxhash.xxh32_hexdigest(_bytes(name))}") if _size(escaped) > LONGEST else escaped


def original(name: str) -> str:
    """What `safe` was given, unless it had to cut the name."""
    if name == "%":
        return ""
    return _ESCAPE.sub(lambda found: bytes.fromhex(found.group().replace("%", "")).decode(errors="surrogatepass"), name)


def safe_path(path: str) -> tuple[str, ...]:
    """The components of a provider's path, each made safe; leading and doubled slashes mean nothing."""
    return tuple(safe(part) for part in path.split("/") if part)


def unclash(name: str, owner: str, taken: Container[str]) -> str:
    """`name`, or with the mark of its owner if it is taken; counting on in the rare case that this is taken too."""
    if name not in taken:
        return name
    for attempt in range(1000):
        digest = xxhash.xxh32_hexdigest(_bytes(f"{owner}{attempt}" if attempt else owner))
        marked = _with_mark(name, f"%+{digest[:6]}")
        if marked not in taken:
            return marked
    raise AssertionError("a thousand names of one owner clash")


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes(text))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _size(name: str) -> int:
    return len(name.encode())


def _with_mark(name: str, mark: str) -> str:
    """`name` with `mark` before its ending, cut at a whole character so that it fits."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > _LONGEST_ENDING:
        stem, dot, ending = name, "", ""
    room = LONGEST - _size(mark + dot + ending)
    cut = stem.encode()[:room].decode(errors="ignore")
    # An escape cut in two would read as something else.
    return re.sub("%[0-9A-F]?$", "", cut) + mark + dot + ending if cut != stem else stem + mark + dot + ending
