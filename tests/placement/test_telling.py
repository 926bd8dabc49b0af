"""The line in the log for each file that is placed, linked or moved."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from placement.telling import Teller


def test_a_line_has_source_drive_rule_attempt_and_result(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    drive: Any = SimpleNamespace(name="disk2")
    teller = Teller(lambda path: "media/tv/**")
    teller.tell("placed", "media/tv/a.mkv", drive, 2, "")
    teller.tell("linked", "media/tv/b \udcff\n.mkv", drive, 1, "", "torrents/b.mkv")
    teller.tell("placed", "media/tv/c.mkv", drive, 1, "No space left on device")
    assert caplog.messages == [
        'placed path="media/tv/a.mkv" source="" drive=disk2 rule="media/tv/**" attempt=2 result=ok',
        'linked path="media/tv/b %FF%0A.mkv" source="torrents/b.mkv" drive=disk2 rule="media/tv/**"'
        " attempt=1 result=ok",
        'placed path="media/tv/c.mkv" source="" drive=disk2 rule="media/tv/**" attempt=1'
        ' result="No space left on device"',
    ]
