"""`mediapool debrid prune`: names of torrents that Real-Debrid does not have any more leave the tree, on request."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.options import call, config_option, load, mounted
from cli.output import (
    busy,
    confirm,
    dry_run_option,
    fail,
    human_time,
    json_option,
    print_json,
    print_table,
    say,
    yes_option,
)

_PRUNE = "/api/debrid/prune"

Torrent = Mapping[str, Any]


@click.command()
@click.argument("torrents", metavar="[NAME|HASH]...", nargs=-1)
@config_option
@dry_run_option
@yes_option
@json_option
def prune(torrents: tuple[str, ...], config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the names of torrents that Real-Debrid does not have any more; of these, or of all.

    NAME or HASH of a torrent as in `debrid list`, which says "missing" or "dead" of those that can be pruned.

    \b
    Example:
      mediapool debrid prune --dry-run
    """
    contact = mounted(load(config_file))
    hashes = _hashes(call(contact, "/api/debrid/torrents"), torrents) if torrents else None
    with busy("looking for torrents that are gone"):
        found = call(contact, _PRUNE, {"hashes": hashes, "dry_run": True})
    _refuse_others(hashes or (), found)
    if not as_json:
        _show("To be removed", found)
    if found and not dry_run:
        confirm(f"Remove {_count(found)} from the tree? They do not come back by themselves.", yes)
        # Of exactly what was shown, and of that only what is still gone.
        with busy(f"removing {_count(found)}"):
            found = call(contact, _PRUNE, {"hashes": [each["hash"] for each in found], "dry_run": False})
    if as_json:
        print_json(found)
    elif found and not dry_run:
        say(f"Removed {_count(found)}.")
    if problems := [f"{each['name']}: {each['problem']}" for each in found if each["problem"]]:
        fail("Not all names could be removed.", "\n".join(problems))


def _hashes(listed: Sequence[Torrent], words: Iterable[str]) -> list[str]:
    """The hashes of the torrents that these words mean; ends the command if one means none."""
    found: dict[str, None] = {}
    for word in words:
        meant = [one["hash"] for one in listed if word in (one["name"], one["path"]) or word.lower() == one["hash"]]
        if not meant:
            fail(f"There is no torrent {word!r}.", "mediapool debrid list shows all.")
        found.update(dict.fromkeys(meant))
    return list(found)


def _refuse_others(hashes: Iterable[str], found: Sequence[Torrent]) -> None:
    """End the command, with nothing done, if some of what was asked for cannot be pruned."""
    if others := set(hashes) - {each["hash"] for each in found}:
        fail(
            f"Real-Debrid has it still, or it has no name in the tree: {', '.join(sorted(others))}.",
            "To remove the names of a torrent that is there, remove its files.",
        )


def _show(title: str, found: Sequence[Torrent]) -> None:
    if not found:
        say("Nothing to prune: no torrent with a name in the tree is gone at Real-Debrid.")
        return
    rows = [(path, each["name"], reason(each["reason"], each["since"])) for each in found for path in each["paths"]]
    print_table((title, "Torrent", "Why"), rows)


def _count(found: Sequence[Torrent]) -> str:
    names = sum(len(each["paths"]) for each in found)
    one, other = ("name" if names == 1 else "names"), ("torrent" if len(found) == 1 else "torrents")
    return f"{names} {one} of {len(found)} {other}"


def reason(problem: str, since: float | None) -> str:
    """What is wrong, and since when (seconds since 1970) if that is known."""
    return problem if since is None else f"{problem}, since {human_time(since)}"
