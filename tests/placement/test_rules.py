"""Placement asks the drives as they are now, and its explanation agrees with what it does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from placement.drive import Drive
from placement.identity import IDENTITY
from placement.rules import Placement

Maker = Callable[..., Drive]


def test_an_unknown_policy_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="pfrd"):
        Placement(list, policy="best")


def test_drives_may_be_added(make_drive: Maker) -> None:
    drives = [make_drive("d1")]
    placement = Placement(lambda: drives, policy="ff")
    assert placement.place("x") == drives[:1]
    drives.append(make_drive("d2"))
    assert placement.place("x") == drives[:2]


def test_the_whole_rule_is_followed(make_drive: Maker, tmp_path: Path) -> None:
    one, two = make_drive("d1"), make_drive("d2")
    (tmp_path / "d2/tv").mkdir()
    assert Placement(lambda: [one, two], "ff").place("tv/x") == [one, two]
    assert Placement(lambda: [one, two], "ff", path_preserving=True).place("tv/x") == [two, one]
    with pytest.raises(OSError, match="needed"):
        Placement(lambda: [one, two]).place("x", size_hint=1 << 60)


def test_explain_agrees_with_place(make_drive: Maker, tmp_path: Path) -> None:
    drives = [make_drive("d1"), make_drive("d2", mode="ro"), make_drive("d3"), make_drive("d4")]
    (tmp_path / "d3/tv").mkdir()
    (tmp_path / "d4" / IDENTITY).unlink()
    drives[3].check()
    placement = Placement(lambda: drives, "ff", path_preserving=True)
    verdicts = placement.explain("tv/show/x")
    assert [verdict.drive for verdict in verdicts] == drives
    assert [verdict.rank for verdict in verdicts] == [2, None, 1, None]
    ranked = sorted((v for v in verdicts if v.rank), key=lambda v: v.rank or 0)
    assert [v.drive for v in ranked] == placement.place("tv/show/x")
    assert "holds 1 of the path's 2 folders" in verdicts[2].reason and "available" in verdicts[2].reason
    assert "read-only" in verdicts[1].reason
    assert "no identity file" in verdicts[3].reason


def test_explain_tells_the_chances_and_draws_no_lot(make_drive: Maker, tmp_path: Path) -> None:
    drives = [make_drive("d1"), make_drive("d2"), make_drive("d3")]
    (tmp_path / "d3/tv").mkdir()
    placement = Placement(lambda: drives, "rand")
    state = placement.random.getstate()
    verdicts = placement.explain("tv/x")
    assert placement.random.getstate() == state
    assert [verdict.rank for verdict in verdicts] == [1, 1, 1]
    assert all("chance of 33%" in verdict.reason for verdict in verdicts)
    together = Placement(lambda: drives, "pfrd", path_preserving=True).explain("tv/x")
    assert [verdict.rank for verdict in together] == [2, 2, 1]
    assert "chance of 100%" in together[2].reason and "chance of 50%" in together[0].reason


def test_explain_without_any_drive(make_drive: Maker) -> None:
    assert Placement(list).explain("x") == []
    full = Placement(lambda: [make_drive("d1", min_free=1 << 60)])
    (verdict,) = full.explain("x")
    assert verdict.rank is None and "full" in verdict.reason
