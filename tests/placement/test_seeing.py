"""What Sonarr, Radarr and media servers see of the tree, and which of their settings do harm: each finding provoked."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arrserving import KEY, ArrServer, serving
from mediaserving import EmbyServer, JellyfinServer, MediaServer, PlexServer

from placement.services import mediaserver
from placement.services.arr import Arr
from placement.services.jellyfin import Emby, Jellyfin
from placement.services.paths import Paths
from placement.services.plex import Plex
from placement.services.radarr import Radarr
from placement.services.seeing import Finding, look
from placement.services.sonarr import Sonarr

PORT = 8080
KINDS: dict[str, tuple[type[MediaServer], type[mediaserver.MediaServer]]] = {
    "plex": (PlexServer, Plex),
    "jellyfin": (JellyfinServer, Jellyfin),
    "emby": (EmbyServer, Emby),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree, each folder with a time of its own."""
    tree = tmp_path / "data"
    for number, folder in enumerate(
        ("torrents/complete/tv", "torrents", "ddl", "media/tv/Show", "media/films/Film", "media", "")
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        os.utime(tree / folder, (0, 1_700_000_000 + 1000 * number))
    return tree


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def arr_at(closing: ExitStack, tree: Path, kind: str = "Sonarr") -> tuple[ArrServer, Arr]:
    """One that has the tree under the same path, and a library in it."""
    server = ArrServer(kind)
    server.sees, server.roots = {str(tree): tree}, [(f"{tree}/media/tv", True)]
    url = closing.enter_context(serving(server))
    return server, (Sonarr if kind == "Sonarr" else Radarr)(url, KEY, seconds=20)


def found(tree: Path, *arrs: Arr, servers: tuple[mediaserver.MediaServer, ...] = ()) -> dict[str, Finding]:
    findings = list(look(tree, arrs, servers, PORT))
    for one in findings:
        assert bool(one.remedy) is (one.state != "ok"), one
    return {one.what: one for one in findings}


@pytest.mark.parametrize("kind", ["Sonarr", "Radarr"])
def test_all_is_well(kind: str, tree: Path, closing: ExitStack) -> None:
    server, arr = arr_at(closing, tree, kind)
    findings = found(tree, arr)
    assert {one.state for one in findings.values()} == {"ok"}
    name = kind.lower()
    assert list(findings) == [name, f"{name}: client", f"{name}: tree", f"{name}: {tree}/media/tv", f"{name}: links"]
    assert not server.writes()


def test_a_service_that_cannot_be_asked_is_one_finding(tree: Path, closing: ExitStack) -> None:
    _, good = arr_at(closing, tree, "Radarr")
    url = closing.enter_context(serving(ArrServer()))
    (tree / "x").touch()
    findings = found(tree, Sonarr(url, "wrong-key"), good)
    assert findings["sonarr"].state == "problem" and "refuses the api_key" in findings["sonarr"].found
    assert findings["sonarr"].remedy == "copy it again from its Settings, General"
    assert findings["radarr"].state == "ok" and not any("wrong-key" in str(one) for one in findings.values())


def test_another_folder_under_the_path_of_the_tree(tree: Path, closing: ExitStack, tmp_path: Path) -> None:
    server, arr = arr_at(closing, tree)
    # Docker makes the folder where nothing was mounted, or mounts the two halves below it.
    (tmp_path / "bare").mkdir()
    server.sees = {str(tree): tmp_path / "bare"}
    findings = found(tree, arr)
    assert (
        findings["sonarr: tree"].state == "problem" and "is another folder: changed" in findings["sonarr: tree"].found
    )
    assert f"the whole tree at {tree} as one mount" in findings["sonarr: tree"].remedy
    assert f"does not see {tree}/media/tv" in findings[f"sonarr: {tree}/media/tv"].found
    server.sees = {}
    assert f"does not see {tree}" in found(tree, arr)["sonarr: tree"].found
    server.sees = {str(tree): tree}
    assert found(tree, arr)["sonarr: tree"].state == "ok"


def test_the_tree_may_change_while_it_is_looked_at(tree: Path, closing: ExitStack) -> None:
    server, arr = arr_at(closing, tree)
    answer, times = server.answer, iter((1, 2))

    def touching(method: str, path: str, params: dict[str, str], body: object) -> tuple[int, object]:
        told = answer(method, path, params, body)
        if path.endswith("/filesystem"):
            for number in times:
                os.utime(tree, (0, 1_800_000_000 + 1000 * number))
                break
        return told

    server.answer = touching  # type: ignore[method-assign]
    assert found(tree, arr)["sonarr: tree"].state == "ok"


def test_root_folders_outside_the_tree_among_downloads_and_gone(tree: Path, closing: ExitStack) -> None:
    server, arr = arr_at(closing, tree)
    server.roots = [("/tv", True), (f"{tree}/torrents/complete/tv", True), (f"{tree}/media/gone", True), ("/x", False)]
    findings = found(tree, arr)
    assert findings["sonarr: /tv"].state == "note" and "outside the tree" in findings["sonarr: /tv"].found
    assert findings[f"sonarr: {tree}/torrents/complete/tv"].found == "a library among the downloads"
    assert findings[f"sonarr: {tree}/media/gone"].state == findings["sonarr: /x"].state == "problem"


def test_path_mappings(tree: Path, closing: ExitStack, tmp_path: Path) -> None:
    server, arr = arr_at(closing, tree)
    server.mappings = [("/other/", "/z/"), (f"{tree}/torrents/", "/downloads/")]
    server.sees["/downloads"] = tree / "torrents"
    finding = found(tree, arr)["sonarr: tree"]
    assert (
        finding.state == "note" and "is /downloads/ there" in finding.found and "remove the mapping" in finding.remedy
    )
    server.sees["/downloads"] = tmp_path
    assert found(tree, arr)["sonarr: tree"].state == "problem"
    server.clients = [("other", "QBittorrent", True, "seedbox", PORT, True)]
    assert found(tree, arr)["sonarr: tree"].state == "ok", "a mapping is for one host"
    server.clients = []
    server.mappings = [(f"{tree}/", f"{tree}/")]
    assert found(tree, arr)["sonarr: tree"].state == "ok"


def test_the_download_client(tree: Path, closing: ExitStack) -> None:
    server, arr = arr_at(closing, tree)
    assert found(tree, arr)["sonarr: client"].found == "mediapool at pool:8080"
    assert not any(one.what == "sonarr: client" for one in look(tree, (arr,), ())), "without an account there is none"
    for clients, said in (
        ([("qb", "QBittorrent", True, "qb", 9090, True)], "its qBittorrent is qb:9090, not port 8080"),
        (
            [("off", "QBittorrent", False, "pool", PORT, True), ("sab", "Sabnzbd", True, "pool", PORT, True)],
            "it has no",
        ),
        ([("pool", "QBittorrent", True, "pool", PORT, False)], "keeps what was imported"),
    ):
        server.clients = clients
        finding = found(tree, arr)["sonarr: client"]
        assert finding.state == "note" and said in finding.found and "Download Clients" in finding.remedy


def test_copies_instead_of_links(tree: Path, closing: ExitStack) -> None:
    server, arr = arr_at(closing, tree)
    server.links = False
    finding = found(tree, arr)["sonarr: links"]
    assert finding.state == "problem" and "Use Hardlinks instead of Copy" in finding.remedy
    server.links = True
    assert found(tree, arr)["sonarr: links"].state == "ok"


def test_a_tree_that_is_not_there(tree: Path, closing: ExitStack) -> None:
    _, arr = arr_at(closing, tree)
    findings = found(tree / "nowhere", arr)
    assert "cannot be looked at" in findings["sonarr: tree"].found


@pytest.mark.parametrize("kind", KINDS)
def test_a_media_server_that_sees_the_tree(kind: str, tree: Path, closing: ExitStack, tmp_path: Path) -> None:
    fake, made = KINDS[kind]
    server = fake()
    server.libraries = {"TV": ("/m/tv",), "Films": ("/m/films", "/elsewhere")}
    server.sees = {"/m": tree / "media"}
    client = made(closing.enter_context(serving(server)), KEY, Paths({"media": "/m"}), seconds=20)
    findings = found(tree, servers=(client,))
    assert {one.state for one in findings.values()} == {"ok"}, findings
    assert list(findings) == [kind, f"{kind}: TV", f"{kind}: Films", f"{kind}: settings"]
    assert not server.told and not [call for call in server.calls if call[0] != "GET"]

    (tmp_path / "bare").mkdir()
    server.sees = {"/m": tmp_path / "bare"}
    finding = found(tree, servers=(client,))[f"{kind}: TV"]
    assert finding.state == "problem" and "sees nothing" in finding.found and "[[media_server]] paths" in finding.remedy

    (tree / "media/tv/Show").rmdir()
    assert found(tree, servers=(client,))[f"{kind}: TV"].state == "ok", "nothing is there to be seen"
    answer = server.answer

    def failing(method: str, path: str, params: dict[str, str], body: object) -> tuple[int, object]:
        return (500, {}) if "browse" in path or "Directory" in path else answer(method, path, params, body)

    server.answer = failing  # type: ignore[method-assign]
    findings = found(tree, servers=(client,))
    assert findings[f"{kind}: TV"].state == "note" and "could not be asked" in findings[f"{kind}: TV"].found
    assert findings[f"{kind}: settings"].state == "ok", "the others are checked all the same"

    server.libraries = {"New": ("/m/new",)}
    assert "which the tree lacks" in found(tree, servers=(client,))[f"{kind}: New"].found

    server.libraries = {"TV": ("/data/tv",)}
    finding = found(tree, servers=(client,))[f"{kind}: paths"]
    assert finding.state == "problem" and finding.found == "no library below /m; its folders: /data/tv"

    client = made(server.url or client.url, "wrong-token", Paths({"media": "/m"}))
    finding = found(tree, servers=(client,))[kind]
    assert finding.state == "problem" and "refuses the token" in finding.found and "wrong-token" not in str(finding)


def test_plex_settings(tree: Path, closing: ExitStack) -> None:
    server = PlexServer()
    server.libraries, server.sees = {"TV": ("/m/tv",)}, {"/m": tree / "media"}
    client = Plex(closing.enter_context(serving(server)), KEY, Paths({"media": "/m"}))
    for on in (True, 1, "1", "true"):
        server.prefs = {"autoEmptyTrash": on}
        finding = found(tree, servers=(client,))["plex: settings"]
        assert finding.state == "problem" and "Empty trash automatically" in finding.remedy
    server.prefs = {
        "autoEmptyTrash": 0,
        "GenerateBIFBehavior": "scheduled",
        "LoudnessAnalysisBehavior": "asap",
        "ButlerTaskDeepMediaAnalysis": True,
        "ButlerTaskUpgradeMediaAnalysis": False,
    }
    finding = found(tree, servers=(client,))["plex: settings"]
    assert finding.state == "note" and "thumbnails (scheduled)" in finding.found and "loudness (asap)" in finding.found
    assert "extensive media analysis during maintenance (on)" in finding.found and "Upgrade" not in finding.found
    server.prefs = {"GenerateBIFBehavior": "never"}
    assert found(tree, servers=(client,))["plex: settings"].state == "ok"


@pytest.mark.parametrize("kind", ["jellyfin", "emby"])
def test_settings_of_libraries(kind: str, tree: Path, closing: ExitStack) -> None:
    fake, made = KINDS[kind]
    server = fake()
    assert isinstance(server, JellyfinServer)
    server.libraries, server.sees = {"TV": ("/m/tv",)}, {"/m": tree / "media"}
    server.options = {"EnableRealtimeMonitor": True, "EnableChapterImageExtraction": True}
    client = made(closing.enter_context(serving(server)), KEY, Paths({"media": "/m"}))
    notes = [one for one in look(tree, (), (client,)) if one.what == f"{kind}: settings"]
    assert [one.state for one in notes] == ["note", "note"]
    assert 'Libraries, TV, "Enable real time monitoring"' in notes[1].remedy
    assert notes[0].found.startswith("reads whole remote files: ")
    server.libraries = {"TV": ("/m/tv",), "Elsewhere": ("/other",)}
    assert not any("Elsewhere" in str(one) for one in look(tree, (), (client,)))
