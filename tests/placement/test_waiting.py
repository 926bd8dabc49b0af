"""Which changed folders are told when, how they are merged, and what a media server calls them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.services.paths import Paths, above, within
from placement.services.waiting import Waiting

FOLDERS = st.lists(st.sampled_from("abc"), max_size=4).map("/".join)
ROOTS = st.sets(FOLDERS, min_size=1, max_size=3).map(sorted)


def waiting(quiet: float = 10, longest: float = 100, roots: dict[str, str] | None = None, most: int = 500) -> Waiting:
    return Waiting(quiet, longest, Paths(roots or {"": "/data"}).holding, most)


def test_a_folder_is_due_once_it_has_come_to_rest() -> None:
    one = waiting()
    assert one.due_at() is None
    one.add("media/tv", 0)
    one.add("media/tv", 7)
    assert (one.due(16.9), one.due_at()) == ([], 17)
    assert one.due(17) == ["media/tv"]
    one.told(["media/tv"])
    assert (len(one), one.due_at()) == (0, None)


def test_a_folder_that_never_rests_is_due_all_the_same() -> None:
    one = waiting()
    for now in range(0, 100, 5):
        assert one.due(now) == []
        one.add("media/tv/Show", now)
    assert one.due(100) == ["media/tv/Show"]


def test_the_folder_above_takes_in_what_is_below_and_keeps_its_age() -> None:
    one = waiting()
    one.add("media/tv/Show/Season 1", 0)
    one.add("media/tv/Shower", 1)
    one.add("media/tv/Show", 95)
    assert one.folders == ["media/tv/Show", "media/tv/Shower"]
    one.add("media/tv/Show/Season 2", 99)
    assert one.folders == ["media/tv/Show", "media/tv/Shower"]
    assert one.due(100) == ["media/tv/Show", "media/tv/Shower"]


def test_too_many_folders_are_merged_into_those_above_but_not_beyond_their_root() -> None:
    one = waiting(roots={"media": "/m", "other": "/o"}, most=4)
    for number in range(4):
        one.add(f"media/tv/Show {number}/Season", 0)
    one.add("other/film", 0)
    assert one.folders == ["media/tv", "other/film"]
    for number in range(40):
        one.add(f"media/{number}", 1)
    assert "media" in one.folders and "other/film" in one.folders


def test_what_a_server_knows_by_another_path_is_not_merged() -> None:
    one = waiting(roots={"media": "/media", "media/kids": "/kids"})
    one.add("media", 0)
    one.add("media/kids/Film", 0)
    assert one.folders == ["media", "media/kids/Film"]


@given(ROOTS, st.lists(st.tuples(FOLDERS, st.floats(0, 500)), max_size=60), st.integers(2, 6))
def test_no_change_is_ever_lost(roots: list[str], changes: list[tuple[str, float]], most: int) -> None:
    paths = Paths({root: f"/server/{number}" for number, root in enumerate(roots)})
    one = Waiting(10, 100, paths.holding, most)
    now = 0.0
    for folder, step in changes:
        now += step
        one.add(folder, now)
        held = paths.holding(folder)
        if held is None:
            assert folder not in one.folders
        else:
            # It is covered, by a folder of the same root.
            assert any(within(folder, each) and paths.holding(each) == held for each in one.folders)
    assert len(one) <= max(most, len(roots))
    for first in one.folders:
        assert not any(
            within(first, each) and paths.holding(each) == paths.holding(first) for each in one.folders if each != first
        )
    assert set(one.due(now + 100)) == set(one.folders)
    assert all(one.due_at() is not None and one.due_at() <= now + 10 for _ in one.folders)


PATHS = [
    ({"": "/data"}, "media/tv/Show", "/data/media/tv/Show"),
    ({"": "/data/"}, "", "/data"),
    ({"": "/"}, "media", "/media"),
    ({"": "/"}, "", "/"),
    ({"/media/": "/m"}, "media", "/m"),
    ({"media": "/m", "media/kids": "/k"}, "media/kids/Film", "/k/Film"),
    ({"media": "/m"}, "mediatheque/Film", None),
    ({"media": "D:\\Media"}, "media/tv/Show", "D:\\Media\\tv\\Show"),
    ({"": "\\\\nas\\data\\"}, "a b", "\\\\nas\\data\\a b"),
    ({"": "/data"}, "torrents/complete/Show", None),
    ({"": "/data"}, "ddl", None),
    ({"": "/data"}, "torrents-of-mine", "/data/torrents-of-mine"),
    ({"": "/data", "torrents/complete": "/t"}, "torrents/complete/Show", "/t/Show"),
    ({"": "/data", "torrents/complete": "/t"}, "torrents/incomplete/Show", None),
]


@pytest.mark.parametrize(("known", "path", "told"), PATHS)
def test_what_a_server_calls_a_folder(known: dict[str, str], path: str, told: str | None) -> None:
    paths = Paths(known)
    assert paths.told(path) == told
    if told is not None:
        assert paths.in_tree(told) == path


@given(FOLDERS, FOLDERS)
def test_paths_go_back_and_forth(root: str, rest: str) -> None:
    paths = Paths({root: "/srv/library", "elsewhere": "/srv"})
    path = "/".join(part for part in (root, rest) if part)
    assert paths.in_tree(paths.told(path) or "") == path
    assert above(path) == "" or within(path, above(path))


def test_only_whole_names_count() -> None:
    paths = Paths({"media": "/srv/media"})
    assert paths.in_tree("/srv/media2/x") is None and paths.in_tree("/srv") is None
    assert paths.in_tree("/srv/media/") == "media"
