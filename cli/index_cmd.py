"""`mediapool index`: the catalog of what files hold; duplicates found, and moved aside."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.duplicates_cmd import duplicates
from cli.exitcodes import Exit
from cli.indexing import (
    INTERRUPTED,
    contents_of,
    exclude_option,
    interruptible,
    refuse_mount,
    shown,
    shown_progress,
    state_of,
    state_option,
    tell_problems,
    trees_of,
)
from cli.looking import look_at_media, plain_looked, tell_media
from cli.options import config_option, load
from cli.output import (
    fail,
    human_size,
    human_time,
    json_option,
    print_json,
    print_table,
    progress,
    say,
    warn,
)
from cli.sort_cmd import sort

if TYPE_CHECKING:
    from indexer.crawling import Crawled
    from indexer.probing import Looked


@click.group()
def index() -> None:
    """What files hold: the catalog, duplicates."""


@index.command()
@config_option
@state_option
@json_option
def status(config_file: Path | None, state_folder: Path | None, as_json: bool) -> None:
    """Show what the catalog knows, and which trees were crawled when.

    \b
    Example:
      mediapool index status
    """
    with contents_of(state_of(config_file, state_folder)) as contents:
        totals, media, trees = contents.totals(), contents.media.totals(), contents.trees()
    if as_json:
        from indexer.export import named

        crawled = [{**named(one.path), "crawled": one.crawled_ns / 1e9, "files": one.files, "bytes": one.bytes}
                   for one in trees]  # fmt: skip
        print_json({**totals._asdict(), "media": media._asdict(), "trees": crawled})
        return
    say(
        f"{totals.files} files, {human_size(totals.bytes)}; "
        f"of {totals.hashed}, {human_size(totals.hashed_bytes)}, the content is known."
    )
    say(
        f"Media facts of {media.known} contents and {media.remote_known} remote files; "
        f"{media.failed + media.remote_failed} were looked at in vain, {media.to_do} are to be looked at."
    )
    rows = [
        (os.fsdecode(one.path), one.files, human_size(one.bytes), human_time(one.crawled_ns / 1e9)) for one in trees
    ]
    if rows:
        print_table(("Tree", "Files", "Size", "Crawled"), rows, right=(1, 2))


@index.command()
@click.argument("trees", metavar="[TREE]...", nargs=-1)
@click.option("--max-age", metavar="DURATION", help="Believe trees that were crawled less than this ago, as in 120d.")
@click.option("--sample", type=click.FloatRange(0, 100), default=1.0, show_default=True, metavar="PERCENT",
              help="Files of each burned archive volume to read again.")  # fmt: skip
@click.option("--media", type=click.Choice(["new", "again", "off"]), default="new", show_default=True,
              help="Which films and music to look at: new ones, failed ones again, or none.")  # fmt: skip
@exclude_option
@config_option
@state_option
@json_option
def crawl(
    trees: tuple[str, ...], max_age: str | None, sample: float, media: str, patterns: tuple[str, ...],
    config_file: Path | None, state_folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Read what is new or changed below each TREE, or on all drives; keep its hashes and media facts in the catalog.

    \b
    Example:
      mediapool index crawl /mnt/disk1/media --max-age 7d
    """
    from cli.crawls import noted
    from cli.sizes import parse_duration
    from indexer.crawling import Crawler
    from indexer.excluding import Excluded

    try:
        age = None if max_age is None else parse_duration(max_age)
    except ValueError as error:
        fail(f"--max-age {max_age}: {error}", code=Exit.USAGE)
    chosen = trees_of(trees or _drives(config_file))
    if trees and state_folder is None:
        refuse_mount(config_file, chosen)
    state = state_of(config_file, state_folder)
    with contents_of(state) as contents, interruptible() as stop, noted(state.crawl, shown_progress()) as tell:
        work = Crawler(contents, stop=stop, progressed=tell, sample=sample / 100, excluded=Excluded(patterns, chosen))
        done = work.run(chosen, max_age=age)
        looked = None if stop.is_set() else look_at_media(contents, chosen, media, stop)
        whole = not stop.is_set()
    progress("")
    if as_json:
        _print_crawled(done._replace(whole=whole), looked)
    else:
        for tree in done.skipped:
            say(f"{shown(tree)}: crawled less than {max_age} ago, left as it is known.")
        say(
            f"{done.files} files, {human_size(done.size)}: {done.known} known, {done.read} read "
            f"({human_size(done.read_size)}), {done.renamed} renamed, {done.gone} gone."
        )
    tell_problems(done.problems)
    for path in done.damaged:
        warn(f"{shown(path)} reads differently than before although nobody changed it: damaged?")
    if looked is not None:
        tell_media(looked, as_json)
    if not whole:
        fail(INTERRUPTED)
    if done.damaged or done.problems:
        raise SystemExit(Exit.FAILED)


def _print_crawled(done: "Crawled", looked: "Looked | None") -> None:
    from indexer.export import named

    lists = {"skipped": [named(one) for one in done.skipped], "damaged": [named(one) for one in done.damaged],
             "problems": [{**named(one.path), "reason": one.reason} for one in done.problems]}  # fmt: skip
    print_json({**done._asdict(), **lists, "media": None if looked is None else plain_looked(looked)})


def _drives(config_file: Path | None) -> list[str]:
    """The roots of all drives that are there. Missing ones are told of and not looked at."""
    from cli import pool
    from cli.state import StateFolder
    from placement.identity import DriveError

    config = load(config_file)
    found = pool.look_at(config, pool.remembered(StateFolder(config.state.path).names))
    try:
        for one in found:
            if isinstance(one, DriveError):
                warn(str(one))
            elif not one.present:
                warn(str(one.problem))
        paths = [one.path for one in found if not isinstance(one, DriveError) and one.present]
    finally:
        pool.close(found)
    if not paths:
        fail("There is no drive to crawl.", "Name a TREE, or add drives: mediapool pool add", Exit.USAGE)
    return paths


@index.command()
@click.argument("trees", metavar="[TREE]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(["json", "csv", "mediastruct"]), default="json", show_default=True,
              help="JSON, CSV, or an index file of mediastruct.")  # fmt: skip
@config_option
@state_option
def export(trees: tuple[str, ...], form: Any, config_file: Path | None, state_folder: Path | None) -> None:
    """Print what the catalog knows of all files, remote ones as well, or of those below each TREE.

    \b
    Example:
      mediapool index export --format csv > files.csv
    """
    from indexer.export import Row, exported

    with contents_of(state_of(config_file, state_folder)) as contents:
        below: list[bytes | None] = [os.fsencode(os.path.realpath(tree)) for tree in trees] or [None]
        rows = (Row(entry, media) for one in below for entry, media in contents.files_and_media(one))
        for line in exported(rows, form, () if trees else contents.media.remotes()):
            print(line)


index.add_command(duplicates)
index.add_command(sort)

commands = [index]
