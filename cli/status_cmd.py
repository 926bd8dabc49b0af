"""`mediapool status`: whether the tree is mounted, what it consists of, and how it fares."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

import vfs.mount
from cli import pool
from cli.config import Config
from cli.exitcodes import Exit
from cli.options import ask, config_option, load
from cli.output import human_size, json_option, print_fields, print_json, print_table, say
from cli.reading import reading
from cli.state import StateFolder
from placement.identity import DriveError
from placement.services.announcing import in_words

_STATES = {
    "mounted": "mounted",
    "stale": "its process is gone: clear it with mediapool unmount",
    "foreign": "another filesystem is mounted there",
    "bare": "not mounted: this is the bare folder",
    "absent": "not mounted: the folder does not exist",
}


@click.command()
@config_option
@json_option
def status(config_file: Path | None, as_json: bool) -> None:
    """Show the mount, its drives, the remote files and the cache.

    \b
    Example:
      mediapool status --json
    """
    config = load(config_file)
    state = vfs.mount.state(config.mount.path)
    answer = ask(config, "/api/status") or {"mount": str(config.mount.path), "drives": drives_now(config)}
    answer["state"] = state
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    if state != "mounted":
        raise SystemExit(Exit.NOT_MOUNTED)


def drives_now(config: Config) -> list[dict[str, Any]]:
    """The drives as they are while nothing is mounted."""
    known = pool.remembered(StateFolder(config.state.path).names)
    found = pool.look_at(config, known)
    try:
        return [
            {"name": one.name, "path": one.path, "problem": str(one)}
            if isinstance(one, DriveError)
            else pool.drive_status(one, config.placement.min_free)
            for one in found
        ]
    finally:
        pool.close(found)


def show_drives(drives: Iterable[Mapping[str, Any]]) -> None:
    """The table of drives, and below it what is wrong with any."""
    drives = list(drives)
    headers = ("Drive", "Mode", "Tier", "Free", "Size", "Identity", "Path")
    print_table(headers, [_row(drive) for drive in drives], right=(3, 4))
    for drive in drives:
        if drive.get("problem"):
            say(f"! {drive['problem']}")
            if "uncertain" in drive:
                say(f"  {_shown(drive['uncertain'])}")


def _shown(uncertain: int | None) -> str:
    """What a missing drive still shows."""
    if uncertain is None:
        return "What it holds is not known: its names give an input/output error."
    if uncertain:
        return f"Its names are shown as last known, but {uncertain} of its folders changed since and give an error."
    return "Its names are shown as last known; opening and changing them gives an input/output error."


def _row(drive: Mapping[str, Any]) -> tuple[str, ...]:
    free, total = (drive.get(key) for key in ("available", "total"))
    return (
        drive["name"],
        drive.get("mode") or "-",
        drive.get("tier") or "-",
        "missing" if free is None else human_size(free),
        "-" if total is None else human_size(total),
        "-" if free is None else str(drive.get("id"))[:8],
        drive["path"],
    )


def _show(answer: Mapping[str, Any]) -> None:
    say(f"{answer['mount']}: {_STATES[answer['state']]}")
    say()
    show_drives(answer["drives"])
    if "cache" in answer:
        say()
        print_fields(
            [
                *_local_fields(answer["passthrough"]),
                *_remote_fields(answer["remote"]),
                *_download_fields(answer["downloads"]),
                *(("Media server", f"{each['name']}: {in_words(each)}") for each in answer["media_servers"]),
                *(("Not linked", each) for each in answer["copied"]),
                ("Pinned", _pinned(answer["pinned"])),
                *_cache_fields(answer["cache"], answer["reader"]),
                *_today_fields(answer["today"]),
            ]
        )


def _local_fields(passthrough: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Local files", "read by the kernel itself" if passthrough["on"] else f"no passthrough: {passthrough['why']}"


def _remote_fields(remote: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Remote files", str(remote["files"])
    account = remote["account"]
    if account is None:
        yield "Real-Debrid", "no token: the drives are mounted alone"
        return
    polled = account["polled_at"]
    when = "not asked yet" if polled is None else f"asked {datetime.fromtimestamp(polled):%Y-%m-%d %H:%M:%S}"
    yield "Real-Debrid", account["error"] or when
    yield (
        "Torrents",
        ", ".join(f"{account[key]} {key}" for key in ("published", "unfinished", "missing", "problems") if account[key])
        or "none",
    )
    if remote["reads"]["reason"]:
        yield "Reading", reading(remote["reads"])
    if remote["repairs"]:
        yield "Repairs", ", ".join(f"{count} {state}" for state, count in remote["repairs"].items())


def _download_fields(downloads: Mapping[str, Any] | None) -> Iterable[tuple[str, str]]:
    """What clients added, and what went wrong with it."""
    if downloads is None:
        return
    stages = downloads["stages"]
    yield "Downloads", ", ".join(f"{count} {stage}" for stage, count in stages.items()) or "none"
    for each in downloads["failed"]:
        yield "Failed", each


def _pinned(pinned: Mapping[str, Any]) -> str:
    return f"{pinned['pinned']} files, {human_size(pinned['bytes'])}" if pinned["pinned"] else "nothing"


def _cache_fields(cache: Mapping[str, Any], reader: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "Cache", f"{human_size(cache['main'] + cache['edges'])} of {human_size(cache['limit'])}"
    asked = cache["hits"] + cache["misses"]
    yield "Hit rate", f"{cache['hits'] / asked:.0%} of {asked} look-ups" if asked else "nothing read yet"
    yield "Fetched", human_size(reader["fetched"])


def _today_fields(today: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Remote bytes of today by program, and of work in the background."""
    for program, spent in sorted(today["programs"].items(), key=lambda item: -item[1]["bytes"]):
        limit = "" if spent["limit"] is None else f" of {human_size(spent['limit'])}"
        yield f"Today {program}", human_size(spent["bytes"]) + limit
    limit = "" if today["limit"] is None else f" of {human_size(today['limit'])}"
    yield "Today background", human_size(sum(today["background"].values())) + limit


commands = [status]
