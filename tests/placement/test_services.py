"""Sonarr, Radarr and the reports of failed downloads, against a real HTTP server with their API."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arrserving import KEY, ArrServer, serving

from placement.services.arr import Arr
from placement.services.calls import Missing, ServiceError, Unreachable
from placement.services.radarr import Radarr
from placement.services.reporter import Reporter
from placement.services.sonarr import Sonarr

HASH = "ABCDEF0123456789ABCDEF0123456789ABCDEF01"
KINDS: dict[str, type[Arr]] = {"Sonarr": Sonarr, "Radarr": Radarr}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> ArrServer:
    return ArrServer(request.param)


@pytest.fixture
def arr(server: ArrServer) -> Iterator[Arr]:
    with serving(server) as url:
        yield KINDS[server.kind](url, KEY, seconds=20)


def test_status_folders_and_items(server: ArrServer, arr: Arr) -> None:
    server.add_item(3, "/data/media/tv/One")
    assert arr.version() == "4.0.19.2979"
    assert [(one.id, one.path, one.accessible, one.free) for one in arr.root_folders()] == [
        (1, "/data/media/tv", True, 5),
        (2, "/gone", False, None),
    ]
    (item,) = arr.items()
    assert (item.id, item.title, item.path, item.root, item.size) == (
        3, "Title 3", "/data/media/tv/One", "/data/media/tv", 1234,
    )  # fmt: skip
    assert not server.writes()


def test_another_program_is_told_apart(server: ArrServer, arr: Arr) -> None:
    server.kind = "Prowlarr"
    with pytest.raises(ServiceError, match=f"is Prowlarr, not {arr.kind}: correct kind or url"):
        arr.version()


def test_the_queue_is_read_to_its_end(server: ArrServer, arr: Arr) -> None:
    for number in range(1, 1502):
        server.add_download(number, None if number % 2 else HASH[:-4] + f"{number:04}")
    found = arr.queue()
    assert [one.id for one in found] == list(range(1, 1502))
    assert found[0].download_id == "" and found[1].download_id == HASH[:-4] + "0002"
    unknown = "includeUnknownSeriesItems" if server.kind == "Sonarr" else "includeUnknownMovieItems"
    assert server.calls[0][2] == {"page": "1", "pageSize": "1000", unknown: "true"}


def test_odd_fields_are_no_trouble(server: ArrServer, arr: Arr) -> None:
    odd = b'[{"id": 1, "path": "/a/b", "title": null, "statistics": [], "sizeOnDisk": "x", "rootFolderPath": null}]'
    server.instead.append((200, {}, odd))
    (item,) = arr.items()
    assert (item.path, item.root, item.size) == ("/a/b", "/a", 0)
    server.instead += [
        (200, {}, b'{"totalRecords": "many", "records": [{"id": 1, "title": 5, "downloadId": 7}]}'),
        (200, {}, b'{"totalRecords": null, "records": []}'),
    ]
    assert [(one.id, one.download_id) for one in arr.queue()] == [(1, "7")]


def test_a_failed_download_is_blocklisted_once_and_the_client_left_alone(server: ArrServer, arr: Arr) -> None:
    for number in (5, 6):  # two episodes of one torrent
        server.add_download(number, HASH)
    server.add_download(7, HASH[::-1])
    assert arr.blocklist(HASH.lower())
    assert server.blocklisted == [HASH] and [one["id"] for one in server.queue] == [7]
    ((method, path, params, _),) = server.writes()
    assert (method, path) == ("DELETE", "/api/v3/queue/5")
    assert params == {"removeFromClient": "false", "blocklist": "true", "skipRedownload": "false"}
    assert not arr.blocklist(HASH)


def test_what_left_the_queue_meanwhile_is_not_there(server: ArrServer, arr: Arr) -> None:
    server.add_download(5, HASH)
    told = b'{"page":1,"pageSize":1000,"totalRecords":1,"records":[{"id":99,"downloadId":"%s"}]}' % HASH.encode()
    server.instead.append((200, {}, told))
    assert not arr.blocklist(HASH)


def test_moved_folders_are_written_back_and_scanned(server: ArrServer, arr: Arr) -> None:
    server.add_item(1, "/data/tv/One")
    server.add_item(2, "/data/films/Two")
    (moved,) = arr.relocated(lambda path: path.replace("/data/tv/", "/data/tv2/"))
    assert (moved.id, moved.path, moved.root) == (1, "/data/tv2/One", "/data/tv2")
    (put, post) = server.writes()
    assert put[:3] == ("PUT", f"/api/v3/{server.items_at}/1", {"moveFiles": "false"})
    # The whole resource, changed in nothing else.
    assert put[3]["path"] == "/data/tv2/One" and put[3]["tags"] == [7] and put[3]["title"] == "Title 1"
    word = "Series" if server.kind == "Sonarr" else "Movie"
    assert post[3] == {"name": f"Rescan{word}", f"{word.lower()}Id": 1}


def test_nothing_is_called_when_no_path_changes(server: ArrServer, arr: Arr) -> None:
    server.add_item(1, "/data/tv/One")
    assert arr.relocated(lambda path: path) == []
    assert not server.writes()


def test_commands_are_waited_for(server: ArrServer, arr: Arr) -> None:
    command = arr.refresh([1, 2])
    word = "Series" if server.kind == "Sonarr" else "Movie"
    assert server.commands == [{"name": f"Refresh{word}", f"{word.lower()}Ids": [1, 2]}]
    assert arr.wait(command, seconds=20) == "completed"
    server.instead.append((200, {}, b'{"id": 1, "status": "started"}'))
    stop = threading.Event()
    stop.set()
    with pytest.raises(ServiceError, match=r"has not finished its work \(started\)"):
        arr.wait(command, seconds=20, stop=stop)


class Lidarr(Arr):
    kind = "lidarr"
    api = "/api/v1"
    items_at = "artist"
    id_field = "artistId"
    rescan_command = "RescanFolders"
    refresh_command = "RefreshArtist"
    unknown_items = "includeUnknownArtistItems"
    title_field = "artistName"


def test_another_kin_needs_some_words_only() -> None:
    server = ArrServer("Lidarr")
    server.instead.append((200, {}, b'[{"id": 4, "artistName": "Somebody", "path": "/music/Somebody"}]'))
    with serving(server) as url:
        (item,) = Lidarr(url, KEY).items()
    assert (item.title, item.root) == ("Somebody", "/music")
    assert server.calls[0][:2] == ("GET", "/api/v1/artist")


WRONG = [
    ((401, {}, b""), ServiceError, "refuses the api_key"),
    ((302, {"Location": "/login"}, b""), ServiceError, "write that one, with its URL base, as url"),
    ((404, {}, b"no"), Missing, "does url hold its URL base"),
    ((503, {}, b'{"message": "Database is locked"}'), Unreachable, "fails with 503: Database is locked"),
    ((400, {}, b'[{"errorMessage": "Path %s is bad"}]' % KEY.encode()), ServiceError, r"400: Path \*\*\* is bad"),
    ((500, {}, b"<html>"), Unreachable, "fails with 500$"),
    ((200, {}, b"<html>welcome</html>"), ServiceError, "something else than JSON"),
    ((200, {}, b"[" * 100_000), ServiceError, "something else than JSON"),
    ((500, {}, b"[" * 100_000), Unreachable, "fails with 500$"),
    ((200, {}, b'{"a": 1}'), ServiceError, "unknown way"),
    ((200, {}, b'[{"path": "/x"}]'), ServiceError, "unknown way"),
    ((200, {}, b""), ServiceError, "unknown way"),
]


@pytest.mark.parametrize(("answer", "kind", "told"), WRONG)
def test_errors_are_words_without_the_key(
    answer: tuple[int, dict[str, str], bytes], kind: type[Exception], told: str
) -> None:
    server = ArrServer()
    server.instead.append(answer)
    with serving(server) as url:
        service = Sonarr(url, KEY, "tv")
        with pytest.raises(kind, match=told) as caught:
            service.items()
    assert str(caught.value).startswith(f"tv at {url}")
    assert KEY not in str(caught.value) + repr(caught.value) + repr(service) + repr(vars(service))
    assert len(server.calls) == 1


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_service_that_is_down_or_silent() -> None:
    with pytest.raises(Unreachable, match="cannot be reached: connection refused"):
        Sonarr(f"http://127.0.0.1:{_free_port()}", KEY).items()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="gives no answer within 0.2 seconds"):
            Sonarr(address, KEY, seconds=0.2).items()


# Reports of failed downloads.


def reporting(services: list[Arr], file: Path | None = None) -> Reporter:
    return Reporter(services, file, pauses=(0.01,))


def wait_until(server: ArrServer, reached: Callable[[], bool]) -> None:
    with server.asked:
        assert server.asked.wait_for(reached, 30)


def test_a_failure_is_told_to_the_service_that_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tv, films = ArrServer(), ArrServer("Radarr")
    films.add_download(1, HASH)
    with serving(tv) as tv_url, serving(films) as films_url:
        reporter = reporting([Sonarr(tv_url, KEY), Radarr(films_url, KEY, "films")])
        reporter.start()
        reporter.failed(HASH.lower(), "it is a ZIP archive")
        wait_until(films, lambda: films.blocklisted == [HASH])
        reporter.close()
    assert not tv.blocklisted and not reporter.pending()
    assert "films searches for another release: it is a ZIP archive" in caplog.text
    assert KEY not in caplog.text


def test_a_queue_that_does_not_show_it_yet_is_asked_again() -> None:
    server = ArrServer()
    with serving(server) as url:
        reporter = reporting([Sonarr(url, KEY)])
        reporter.start()
        reporter.failed(HASH, "dead")
        wait_until(server, lambda: any(body["name"] == "RefreshMonitoredDownloads" for body in server.commands))
        with server.asked:
            server.add_download(1, HASH)
        wait_until(server, lambda: server.blocklisted == [HASH])
        reporter.close()


def test_what_nobody_has_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    server = ArrServer()
    with serving(server) as url:
        reporter = reporting([Sonarr(url, KEY)])
        reporter.failed(HASH, "dead")
        assert reporter.pending() == {HASH: "dead"}
        reporter.start()
        wait_until(server, lambda: sum(call[1].endswith("/queue") for call in server.calls) == 5)
        reporter.close()
    assert not reporter.pending()
    assert "no configured service has it in its queue" in caplog.text


def test_a_service_that_is_down_is_told_later_also_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = _free_port()
    service = Sonarr(f"http://127.0.0.1:{port}", KEY)
    reporter = reporting([service], tmp_path / "failed.json")
    reporter.failed(HASH, "dead")
    reporter.close()
    server = ArrServer()
    server.add_download(1, HASH)
    down = threading.Event()

    class Down(Sonarr):
        def blocklist(self, download_id: str) -> bool:
            try:
                return super().blocklist(download_id)
            except Unreachable:
                down.set()
                raise

    reporter = reporting([Down(f"http://127.0.0.1:{port}", KEY)], tmp_path / "failed.json")
    assert reporter.pending() == {HASH: "dead"}
    reporter.start()
    assert down.wait(30)
    with serving(server, port):
        wait_until(server, lambda: server.blocklisted == [HASH])
        reporter.close()
    assert "that is told later" in caplog.text
    assert not reporting([service], tmp_path / "failed.json").pending()
    assert (tmp_path / "failed.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "failed.json").write_text('[{"x": 1}]')
    assert not reporting([Sonarr("http://127.0.0.1:1", KEY)], tmp_path / "failed.json").pending()
    assert "failed downloads of the last run are not told" in caplog.text


def test_without_services_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reporter = reporting([])
    reporter.failed(HASH, "dead")
    reporter.close()
    assert not reporter.pending() and "no [[arr]] is configured" in caplog.text
