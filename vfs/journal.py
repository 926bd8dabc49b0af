"""The journal of work that touches several branches: begun before its first step, ended after its last.

It lives in names.db, so that an intent and the change of remote names that belongs to it are one transaction. What
is begun is on stable storage before `begin` returns; whatever is still there at the next start was interrupted.
"""

import json
from typing import Any

from vfs.names import Change, Names


class Journal:
    """Records of one kind; `placement.moves.Journal` and `vfs.union` describe what is asked of it. Thread-safe."""

    def __init__(self, names: Names, kind: str) -> None:
        self._names = names
        self._kind = kind

    def begin(self, record: dict[str, Any], change: Change | None = None) -> int:
        """Record what is about to be done, with `change` if that is given; OSError if it cannot be."""
        if change is None:
            with self._names.changing(durable=True) as change:
                return self.begin(record, change)
        row = (self._kind, json.dumps(record))
        number = change.db.execute("INSERT INTO intent (kind, record) VALUES (?, ?)", row).lastrowid
        assert number is not None
        return number

    def update(self, ident: int, record: dict[str, Any]) -> None:
        """Replace the record."""
        with self._names.changing(durable=True) as change:
            change.db.execute("UPDATE intent SET record = ? WHERE id = ?", (json.dumps(record), ident))

    def end(self, ident: int, change: Change | None = None) -> None:
        """The work is done, or undone; forget it."""
        if change is None:
            with self._names.changing(durable=True) as change:
                self.end(ident, change)
                return
        change.db.execute("DELETE FROM intent WHERE id = ?", (ident,))

    def pending(self) -> list[tuple[int, dict[str, Any]]]:
        """What was begun and not ended, oldest first."""
        rows = self._names.intents(self._kind)
        return [(number, json.loads(record)) for number, record in rows]
