"""From facts to what the templates show: sums, shares, words and orders. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.move_jobs import described, state_word, sums
from cli.output import human_size
from cli.reading import reading
from cli.web.facts import Facts, Playing

MOST = 40  # rows of one list; the commands show all
_MOST_PLAYING = 12
_QUIET = 1.0  # bytes a second; who reads less does not read now
_SETTLED = ("downloaded", "missing")
_STAGES = {
    "adding": "being added",
    "converting": "being prepared",
    "fetching": "Real-Debrid downloads it",
    "publishing": "about to appear",
    "checking": "being checked",
    "moving": "about to be done",
    "complete": "complete",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class DriveRow:
    """A drive. `share`: used, in percent. `state`: ok, warn or bad, and `words` for it."""

    name: str
    path: str
    tier: str
    mode: str
    total: int | None
    available: int | None
    share: float
    state: str
    words: str
    drainable: bool


@dataclass(frozen=True, slots=True)
class PlayingRow:
    """A file that is read or written by one program, through however many handles."""

    path: str
    program: str
    origin: str
    rate: float | None
    came: int
    writes: bool
    media: str


@dataclass(frozen=True, slots=True)
class TorrentRow:
    """A torrent. `kind`: good, busy, rest or bad; `share` in percent, None once it is there; `hash` if it can be
    paused."""

    name: str
    category: str
    kind: str
    words: str
    share: float | None
    size: int
    speed: int
    problem: str
    hash: str
    paused: bool


@dataclass(frozen=True, slots=True)
class JobRow:
    """Work under way, or that ended lately. `number`: of a job of moves, by which it is paused and undone."""

    what: str
    state: str
    share: float | None
    detail: str
    problem: str
    number: int | None = None
    actions: tuple[str, ...] = ()


def headline(facts: Facts) -> list[str]:
    """What somebody should look at, most pressing first; nothing if all is well."""
    status = facts.status
    said = [drive["problem"] for drive in status["drives"] if drive["problem"]]
    account = status["remote"]["account"]
    if account is not None and account["error"]:
        said.append(f"Real-Debrid: {account['error']}")
    reads = status["remote"]["reads"]
    if reads is not None and reads["reason"]:
        said.append(f"Reading from Real-Debrid is {reading(reads)}")
    return said


def drives(facts: Facts) -> list[DriveRow]:
    """In the order of the pool."""
    return [_drive(each, facts.retiring.get(each["name"], "")) for each in facts.status["drives"]]


def _drive(drive: Mapping[str, Any], retiring: str) -> DriveRow:
    total, left = drive["total"], drive["available"]
    share = 100 * (1 - left / total) if total else 0.0
    state, words = "ok", "in order"
    if drive["problem"] or total is None:
        state, words = "bad", drive["problem"] or "missing"
    elif retiring:
        state, words = "warn", retiring
    elif not left:
        state, words = "warn", "full: new files go elsewhere"
    elif drive["mode"] != "rw":
        words = "read-only" if drive["mode"] == "ro" else "takes no new files"
    drainable = state != "bad" and not retiring and drive["mode"] == "rw"
    return DriveRow(
        drive["name"], drive["path"], drive["tier"] or "", drive["mode"], total, left, max(0.0, min(share, 100.0)),
        state, words, drainable,
    )  # fmt: skip


def playing(facts: Facts) -> tuple[list[PlayingRow], int]:
    """What is read or written now, the fastest first; and how many other files are open."""
    groups: dict[tuple[str, str, str], list[Playing]] = defaultdict(list)
    for one in facts.playing:
        groups[one.path, one.program, one.source].append(one)
    rows = [_played(each) for each in groups.values()]
    active = sorted((row for row in rows if row.rate is None or row.rate >= _QUIET), key=lambda row: -(row.rate or 0))
    return active[:_MOST_PLAYING], len(rows) - len(active[:_MOST_PLAYING])


def _played(handles: Sequence[Playing]) -> PlayingRow:
    first = handles[0]
    rates = [one.rate for one in handles if one.rate is not None]
    return PlayingRow(
        first.path,
        first.program,
        _origin(first),
        sum(rates) if rates else None,
        sum(one.came for one in handles),
        any(one.writes for one in handles),
        first.media,
    )


def _origin(one: Playing) -> str:
    if one.source == "drive":
        return f"drive {one.drive}"
    if one.source == "copy":
        return "pinned copy"
    if one.kept is None:
        return "Real-Debrid"
    if one.kept >= 0.995:
        return "cache"
    return "Real-Debrid" if one.kept < 0.005 else f"{one.kept:.0%} cache, rest Real-Debrid"


def cache(facts: Facts) -> dict[str, Any]:
    """Fill and hit rate; shares in percent."""
    found, reader = facts.status["cache"], facts.status["reader"]
    used, asked = found["main"] + found["edges"], found["hits"] + found["misses"]
    return {
        "used": used,
        "limit": found["limit"],
        "share": 100 * used / found["limit"] if found["limit"] else 0.0,
        "rate": None if not asked else 100 * found["hits"] / asked,
        "asked": asked,
        "fetched": reader["fetched"],
        "edges": found["edges"],
        "waiting": reader["waiting"],
        "streams": reader["streams"],
        "today": sorted(
            ((name, spent["bytes"], spent["limit"]) for name, spent in facts.status["today"]["programs"].items()),
            key=lambda row: -row[1],
        )[:MOST],
        "background": sum(facts.status["today"]["background"].values()),
        "background_limit": facts.status["today"]["limit"],
    }


def torrents(facts: Facts) -> tuple[list[TorrentRow], int, int]:
    """Those of clients, newest first, and of the account those that are not done or fail; those that are bad first.

    And how many more of them there are, and how many of the account are simply there.
    """
    known = {each["hash"] for each in facts.downloads}
    others = [each for each in facts.torrents if each["hash"] not in known]
    odd = [each for each in others if each["problem"] or each["repair"] or each["status"] not in _SETTLED[:1]]
    newest = sorted(facts.downloads, key=lambda each: -each["added_at"])
    rows = [*map(_download, newest), *map(_listed, odd)]
    rows.sort(key=lambda row: {"bad": 0, "busy": 1}.get(row.kind, 2))
    return rows[:MOST], max(0, len(rows) - MOST), len(others) - len(odd)


def _download(one: Mapping[str, Any]) -> TorrentRow:
    stage = str(one["stage"])
    done = stage == "complete"
    kind = "bad" if stage == "failed" else "good" if done else "rest" if one["paused"] else "busy"
    words = "paused" if one["paused"] and not done else _STAGES.get(stage, stage)
    if done and one["imported"]:
        words = "complete, imported"
    problem = one["problem"] or one["copied"]
    share = None if done or stage == "failed" else 100 * one["progress"]
    pausable = one["hash"] if not done and stage != "failed" else ""
    return TorrentRow(
        one["name"], one["category"], kind, words, share, one["size"], one["speed"], problem, pausable, one["paused"]
    )


def _listed(one: Mapping[str, Any]) -> TorrentRow:
    """A torrent of the account that no client added."""
    gone = one["status"] == "missing"
    kind = "bad" if one["problem"] or gone else "busy"
    words = "no longer in the account" if gone else one["status"].replace("_", " ")
    if one["repair"]:
        words = f"{words}; repair {one['repair']}"
    share = None if one["status"] in _SETTLED else float(one["progress"])
    return TorrentRow(one["name"], "", kind, words, share, one["bytes"], 0, one["problem"], "", False)


def jobs(facts: Facts) -> list[JobRow]:
    """What goes on in the background, moves first; of what has ended only the last moves."""
    return [*_moves(facts.moves), *_pins(facts.pins), *_checks(facts), *_others(facts)]


def _moves(found: Sequence[Mapping[str, Any]]) -> Iterator[JobRow]:
    moving = [job for job in found if job["ended"] is None]
    ended = [job for job in found if job["ended"] is not None]
    for job in [*moving, *ended[-3:][::-1]]:
        (moved, files), (done, size) = sums(job, "files"), sums(job, "bytes")
        done += job.get("part", 0)
        state = state_word(job)
        share = 100 * done / size if size and job["ended"] is None else None
        actions = {"running": ("pause", "undo"), "planning": ("pause",), "paused": ("resume", "undo")}.get(
            job["state"], ("undo",) if job["state"] == "done" and job["kind"] != "undo" and moved else ()
        )
        told = job["told"][0]["path"] + ": " + job["told"][0]["problem"] if job["told"] else ""
        rate = job.get("rate")
        speed = f", {human_size(int(rate))}/s" if rate else ""
        yield JobRow(
            described(job), state, share, f"{moved} of {files} files{speed}", job["problem"] or told, job["id"], actions
        )


def _pins(found: Sequence[Mapping[str, Any]]) -> Iterator[JobRow]:
    lately = [job for job in found if job["state"] != "done"][:MOST]
    for job in lately:
        share = 100 * job["done"] / job["size"] if job["size"] and job["state"] != "failed" else None
        yield JobRow(f"{job['goal']} {job['path']}", job["state"], share, "", job["problem"])


def _checks(facts: Facts) -> Iterator[JobRow]:
    checkup, check = facts.checkup, facts.check
    if checkup and (checkup["running"] or checkup["error"]):
        share = 100 * checkup["done"] / checkup["total"] if checkup["total"] and checkup["running"] else None
        state = "running" if checkup["running"] else "ended early"
        detail = f"{checkup['done']} of {checkup['total']} files"
        yield JobRow("check and repair of remote files", state, share, detail, checkup["error"])
    if check and check["running"]:
        yield JobRow("check of the pool", "running", None, f"{check['names']} names", "")


def _others(facts: Facts) -> Iterator[JobRow]:
    repairs = facts.status["remote"]["repairs"]
    moving = {state: count for state, count in repairs.items() if state not in ("done", "given up")}
    if moving:
        yield JobRow(
            "repair of torrents", ", ".join(f"{count} {state}" for state, count in moving.items()), None, "", ""
        )
    if facts.warming:
        yield JobRow("warming heads and tails", "running", None, f"{facts.warming} files wait", "")
    if facts.crawl is not None:
        done, total = facts.crawl.get("bytes", 0), facts.crawl.get("bytes_total", 0)
        share = 100 * done / total if total else None
        yield JobRow(
            "index crawl", facts.crawl.get("what", "beginning"), share, f"{facts.crawl.get('files', 0)} files", ""
        )
    for ident in facts.runs:
        yield JobRow(f"{'ingest' if ident.startswith('i') else 'index sort'} {ident}", "running", None, "", "")
    if facts.status["walking"]:
        yield JobRow("walk of the drives, so that a pulled one stays listed", "running", None, "", "")
