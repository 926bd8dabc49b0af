"""Content hashes: xxh3-128, the one hash by which mediapool calls two files equal."""

from pathlib import Path

import xxhash

_PIECE = 1 << 20


def hash_file(path: Path) -> str:
    """The xxh3-128 of a file's bytes as 32 hex digits; OSError if it cannot be read whole."""
    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            state.update(piece)
    return state.hexdigest()
