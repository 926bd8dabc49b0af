"""What can be done on the page. Each action says first what it would do, and does it when that is confirmed.

They are the same calls that commands make of the daemon, with the same checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.downloading import ADD
from cli.healing import CHECKUP
from cli.moving import JOBS, job_posts
from cli.output import human_size
from cli.pinning import PINS, pin_posts
from cli.routes import Post
from debrid.downloads.sources import NotATorrent, read_magnet

if TYPE_CHECKING:
    from cli.app import App

Form = Mapping[str, str]
_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: a question, and lines with more of it. `word`: on the button."""

    question: str
    word: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """`fields`: what the form has. Both raise ValueError, LookupError, OSError or DebridError with a text for people.

    `plan` changes nothing; `do` answers what was done, in words.
    """

    fields: tuple[str, ...]
    plan: Callable[[Form], Plan]
    do: Callable[[Form], str]


def actions(app: "App") -> Mapping[str, Action]:
    """All of them, by the last part of their address."""
    moves, pins, healing = job_posts(app.moves), pin_posts(app.pinning), app.healing.posts()
    mount = app.config.mount.path
    return {
        "add": _add(None if app.client is None else app.client.posts()[ADD]),
        "pin": _pin(pins[f"{PINS}/ask"], mount, "pin", "Keep a local copy of"),
        "unpin": _pin(pins[f"{PINS}/ask"], mount, "unpin", "Drop the local copy of"),
        "repair": _repair(healing, mount),
        "drain": _drain(moves[f"{JOBS}/begin"], app),
        "pause": _job(moves[f"{JOBS}/pause"], "Let job {} rest? The file under way is begun anew later.", "Pause"),
        "resume": _job(moves[f"{JOBS}/resume"], "Go on with job {}?", "Go on"),
        "undo": _job(moves[f"{JOBS}/undo"], "End job {} and move back what it has moved?", "Move back"),
        "hold": _hold(app, True),
        "release": _hold(app, False),
    }


def _add(post: Post | None) -> Action:
    def plan(form: Form) -> Plan:
        if post is None:
            raise ValueError("There is no account: [debrid] token is not set.")
        link, category = form["link"].strip(), form["category"].strip()
        if not link.lower().startswith(("magnet:", "http://", "https://")):
            raise ValueError("This is neither a magnet link nor the address of a file at a hoster.")
        name = link
        if link.lower().startswith("magnet:"):
            try:
                source = read_magnet(link)
            except NotATorrent as problem:
                raise ValueError(str(problem)) from None
            name = source.name or source.hash
        where = f"torrents/complete/{category}" if category else "torrents/complete"
        return Plan(f"Add {name} to the account?", "Add", (f"It will appear in {where}.",))

    def do(form: Form) -> str:
        plan(form)
        assert post is not None
        post({"link": form["link"].strip(), "torrent": "", "category": form["category"].strip()})
        return "It is added."

    return Action(("link", "category"), plan, do)


def inner_path(given: str, mount: Path) -> str:
    """The path in the tree that somebody means, who may have written the mount point before it. ValueError."""
    path = given.strip()
    whole = str(mount).rstrip("/")
    if path == whole or path.startswith(whole + "/"):
        path = path[len(whole) :]
    path = path.strip("/")
    if any(part in ("", ".", "..") for part in path.split("/")) and path:
        raise ValueError('Write the path without "." and "..".')
    return path


def _pin(ask: Post, mount: Path, goal: str, verb: str) -> Action:
    def asked(form: Form, dry_run: bool) -> list[dict[str, Any]]:
        path = inner_path(form["path"], mount)
        if not path:
            raise ValueError("Write the path of a file or folder in the tree.")
        found: list[dict[str, Any]] = ask({"goal": goal, "paths": [path], "dry_run": dry_run})
        failed = [f"{each['path']}: {each['problem']}" for each in found if each["problem"]]
        if failed:
            raise ValueError(failed[0])
        wanted = [each for each in found if each["state"] not in ("local", "pinned", "unpinned")]
        if not wanted:
            raise ValueError("There is nothing to do: no remote file there that is not so already.")
        return wanted

    def plan(form: Form) -> Plan:
        found = asked(form, True)
        size = human_size(sum(each["size"] for each in found))
        lines = [f"{each['path']} ({human_size(each['size'])})" for each in found[:_MOST_LINES]]
        more = [f"and {len(found) - _MOST_LINES} more"] if len(found) > _MOST_LINES else []
        return Plan(f"{verb} {_files(len(found))} ({size})?", goal.capitalize(), (*lines, *more))

    def do(form: Form) -> str:
        return f"Begun: {goal} {_files(len(asked(form, False)))}."

    return Action(("path",), plan, do)


def _repair(posts: Mapping[str, Post], mount: Path) -> Action:
    def paths(form: Form) -> list[str]:
        path = inner_path(form["path"], mount)
        found = [path] if path else posts[f"{CHECKUP}/failing"](None)
        if not found:
            raise ValueError("No remote file is known to fail. Name a path to have its files checked and repaired.")
        return list(found)

    def plan(form: Form) -> Plan:
        files = posts[f"{CHECKUP}/plan"]({"paths": paths(form), "repair": True})
        more = [f"and {len(files) - _MOST_LINES} more"] if len(files) > _MOST_LINES else []
        question = f"Check {_files(len(files))} and repair what is dead?"
        return Plan(question, "Repair", (*files[:_MOST_LINES], *more))

    def do(form: Form) -> str:
        posts[f"{CHECKUP}/start"]({"paths": paths(form), "repair": True})
        return "The check is begun; what is dead is repaired."

    return Action(("path",), plan, do)


def _drain(begin: Post, app: "App") -> Action:
    def plan(form: Form) -> Plan:
        drives = {each["name"]: each for each in app.answers.status()["drives"]}
        drive = drives.get(form["drive"])
        if drive is None:
            raise ValueError(f"There is no drive {form['drive']!r}.")
        if drive["total"] is None:
            raise ValueError(f"Drive {drive['name']} is missing, so nothing can be moved off it.")
        room = sum(each["available"] or 0 for each in drives.values() if each is not drive and each["mode"] == "rw")
        used = drive["total"] - drive["available"]
        lines = (
            f"All its files move to the other drives, each copy read back and compared. {human_size(used)} of it are "
            f"in use, {human_size(room)} are free on the others.",
            "It takes no new files from now on. The job can be paused, and undone.",
        )
        return Plan(f"Drain drive {drive['name']}?", "Drain", lines)

    def do(form: Form) -> str:
        spec = {"drive": form["drive"], "rate": None, "log": None}
        return f"Job {begin({'kind': 'drain', 'spec': spec})['job']} is begun."

    return Action(("drive",), plan, do)


def _job(post: Post, question: str, word: str) -> Action:
    def number(form: Form) -> int:
        if not (form["job"].isascii() and form["job"].isdecimal() and len(form["job"]) < 10):
            raise ValueError("That is no number of a job.")
        return int(form["job"])

    def do(form: Form) -> str:
        post({"job": number(form)})
        return "Done."

    return Action(("job",), lambda form: Plan(question.format(number(form)), word), do)


def _hold(app: "App", paused: bool) -> Action:
    def name(form: Form) -> str:
        found = None if app.client is None else app.client.downloads.get(form["hash"])
        if found is None:
            raise ValueError("There is no such download any more.")
        return found.name

    def plan(form: Form) -> Plan:
        word = "Pause" if paused else "Go on"
        return Plan(f"{word}{'' if paused else ' with'} {name(form)}?", word)

    def do(form: Form) -> str:
        name(form)
        assert app.client is not None
        app.client.downloads.pause([form["hash"]], paused)
        return "Done."

    return Action(("hash",), plan, do)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
