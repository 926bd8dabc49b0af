"""`mediapool demo`: everything at work on sample drives and a simulated Real-Debrid, nothing left behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import ffmpeg
import tomlkit

import vfs.mount
from cli.demo import CHECKS, DRIVES, CheckFailed, Stage, furnish, remote_files
from cli.output import fail, human_size, print_table, say
from cli.signals import interrupt_on_termination
from cli.state import StateFolder
from debrid.simulator import Simulator

_SECONDS = 60.0


@click.command()
@click.option("--once", is_flag=True, help="Check everything by itself, say what was done, and end.")
def demo(once: bool) -> None:
    """Show mediapool at work: three sample drives and a simulated Real-Debrid as one tree.

    \b
    Example:
      mediapool demo
    """
    interrupt_on_termination()
    with suppress(KeyboardInterrupt), _folder() as base:
        say("Making sample drives and clips ...")
        stage = _furnished(base)
        with Simulator(stage.remote) as simulator:
            config = _configured(base, stage, simulator)
            with _mounted(config, stage):
                _show(stage)
                if once:
                    _check(stage)
                else:
                    _stay(stage, config)
    say("Unmounted; nothing is left behind.")


@contextmanager
def _folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="mediapool-demo-"))
    try:
        yield base
    finally:
        with suppress(OSError):
            (base / "data").chmod(0o755)
        shutil.rmtree(base, ignore_errors=True)


def _furnished(base: Path) -> Stage:
    try:
        return furnish(base)
    except FileNotFoundError as error:
        fail(f"{error.filename} is missing.", "Install ffmpeg, for example: apt install ffmpeg")
    except ffmpeg.Error as error:
        fail(f"ffmpeg could not make the sample clips: {(error.stderr or b'').decode(errors='replace')[-300:]}")


def _configured(base: Path, stage: Stage, simulator: Simulator) -> Path:
    """The configuration of the demo, as anybody could have written it."""
    keys = {
        "mount": {"path": str(stage.mount)},
        "debrid": {"token": simulator.token, "api_url": simulator.api_url, "poll_seconds": "1s"},
        "placement": {"min_free": "1MiB"},
        "cache": {"path": str(base / "cache"), "size": "100MiB", "min_free": "1MiB"},
        "http": {"listen": "127.0.0.1:0"},
        "state": {"path": str(base / "state")},
        "drive": [
            {"name": name, "path": str(stage.drives[name]), "capacity": capacity} for name, capacity in DRIVES.items()
        ],
    }
    path = base / "mediapool.toml"
    path.touch(0o600)
    path.write_text(tomlkit.dumps(keys))
    return path


@contextmanager
def _mounted(config: Path, stage: Stage) -> Iterator[None]:
    """A mount of its own process, until the block ends."""
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "mount", "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("MEDIAPOOL_")},
        )  # fmt: skip
    try:
        _wait(process, stage, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(vfs.mount.MountError):
                vfs.mount.unmount(stage.mount, force=True)


def _wait(process: "subprocess.Popen[bytes]", stage: Stage, log: Path) -> None:
    """Until the tree answers and shows the whole account."""
    pause = threading.Event()
    if vfs.mount.wait_until_mounted(stage.mount, lambda: process.poll() is not None, _SECONDS):
        for _ in range(int(_SECONDS / 0.05)):
            if all(shown.exists() for shown, _ in remote_files(stage)):
                return
            pause.wait(0.05)
    fail(f"The tree did not come up. The mount said:\n{log.read_text(errors='replace')}")


def _show(stage: Stage) -> None:
    """The tree, and beside each file where its bytes lie."""
    rows: list[tuple[str, str, str]] = []
    for folder, folders, names in os.walk(stage.mount):
        folders.sort()
        depth = len(Path(folder).relative_to(stage.mount).parts)
        if depth:
            rows.append((f"{'    ' * (depth - 1)}{Path(folder).name}/", "", ""))
        for name in sorted(names):
            path = Path(folder) / name
            rows.append((f"{'    ' * depth}{name}", human_size(path.stat().st_size), _source(stage, path)))
    say(f"\n{stage.mount}")
    print_table((), rows)


def _source(stage: Stage, path: Path) -> str:
    inner = path.relative_to(stage.mount)
    holders = [f"drive {name}" for name, drive in stage.drives.items() if (drive / inner).exists()]
    return ", ".join(holders) or "Real-Debrid (simulated)"


def _check(stage: Stage) -> None:
    say()
    for check in CHECKS:
        try:
            say(f"ok: {check(stage)}")
        except (CheckFailed, OSError) as error:
            fail(f"{check.__name__.replace('_', ' ')}: {error}")


def _stay(stage: Stage, config: Path) -> None:
    film = remote_files(stage)[-1][0].relative_to(stage.mount)
    drives = next(iter(stage.drives.values())).parent
    program = shutil.which("mediapool") or f"{sys.executable} -m cli"
    say("\nTry in another terminal, and end this with Ctrl-C:")
    say(f"  cd {stage.mount}")
    say(f"  ffprobe {film}")
    say(f"  cp {film} media/movies/      # one of the drives has it then: ls {drives}/*/media/movies")
    say(f"  ln {film} media/movies/linked.mkv      # costs nothing: the same file at Real-Debrid")
    say(f"  {program} status --config {config}")
    contact = StateFolder(config.parent / "state").contact()
    if contact is not None:
        say(f"and the status page in a browser: {contact.url}")
    threading.Event().wait()


commands = [demo]
