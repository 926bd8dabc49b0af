"""Placement asks the drives as they are now, and its explanation agrees with what it does."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from placement.drive import Drive
from placement.identity import IDENTITY
from placement.rules import Placement, Rule
from placement.siblings import bytes_in, largest_sibling

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


class Known:
    """Knowledge that was written down: sizes by path, bytes by drive and folder."""

    def __init__(self, sizes: dict[str, int] | None = None, held: dict[tuple[str, str], int] | None = None) -> None:
        self.sizes, self.held = sizes or {}, held or {}

    def expected_size(self, path: str) -> int | None:
        return self.sizes.get(path)

    def together(self, drive: Drive, folder: str) -> int:
        return self.held.get((drive.name, folder), 0)


def test_the_first_rule_that_matches_decides(make_drive: Maker) -> None:
    drives = [make_drive("d1", tier="slow"), make_drive("d2", tier="fast"), make_drive("d3", tier="slow")]
    rules = [
        Rule("tv/**", "ff", drives=("d3", "d1")),
        Rule("**/*.iso", "ff", tier="fast"),
        Rule("tv/x", "ff", tier="fast"),
    ]
    placement = Placement(lambda: drives, "ff", rules=rules)
    assert placement.place("tv/x") == [drives[0], drives[2]]
    assert placement.place("a/b.iso") == [drives[1], drives[0], drives[2]]
    assert placement.place("other") == drives
    assert placement.rule_for("tv/x") is rules[0]
    assert "rule 'tv/**': policy ff, only drives d3, d1" in placement.describe("tv/x")
    verdicts = placement.explain("tv/x")
    assert [verdict.rank for verdict in verdicts] == [1, None, 2]
    assert "the rule wants only d3, d1" in verdicts[1].reason
    assert "only if none of that has room" in placement.explain("x.iso")[0].reason


def test_a_rule_without_room_is_no_space_left_although_others_have_some(make_drive: Maker) -> None:
    drives = [make_drive("d1", min_free=1 << 60), make_drive("d2")]
    placement = Placement(lambda: drives, rules=[Rule("a/**", drives=("d1",)), Rule("b/**", min_free=1 << 60)])
    for path in ("a/x", "b/x"):
        with pytest.raises(OSError, match="full") as refused:
            placement.place(path)
        assert refused.value.errno == errno.ENOSPC


def test_a_season_goes_where_most_of_it_lies(make_drive: Maker) -> None:
    drives = [make_drive("d1"), make_drive("d2"), make_drive("d3")]
    known = Known(held={("d3", "tv/S/Season 1"): 9, ("d2", "tv/S/Season 1"): 4})
    placement = Placement(lambda: drives, "ff", rules=[Rule("tv/**", "ff", keep_together="season")], knowledge=known)
    assert placement.place("tv/S/Season 1/e.mkv") == [drives[2], drives[1], drives[0]]
    assert placement.place("tv/S/Season 2/e.mkv") == drives
    assert [verdict.rank for verdict in placement.explain("tv/S/Season 1/e.mkv")] == [3, 2, 1]
    assert "holds 9 B of tv/S/Season 1" in placement.explain("tv/S/Season 1/e.mkv")[2].reason


def test_without_knowledge_the_folder_is_looked_for(make_drive: Maker, tmp_path: Path) -> None:
    drives = [make_drive("d1"), make_drive("d2")]
    (tmp_path / "d2/films/Film").mkdir(parents=True)
    placement = Placement(lambda: drives, "ff", rules=[Rule("films/**", "ff", keep_together="folder")])
    assert placement.place("films/Film/x.mkv") == [drives[1], drives[0]]


def test_round_robin_counts_per_rule_and_explain_does_not(make_drive: Maker) -> None:
    drives = [make_drive("d1"), make_drive("d2"), make_drive("d3")]
    placement = Placement(lambda: drives, "round_robin", rules=[Rule("a/**", "round_robin")])
    assert [placement.place("x")[0].name for _ in range(4)] == ["d1", "d2", "d3", "d1"]
    placement.explain("x")
    assert [placement.place("a/x")[0].name for _ in range(3)] == ["d1", "d2", "d3"]
    assert placement.place("x")[0].name == "d2"


def test_a_known_size_is_promised_and_a_wrong_one_stops_nothing(make_drive: Maker) -> None:
    drives = [make_drive("d1", capacity=1 << 30, min_free=0), make_drive("d2", capacity=1 << 30, min_free=0)]
    known = Known({"a": 700 << 20, "b": 700 << 20, "c": 700 << 20, "huge": 1 << 60})
    placement = Placement(lambda: drives, "ff", knowledge=known, min_free=0)
    assert placement.place_file("a")[0] is drives[0]
    assert placement.place_file("b")[0] is drives[1], "the first is spoken for"
    assert placement.place_file("c")[0] in drives, "too large for both, but it may begin"
    assert placement.place_file("huge") and placement.place_file("unknown")
    assert drives[0].reserved.bytes() >= 700 << 20
    assert "reserved for files on their way" in placement.explain("x")[0].reason


def test_what_is_planned_counts_and_what_is_not_asked_for_is_left_out(make_drive: Maker) -> None:
    drives = [make_drive("d1", capacity=1 << 30, min_free=0), make_drive("d2", capacity=1 << 30, min_free=0)]
    placement = Placement(lambda: drives, "mfs", min_free=0)
    assert placement.place("x", planned={1: 1 << 20})[0] is drives[1]
    assert placement.place("x", among={1}) == [drives[0]]
    with pytest.raises(OSError, match="needed") as refused:
        placement.place("x", 900 << 20, planned={1: 1 << 29, 2: 1 << 29})
    assert refused.value.errno == errno.ENOSPC


def test_a_drive_that_is_drained_takes_nothing(make_drive: Maker) -> None:
    drives = [make_drive("d1"), make_drive("d2")]
    drives[0].retiring = "it is drained (job 3)"
    placement = Placement(lambda: drives, "ff")
    assert placement.place("x") == drives[1:]
    assert placement.explain("x")[0].reason == "it is drained (job 3)"


def test_siblings_tell_sizes(make_drive: Maker, tmp_path: Path) -> None:
    drives = [make_drive("d1"), make_drive("d2")]
    for path, size in (("d1/a/1.mkv", 5), ("d2/a/2.mkv", 9), ("d2/a/3.srt", 50), ("d1/a/Subs/4.srt", 4096 * 9)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(size))
    assert largest_sibling(drives, "a/new.mkv") == 9 and largest_sibling(drives, "b/new.mkv") is None
    assert bytes_in(drives[0], "a") > 4096 * 9 and bytes_in(drives[0], "b") == 0
    (tmp_path / "d1/empty").mkdir()
    assert bytes_in(drives[0], "empty") == 1
