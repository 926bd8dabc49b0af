"""One line in the log for each file that is placed, linked or moved: from where, to which drive, by which rule."""

import logging
from collections.abc import Callable
from urllib.parse import quote

from placement.drive import Drive

log = logging.getLogger(__name__)

_READABLE = "/ !'()+,;@[]{}&$#~:"


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
            quote(path.encode(errors="surrogateescape"), safe=_READABLE),
            quote(source.encode(errors="surrogateescape"), safe=_READABLE),
            drive.name,
            self._rule_of(path),
            attempt,
            f'"{problem}"' if problem else "ok",
        )
