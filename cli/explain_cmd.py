"""`mediapool explain`: where a path lies, why, and where a new file there would go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.copies import copies
from cli.exitcodes import Exit
from cli.options import call, config_option, expanded, inside, load, mounted
from cli.output import fail, human_size, json_option, print_fields, print_json, print_table, say
from cli.sizes import parse_size


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--size", help="Say where a new file of this size would go, as in 40GiB.")
@config_option
@json_option
def explain(paths: tuple[str, ...], size: str | None, config_file: Path | None, as_json: bool) -> None:
    """Say where PATH lies and why, which rule decides about a new file there, and what each drive would say to it.

    Of a local file that the index has read, all copies of its content are shown: drives, remote files, discs.

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
    answers = call(mounted(config), "/api/explain", {"paths": inner, "size": wanted})
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


def _show(answer: Mapping[str, Any]) -> None:
    about = answer["about"]
    say(f"/{answer['path']}")
    if about is None:
        say("Nothing is there.")
    else:
        fields = [("Kind", about["kind"]), ("Links", about["links"]), ("Why", about["why"])]
        if about["kind"] == "file":
            fields.insert(1, ("Size", human_size(about["size"])))
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
