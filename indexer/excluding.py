"""Patterns of what a walk leaves out: shell patterns of names, or of paths below a tree, as bytes."""

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence

from indexer.finding import is_below


class Excluded:
    """Says of real paths whether they are left out; folders with all that is in them."""

    def __init__(self, patterns: Iterable[str], trees: Sequence[bytes]) -> None:
        """`patterns`: as `*.nfo`, `@eaDir` or `series/*/extras`, with a slash only where a path is meant."""
        self._trees = trees
        # fnmatch.translate is for text; each byte becomes the character of its number.
        translated = [fnmatch.translate(os.fsencode(one).decode("latin-1")) for one in patterns]
        self._any = re.compile("|".join(translated).encode("latin-1")) if translated else None

    def __bool__(self) -> bool:
        """Whether anything may be left out."""
        return self._any is not None

    def itself(self, path: bytes) -> bool:
        """Whether this name is left out, whatever becomes of the folders above it."""
        if self._any is None:
            return False
        inner = self._inner(path)
        return inner != b"" and bool(self._any.match(os.path.basename(path)) or self._any.match(inner))

    def covers(self, path: bytes) -> bool:
        """Whether it is left out, or a folder above it in its tree."""
        while self._any is not None and self._inner(path):
            if self.itself(path):
                return True
            path = os.path.dirname(path)
        return False

    def _inner(self, path: bytes) -> bytes:
        """The path below its tree; empty for the tree itself, and outside of all."""
        tree = next((tree for tree in self._trees if is_below(path, tree)), path)
        return path[len(tree) :].lstrip(b"/")
