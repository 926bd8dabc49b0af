"""The life of a download, over a simulated account and a real union: what is had, refused, taken back."""

import errno
from dataclasses import replace

import pytest
from downloading import VIDEO, World
from mounting import wait_for

from debrid.downloads.downloads import Refused
from debrid.downloads.record import Download, Stage, Wanted
from debrid.downloads.sources import read_metainfo
from debrid.simulator.switches import Switches

DONE = ["torrents/complete/tv/Film.2024/Film.2024.mkv", "torrents/complete/tv/Film.2024/Film.2024.srt"]
COMPLETE = Stage.COMPLETE


def test_a_magnet_becomes_files_where_clients_are_told(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv", tags=["a", "b"])
    done = running.wait(source.hash, COMPLETE)
    assert running.names() == DONE
    assert (done.path, done.progress, done.name) == ("torrents/complete/tv/Film.2024", 1.0, "Film.2024")
    assert done.size == len(VIDEO) + 10 and not done.single and done.tags == ("a", "b")
    seen = dict(running.eyes.seen)
    assert seen == {
        "torrents/incomplete/tv/Film.2024/Film.2024.mkv": "video",
        "torrents/incomplete/tv/Film.2024/Film.2024.srt": "other",
    }
    (torrent,) = running.sim.torrents
    assert torrent.selected == {1, 2} and running.store.added_here(torrent.id)
    running.poller.poll()
    assert running.names() == DONE, "the poller publishes it no second time"


def test_one_file_is_one_file_and_a_folder_if_it_is_wanted(running: World) -> None:
    alone = running.source(running.sim.offer("Alone.mkv", {"/Alone.mkv": VIDEO}))
    running.downloads.add(alone)
    assert running.wait(alone.hash, COMPLETE).path == "torrents/complete/Alone.mkv"
    held = running.source(running.sim.offer("Held.mkv", {"/Held.mkv": VIDEO}))
    running.downloads.add(held, folder=True)
    assert running.wait(held.hash, COMPLETE).path == "torrents/complete/Held.mkv"
    assert running.names() == ["torrents/complete/Alone.mkv", "torrents/complete/Held.mkv/Held.mkv"]


def test_a_torrent_file_is_added_as_such(running: World) -> None:
    info_hash = running.sim.offer("Film", {"/film.mkv": VIDEO})
    source = read_metainfo(running.sim.torrent_file(info_hash))
    assert source.hash == info_hash
    running.downloads.add(source, category="radarr")
    running.wait(info_hash, COMPLETE)
    assert running.sim.count("PUT", "/torrents/addTorrent") == 1
    assert running.names() == ["torrents/complete/radarr/Film/film.mkv"]


def test_what_the_provider_packs_is_shown_as_its_files(running: World) -> None:
    source = running.film(rar=True)
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    assert running.names() == DONE
    assert {part for part, _ in running.tree.contents("torrents/complete/tv/Film.2024", source.hash)} == set(DONE)


def test_a_full_disk_tells_clients_no_path(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/names.db")

    monkeypatch.setattr(running.tree, "show", full)
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, Stage.PUBLISHING)
    with running.passing():
        wait_for(lambda: (running.downloads.get(source.hash) or _none()).problem, "the trouble")
    assert (running.downloads.get(source.hash) or _none()).problem == "No space left on device"
    monkeypatch.undo()
    running.wait(source.hash, COMPLETE)


def test_names_that_are_taken_are_left_alone(running: World) -> None:
    running.pool.write("a", "torrents/complete/tv/Film.2024/other.txt")
    source = running.film()
    running.downloads.add(source, category="tv")
    path = running.wait(source.hash, COMPLETE).path
    assert path.startswith("torrents/complete/tv/Film") and path != "torrents/complete/tv/Film.2024"
    assert len(running.names(path)) == 2


def test_what_is_known_is_answered_at_once_and_what_lost_its_names_gets_new_ones(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    calls = len(running.sim.journal)
    running.downloads.add(source, category="tv")
    assert len(running.sim.journal) == calls and len(running.ids()) == 1
    for path in DONE:
        running.filesystem.rename(path, path.rpartition("/")[2], 0)
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    assert [path for path in running.names() if path.startswith("torrents/complete")] == DONE
    assert len(running.ids()) == 1, "it is in the account already"


def test_what_people_added_is_used_and_stays_theirs(running: World) -> None:
    info_hash = running.sim.add_torrent("Film.2024", {"/Film.2024.mkv": VIDEO}).hash
    running.poller.poll()
    running.downloads.add(running.source(info_hash), category="tv")
    running.wait(info_hash, COMPLETE)
    assert running.names() == ["torrents/complete/Film.2024/Film.2024.mkv", DONE[0]]
    assert running.sim.count("POST", "/torrents/addMagnet") == 0
    running.downloads.delete([info_hash], with_files=True)
    running.wait_gone(info_hash)
    assert running.names() == ["torrents/complete/Film.2024/Film.2024.mkv"]
    assert len(running.ids()) == 1 and not running.store.released()


def test_progress_is_the_providers(running: World) -> None:
    source = running.film(cached=False, download_seconds=1000)
    running.downloads.add(source)
    running.wait(source.hash, Stage.FETCHING)
    running.sim.advance(500)
    with running.passing():
        wait_for(lambda: 0.4 < (running.downloads.get(source.hash) or _none()).progress < 0.6, "half of it")
    half = running.downloads.get(source.hash)
    assert half is not None and half.speed > 0 and half.seeders > 0 and not running.names()
    running.sim.advance(600)
    running.wait(source.hash, COMPLETE)


def _none() -> Download:
    raise AssertionError


def test_pausing_holds_and_resuming_goes_on(running: World) -> None:
    source = running.film()
    running.downloads.add(source, paused=True)
    assert not running.ids() and running.downloads.all()[0].stage is Stage.ADDING
    running.downloads.pause([source.hash], False)
    running.wait(source.hash, COMPLETE)


@pytest.mark.parametrize(
    ("switches", "kind"),
    [
        ({"name_filter": True}, "infringing"),
        ({"magnet_outcome": "error"}, "dead"),
        ({"silent_delete_after": 0.0}, "infringing"),
    ],
)
def test_verdicts_come_with_the_answer_and_are_remembered(running: World, switches: dict, kind: str) -> None:
    source = running.film("Film.2024.WEB-DL")
    for name, value in switches.items():
        setattr(running.sim.faults, name, value)
    with pytest.raises(Refused):
        running.downloads.add(source, category="tv")
    running.wait_gone(source.hash)
    assert running.downloads.all() == [] and running.names() == [] and running.ids() == []
    calls = len(running.sim.journal)
    with pytest.raises(Refused):
        running.downloads.add(source, category="tv")
    assert len(running.sim.journal) == calls
    verdict = running.store.downloads.verdict(source.hash)
    assert verdict is not None and verdict.kind == kind
    for name in switches:
        setattr(running.sim.faults, name, getattr(Switches(), name))
    running.clock.now += 8 * 24 * 3600
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)


def test_a_torrent_without_anything_wanted_is_refused(running: World) -> None:
    info_hash = running.sim.offer("Book", {"/book.epub": b"PK"})
    with pytest.raises(Refused, match="wanted"):
        running.downloads.add(running.source(info_hash), category="tv")
    running.settings["books"] = Wanted(files="books")
    running.clock.now += 8 * 24 * 3600
    running.downloads.add(running.source(info_hash), category="books")
    running.wait(info_hash, COMPLETE)


def test_uncached_content_is_refused_only_where_that_is_wanted(running: World) -> None:
    running.settings["quick"] = Wanted(uncached="refuse")
    source = running.film(cached=False, download_seconds=1000)
    with running.passing(), pytest.raises(Refused, match="does not have it yet"):
        running.downloads.add(source, category="quick")
    running.wait_gone(source.hash)
    assert running.ids() == []
    with pytest.raises(Refused):
        running.downloads.add(source, category="quick")
    running.downloads.add(source, category="slow")
    assert running.wait(source.hash, Stage.FETCHING).category == "slow"
    cached = running.film("Other", hash="e" * 40)
    running.sim.faults.settle_seconds = 2.0
    running.downloads._verdict_seconds = 0.2
    running.downloads.add(cached, category="quick")
    with running.passing():
        running.sim.advance(3)
        running.wait(cached.hash, COMPLETE)


def test_full_slots_queue_here(running: World) -> None:
    running.sim.faults.slots_full = True
    sources = [running.film(name) for name in ("One", "Two")]
    for source in sources:
        running.downloads.add(source)
        waiting = running.downloads.get(source.hash)
        assert waiting is not None and waiting.stage in (Stage.ADDING, Stage.CONVERTING) and not waiting.problem
    running.sim.faults.slots_full = False
    for source in sources:
        running.wait(source.hash, COMPLETE)


def test_an_outage_is_no_verdict(running: World) -> None:
    running.sim.faults.api_outage = "closed"
    source = running.film()
    running.downloads._verdict_seconds = 0.1
    running.downloads.add(source, category="tv")
    running.sim.faults.api_outage = ""
    running.wait(source.hash, COMPLETE)
    assert running.store.downloads.verdict(source.hash) is None and len(running.ids()) == 1


def test_a_lost_answer_adds_nothing_twice(running: World) -> None:
    running.sim.faults.api_lost_reply, running.sim.faults.api_lost_reply_times = "/torrents/addMagnet", 1
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    (torrent,) = running.ids()
    assert not running.store.added_here(torrent), "whose it is, is in doubt, so it is never deleted"


def test_a_fake_fails_late_and_is_reported_and_taken_back(running: World) -> None:
    running.eyes.problems[".mkv"] = "it is no video"
    running.arrs.knows = False
    source = running.film()
    running.downloads.add(source, category="tv")
    failed = running.wait(source.hash, Stage.FAILED)
    assert failed.problem == "Film.2024.mkv: it is no video"
    with running.passing():
        wait_for(lambda: running.arrs.told, "the report")
        assert not running.names()
        running.arrs.knows = True
        wait_for(lambda: not running.downloads.all(), "the end")
    assert set(running.arrs.told) == {(source.hash, "tv", failed.problem)}
    with pytest.raises(Refused, match="no video"):
        running.downloads.add(source, category="tv")


def test_what_somebody_removes_from_the_account_is_dead_not_infringing(running: World) -> None:
    running.arrs.knows = False
    source = running.film(cached=False, download_seconds=1e6)
    running.downloads.add(source, category="tv")
    running.wait(source.hash, Stage.FETCHING)
    running.clock.now += 1000
    running.sim.remove_torrent(running.ids()[0])
    running.wait(source.hash, Stage.FAILED)
    verdict = running.store.downloads.verdict(source.hash)
    assert verdict is not None and verdict.kind == "dead"


def test_lost_content_is_dead(running: World) -> None:
    running.sim.faults.links_empty = True
    running.arrs.knows = False
    source = running.film()
    running.downloads.add(source, category="tv")
    assert "lost its content" in running.wait(source.hash, Stage.FAILED).problem


def test_why_it_failed_outlasts_what_hinders_its_end(running: World) -> None:
    running.eyes.problems[".mkv"] = "it is no video"
    source = running.film()

    def down(*_: object) -> bool:
        raise OSError(errno.ECONNREFUSED, "Connection refused")

    running.arrs.failed = down  # type: ignore[method-assign]
    running.downloads.add(source, category="tv")
    running.wait(source.hash, Stage.FAILED)
    with running.passing():
        wait_for(lambda: (running.downloads.get(source.hash) or _none()).tries > 1, "tries")
    assert (running.downloads.get(source.hash) or _none()).problem == "Film.2024.mkv: it is no video"


def test_trouble_in_reading_is_no_verdict(running: World) -> None:
    running.eyes.problems[".mkv"] = OSError(errno.EIO, "the provider is down")
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, Stage.CHECKING)
    with running.passing():
        wait_for(lambda: (running.downloads.get(source.hash) or _none()).problem, "the trouble")
    running.eyes.problems.clear()
    running.wait(source.hash, COMPLETE)


def test_removal_takes_what_was_not_imported_and_nothing_else(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    running.pool.union.link(DONE[0], "film.mkv")
    beside = running.pool.write("b", "torrents/complete/tv/Film.2024/Film.2024.de.srt")
    running.downloads.delete([source.hash, "f" * 40], with_files=True)
    running.wait_gone(source.hash)
    assert running.names() == [] and beside.exists()
    assert running.pool.names.find("film.mkv") is not None
    assert not running.store.released(), "it has a name"


def test_what_is_about_to_leave_the_account_stays_when_it_is_wanted_again(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    running.downloads.delete([source.hash], with_files=True)
    running.wait_gone(source.hash)
    running.store.release(source.hash, running.clock.now)  # as the tree tells when the last name is gone
    assert [each.hash for each in running.store.released()] == [source.hash]
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    assert running.names() == DONE and running.store.released() == [] and len(running.ids()) == 1


def test_removal_without_files_leaves_them(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    running.downloads.delete([source.hash], with_files=False)
    assert running.downloads.all() == [] and running.names() == DONE


def test_what_is_removed_half_way_leaves_nothing(running: World) -> None:
    source = running.film(cached=False, download_seconds=1000)
    running.downloads.add(source)
    running.wait(source.hash, Stage.FETCHING)
    running.downloads.delete([source.hash], with_files=True)
    running.wait_gone(source.hash)
    assert running.ids() == []
    running.downloads.add(source)
    assert running.wait(source.hash, Stage.FETCHING).stage is Stage.FETCHING


def test_imported_by_link_is_noticed(running: World) -> None:
    source = running.film()
    running.downloads.add(source, category="tv")
    assert not running.wait(source.hash, COMPLETE).imported
    running.pool.union.link(DONE[0], "film.mkv")
    with running.passing():
        wait_for(lambda: (running.downloads.get(source.hash) or _none()).imported, "the import")


def test_copies_are_asked_for_where_they_are_wanted(running: World) -> None:
    running.settings["tv"] = Wanted(keep="pin")
    source = running.film()
    running.downloads.add(source, category="tv")
    running.wait(source.hash, COMPLETE)
    assert running.copies.asked == [("pin", ["torrents/complete/tv/Film.2024"])]


def test_two_clients_at_once(running: World) -> None:
    films = [running.film(f"Film{number}") for number in range(4)]
    for number, source in enumerate(films):
        running.downloads.add(source, category="sonarr" if number % 2 else "Radarr")
    for source in films:
        running.wait(source.hash, COMPLETE)
    assert {path.split("/")[2] for path in running.names()} == {"sonarr", "Radarr"}


def test_links_of_hosters(running: World) -> None:
    running.sim.add_link("https://1fichier.com/?abc", "Clip.mkv", VIDEO)
    digest = running.downloads.add_link("https://1fichier.com/?abc", category="tv")
    assert running.wait(digest, COMPLETE).path == "ddl/complete/tv/Clip.mkv"
    assert running.names() == ["ddl/complete/tv/Clip.mkv"]
    stream = running.library.stream(("link", digest, "1"), 10, 100)
    buffer = memoryview(bytearray(100))
    assert stream.readinto(buffer) > 0 and VIDEO[10:110].startswith(bytes(buffer[:10]))
    stream.close()
    with pytest.raises(Refused):
        running.downloads.add_link("https://1fichier.com/?gone")


# -- restarts


def stages(world: World, unrecorded: bool) -> list[Stage]:
    source = world.film()
    steps = world.stepped(source)
    found, seen = next(steps), []
    while found.stage is not COMPLETE:
        seen.append(found.stage)
        if unrecorded:
            # Killed after the call and before it was recorded; then again.
            steps.send(True)
        world.restart()
        found = next(steps)
    return seen


@pytest.mark.parametrize("unrecorded", [False, True])
def test_a_restart_in_every_stage_ends_in_the_same_place(world: World, unrecorded: bool) -> None:
    seen = stages(world, unrecorded)
    assert list(dict.fromkeys(seen)) == [
        Stage.ADDING, Stage.CONVERTING, Stage.FETCHING, Stage.PUBLISHING, Stage.CHECKING, Stage.MOVING,
    ]  # fmt: skip
    assert world.names() == DONE and len(world.ids()) == 1
    world.restart()
    assert [each.stage for each in world.downloads.all()] == [COMPLETE]
    world.poller.poll()
    assert world.names() == DONE


def test_a_restart_in_the_middle_of_the_rename_finds_it_done(world: World) -> None:
    source = world.film()
    steps = world.stepped(source)
    while (found := next(steps)).stage is not Stage.MOVING:
        pass
    target = "torrents/complete/tv/Film.2024"
    world.tree.folder("torrents/complete/tv")
    world.store.downloads.put(replace(found, target=target))
    assert world.tree.move(found.path, target)
    world.restart()
    world.downloads.start()
    assert world.wait(source.hash, COMPLETE).path == target
    assert world.names() == DONE


def test_a_restart_goes_on_with_removals_and_failures(world: World) -> None:
    source, other = world.film(), world.film("Other")
    for each in (source, other):
        steps = world.stepped(each)
        while next(steps).stage is not Stage.CHECKING:
            pass
    world.restart()
    world.downloads.delete([source.hash], with_files=True)
    found = world.store.downloads.get(other.hash)
    assert found is not None
    world.store.downloads.put(replace(found, stage=Stage.FAILED, problem="it is no video"))
    world.restart()
    world.downloads.start()
    world.wait_gone(source.hash)
    world.wait_gone(other.hash)
    assert world.arrs.told == [(other.hash, "tv", "it is no video")] and world.names() == []
