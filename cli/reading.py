"""How reading from the provider fares, in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def reading(reads: Mapping[str, Any]) -> str:
    """ "in order", or why everything rests and until when."""
    if not reads["reason"]:
        return "in order"
    until = reads["paused_until"]
    resumes = "" if until is None else f"; goes on at {datetime.fromtimestamp(until):%Y-%m-%d %H:%M:%S}"
    return f"paused: {reads['reason']}{resumes}"
