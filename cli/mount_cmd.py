"""`mediapool mount` and `mediapool unmount`."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import click

import vfs.mount
from cli import config as configuration
from cli import config_file as files
from cli import pool
from cli.app import App
from cli.config import Config
from cli.daemon import PortTaken
from cli.ending import UNMOUNT
from cli.exitcodes import Exit
from cli.folders import check_paths
from cli.options import call, config_option, load, mounted
from cli.output import busy, fail, say, warn
from cli.problems import ConfigMissing
from cli.service import Service
from cli.state import StateFolder, StateInUse
from debrid.errors import StoreError
from placement.identity import DriveError
from vfs.mountpoint import MountError
from vfs.namesdb import NamesDamaged

log = logging.getLogger(__name__)

# That a mount which did not start may end with.
_CODES = (Exit.FAILED, Exit.USAGE)
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
# Windows ends with a console all that was started from it, unless it was started so.
_DETACHED = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
_CANNOT_START = (StateInUse, DriveError, NamesDamaged, StoreError, PortTaken, MountError)


@click.command()
@config_option
@click.option("--background", is_flag=True, help="Return when the tree answers; the mount goes on by itself.")
def mount(config_file: Path | None, background: bool) -> None:
    """Mount the tree, until Ctrl-C or `mediapool unmount`.

    \b
    Example:
      mediapool mount --background
    """
    try:
        config = load(config_file)
    except ConfigMissing:
        _write_config(config_file)
    check_paths(config, pool.remembered(StateFolder(config.state.path).names))
    if background:
        _mount_in_background(config)
    else:
        _mount_here(config)


def _write_config(config_file: Path | None) -> None:
    """There is no configuration: write the commented one, and say what to do with it."""
    path = config_file or configuration.find()
    files.write_template(path)
    fail(
        f"There was no configuration, so a commented one was written: {path}",
        "Name your drives in it, and your Real-Debrid token; then run this command again.",
        Exit.USAGE,
    )


def _mount_here(config: Config) -> None:
    if logging.getLogger().level > logging.INFO:
        logging.getLogger().setLevel(logging.INFO)
    service = Service(os.environ)
    service.tell("STATUS=opening drives and databases")
    try:
        with App(config) as app, service:
            app.run(lambda: _tell(config, service))
    except _CANNOT_START as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}", "Check its permissions and the room on its disk.")


def _tell(config: Config, service: Service) -> None:
    remote = "" if config.debrid.token else ", without Real-Debrid: [debrid] token is not set"
    said = f"mounted at {config.mount.path}: {len(config.drive)} drives{remote}"
    log.info("%s", said)
    service.ready(config.mount.path, said)


def _mount_in_background(config: Config) -> None:
    state = StateFolder(config.state.path)
    if state.in_use():
        fail(f"mediapool runs already with the state in {state.path}.", "Stop it first: mediapool unmount")
    state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with state.log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "mount", "--config", str(config.file and config.file.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            creationflags=_DETACHED,
        )
    with busy("waiting for the tree to answer"):
        mounted = vfs.mount.wait_until_mounted(config.mount.path, lambda: process.poll() is not None, _START_SECONDS)
    if mounted:
        say(f"Mounted at {config.mount.path} (process {process.pid}, log {state.log}).")
        return
    process.terminate()
    said = state.log.read_bytes()[begin:].decode(errors="replace").strip()
    if not said:
        said = f"nothing, not even in {state.log}: is the disk of the state folder full?"
    code = process.wait()
    # Killed by a signal it has a negative one.
    fail(f"The mount did not start. It said:\n{said}", code=Exit(code) if code in _CODES else Exit.FAILED)


@click.command()
@config_option
@click.option("--force", is_flag=True, help="Also when programs use it, or its process is gone.")
def unmount(config_file: Path | None, force: bool) -> None:
    """Unmount the tree and wait until its process has ended.

    \b
    Example:
      mediapool unmount
    """
    config = load(config_file)
    path = config.mount.path
    state = vfs.mount.state(path)
    if state not in ("mounted", "stale"):
        fail(f"Nothing of mediapool is mounted at {path}.", code=Exit.NOT_MOUNTED)
    if state == "stale" and not force:
        warn("its process is gone")
    if sys.platform == "win32":
        call(mounted(config), UNMOUNT, {})
    else:
        _unmount(path, force or state == "stale")
    with busy("waiting for its process to end"):
        _wait_for_end(StateFolder(config.state.path))
    say(f"Unmounted {path}.")


def _unmount(path: Path, force: bool) -> None:
    try:
        vfs.mount.unmount(path, force)
    except MountError as error:
        fail(str(error))


def _wait_for_end(state: StateFolder) -> None:
    until = time.monotonic() + _STOP_SECONDS
    while state.in_use():
        if time.monotonic() > until:
            contact = state.contact()
            who = "" if contact is None or contact.pid == os.getpid() else f" (process {contact.pid})"
            fail(f"The tree is unmounted, but mediapool{who} still runs after {_STOP_SECONDS:.0f} s.")
        time.sleep(0.05)


commands = [mount, unmount]
