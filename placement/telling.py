"""One line in the log for each file that is placed, linked or moved: from where, to which drive, by which rule."""

import logging
import os
import re
from collections.abc import Callable
from urllib.parse import quote

from placement.drive import Drive

log = logging.getLogger(__name__)

_READABLE = "/ !'()+,;@[]{}&$#~:"
_PLAIN = re.compile(r"[\w/ .\-!'()+,;@\[\]{}&$#~:]*", re.ASCII)


def _quoted(path: str) -> str:
    # Mostly there is nothing to be done, and this runs for each file that is made.
    return path if _PLAIN.fullmatch(path) else quote(os.fsencode(path), safe=_READABLE)


class Teller:
    """Writes the lines, as key=value with paths in quotes, every unusual byte of them as %XX."""

    def __init__(self, rule_of: Callable[[str], str]) -> None:
        """`rule_of`: what decides about a path, in a word or two."""
        self._rule_of = rule_of

    def tell(self, done: str, path: str, drive: Drive, attempt: int, problem: str, source: str = "") -> None:
        """`done`: placed, linked or moved; `problem`: why this attempt failed, "" if it did not."""
        log.info(
            '%s path="%s" source="%s" drive=%s rule="%s" attempt=%d result=%s',
            done,
            _quoted(path),
            _quoted(source),
            drive.name,
            self._rule_of(path),
            attempt,
            f'"{problem}"' if problem else "ok",
        )
