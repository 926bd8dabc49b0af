"""The runs of `index sort` and `ingest` as jobs."""

from collections.abc import Sequence

from cli.exitcodes import Exit
from cli.indexing import contents_of, noting, shown, state_of
from cli.ledger import Asked, Job
from cli.output import confirm, fail, human_time, print_json, say, warn


class _Runs:
    configured = False

    def jobs(self, asked: Asked) -> Sequence[Job]:
        from indexer.export import named
        from indexer.runs import RunError, list_runs

        try:
            runs = list_runs(state_of(asked.config_file, asked.state_folder).runs)
        except RunError as error:
            fail(str(error))
        return [{**one._asdict(), "to": named(one.to)} for one in runs]

    def row(self, job: Job) -> tuple[object, ...]:
        what = f"{job['kind']} to {job['to']['path']}"
        left = job["intended"] - job["undone"]
        files = f"{left} of {job['intended']}" if job["undone"] else job["intended"]
        state = "running" if job["running"] else "undone" if job["undone"] and not left else "ended"
        return (job["id"], what, state, files, "-", "-", "-", human_time(job["began"]))

    def remarks(self, job: Job) -> Sequence[str]:
        return ()

    def undo(self, asked: Asked, job: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Move the files back; what changed since, or has its place taken, stays."""
        from indexer.export import named
        from indexer.undoing import undo as undone

        state = state_of(asked.config_file, asked.state_folder)
        with contents_of(state) as contents:
            done = undone(state.runs, job, dry_run=True)
            if not dry_run and done.moved:
                confirm(f"Move {len(done.moved)} files of {job} back?", yes)
            if not dry_run:
                done = undone(state.runs, job, moved=noting(contents))
        if as_json:
            moved = [{"from": named(found.path), "to": named(to)} for found, to in done.moved]
            kept = [{**named(one.path), "reason": one.reason} for one in done.kept]
            print_json({"job": job, "moved": moved, "kept": kept, "dry_run": dry_run})
        else:
            for found, to in done.moved if dry_run else ():
                say(f"{shown(found.path)} -> {shown(to)}")
            say(f"{len(done.moved)} files {'would go' if dry_run else 'went'} back.")
            for one in done.kept:
                warn(f"{shown(one.path)} stays: it {one.reason}")
        if done.kept:
            raise SystemExit(Exit.FAILED)


LEDGER = _Runs()
