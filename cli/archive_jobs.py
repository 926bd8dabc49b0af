"""Builds of `mediapool archive` as jobs."""

from collections.abc import Sequence

from cli.archives import configured, left_as_json, maybe_opened, opened, run_job, told
from cli.ledger import Asked, Job
from cli.output import confirm, fail, human_size, print_json, say
from indexer import jobs as builds


class _Builds:
    configured = True

    def jobs(self, asked: Asked) -> Sequence[Job]:
        with told():
            made = maybe_opened(configured(asked.config_file), asked.archive)
            found = builds.all_jobs(made) if made else []
        return [_fields(job) for job in found]

    def row(self, job: Job) -> tuple[object, ...]:
        return (job["id"], job["what"], job["state"], job["files"], human_size(job["size"]), "-", "-", job["made"])

    def remarks(self, job: Job) -> Sequence[str]:
        return ()

    def undo(self, asked: Asked, job: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Bring the files back to where they were. Never over something that stands there now."""
        with told():
            made = opened(configured(asked.config_file), asked.archive)
            with made.locked():
                found = builds.job(made, job)
                count = len(found.items) - len(found.back)
                if not dry_run:
                    confirm(f"Bring {count} files back to where they were?", yes)
                    run_job(made, found, back=True)
                left = builds.left_of(found) if not dry_run else []
        if as_json:
            print_json({**_fields(found), "back": len(found.back), "left": left_as_json(left), "dry_run": dry_run})
        elif dry_run:
            say(f"Would bring {count} files of volume {', '.join(found.volumes)} back.")
        else:
            say(f"Job {found.id}: {len(found.back)} files are back.")
        if left:
            fail(f"{len(left)} files stay archived.", "\n".join(f"{one.path}: {one.reason}" for one in left))


def _fields(job: builds.Job) -> Job:
    return {
        "id": job.id,
        "what": "archive build",
        "state": job.phase,
        "made": job.made,
        "files": len(job.items),
        "size": job.size,
        "volumes": job.volumes,
    }


LEDGER = _Builds()
