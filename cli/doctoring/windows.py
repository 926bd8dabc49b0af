"""What `mediapool doctor` looks at on Windows, in place of what it looks at on Linux."""

import sys
from collections.abc import Callable, Iterator

import vfs.mount
from cli.config import Config
from cli.doctoring.finding import Case, Check, Finding
from vfs import winmount
from vfs.mountpoint import PYTHON_OF_WINDOWS, State, wrong_python


def findings(
    config: Config,
    python: tuple[int, int] = sys.version_info[:2],
    load: Callable[[], str] | None = None,
    state: State | None = None,
) -> Iterator[Finding]:
    """All checks, in the order in which they should be made good. `load` answers where WinFsp was found, or raises."""
    yield _python(python)
    yield _winfsp(load or winmount.winfsp_folder)
    yield from _links(config)
    yield _mount(config, state or vfs.mount.state(config.mount.path))


def _python(found: tuple[int, int]) -> Finding:
    if found != PYTHON_OF_WINDOWS:
        return Finding("Python", "problem", f"{found[0]}.{found[1]}", wrong_python(found))
    return Finding("Python", "ok", "3.11, for which winfspy has been built")


def _winfsp(load: Callable[[], str]) -> Finding:
    try:
        return Finding("WinFsp", "ok", load())
    except (ImportError, RuntimeError, OSError) as cause:
        return Finding("WinFsp", "problem", "cannot be used", winmount.NO_WINFSP.format(cause=cause))


def _links(config: Config) -> Iterator[Finding]:
    said = "WinFsp makes none, in no version: who asks for one is refused"
    remedy = (
        'Sonarr and Radarr then copy, and a copy of a remote file downloads all of it: have them move (import = "move")'
    )
    linking = sorted(name for name, client in config.client.items() if client.import_ == "link")
    if linking:
        yield Finding("hard links", "problem", f'{said}; [client.{linking[0]}] says import = "link"', remedy)
    else:
        yield Finding("hard links", "note", said, remedy)


def _mount(config: Config, state: State) -> Finding:
    path = config.mount.path
    if state == "foreign":
        return Finding("mount", "problem", f"{path} is there already", "name a free letter in [mount] path")
    return Finding("mount", "ok", f"{path}: {'mounted' if state == 'mounted' else 'not mounted now'}")


def _windows(case: Case) -> Iterator[Finding]:
    return findings(case.config)


CHECKS: tuple[tuple[str, Check], ...] = (("Windows", _windows),)
