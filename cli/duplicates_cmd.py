"""`mediapool index duplicates`: which files hold the same."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.indexing import (
    INTERRUPTED,
    bytes_of,
    contents_of,
    exclude_option,
    excluded_by,
    interruptible,
    min_size_option,
    shown,
    shown_progress,
    state_of,
    state_option,
    tell_problems,
    trees_of,
    uncollected,
)
from cli.options import config_option, load, mounted
from cli.output import busy, fail, human_size, json_option, progress, say, warn

if TYPE_CHECKING:
    from threading import Event

    from indexer.containment import Contained
    from indexer.contents import Contents
    from indexer.duplicates import Group
    from indexer.finding import Found, Unreadable
    from indexer.probable import Probable


@click.command()
@click.argument("trees", metavar="TREE...", nargs=-1, required=True)
@min_size_option
@exclude_option
@click.option("--bytes", "by_bytes", is_flag=True, help="Compare the files of each group byte by byte as well.")
@click.option("--hard-links", is_flag=True, help="Show other names of the same file, which take no room, too.")
@click.option("--folders", is_flag=True, help="Say which folders are wholly contained in another one.")
@click.option("--remote", is_flag=True, help="Say which remote files of the mount are probably copies, by their ends.")
@config_option
@state_option
@json_option
def duplicates(
    trees: tuple[str, ...], min_size: str, patterns: tuple[str, ...], by_bytes: bool, hard_links: bool,
    folders: bool, remote: bool, config_file: Path | None, state_folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Find files with the same content below each TREE. Reads no more than it has to; changes nothing.

    \b
    Example:
      mediapool index duplicates /mnt/disk1/media /mnt/disk2/media --folders
    """
    from indexer.duplicates import Search
    from indexer.finding import find

    chosen = trees_of(trees)
    tell = shown_progress()
    with uncollected(), contents_of(state_of(config_file, state_folder)) as contents, interruptible() as stop:
        with busy("looking for files"):
            found = find(chosen, stop=stop, excluded=excluded_by(patterns, chosen))
        search = Search(contents, chosen, stop=stop, progressed=tell)
        result = search.run(found.files, bytes_of(min_size))
        groups = [*_proven(result.groups)] if by_bytes and result.whole else result.groups
        pairs, unread = _probable(config_file, contents, found.files, stop) if remote and result.whole else ([], [])
    progress("")
    inside: list[Contained] = []
    if folders and result.whole:
        from indexer.containment import contained

        inside = contained(found.files, groups)
    if as_json:
        _print_groups(groups, inside if folders else None, pairs if remote else None, hard_links)
    else:
        _show_groups(groups, inside, pairs, hard_links)
    tell_problems([*found.unreadable, *result.problems, *unread])
    if not result.whole:
        fail(INTERRUPTED)


def _proven(groups: "Sequence[Group]") -> "Iterator[Group]":
    from indexer.duplicates import proven

    for number, group in enumerate(groups):
        progress(f"comparing bytes: group {number + 1} of {len(groups)}")
        try:
            yield from proven(group, lambda _count: None)
        except OSError as error:
            warn(f"{shown(group.files[0].path)}: {error.strerror}")


def _probable(
    config_file: Path | None, contents: "Contents", files: "Sequence[Found]", stop: "Event"
) -> "tuple[list[Probable], list[Unreadable]]":
    """Local files that remote ones of the running mount are probably copies of."""
    from cli.remotefiles import MountedRemoteFiles
    from cli.state import StateFolder
    from indexer.probable import probable

    config = load(config_file)
    names, contact = StateFolder(config.state.path).names, mounted(config)

    def told(count: int) -> bool:
        progress(f"looking at remote files: {count}")
        return not stop.is_set()

    return probable(files, MountedRemoteFiles(names, contact.mount), contents, told)


def _print_groups(
    groups: "Sequence[Group]", inside: "Sequence[Contained] | None", pairs: "Sequence[Probable] | None",
    hard_links: bool,
) -> None:  # fmt: skip
    """One object a line: thousands of groups are read by programs, and indenting them takes longer than the search."""
    from indexer.export import named

    write = sys.stdout.write
    write('{"groups": [')
    for number, group in enumerate(groups):
        one: dict[str, Any] = {"size": group.size, "xxh3_128": group.hash.hex(), "wasted": group.wasted,
                               "files": [named(found.path) for found in group.files]}  # fmt: skip
        if hard_links:
            one["links"] = [named(found.path) for found in group.links]
        write(("\n" if not number else ",\n") + json.dumps(one))
    write("\n]")
    if inside is not None:
        rows = [{"folder": named(one.folder), "within": named(one.within), "files": one.files, "bytes": one.bytes,
                 "equal": one.equal} for one in inside]  # fmt: skip
        write(',\n"folders": ' + json.dumps(rows))
    if pairs is not None:
        rows = [{"size": one.size, "osdb": one.osdb.hex(), "files": [named(file.path) for file in one.local],
                 "remote": [named(file.path) for file in one.remote]} for one in pairs]  # fmt: skip
        write(',\n"probable": ' + json.dumps(rows))
    write("}\n")


def _show_groups(
    groups: "Sequence[Group]", inside: "Sequence[Contained]", pairs: "Sequence[Probable]", hard_links: bool
) -> None:
    for group in groups:
        say(f"{human_size(group.size)} each, {human_size(group.wasted)} wasted:")
        for found in group.files:
            say(f"  {shown(found.path)}")
            for link in group.links if hard_links else ():
                if (link.dev, link.ino) == (found.dev, found.ino):
                    say(f"    the same file: {shown(link.path)}")
    for one in inside:
        word = "has the same files as" if one.equal else "is contained in"
        say(f"{shown(one.folder)} {word} {shown(one.within)} ({one.files} files, {human_size(one.bytes)})")
    for pair in pairs:
        local, remote = (", ".join(shown(one.path) for one in files) for files in (pair.local, pair.remote))
        say(f"{local}: probably the same as the remote {remote}")
    files = sum(len(group.files) - 1 for group in groups)
    wasted = sum(group.wasted for group in groups)
    say(f"{files} duplicates in {len(groups)} groups, {human_size(wasted)} wasted.")
