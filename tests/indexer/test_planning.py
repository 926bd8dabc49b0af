"""Plans of volumes: nothing lost, nothing twice, nothing over a disc, folders whole where they fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.discs import MEDIA, Medium, file_cost, folder_cost, medium
from indexer.planning import Entry, Order, Together, TooLarge, oldest_first, plan, without_copies

SMALL = Medium("small", 40 << 20)
NAMES = st.sampled_from(["a", "b", "2019", "2019/07", "2020/01/d\udcff", "x/y/z"])
ENTRIES = st.lists(
    st.builds(
        lambda folder, name, size, day: Entry(f"{folder}/{name}", size, None, f"2019-07-{day:02}"),
        NAMES,
        st.integers(0, 10**6).map(str),
        st.integers(0, 20 << 20),
        st.integers(1, 28),
    ),
    max_size=40,
    unique_by=lambda entry: entry.path,
)
TOGETHER = st.sampled_from(["folder", "date", "nothing"])
ORDERS = st.sampled_from(["ffd", "date"])


def cost(entries: list[Entry]) -> int:
    folders = {"/".join(parts[:n]) for e in entries if (parts := e.path.split("/")) for n in range(1, len(parts))}
    return sum(file_cost(e.path, e.size) for e in entries) + sum(map(folder_cost, folders))


@given(ENTRIES, TOGETHER, ORDERS)
def test_every_file_is_on_one_disc_and_no_disc_is_too_full(
    entries: list[Entry], together: Together, order: Order
) -> None:
    made = plan(entries, SMALL, together=together, order=order)
    assert sorted(at for volume in made.volumes for at in volume) == list(range(len(entries)))
    for volume, used in zip(made.volumes, made.used, strict=True):
        assert volume and used == cost([entries[at] for at in volume]) <= SMALL.usable
    assert made.price.discs == len(made.volumes) >= made.price.lower_bound
    assert 0 <= made.price.fill <= 1
    assert made == plan(entries, SMALL, together=together, order=order)


@given(ENTRIES, st.sampled_from(["folder", "date"]), ORDERS)
def test_what_fits_on_one_disc_is_not_split(entries: list[Entry], together: Together, order: Order) -> None:
    made = plan(entries, SMALL, together=together, order=order)
    discs: dict[str, set[int]] = {}
    groups: dict[str, list[Entry]] = {}
    for number, volume in enumerate(made.volumes):
        for entry in (entries[at] for at in volume):
            key = entry.path.rpartition("/")[0] if together == "folder" else entry.date
            discs.setdefault(key, set()).add(number)
            groups.setdefault(key, []).append(entry)
    split = {key for key, numbers in discs.items() if len(numbers) > 1}
    assert all(cost(groups[key]) > SMALL.usable for key in split)
    assert made.price.split == len(split)


@given(ENTRIES)
def test_by_date_each_disc_holds_a_span_of_time(entries: list[Entry]) -> None:
    made = plan(entries, SMALL, together="nothing", order="date")
    spans = [[entries[at].date for at in volume] for volume in made.volumes]
    assert all(max(one) <= min(other) for one, other in zip(spans, spans[1:], strict=False))


def test_first_fit_decreasing_needs_no_more_discs_than_the_lower_bound_here() -> None:
    entries = [Entry(f"{n % 613}/{n}", (n * 7919 % 4000) << 10, None, "2020-01-01") for n in range(3000)]
    made = plan(entries, Medium("small", 300 << 20))
    assert made.price.discs <= made.price.lower_bound + 1 and made.price.split == 0 and made.price.discs > 15


def test_a_file_larger_than_a_disc_is_an_error_with_its_name_and_a_remedy() -> None:
    entries = [Entry("films/long.mkv", 41 << 20, None, "2020"), Entry("films/short.mkv", 1, None, "2020")]
    with pytest.raises(TooLarge) as error:
        plan(entries, SMALL)
    assert "films/long.mkv" in str(error.value) and "short" not in str(error.value) and "--media" in str(error.value)
    assert plan([], SMALL).price.discs == 0


def test_capacities_are_those_of_discs_with_spare_areas() -> None:
    assert medium("bd25").capacity == 24_220_008_448 and medium("bd25", spare=False).capacity == 25_025_314_816
    assert medium("bd50").capacity == 48_440_016_896 and medium("bd100").capacity == 96_882_130_944
    assert medium("bd25", ecc=0.2).usable * 1.2 <= medium("bd25").capacity
    assert all(spare < bare for spare, bare in MEDIA.values())
    with pytest.raises(ValueError, match="bd26.*bd25"):
        medium("bd26")


def test_copies_are_told_by_their_hash_and_empty_files_are_none() -> None:
    entries = [Entry(str(n), size, hash, "") for n, (size, hash) in enumerate(
        [(1, "a"), (1, "a"), (2, "b"), (1, None), (1, None), (0, "e"), (0, "e"), (3, "c")])]  # fmt: skip
    assert without_copies(entries, {"c"}) == ([0, 2, 3, 4, 5, 6], [1, 7])


@given(ENTRIES, st.integers(0, 100 << 20), TOGETHER)
def test_the_oldest_leave_a_drive_and_no_more_than_needed(entries: list[Entry], free: int, together: Together) -> None:
    chosen = set(oldest_first(entries, free, together))
    size = sum(entries[at].size for at in chosen)
    assert size >= free or len(chosen) == len(entries)
    newest: dict[str, str] = {}
    for entry in entries:
        key = {"folder": entry.path.rpartition("/")[0], "date": entry.date, "nothing": entry.path}[together]
        newest[key] = max(newest.get(key, ""), entry.date)
    ages = [(newest[{"folder": e.path.rpartition("/")[0], "date": e.date, "nothing": e.path}[together]], at)
            for at, e in enumerate(entries)]  # fmt: skip
    stays = [age for age, at in ages if at not in chosen]
    goes = [age for age, at in ages if at in chosen]
    assert not stays or not goes or max(goes) <= min(stays)
