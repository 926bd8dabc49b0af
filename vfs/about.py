"""What mediapool knows of a path: `getfattr -n user.mediapool.source|drive|why|media` and `mediapool explain`.

The attributes are answered, never stored or listed, so that copies (`cp -a`, rsync -X) do not carry them along.
"""

import errno
import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from vfs.branch import Branch, error
from vfs.local import LocalBranch
from vfs.lookup import Copy, Lookup
from vfs.nodes import RemoteFile
from vfs.remote import RemoteBranch

PREFIX = "user.mediapool."


class MediaTold(NamedTuple):
    """What is known of a film or music: "known", with facts as a JSON object; "failed", with the reason why none.

    "waiting": somebody will look at it soon; "unknown": nobody has looked, or not since it changed.
    """

    state: Literal["known", "failed", "waiting", "unknown"]
    facts: str | None = None
    problem: str | None = None


class MediaKnowledge(Protocol):
    """The catalog's media facts. Never waits for the network or for another process."""

    def tell(self, copy: Copy, path: str) -> MediaTold | None:
        """What is known of the file at `path` that this branch shows; None if it is neither film nor music."""
        ...


class NoMedia:
    """Knows nothing."""

    def tell(self, copy: Copy, path: str) -> MediaTold | None:
        return None


class About:
    """Answers questions about paths. `placing` says in words where a new file at a path would go."""

    def __init__(self, lookup: Lookup, placing: Callable[[str], str]) -> None:
        self._lookup = lookup
        self._placing = placing
        self.media: MediaKnowledge = NoMedia()

    def xattr(self, path: str, name: str) -> bytes:
        """The value of a `user.mediapool.*` attribute; ENODATA for one that does not exist or does not apply."""
        copies = self._lookup.all(path)
        answer = {"source": _source, "drive": _drive}.get(name.removeprefix(PREFIX))
        if answer is not None:
            text = answer(copies[0].branch)
        elif name == PREFIX + "why":
            text = self._why(path, copies)
        elif name == PREFIX + "media":
            told = self._told(path, copies[0])
            text = told and told.facts
        else:
            text = None
        if text is None:
            raise error(errno.ENODATA, path)
        return text.encode(errors="surrogateescape")

    def describe(self, path: str) -> dict[str, Any]:
        """All that is known of a path, as plain values; OSError if it is not there."""
        copies = self._lookup.all(path)
        shown = copies[0]
        return {
            "path": path,
            "kind": "directory" if shown.attr.is_dir else "file",
            "size": shown.attr.size,
            "links": shown.attr.nlink,
            "source": _source(shown.branch),
            "drive": _drive(shown.branch),
            "copies": [_drive(copy.branch) or _source(copy.branch) for copy in copies[1:]],
            "why": self._why(path, copies),
            "media": self._media(path, shown),
        }

    def media_of(self, path: str) -> dict[str, Any] | None:
        """What is known of a film or music, as plain values: "state", "facts" and "problem" as in `MediaTold`.

        None for anything else. A remote film that nobody has looked at is looked at soon. OSError if nothing is there.
        """
        return self._media(path, self._lookup.first(path))

    def _media(self, path: str, shown: Copy) -> dict[str, Any] | None:
        told = self._told(path, shown)
        if told is None:
            return None
        facts = None if told.facts is None else json.loads(told.facts)
        return {"state": told.state, "facts": facts, "problem": told.problem}

    def _told(self, path: str, shown: Copy) -> MediaTold | None:
        return None if shown.attr.is_dir else self.media.tell(shown, path)

    def _why(self, path: str, copies: list[Copy]) -> str:
        branch, attr = copies[0]
        if attr.is_dir:
            where = ", ".join(_drive(copy.branch) or "Real-Debrid" for copy in copies)
            return f"a directory on {where}; {self._placing(path)}"
        hidden = [_drive(copy.branch) or "Real-Debrid" for copy in copies[1:]]
        also = f"; hidden below it: another copy on {', '.join(hidden)}" if hidden else ""
        if isinstance(branch, RemoteBranch):
            return f"its content lies at Real-Debrid: {_content(branch, path)}{also}"
        missing = "" if not isinstance(branch, LocalBranch) or branch.drive.present else ", which is missing"
        return f"it lies on drive {_drive(branch)}{missing}{also}; {self._placing(path)}"


def _source(branch: Branch) -> str:
    return "drive" if isinstance(branch, LocalBranch) else "realdebrid"


def _drive(branch: Branch) -> str | None:
    return branch.drive.name if isinstance(branch, LocalBranch) else None


def _content(branch: RemoteBranch, path: str) -> str:
    node = branch.names.find(path)
    if not isinstance(node, RemoteFile):
        return "unknown"
    kind, ident, part = node.key
    return f"{kind} {ident}, file {part}" if part else f"{kind} {ident}"
