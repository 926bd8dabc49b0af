"""The repository as somebody who clones it has it."""

import shutil
import subprocess
from pathlib import Path

from mounting import ROOT


def checkout(target: Path) -> Path:
    """Copy what git tracks, or would track, to `target`, as it is now."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target
