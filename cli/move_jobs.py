"""Moves between drives as jobs: `pool drain`, `pool balance`, tiers."""

import sqlite3
from collections.abc import Sequence

from cli.ledger import Asked, Job
from cli.moving import JOBS
from cli.options import ask, call, load, mounted
from cli.output import confirm, fail, human_duration, human_size, human_time, print_json, say
from cli.state import StateFolder
from placement import jobs as stored


def described(job: Job) -> str:
    """What a job is about."""
    kind, spec = job["kind"], job["spec"]
    about = {
        "drain": lambda: f"drain {spec['drive']}",
        "tier": lambda: f"tier {spec['source']} to {spec['target']}",
        "undo": lambda: f"undo of {spec['of']}",
    }
    return about[kind]() if kind in about else kind


class _Moves:
    configured = True

    def jobs(self, asked: Asked) -> Sequence[Job]:
        config = load(asked.config_file)
        found = ask(config, JOBS)
        if found is not None:
            return list(found)
        try:
            return [{**job, "standing": True} for job in stored.look(StateFolder(config.state.path).jobs)]
        except sqlite3.Error as error:
            fail(f"The jobs in {config.state.path} cannot be read: {error}.", "Check the disk of the state folder.")

    def row(self, job: Job) -> tuple[object, ...]:
        done, total = (sums(job, key) for key in ("files", "bytes"))
        standing = job.get("standing", False)
        state = "waits for the mount" if standing and job["state"] in ("planning", "running") else state_word(job)
        rate, left = job.get("rate"), job.get("left_seconds")
        return (
            job["id"],
            described(job),
            state,
            f"{done[0]} of {done[1]}",
            f"{human_size(total[0] + job.get('part', 0))} of {human_size(total[1])}",
            f"{human_size(int(rate))}/s" if rate else "-",
            human_duration(left) if left is not None and not standing else "-",
            human_time(job["created"]),
        )

    def remarks(self, job: Job) -> Sequence[str]:
        lines = [f"Job {job['id']}: {job['problem']}."] if job["problem"] else []
        for one in job["told"]:
            word = "waits" if one["state"] == "waiting" else one["state"]
            lines.append(f"Job {job['id']}: /{one['path']} {word}: {one['problem']}")
        return lines

    def undo(self, asked: Asked, job: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """End it, and move back what it has moved, as a job of its own."""
        found = next((one for one in self.jobs(asked) if one["id"] == int(job)), None)
        if found is None:
            fail(f"There is no job {job!r}.", "See: mediapool jobs list")
        contact = mounted(load(asked.config_file))
        files, size = (sums(found, key)[0] for key in ("files", "bytes"))
        what = f"{files} files ({human_size(size)}) that job {job} ({described(found)}) has moved"
        if dry_run:
            told = {"job": int(job), "files": files, "bytes": size}
            print_json(told) if as_json else say(f"Would move back {what}.")
            return
        confirm(f"Move back {what}?", yes)
        number = call(contact, f"{JOBS}/undo", {"job": int(job)})["job"]
        if as_json:
            print_json({"job": number, "undoes": int(job), "files": files, "bytes": size})
        else:
            say(f"Job {number} moves them back. To watch it: mediapool jobs list")


def state_word(job: Job) -> str:
    """How a job fares."""
    waiting = job["files"].get("waiting", 0)
    held_up = job["state"] == "running" and waiting and job["held_up"] == waiting
    return "waiting" if held_up else str(job["state"])


def sums(job: Job, key: str) -> tuple[int, int]:
    """What is moved, and all there was to be moved."""
    counts = {state: count for state, count in job[key].items() if state != "gone"}
    return counts.get("moved", 0), sum(counts.values())


LEDGER = _Moves()
