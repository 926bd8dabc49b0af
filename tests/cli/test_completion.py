"""Completion as the shells do it: each runs with the script that `mediapool completion` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mounting import ROOT

from cli.main import main

# What readline calls when Tab is pressed at the end of "$@"; prints what it would offer.
PRESS_TAB = """
source "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
complete -p mediapool >/dev/null || exit 9
_mediapool_completion mediapool
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With a `mediapool` on the PATH that is this checkout, and its script for bash."""
    program = tmp_path / "bin/mediapool"
    program.parent.mkdir()
    # As the installed command does.
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from cli.main import main\nsys.exit(main(prog_name='mediapool'))\n"
    )
    program.chmod(0o755)
    script = tmp_path / "script"
    found = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "SCRIPT": str(script)}
    script.write_text(printed(found, "bash"))
    return found


def printed(environment: dict[str, str], shell: str) -> str:
    command = ["mediapool", "completion", shell]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def offered(environment: dict[str, str], *words: str) -> set[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB, "tab", *words], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_though_they_load_late(environment: dict[str, str]) -> None:
    assert offered(environment, "mediapool", "") == set(main.commands)
    assert offered(environment, "mediapool", "un") == {"unmount", "unpin"}
    assert offered(environment, "mediapool", "pool", "dr") == {"drain"}
    assert offered(environment, "mediapool", "debrid", "re") == {"repair"}


def test_bash_completes_options_and_their_values(environment: dict[str, str]) -> None:
    assert offered(environment, "mediapool", "mount", "--") >= {"--config", "--background", "--help"}
    assert offered(environment, "mediapool", "archive", "plan", "--order", "d") == {"date"}
    assert offered(environment, "mediapool", "completion", "z") == {"zsh"}


def test_names_of_commands_are_offered_without_loading_any() -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(COMP_WORDS='mediapool ', COMP_CWORD='1', _MEDIAPOOL_COMPLETE='bash_complete')\n"
        "from cli.main import main\n"
        "try: main(prog_name='mediapool')\n"
        "finally: print([name for name in sys.modules if name.endswith('_cmd')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    *names, loaded = done.stdout.splitlines()
    assert "plain,mount" in names and loaded == "[]"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_theirs(environment: dict[str, str], shell: str, tmp_path: Path) -> None:
    script = tmp_path / f"script.{shell}"
    script.write_text(printed(environment, shell))
    assert "_MEDIAPOOL_COMPLETE" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "script.fish"
    script.write_text(printed(environment, "fish"))
    pressed = f"source {script}; complete -C 'mediapool pool dr'; complete -C 'mediapool unm'"
    done = subprocess.run(["fish", "-c", pressed], env=environment, capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["drain", "unmount"]
