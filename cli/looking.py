"""Media facts of local files, as `index crawl` brings them."""

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from cli.indexing import shown_progress, tell_problems
from cli.output import say, warn

if TYPE_CHECKING:
    from indexer.contents import Contents
    from indexer.probing import Looked


def look_at_media(contents: "Contents", trees: Sequence[bytes], media: str, stop: Event) -> "Looked | None":
    """Look at what may be films or music and was not looked at; `media`: "new", "again" or "off".

    None, and nothing is imported, where there is nothing to look at.
    """
    if media == "again":
        contents.probe_again(trees)
    if media == "off" or not contents.media.wants_any():
        return None
    from indexer.probing import Prober

    return Prober(contents, stop=stop, progressed=shown_progress()).run(trees)


def plain_looked(looked: "Looked") -> dict[str, Any]:
    """For JSON."""
    from indexer.export import named

    failed = [{**named(one.path), "reason": one.reason} for one in looked.failed]
    return {"known": looked.known, "failed": failed, "left": looked.left, "trouble": looked.trouble}


def tell_media(looked: "Looked", as_json: bool) -> None:
    """Say what was found, to people; and what could not be looked at, to everybody."""
    if looked.known and not as_json:
        say(f"Media facts of {looked.known} files.")
    tell_problems(looked.failed)
    if looked.trouble:
        warn(f"{looked.left} files were not looked at: {looked.trouble}")
