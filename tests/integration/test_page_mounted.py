"""The status page of a real mount in a real browser; /metrics and /healthz of the same, and of one that hangs."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import DESKTOP, SIZES, Tab, browser
from conftest import MakeMount
from mounting import Mounted, wait_for
from playwright.sync_api import Browser, expect
from prometheus_client.parser import text_string_to_metric_families
from pulling import status

from cli.web.health import Health
from debrid.simulator import Simulator

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]

MIB = 1 << 20
ATTACK = "<img src=x onerror=alert(1)> & Sons"
# Reads a file over and over, some MiB a second, until it is ended; not from the page cache, of which we hear nothing.
PLAYER = """
import os, sys, time
with open(sys.argv[1], "rb", buffering=0) as film:
    while True:
        if not film.read(1 << 18):
            film.seek(0)
        os.posix_fadvise(film.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=2:s=320x240", "-c:v", "mpeg4", str(path)]
    subprocess.run(made, check=True)
    return path.read_bytes()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture
def players() -> Iterator[list["subprocess.Popen[bytes]"]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for player in made:
        player.kill()
        player.wait()


def contact(tree: Mounted) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tree.state / "daemon.json").read_text())
    return found


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_a_household_watches_and_acts(
    make_mount: MakeMount,
    simulator: Simulator,
    clip: bytes,
    chromium: Browser,
    players: list["subprocess.Popen[bytes]"],
    tmp_path: Path,
) -> None:
    film = os.urandom(8 * MIB)
    simulator.add_torrent("Long.Film.2024", {"/Long.Film.2024.mkv": film})
    simulator.add_torrent(ATTACK, {f"/{ATTACK.replace('/', '')}.mkv": film[:MIB]})
    good = simulator.offer("Short.Film.2023", {"/Short.Film.2023.mkv": clip})
    fake = simulator.offer("Fake.Film", {"/Fake.Film.mkv": b"no film at all" * 1000})
    tree = make_mount()
    guarded = 'username = "me"\npassword = "SECRET-PASSWORD"'
    debrid = f'token = "{simulator.token}"\napi_url = "{simulator.api_url}"\npoll_seconds = 1\n'
    tree.write_config(debrid=debrid, http=guarded, mount="cache_seconds = 0")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(film[:1000])
    built = tree.command("archive", "build", str(photos), "--archive", str(tmp_path / "archive"), "--yes")
    assert built.returncode == 0, built.stderr
    tree.start()
    url = contact(tree)["url"]
    remote = tree.path / "torrents/complete/Long.Film.2024/Long.Film.2024.mkv"
    wait_for(remote.exists, "the account")
    local = tree.path / "media/Local.mkv"
    local.parent.mkdir()
    local.write_bytes(film)
    for path in (remote, local):
        players.append(subprocess.Popen([sys.executable, "-c", PLAYER, str(path)]))
    assert tree.command("debrid", "add", simulator.magnet(fake), "--category", "tv").returncode == 0

    context = chromium.new_context()
    tab = Tab(context.new_page())
    sign_in(tab, url)
    see_everything(tab)
    look_at_all_sizes(tab, url, tmp_path)
    add_a_magnet(tab, simulator.magnet(good))
    wait_for((tree.path / "torrents/complete/movies/Short.Film.2023").exists, "what was added")
    added = tree.path / "torrents/complete/movies/Short.Film.2023/Short.Film.2023.mkv"
    players.append(subprocess.Popen([sys.executable, "-c", PLAYER, str(added)]))
    row = part(tab, "playing").get_by_role("listitem").filter(has_text=added.name)
    expect(row).to_contain_text("320x240 mpeg4, 2 s", timeout=30_000)
    pin(tab, tree)
    drain(tab, tree)
    assert not tab.complaints, tab.complaints
    refuse_other_sites(context.new_page(), url, tree)
    without_scripts(chromium, url)
    scrape(tree)
    assert get(f"{url}/healthz") == (200, "ok\n")
    for player in players:
        player.kill()
        player.wait()
    tree.stop()
    expect(tab.page.locator("#silent")).to_contain_text("mediapool does not answer", timeout=20_000)
    assert "SECRET-PASSWORD" not in tree.log.read_text() and simulator.token not in tree.log.read_text()


def sign_in(tab: Tab, url: str) -> None:
    page = tab.page
    page.goto(url)
    assert page.url == f"{url}/web/login"
    page.get_by_label("User name").fill("me")
    page.get_by_label("Password").fill("SECRET-PASSWORD")
    page.get_by_role("button", name="Sign in").click()
    assert page.url == f"{url}/"
    # The sign-in is that of the Web API.
    assert page.request.get(f"{url}/api/v2/app/version").text() == "v4.6.7"


def part(tab: Tab, name: str) -> Any:
    return tab.page.locator(f'[data-part="{name}"]')


def see_everything(tab: Tab) -> None:
    """What it shows of all kinds, some of it only after the page has refreshed itself."""
    expect(part(tab, "torrents")).to_contain_text("it is fake or damaged", timeout=30_000)
    playing = part(tab, "playing")
    for name in ("Long.Film.2024.mkv", "Local.mkv"):
        row = playing.get_by_role("listitem").filter(has_text=name)
        expect(row).to_contain_text(re.compile(r"python\S* reads"), timeout=30_000)
        expect(row).to_contain_text("drive drive" if name == "Local.mkv" else re.compile("cache|Real-Debrid"))
    expect(part(tab, "drives").get_by_role("listitem")).to_have_count(3)
    expect(part(tab, "drives")).to_contain_text("in order")
    expect(part(tab, "discs")).to_contain_text("0001")
    expect(part(tab, "discs")).to_contain_text("unburned")
    expect(part(tab, "cache")).to_contain_text("of 200.0 MiB")
    expect(part(tab, "warnings")).to_contain_text("Fake.Film failed")
    expect(part(tab, "torrents")).to_contain_text("2 other torrents of the account are in the tree")
    expect(part(tab, "throughput").locator("svg")).to_be_visible()
    hide = "yes => {Object.defineProperty(document, 'hidden', {value: yes, configurable: true});" + (
        "document.dispatchEvent(new Event('visibilitychange'))}"
    )
    tab.page.evaluate(hide, True)
    expect(tab.page.locator("#fresh")).to_have_text("paused")
    tab.page.evaluate(hide, False)
    expect(tab.page.locator("#fresh")).to_have_text("up to date")
    source = tab.page.content()
    assert "SECRET-PASSWORD" not in source and "SIMULATORTOKEN" not in source


def look_at_all_sizes(tab: Tab, url: str, folder: Path) -> None:
    for size in SIZES:
        for dark in (False, True):
            tab.resize(size, dark)
            tab.page.goto(url)
            tab.shot(folder / f"page-{size[0]}-{dark}.png")
            assert tab.overflow() == [], (size, dark)
            back = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness = sum(map(int, re.findall(r"\d+", back)[:3])) / 3
            assert (brightness < 60) == dark, back
    tab.resize(DESKTOP, False)


def confirmed(tab: Tab, question: str, word: str) -> None:
    """The page that asks, at the width of a phone too; then the answer."""
    expect(tab.page.locator("h1")).to_contain_text(question)
    tab.resize(SIZES[0], True)
    assert tab.overflow() == []
    tab.resize(DESKTOP, False)
    tab.page.get_by_role("button", name=word, exact=True).click()


def add_a_magnet(tab: Tab, magnet: str) -> None:
    page = tab.page
    page.get_by_label("Magnet link").fill("something else")
    page.get_by_role("button", name="Add…").click()
    expect(page.get_by_role("status").and_(page.locator(".bad"))).to_contain_text("neither a magnet link")
    page.get_by_label("Magnet link").fill(magnet)
    page.get_by_label("Category").fill("movies")
    page.get_by_role("button", name="Add…").click()
    confirmed(tab, "Add Short.Film.2023 to the account?", "Add")
    expect(page.locator(".banner.good")).to_contain_text("It is added.")
    row = part(tab, "torrents").get_by_role("listitem").filter(has_text="Short.Film.2023")
    expect(row).to_contain_text("complete", timeout=30_000)


def pin(tab: Tab, tree: Mounted) -> None:
    page = tab.page
    page.get_by_label("Keep a local copy").fill(f"{tree.path}/torrents/complete/Long.Film.2024")
    page.get_by_role("button", name="Pin…", exact=True).click()
    assert status(tree)["pinned"]["pinned"] == 0
    confirmed(tab, "Keep a local copy of 1 file (8.0 MiB)?", "Pin")
    expect(page.locator(".banner.good")).to_contain_text("Begun: pin 1 file")
    wait_for(lambda: status(tree)["pinned"]["pinned"] == 1, "the copy")


def drain(tab: Tab, tree: Mounted) -> None:
    page = tab.page
    source = tree.path / "media/notes.txt"
    source.write_text("notes")
    drive = os.getxattr(source, "user.mediapool.drive").decode()
    row = part(tab, "drives").get_by_role("listitem").filter(has_text=drive)
    row.get_by_role("button", name="Drain…").click()
    page.get_by_role("link", name="Cancel").click()
    assert os.getxattr(source, "user.mediapool.drive").decode() == drive
    row.get_by_role("button", name="Drain…").click()
    confirmed(tab, f"Drain drive {drive}?", "Drain")
    expect(page.locator(".banner.good")).to_contain_text("Job 1 is begun.")
    wait_for(lambda: os.getxattr(source, "user.mediapool.drive").decode() != drive, "the move")
    expect(part(tab, "jobs")).to_contain_text(f"drain {drive}", timeout=20_000)
    expect(row).to_contain_text("it is drained (job 1)", timeout=20_000)


def refuse_other_sites(page: Any, url: str, tree: Mounted) -> None:
    """A page of another port of this machine, to which the browser would send the cookie."""
    drives = [drive["name"] for drive in status(tree)["drives"]]
    form = (
        f'<form method="post" action="{url}/web/do/drain"><input name="drive" value="{drives[0]}">'
        '<input name="sure" value="yes"><button>win a prize</button></form>'
    )
    page.route("http://127.0.0.1:1/", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto("http://127.0.0.1:1/")
    page.get_by_role("button", name="win a prize").click()
    expect(page.locator("body")).to_contain_text("a page of another site")
    page.close()


def without_scripts(chromium: Browser, url: str) -> None:
    """The whole way of an action, for browsers that run none."""
    context = chromium.new_context(java_script_enabled=False)
    tab = Tab(context.new_page())
    sign_in(tab, url)
    page = tab.page
    page.get_by_label("Check and repair").fill("torrents/complete/Long.Film.2024")
    page.get_by_role("button", name="Repair…").click()
    expect(page.locator(".lines")).to_contain_text("Long.Film.2024.mkv")
    page.get_by_role("button", name="Repair", exact=True).click()
    expect(page.locator(".banner.good")).to_contain_text("The check is begun")
    page.get_by_role("button", name="Sign out").click()
    page.goto(url)
    assert page.url == f"{url}/web/login" and not tab.complaints
    context.close()


def scrape(tree: Mounted) -> None:
    found = contact(tree)
    url, basic = f"{found['url']}/metrics", base64.b64encode(b"me:SECRET-PASSWORD").decode()
    assert get(url)[0] == 401
    assert get(url, Authorization="Basic bWU6d3Jvbmc=")[0] == 401
    assert get(url, Authorization=f"Basic {basic}", Host="evil.example")[0] == 403
    assert get(url, Authorization=f"Bearer {found['token']}")[0] == 200
    code, text = get(url, Authorization=f"Basic {basic}")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {(one.name, *one.labels.values()): one.value for family in families.values() for one in family.samples}
    assert values["mediapool_read_bytes_total", "drive"] > 0 or status(tree)["passthrough"]["on"]
    assert values["mediapool_read_bytes_total", "provider"] + values["mediapool_read_bytes_total", "cache"] > 0
    assert values["mediapool_fetched_bytes_total",] > 8 * MIB
    assert values["mediapool_response_seconds_count",] > 0
    assert values["mediapool_drive_up", "drive1"] == 1 and values["mediapool_drive_available_bytes", "drive1"] > 0
    assert values["mediapool_downloads", "complete"] == 1 and values["mediapool_account_up",] == 1
    assert values["mediapool_log_messages_total", "warning"] > 0 and values["process_resident_memory_bytes",] > MIB
    # What people name their files never becomes a label.
    assert "Film" not in text and "python" not in text and "SIMULATORTOKEN" not in text


def test_without_account_and_password_and_while_the_mount_hangs(make_mount: MakeMount, chromium: Browser) -> None:
    tree = make_mount().start()
    url = contact(tree)["url"]
    context = chromium.new_context()
    tab = Tab(context.new_page())
    tab.page.goto(url)
    expect(part(tab, "drives").get_by_role("listitem")).to_have_count(3)
    expect(tab.page.locator("main")).to_contain_text("No Real-Debrid account")
    row = part(tab, "drives").get_by_role("listitem").filter(has_text="drive2")
    row.get_by_role("button", name="Drain…").click()
    confirmed(tab, "Drain drive drive2?", "Drain")
    expect(tab.page.locator(".banner.good")).to_contain_text("Job 1 is begun.")
    assert not tab.complaints
    context.close()
    assert get(f"{url}/metrics")[0] == 200 and get(f"{url}/metrics", Host="evil.example")[0] == 403
    assert get(f"{url}/healthz") == (200, "ok\n"), "an empty tree can be listed"
    (tree.path / "folder").mkdir()
    (tree.path / "folder/file").write_text("x")

    health = Health(tree.path, lambda: list(map(str, tree.drive_paths)), deadline=1.0)
    assert health.problem() == ""
    assert tree.process is not None
    before = children()
    os.kill(tree.process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: health.problem() != "", "that it is noticed")
        begun = time.monotonic()
        answers = {health.problem() for _ in range(20)}
        assert answers == {"the tree does not answer within 1 s"}
        assert time.monotonic() - begun < 10, "nobody waits for what hangs already"
        assert len(children() - before) <= 1, "nothing piles up"
    finally:
        os.kill(tree.process.pid, signal.SIGCONT)
    wait_for(lambda: health.problem() == "", "that it goes on")
    assert children() <= before
    tree.stop()
    wait_for(lambda: health.problem() == "the tree is not mounted", "that it is gone")
    health.close()


def children() -> set[str]:
    """The numbers of the processes that this one has started and not waited for."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == str(os.getpid()):
            found.add(folder.name)
    return found
