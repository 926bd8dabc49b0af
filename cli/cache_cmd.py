"""`mediapool cache`: what the disk cache holds, filling it beforehand, and emptying it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.caching import CACHE
from cli.options import call, config_option, inside, load, mounted
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_fields,
    print_json,
    progress,
    say,
    yes_option,
)
from cli.state import Contact

_LOOK = 0.2  # seconds


@click.group()
def cache() -> None:
    """The disk cache of remote bytes."""


@cache.command()
@config_option
@json_option
def status(config_file: Path | None, as_json: bool) -> None:
    """Show what the cache holds, and where the bytes of reads came from since the mount.

    \b
    Example:
      mediapool cache status
    """
    answer = call(mounted(load(config_file)), CACHE)
    if as_json:
        print_json(answer)
        return
    held, reader, warming = answer["cache"], answer["reader"], answer["warming"]
    print_fields(
        [
            ("Held", f"{human_size(held['main'] + held['edges'])} of {human_size(held['limit'])}"),
            ("Heads and tails", human_size(held["edges"])),
            ("Chunks", f"{held['chunks']}, {held['damaged']} damaged and dropped, {held['skipped']} not stored"),
            ("Hit rate", _hit_rate(held)),
            ("Memory", human_size(reader["memory"])),
            ("Fetched", f"{human_size(reader['fetched'])}, {reader['streams']} streams now"),
            ("Warming", f"{warming['queued']} to do, {warming['done']} done, {warming['failed']} failed"),
        ]
    )


def _hit_rate(held: Mapping[str, int]) -> str:
    asked = held["hits"] + held["misses"]
    return f"{held['hits'] / asked:.0%} of {asked} look-ups" if asked else "nothing read yet"


@cache.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@config_option
@json_option
def warm(paths: tuple[str, ...], config_file: Path | None, as_json: bool) -> None:
    """Fetch head and tail of the remote files at and below PATH, so that a library scan finds them in the cache.

    About 1 MiB a file, one after the other, while nobody else reads. Ctrl-C ends it.

    \b
    Example:
      mediapool cache warm /data/media/movies
    """
    config = load(config_file)
    contact = mounted(config)
    before = call(contact, CACHE)["warming"]
    begun = call(contact, f"{CACHE}/warm", {"paths": [inside(config, path) for path in paths]})
    after = _watched(contact)
    result = {**begun, **{key: after[key] - before[key] for key in ("done", "failed")}}
    if as_json:
        print_json(result)
    else:
        say(f"{result['done']} of {result['files']} files are warm.")
    if result["failed"] or result["taken"] < result["files"]:
        fail(f"{result['failed']} could not be read, {result['files'] - result['taken']} were too many at once.")


def _watched(contact: Contact) -> dict[str, int]:
    try:
        while (warming := call(contact, CACHE)["warming"])["queued"]:
            progress(f"{warming['queued']} files to warm")
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        progress("")
        call(contact, f"{CACHE}/stop", {})
        fail("Warming was interrupted; what is fetched stays.")
    progress("")
    found: dict[str, int] = warming
    return found


@cache.command()
@config_option
@dry_run_option
@yes_option
@json_option
def clear(config_file: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove everything that the cache holds; it is fetched again when it is read.

    \b
    Example:
      mediapool cache clear --dry-run
    """
    contact = mounted(load(config_file))
    held: Mapping[str, Any] = call(contact, CACHE)["cache"]
    result = {"bytes": held["main"] + held["edges"], "chunks": held["chunks"]}
    if not dry_run:
        confirm(f"Remove {human_size(result['bytes'])} of remote bytes from the cache?", yes)
        result = call(contact, f"{CACHE}/clear", {})
    if as_json:
        print_json(result)
    else:
        say(f"{'To be removed' if dry_run else 'Removed'}: {human_size(result['bytes'])} in {result['chunks']} chunks.")


commands = [cache]
