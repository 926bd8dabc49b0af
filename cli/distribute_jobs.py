"""The runs of `mediapool distribute` as jobs."""

from collections.abc import Sequence

from cli import distributed
from cli.distribute_cmd import plain
from cli.exitcodes import Exit
from cli.ledger import Asked, Job
from cli.options import load
from cli.output import confirm, fail, human_size, human_time, print_json, say


class _Distributions:
    configured = True

    def jobs(self, asked: Asked) -> Sequence[Job]:
        return distributed.jobs(load(asked.config_file))

    def row(self, job: Job) -> tuple[object, ...]:
        what = f"{job['kind']} to {job['library']}"
        return (
            job["id"],
            what,
            job["state"],
            job["moved"],
            human_size(job["bytes"]),
            "-",
            "-",
            human_time(job["started"]),
        )

    def remarks(self, job: Job) -> Sequence[str]:
        return ()

    def undo(self, asked: Asked, job: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Put the files back to where they were, and take their links away."""
        config = load(asked.config_file)
        number = distributed.number_of(job)
        found = None if number is None else distributed.job(config, number)
        if found is None:
            fail(f"There is no job {job!r}.", "See: mediapool jobs list")
        what = f"{found.moved} files ({human_size(found.bytes)}) that lead to {found.library}"
        if dry_run:
            told = {"job": job, "files": found.moved, "bytes": found.bytes}
            print_json(told) if as_json else say(f"Would undo {what}.")
            return
        confirm(f"Put back {what}?", yes)
        with distributed.distributing(config, found.library, (), change=True) as made:
            made.recover()
            report = made.undo(found.id)
        if as_json:
            print_json(plain(report))
        else:
            say(f"Put back {len(report.moved)} files.")
        if report.interrupted:
            fail("It was interrupted; repeat it for the rest.")
        if report.failed:
            reasons = "\n".join(f"{path}: {reason}" for path, reason in report.failed)
            if as_json:
                raise SystemExit(Exit.FAILED)
            fail(f"{len(report.failed)} could not be put back.", reasons)


LEDGER = _Distributions()
