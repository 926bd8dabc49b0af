"""`/metrics` for Prometheus: made anew at each question from what the parts count anyway.

Labels are names of drives, sources, stages and kinds of errors: their number is bounded by the configuration and by
the code, never by files or programs.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cli.config import HttpConfig
from cli.hooks import is_user
from cli.web.guard import Guard, text
from vfs.durations import STEPS, Durations
from vfs.traffic import Totals

_PREFIX = "mediapool_"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is told. `status` as /api/status has it; `errors`: of calls of the provider, by kind; `failed`: reads of
    remote files by errno; `jobs` as /api/jobs has them; `logged`: warnings and errors of the log."""

    status: Mapping[str, Any]
    traffic: Totals
    waits: Durations
    responses: Durations
    failed: Mapping[str, int]
    errors: Mapping[str, int]
    jobs: Iterable[Mapping[str, Any]]
    warming: int
    logged: Mapping[str, int]


class MountCollector(Collector):
    """Everything about one mount."""

    def __init__(self, gather: Callable[[], Gathered]) -> None:
        self._gather = gather

    def collect(self) -> Iterable[Metric]:
        """All families, as prometheus-client wants them."""
        found = self._gather()
        status = found.status
        return itertools.chain(
            _bytes(found),
            _times(found),
            _cache(status["cache"]),
            _errors(found),
            _drives(status["drives"]),
            _queues(found),
            _account(status["remote"]),
        )


def _counter(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, meaning, labels=[label] if label else [])
    for key, value in sorted(values.items()):
        family.add_metric([key] if label else [], value)
    return family


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, meaning, labels=[label] if label else [])
    for key, value in sorted(values.items()):
        family.add_metric([key] if label else [], value)
    return family


def _bytes(found: Gathered) -> Iterable[Metric]:
    reader, traffic = found.status["reader"], found.traffic
    read = {
        "drive": traffic.drives,
        "pinned": traffic.copies,
        "cache": reader["from_cache"],
        "provider": reader["from_provider"],
    }
    meaning = "Bytes that programs read through mediapool, by where they were; not what the kernel reads by itself."
    yield _counter("read_bytes", meaning, "source", read)
    yield _counter("written_bytes", "Bytes that programs wrote through mediapool.", "", {"": traffic.written})
    meaning = "Bytes that the provider sent, read-ahead and warming included."
    yield _counter("fetched_bytes", meaning, "", {"": reader["fetched"]})
    yield _counter("read_requests", "Read requests of the kernel.", "", {"": found.status["requests"]["reads"]})


def _times(found: Gathered) -> Iterable[Metric]:
    meaning = "How long reads of remote files waited for the network; those that did not wait are not counted."
    yield _histogram("read_wait_seconds", meaning, found.waits)
    yield _histogram("response_seconds", "How long the provider took to begin each response.", found.responses)


def _histogram(name: str, meaning: str, took: Durations) -> Metric:
    counts = list(itertools.accumulate(list(took.counts)))
    buckets = list(zip([*map(str, STEPS), "+Inf"], map(float, counts), strict=True))
    family = HistogramMetricFamily(_PREFIX + name, meaning)
    family.add_metric([], buckets, took.total)
    return family


def _cache(cache: Mapping[str, Any]) -> Iterable[Metric]:
    looked = {"hit": cache["hits"], "miss": cache["misses"]}
    yield _counter("cache_lookups", "Looks for a chunk in the disk cache.", "result", looked)
    yield _gauge("cache_bytes", "What the disk cache holds.", "tier", {key: cache[key] for key in ("main", "edges")})
    yield _gauge("cache_limit_bytes", "What it may hold.", "", {"": cache["limit"]})
    lost = {"damaged": cache["damaged"], "not_stored": cache["skipped"]}
    yield _counter("cache_chunks_lost", "Chunks dropped as damaged, or not stored for want of room.", "reason", lost)


def _errors(found: Gathered) -> Iterable[Metric]:
    yield _counter("read_errors", "Reads of remote files that failed, by errno.", "errno", found.failed)
    yield _counter("provider_errors", "Calls of the provider that failed, by kind.", "kind", found.errors)
    yield _counter("log_messages", "Warnings and errors in the log.", "level", found.logged)


def _drives(drives: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
    drives = list(drives)
    there = {each["name"]: each for each in drives if each["total"] is not None}
    up = {each["name"]: float(each["problem"] is None) for each in drives}
    yield _gauge("drive_up", "1 for a drive that is there, 0 for a missing one.", "drive", up)
    total = {name: each["total"] for name, each in there.items()}
    yield _gauge("drive_size_bytes", "Size of each drive, as it counts for new files.", "drive", total)
    left = {name: each["available"] for name, each in there.items()}
    yield _gauge("drive_available_bytes", "Room for new files.", "drive", left)


def _queues(found: Gathered) -> Iterable[Metric]:
    status, reader = found.status, found.status["reader"]
    yield _gauge("reads_waiting", "Reads that wait for the network now.", "", {"": reader["waiting"]})
    yield _gauge("streams", "Open responses of the provider.", "", {"": reader["streams"]})
    yield _gauge("open_files", "Files and folders that are open.", "", {"": status["requests"]["open"]})
    stages = (status["downloads"] or {"stages": {}})["stages"]
    yield _gauge("downloads", "Downloads of clients, by stage.", "stage", stages)
    yield _gauge("repairs", "Repairs of torrents, by state.", "state", status["remote"]["repairs"])
    waiting = sum(job["files"].get("waiting", 0) for job in found.jobs if job["state"] in ("planning", "running"))
    yield _gauge("moves_waiting", "Files that jobs of moves have still to move.", "", {"": waiting})
    yield _gauge("warming_waiting", "Files whose head and tail are still to be fetched.", "", {"": found.warming})


def _account(remote: Mapping[str, Any]) -> Iterable[Metric]:
    yield _gauge("remote_files", "Remote files with a name in the tree.", "", {"": remote["files"]})
    account = remote["account"]
    if account is None:
        return
    good = not account["error"] and not remote["reads"]["reason"]
    yield _gauge("account_up", "1 if the account was read last time and reading is not paused.", "", {"": float(good)})
    kinds = {key: account[key] for key in ("published", "unfinished", "missing", "problems")}
    yield _gauge("torrents", "Torrents of the account; problems may be among the others.", "state", kinds)


def metrics(collector: Collector, guard: Guard, http: HttpConfig, is_own: Callable[[str], bool]) -> Blueprint:
    """The route. Where a password is configured it wants that, as HTTP Basic, or the token of the state folder, or a
    session of the page; without one whoever reaches the address may ask, as of the Web API."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    made = Blueprint("metrics", __name__)

    @made.get("/metrics")
    def answer() -> Response:
        if not guard.is_for_us():
            return text("This is not a name of this machine: is it missing in [http] hosts?", 403)
        if not (guard.is_signed_in() or is_user(http) or is_own(request.headers.get("Authorization", ""))):
            refusal = text("Give the username and password of [http].", 401)
            refusal.headers["WWW-Authenticate"] = 'Basic realm="mediapool"'
            return refusal
        try:
            said = Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
        except TimeoutError as problem:
            return text(f"{problem}", 503)
        said.headers["Cache-Control"] = "no-store"
        said.headers["X-Content-Type-Options"] = "nosniff"
        return said

    return made
