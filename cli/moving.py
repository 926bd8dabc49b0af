"""Moves as jobs of the daemon: what commands may ask, checked; the jobs themselves are those of `placement.running`."""

from collections.abc import Callable, Mapping
from typing import Any

from cli.routes import Get, Post
from placement.running import MoveJobs

JOBS = "/api/jobs"

# What the specification of each kind of job consists of, and what its values must be.
_TEXT, _NUMBER = (str,), (int, float)
_COMMON: Mapping[str, tuple[type, ...]] = {"rate": (int, type(None)), "log": (str, type(None))}
_SPECS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "drain": {"drive": _TEXT},
    "balance": {},
    "tier": {"source": _TEXT, "target": _TEXT, "older": _NUMBER, "above": _NUMBER},
}


def job_gets(jobs: MoveJobs) -> Mapping[str, Get]:
    return {JOBS: jobs.list}


def job_posts(jobs: MoveJobs) -> Mapping[str, Post]:
    """The routes by which commands plan, begin and change jobs."""

    def plan(body: object) -> list[dict[str, Any]]:
        return jobs.planned(*_wanted(body))

    def begin(body: object) -> dict[str, int]:
        return {"job": jobs.begin(*_wanted(body))}

    def keep(body: object) -> list[int]:
        if not isinstance(body, dict) or set(body) != {"drive"} or not isinstance(body["drive"], str):
            raise ValueError('the body must be a JSON object of "drive"')
        return jobs.keep(body["drive"])

    def changed(change: Callable[[int], int | None]) -> Post:
        def post(body: object) -> dict[str, int]:
            if not isinstance(body, dict) or set(body) != {"job"} or type(body["job"]) is not int:
                raise ValueError('the body must be a JSON object of "job", a number')
            try:
                return {"job": change(body["job"]) or body["job"]}
            except LookupError as error:
                raise ValueError(str(error)) from None

        return post

    return {
        f"{JOBS}/plan": plan,
        f"{JOBS}/begin": begin,
        f"{JOBS}/keep": keep,
        f"{JOBS}/pause": changed(jobs.pause),
        f"{JOBS}/resume": changed(jobs.resume),
        f"{JOBS}/undo": changed(jobs.undo),
    }


def _wanted(body: object) -> tuple[str, dict[str, Any]]:
    """Kind and specification of a job. ValueError, naming what is wrong."""
    if not isinstance(body, dict) or set(body) != {"kind", "spec"} or not isinstance(body["spec"], dict):
        raise ValueError('the body must be a JSON object of "kind" and "spec"')
    kind, spec = body["kind"], body["spec"]
    keys = _SPECS.get(kind)
    if keys is None:
        raise ValueError(f'"kind" must be one of {", ".join(_SPECS)}')
    wanted = {**keys, **_COMMON}
    wrong = sorted(set(spec) ^ set(wanted)) or [
        key for key, types in wanted.items() if isinstance(spec[key], bool) or not isinstance(spec[key], types)
    ]
    if wrong:
        raise ValueError(f'"spec" of a {kind} must have {", ".join(wanted)}; wrong: {", ".join(wrong)}')
    if spec["rate"] is not None and spec["rate"] <= 0:
        raise ValueError('"rate" must be more than 0 bytes a second')
    return kind, spec
