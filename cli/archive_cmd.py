"""`mediapool archive plan|build|find|status`: what goes to which disc, and what is archived already."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.archives import (
    Meter,
    archive_option,
    chosen_medium,
    configured,
    known_hashes,
    left_as_json,
    maybe_opened,
    opened,
    refuse_read_only,
    refuse_unfinished,
    run_job,
    sources,
    told,
)
from cli.config import Config
from cli.disc_cmd import image, mark, verify
from cli.exitcodes import Exit
from cli.options import config_option
from cli.output import (
    busy,
    confirm,
    dry_run_option,
    fail,
    human_size,
    json_option,
    print_json,
    print_table,
    say,
    warn,
    yes_option,
)
from cli.sizes import parse_size
from indexer import jobs
from indexer.archive import prepare
from indexer.archived import find as find_in
from indexer.archived import keep_oldest, standings
from indexer.discs import Medium
from indexer.gathering import Gathered, KnownHashes, Source, gather
from indexer.jobs import Job
from indexer.manifest import named
from indexer.planning import Order, Plan, Together
from indexer.planning import plan as make_plan
from indexer.verifying import replan
from indexer.volumes import Archive, Volume

_ORDERS: tuple[Order, ...] = ("ffd", "date")


@click.group()
def archive() -> None:
    """Files on optical discs: planned, built, burned, verified, found again."""


class Wish:
    """What `plan` and `build` are asked for, and what comes of it."""

    def __init__(self, config: Config, folder: Path | None, wanted: dict[str, Any]) -> None:
        """`wanted`: the options of `_shared`. Ends the command for those that make no sense."""
        self.medium = chosen_medium(wanted["media"], wanted["ecc"], wanted["no_spare"])
        self.order: Order = wanted["order"]
        self.together: Together = wanted["keep_together"]
        self.free = _size(wanted["free"])
        self.freed = 0
        if self.free is not None and wanted["from_drive"] is None:
            fail("--free needs --from-drive.", "Name the drive on which space is to become free.", Exit.USAGE)
        self._archive = folder
        self._known = known_hashes(config)
        self._sources = sources(config, wanted["source"], wanted["from_drive"])
        refuse_read_only(config, self._sources)
        self._exclude = wanted["exclude"]

    def gather(self, archive: Archive | None) -> Gathered:
        """The files wanted, without what is archived. OSError, ValueError."""
        with busy("looking for files"):
            gathered = prepare(self._sources, archive, exclude=self._exclude, known=self._known, hear=Meter())
        if self.free is not None:
            self.freed = keep_oldest(gathered, self.free, self.together)
            if archive is not None and any(source.place.shares_disk(archive.root) for source in self._sources):
                warn("the archive lies on that drive too: nothing is freed before its volumes are burned and removed")
            if self.freed < self.free:
                warn(f"only {human_size(self.freed)} can leave the drive, not {human_size(self.free)}")
        return gathered

    def plans(self, gathered: Gathered) -> dict[Order, Plan]:
        """The plan in each order, for their prices. TooLarge."""
        entries = [file.entry() for file in gathered.files]
        return {order: make_plan(entries, self.medium, together=self.together, order=order) for order in _ORDERS}


def _size(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        fail(f"--free {text} {error}.", "Write a size such as 200GB.", Exit.USAGE)


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of plan and build."""
    for decorate in (
        json_option,
        config_option,
        archive_option,
        click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave files of this name or path out."),
        click.option("--free", metavar="SIZE", help="With --from-drive: only as much, the oldest first."),
        click.option("--from-drive", metavar="NAME", help="What leaves this drive; SOURCE is a folder on it, or all."),
        click.option("--order", type=click.Choice(_ORDERS), default="ffd", show_default=True,
                     help="ffd: the fewest discs; date: each disc a span of time."),
        click.option("--keep-together", type=click.Choice(["folder", "date", "nothing"]), default="folder",
                     show_default=True, help="What stays on one disc where it fits."),
        click.option("--no-spare", is_flag=True, help="The discs are burned without spare areas."),
        click.option("--ecc", default="0", metavar="SHARE", help="Room for recovery data, as in 20%."),
        click.option("--media", default="bd25", show_default=True, metavar="MEDIUM|SIZE",
                     help="bd25, bd50, bd100, bd128, or the bytes of a disc."),
    ):  # fmt: skip
        command = decorate(command)
    return click.argument("source", metavar="[SOURCE]...", nargs=-1)(command)


@archive.command()
@_shared
def plan(config_file: Path | None, archive: Path | None, as_json: bool, **wanted: Any) -> None:
    """Say which files of SOURCE would go to which disc, and what that costs. Nothing is moved.

    Without SOURCE: what is to be burned again, since its disc is bad.

    \b
    Example:
      mediapool archive plan /data/media/photos --media bd25 --ecc 20%
    """
    with told():
        config = configured(config_file)
        if not wanted["source"] and wanted["from_drive"] is None:
            _show_replanned(opened(config, archive), as_json)
            return
        wish = Wish(config, archive, wanted)
        known = maybe_opened(config, archive)
        gathered = wish.gather(known)
        _show_plan(wish, gathered, wish.plans(gathered), as_json, jobs.next_volume(known) if known else "0001")


@archive.command()
@_shared
@dry_run_option
@yes_option
def build(
    config_file: Path | None, archive: Path | None, as_json: bool, dry_run: bool, yes: bool, **wanted: Any
) -> None:
    """Move the files of SOURCE into volumes, as `plan` says. Without SOURCE: go on with what was interrupted.

    `mediapool jobs undo` brings them back.

    \b
    Example:
      mediapool archive build /data/media/photos --archive /mnt/disk3/Archive
    """
    with told():
        config = configured(config_file)
        if not wanted["source"] and wanted["from_drive"] is None:
            made = opened(config, archive)
            with made.locked():
                _go_on(made, as_json, dry_run, yes)
            return
        wish = Wish(config, archive, wanted)
        if dry_run:
            known = maybe_opened(config, archive)
            gathered = wish.gather(known)
            _show_plan(wish, gathered, wish.plans(gathered), as_json, jobs.next_volume(known) if known else "0001")
            return
        made = opened(config, archive, make=True)
        with made.locked():
            refuse_unfinished(made)
            gathered = wish.gather(made)
            plans = wish.plans(gathered)
            if not as_json:
                _show_plan(wish, gathered, plans, False, jobs.next_volume(made))
            if not gathered.files:
                _show_built(None, gathered, as_json)
                return
            size = human_size(sum(file.size for file in gathered.files))
            confirm(f"Move {len(gathered.files)} files ({size}) to {made.path}?", yes)
            medium = wish.medium
            job = jobs.begin(made, gathered, plans[wish.order], (medium.name, medium.capacity, medium.ecc))
            run_job(made, job, back=False)
            _show_built(job, gathered, as_json)


def _go_on(made: Archive, as_json: bool, dry_run: bool, yes: bool) -> None:
    job = jobs.unfinished(made)
    if job is None:
        fail("No build was interrupted.", "Name what is to be archived: mediapool archive build SOURCE...")
    if job.phase == "undoing":
        refuse_unfinished(made)
    left = len(job.items) - len(job.hashes)
    if not dry_run:
        confirm(f"Go on with job {job.id}: {left} of {len(job.items)} files?", yes)
        run_job(made, job, back=False)
    elif not as_json:
        say(f"Would go on with job {job.id}: {left} of {len(job.items)} files are to be moved.")
        return
    _show_built(job, None, as_json)


def _show_built(job: Job | None, gathered: Gathered | None, as_json: bool) -> None:
    failed = jobs.left_of(job) if job else []
    if as_json:
        left = [*(gathered.left if gathered else ()), *failed]
        found = {"job": job.id, "volumes": job.volumes, "files": len(job.hashes)} if job else {"job": None}
        print_json({**found, "left": left_as_json(left)})
    elif job:
        say(f"Job {job.id}: {len(job.hashes)} files in volume {', '.join(job.volumes)}. Next: mediapool archive image")
    else:
        say("Nothing to archive.")
    if failed:
        lines = [f"{one.path}: {one.reason}" for one in failed]
        fail(f"{len(failed)} files stayed where they were.", "\n".join(lines))


def _show_plan(wish: Wish, gathered: Gathered, plans: dict[Order, Plan], as_json: bool, first: str) -> None:
    chosen = plans[wish.order]
    if as_json:
        print_json(_plan_as_json(wish, gathered, plans, first))
        return
    rows = []
    for number, (members, used) in enumerate(zip(chosen.volumes, chosen.used, strict=True)):
        files = [gathered.files[at] for at in members]
        dates = sorted(file.entry().date for file in files)
        size = human_size(sum(file.size for file in files))
        fill = f"{100 * used / wish.medium.usable:.1f} %"
        rows.append((f"{int(first) + number:04}", len(files), size, fill, f"{dates[0]} to {dates[-1]}"))
    print_table(("Volume", "Files", "Size", "Full", "Dates"), rows, right=(1, 2, 3))
    prices = [(order, *_price(one)) for order, one in plans.items()]
    print_table(("Order", "Discs", "At least", "Full", "Split"), prices, right=(1, 2, 3, 4))
    if gathered.copies:
        say(f"{len(gathered.copies)} files stay: their content is archived already, or twice among these.")
    for reason, count in Counter(one.reason for one in gathered.left).most_common():
        say(f"{count} left where they are: {reason}.")


def _price(one: Plan) -> tuple[object, ...]:
    price = one.price
    return price.discs, price.lower_bound, f"{100 * price.fill:.1f} %", price.split


def _plan_as_json(wish: Wish, gathered: Gathered, plans: dict[Order, Plan], first: str) -> dict[str, Any]:
    medium: Medium = wish.medium
    chosen = plans[wish.order]
    volumes = []
    for number, (members, used) in enumerate(zip(chosen.volumes, chosen.used, strict=True)):
        files = [gathered.files[at] for at in members]
        lines = [{**named(f.target), "size": f.size, "from": named(gathered.origin(f))} for f in files]
        volumes.append({"volume": f"{int(first) + number:04}", "used": used, "files": lines})
    return {
        "medium": {**asdict(medium), "usable": medium.usable},
        "order": wish.order,
        "prices": {order: asdict(one.price) for order, one in plans.items()},
        "volumes": volumes,
        "freed": wish.freed,
        "copies": [{**named(gathered.origin(file)), "hash": file.hash} for file in gathered.copies],
        "left": left_as_json(gathered.left),
    }


def _show_replanned(made: Archive, as_json: bool) -> None:
    again = replan(made)
    if as_json:
        print_json([{**asdict(one), "lacking": [named(path) for path in one.lacking]} for one in again])
        return
    if not again:
        say("No disc is known to be bad: nothing is to be burned again.")
    for one in again:
        say(f"Volume {one.volume} is to be burned again: {one.files} files, {human_size(one.size)}.")
        for path in one.lacking:
            say(f"  its folder lacks {path}")


@archive.command()
@click.argument("name")
@archive_option
@config_option
@json_option
def find(name: str, archive: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Say on which volumes NAME is: a part of a path, or a pattern such as '*.cr2'.

    \b
    Example:
      mediapool archive find IMG_0815
    """
    with told():
        found = list(find_in(opened(configured(config_file), archive), name))
    if as_json:
        print_json([{**_volume(one), **named(file.path), "size": file.size, "hash": file.hash} for one, file in found])
    else:
        rows = [(one.name, one.state.word, human_size(file.size), file.path) for one, file in found]
        print_table(("Volume", "State", "Size", "Path"), rows, right=(2,))
    if not found:
        fail(f"Nothing called {name} is archived.")


def _volume(one: Volume) -> dict[str, Any]:
    return {"volume": one.name, "state": one.state.word, "disc": one.state.disc}


@archive.command()
@click.argument("trees", metavar="[TREE]...", nargs=-1)
@archive_option
@config_option
@json_option
def status(trees: tuple[str, ...], archive: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Show the volumes; or of the files below TREE, which are archived, told by their content, and which are not yet.

    \b
    Example:
      mediapool archive status /data/media/photos
    """
    with told():
        config = configured(config_file)
        made = opened(config, archive)
        if not trees:
            _show_volumes(made, as_json)
            return
        _show_standings(made, sources(config, trees, None), known_hashes(config), as_json)


def _show_volumes(made: Archive, as_json: bool) -> None:
    volumes = list(made.volumes.values())
    if as_json:
        print_json({"archive": made.path, "volumes": [
            {**_volume(one), "files": len(one.manifest.files), "size": one.manifest.size, "medium": one.manifest.medium,
             "burned": one.state.burned, "verified": one.state.verified, "bad": [named(p) for p in one.state.bad]}
            for one in volumes]})  # fmt: skip
        return
    rows = [(one.name, one.state.word, len(one.manifest.files), human_size(one.manifest.size), one.manifest.medium,
             one.state.disc, one.state.verified or one.state.burned or "") for one in volumes]  # fmt: skip
    print_table(("Volume", "State", "Files", "Size", "Medium", "Disc", "Since"), rows, right=(2, 3))


def _show_standings(made: Archive, wanted: Sequence[Source], known: KnownHashes, as_json: bool) -> None:
    with busy("looking for files"):
        gathered = gather(wanted, within=made.root)
        found = list(standings(gathered, made, known, Meter()))
    if as_json:
        lines = [{**named(one.origin), "size": one.size, **({} if one.volume is None else _volume(one.volume)),
                  "archived": one.volume is not None} for one in found]  # fmt: skip
        print_json({"files": lines, "left": left_as_json(gathered.left)})
        return
    groups: dict[str, list[int]] = {}
    for one in found:
        word = "not yet" if one.volume is None else f"volume {one.volume.name}, {one.volume.state.word}"
        groups.setdefault(word, []).append(one.size)
    rows = [(word, len(sizes), human_size(sum(sizes))) for word, sizes in sorted(groups.items())]
    print_table(("Archived", "Files", "Size"), rows, right=(1, 2))
    for one in found:
        if one.volume is None:
            say(f"not yet: {one.origin}")
    for left in gathered.left:
        say(f"not looked at ({left.reason}): {left.path}")


for _command in (image, mark, verify):
    archive.add_command(_command)

commands = [archive]
