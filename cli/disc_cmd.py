"""`mediapool archive image|mark|verify`: volumes and their discs."""

import os
from pathlib import Path

import click

from cli.archives import Meter, archive_option, configured, maybe_opened, opened, refuse_unfinished, told
from cli.options import config_option
from cli.output import (
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    print_table,
    progress,
    say,
    yes_option,
)
from indexer.images import write_image
from indexer.manifest import named
from indexer.verifying import Verdict, open_disc, record, replan
from indexer.verifying import verify as read_disc
from indexer.volumes import Archive, State, now


@click.command()
@click.argument("volume")
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The image; default: VOLUME.iso here.")  # fmt: skip
@archive_option
@config_option
@dry_run_option
@yes_option
@json_option
def image(
    volume: str, target: Path | None, archive: Path | None, config_file: Path | None, dry_run: bool, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write the image of VOLUME, to be burned with any program. An image that is there is replaced, after asking.

    \b
    Example:
      mediapool archive image 0001 --to /mnt/disk2/0001.iso
    """
    with told():
        made = opened(configured(config_file), archive)
        with made.locked():
            refuse_unfinished(made)
            wanted = made.volume(volume)
            place = target or Path(f"{wanted.name}.iso")
            if place.is_dir() or not place.absolute().parent.is_dir():
                fail(f"{place} can be no image.", "Name a file in a folder that exists: --to FILE.")
            size = 0
            if not dry_run:
                if place.exists():
                    confirm(f"Replace {place}?", yes)
                meter = Meter()
                size = write_image(made, wanted, place, lambda share: meter.share("writing", str(place), share))
                progress("")
    if as_json:
        print_json({"volume": wanted.name, **named(str(place)), "size": size, "dry_run": dry_run})
    elif dry_run:
        say(f"Would write volume {wanted.name} ({human_size(wanted.manifest.size)}) to {place}.")
    else:
        say(f"Wrote {place} ({human_size(size)}). After burning: mediapool archive mark {wanted.name} --burned")


@click.command()
@click.argument("volume")
@click.option("--burned/--unburned", "burned", required=True, help="Whether there is a disc of it.")
@click.option("--disc", default="", metavar="TEXT", help="What is written on the disc, or where it lies.")
@archive_option
@config_option
@dry_run_option
@json_option
def mark(
    volume: str, burned: bool, disc: str, archive: Path | None, config_file: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Remember that VOLUME was burned, or that there is no disc of it (any more).

    \b
    Example:
      mediapool archive mark 0001 --burned --disc "blue box"
    """
    with told():
        made = opened(configured(config_file), archive)
        with made.locked():
            refuse_unfinished(made)
            name = made.volume(volume).name
            state = State(burned=now(), disc=disc) if burned else State()
            if not dry_run:
                made.set_state(name, state)
    if as_json:
        print_json({"volume": name, "state": state.word, "disc": disc, "dry_run": dry_run})
    else:
        say(f"Volume {name} {'would be' if dry_run else 'is'} {state.word}.")


@click.command()
@click.argument("device", metavar="DEVICE|MOUNT", type=click.Path(exists=True))
@archive_option
@config_option
@json_option
def verify(device: str, archive: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Read all of a disc, past the page cache, and compare it with what was archived.

    The disc may be in a drive (/dev/sr0), mounted somewhere, or an image of one. Of a volume that is marked as burned
    the result is kept, and one that is bad is planned to be burned again; the others stay as they are.

    \b
    Example:
      mediapool archive verify /dev/sr0
    """
    with told():
        made = maybe_opened(configured(config_file), archive)
        disc = open_disc(device)
        meter = Meter()
        try:
            verdict = read_disc(disc, made, lambda path, done, total: meter("reading", path, done, total))
        finally:
            disc.close()
            progress("")
        kept = made is not None and _keep(made, verdict, device)
        lacking = _lacking(made, verdict) if made is not None and kept and verdict.bad else []
    _tell(verdict, as_json, kept, lacking)


def _keep(made: Archive, verdict: Verdict, device: str) -> bool:
    """Record the verdict, unless it is about the folder of a volume or another archive; whether it was."""
    if os.path.commonpath([os.path.realpath(device), made.path]) == made.path:
        return False
    if made.volumes and verdict.manifest.archive != made.id:
        return False
    with made.locked():
        return record(made, verdict) is not None


def _lacking(made: Archive, verdict: Verdict) -> list[str]:
    return [path for one in replan(made, [verdict.manifest.volume]) for path in one.lacking]


def _tell(verdict: Verdict, as_json: bool, kept: bool, lacking: list[str]) -> None:
    name = verdict.manifest.volume
    if as_json:
        bad = [{**named(path), "cause": cause} for path, cause in verdict.bad.items()]
        print_json({"volume": name, "files": verdict.files, "size": verdict.size, "bad": bad, "kept": kept,
                    "extra": [named(path) for path in verdict.extra],
                    "lacking": [named(path) for path in lacking]})  # fmt: skip
    elif verdict.bad:
        print_table(("Bad", "Why"), verdict.bad.items())
    else:
        say(f"Volume {name}: all {verdict.files} files ({human_size(verdict.size)}) are as they were archived.")
    for path in () if as_json else verdict.extra:
        say(f"not of this volume: {path}")
    if not verdict.bad:
        return
    remedy = f"Burn volume {name} again: mediapool archive image {name}. The other volumes stay as they are."
    if lacking:
        remedy = f"Its folder lacks {len(lacking)} of its files; PAR2 on the disc, if it has that, can mend them."
    fail(f"Volume {name}: {len(verdict.bad)} of {verdict.files} files are bad.", remedy)
