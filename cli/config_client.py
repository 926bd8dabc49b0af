"""The [client.CATEGORY] sections: what becomes of the downloads of one category."""

import os
from typing import Literal

from pydantic import Field

from cli.section import Section, key
from debrid.downloads.selection import Files

Import = Literal["link", "move"]


def _import() -> Import:
    # There a name whose file is open cannot be taken away, so nothing would clean up after a link.
    return "move" if os.name == "nt" else "link"


class ClientConfig(Section):
    """Downloads of a category, as Sonarr or Radarr add them; one such section for each that differs from this."""

    uncached: Literal["wait", "refuse"] = key(
        "wait", "What Real-Debrid does not have yet: wait for it, or refuse it at once."
    )
    keep: Literal["remote", "pin", "download"] = key(
        "remote", "remote at the provider alone, pin with a local copy, download as local files."
    )
    import_: Import = Field(
        default_factory=_import,
        alias="import",
        description="Have the importer link the files, or move them. Default: link, move on Windows.",
        examples=["link"],
    )
    files: Files = key("video", "Which files are wanted: video (with subtitles), audio, books, all.")
