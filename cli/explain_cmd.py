"""`mediapool explain`: where a path lies, why, and where a new file there would go."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.copies import copies
from cli.exitcodes import Exit
from cli.mediawords import told
from cli.options import call, config_option, expanded, inside, load, mounted
from cli.output import fail, human_size, json_option, print_fields, print_json, print_table, progress, say
from cli.sizes import parse_size
from cli.state import Contact

# Seconds that a command waits for what is looked at, and between two questions whether it was.
_PATIENCE = 15.0
_LOOK = 0.25


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--size", help="Say where a new file of this size would go, as in 40GiB.")
@config_option
@json_option
def explain(paths: tuple[str, ...], size: str | None, config_file: Path | None, as_json: bool) -> None:
    """Say where PATH lies and why, which rule decides about a new file there, and what each drive would say to it.

    Of a local file that the index has read, all copies of its content are shown: drives, remote files, discs. Of films
    and music their media facts; a remote one that nobody has looked at is looked at now, which takes some seconds.

    PATH is in the tree, as in /data/media/x, or relative to its root; it need not exist. "-" reads a list from the
    standard input.

    \b
    Example:
      mediapool explain /data/media/movies/new.mkv --size 40GiB
    """
    config = load(config_file)
    try:
        wanted = None if size is None else parse_size(size)
    except ValueError as error:
        fail(f"--size {size}: {error}", code=Exit.USAGE)
    inner = [inside(config, path) for path in expanded(paths)]
    contact = mounted(config)
    answers = call(contact, "/api/explain", {"paths": inner, "size": wanted})
    _await_media(contact, answers)
    for answer in answers:
        about = answer["about"]
        if about is not None and about["kind"] == "file" and about["drive"]:
            about["content"] = copies(config, about["drive"], answer["path"])
    if as_json:
        print_json(answers)
        return
    for number, answer in enumerate(answers):
        if number:
            say()
        _show(answer)


def _await_media(contact: Contact, answers: Sequence[dict[str, Any]]) -> None:
    """Fill in what is looked at now, as far as it is known within some seconds."""
    until = time.monotonic() + _PATIENCE
    while waiting := [
        one for one in answers if one["about"] and (one["about"]["media"] or {}).get("state") == "waiting"
    ]:
        if time.monotonic() > until:
            break
        progress(f"looking at {len(waiting)} remote files")
        time.sleep(_LOOK)
        paths = [one["path"] for one in waiting]
        for one, now in zip(waiting, call(contact, "/api/explain", {"paths": paths, "size": None}), strict=True):
            one["about"] = now["about"]
    progress("")


def _show(answer: Mapping[str, Any]) -> None:
    about = answer["about"]
    say(f"/{answer['path']}")
    if about is None:
        say("Nothing is there.")
    else:
        fields = [("Kind", about["kind"]), ("Links", about["links"]), ("Why", about["why"])]
        if about["kind"] == "file":
            fields.insert(1, ("Size", human_size(about["size"])))
        if words := told(about["media"], local=about["drive"] is not None):
            fields.append(("Media", words))
        print_fields(fields)
        _show_copies(about)
    say(f"A new file there ({answer['rule']}):")
    rows = [(one["rank"] or "-", one["drive"], one["reason"]) for one in answer["drives"]]
    print_table(("Order", "Drive", "Reason"), rows, right=(0,))


def _show_copies(about: Mapping[str, Any]) -> None:
    if "content" not in about:
        return
    if about["content"] is None:
        say("What it holds is not known to the index: mediapool index crawl")
    elif about["content"]:
        say("The same content:")
        print_table(("Where", "Path"), [(one["where"], one["path"]) for one in about["content"]])
    else:
        say("No other copy of its content is known.")


commands = [explain]
