"""The status page without a mount: hostile names, who may see it and act by it, plot and rates, and what it refuses."""

import html.parser
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.web import view
from cli.web.actions import Action, Plan, inner_path
from cli.web.facts import Disc, Facts, Lately, Playing
from cli.web.guard import Guard
from cli.web.pages import Pages, templates
from cli.web.plot import HEIGHT, WIDTH, plotted
from cli.web.recent import Recent, Warned
from cli.web.throughput import STEPS, Hour, Rates, Speeds, Sums
from debrid.qbittorrent.guard import Sessions

TEMPLATES = templates()
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\udcff\x1b[31m\u202e&amp;"
STATUS: dict[str, Any] = {
    "mount": "/data",
    "passthrough": {"on": True, "why": ""},
    "requests": {"reads": 5, "open": 2},
    "drives": [],
    "walking": False,
    "remote": {
        "files": 3,
        "account": {
            "polled_at": 1.0, "error": "", "known": 1, "published": 1, "unfinished": 0, "missing": 0, "problems": 0,
        },
        "reads": {"reason": "", "paused_until": None},
        "repairs": {},
    },
    "downloads": {"stages": {"complete": 1}, "failed": []},
    "copied": [],
    "pinned": {"pinned": 0, "bytes": 0},
    "today": {"programs": {}, "background": {}, "limit": None},
    "cache": {
        "main": 50, "edges": 10, "limit": 100, "chunks": 2, "hits": 3, "misses": 1, "damaged": 0, "stored": 2,
        "skipped": 0,
    },
    "reader": {
        "waiting": 0, "streams": 1, "memory": 0, "fetched": 10, "from_memory": 4, "from_disk": 5, "from_network": 6,
        "from_cache": 7, "from_provider": 8,
    },
}  # fmt: skip


def drive(**changes: Any) -> dict[str, Any]:
    made = {
        "name": "disk1", "path": "/mnt/disk1", "mode": "rw", "tier": "hdd", "id": "x", "number": 1, "problem": None,
        "total": 1000, "available": 400, "uncertain": 0,
    }  # fmt: skip
    return {**made, **changes}


def download(**changes: Any) -> dict[str, Any]:
    made = {
        "hash": "a" * 40, "name": "Film", "category": "tv", "stage": "fetching", "progress": 0.5, "size": 10,
        "speed": 3, "problem": "", "copied": "", "paused": False, "imported": False, "added_at": 1.0,
    }  # fmt: skip
    return {**made, **changes}


def torrent(**changes: Any) -> dict[str, Any]:
    made = {
        "hash": "b" * 40, "name": "Other", "status": "downloaded", "bytes": 10, "progress": 100.0, "problem": "",
        "repair": "",
    }  # fmt: skip
    return {**made, **changes}


def job(**changes: Any) -> dict[str, Any]:
    made = {
        "id": 7, "kind": "drain", "spec": {"drive": "disk1"}, "state": "running", "ended": None, "problem": "",
        "files": {"moved": 1, "waiting": 3}, "bytes": {"moved": 10, "waiting": 30}, "told": [], "held_up": 0,
    }  # fmt: skip
    return {**made, **changes}


def hostile() -> Facts:
    """Every text that comes from outside is an attack."""
    account = {**STATUS["remote"]["account"], "error": HOSTILE}
    status = {
        **STATUS,
        "drives": [drive(name=HOSTILE, path=HOSTILE, tier=HOSTILE, problem=HOSTILE), drive(name=HOSTILE + "2")],
        "remote": {**STATUS["remote"], "account": account, "reads": {"reason": HOSTILE, "paused_until": None},
                   "repairs": {"fetching": 1}},
        "today": {"programs": {HOSTILE: {"bytes": 5, "limit": 9}}, "background": {}, "limit": 5},
    }  # fmt: skip
    return Facts(
        status=status,
        retiring={HOSTILE + "2": HOSTILE},
        playing=[Playing(f"{HOSTILE}/{HOSTILE}", HOSTILE, "drive", HOSTILE, 5e6, 10, False, None, HOSTILE)],
        rates=[Rates(1, 2, 3)],
        moves=[job(spec={"drive": HOSTILE}, problem=HOSTILE)],
        pins=[{"goal": "pin", "path": HOSTILE, "size": 5, "done": 1, "state": HOSTILE, "problem": HOSTILE}],
        checkup={"running": True, "error": HOSTILE, "done": 1, "total": 2},
        check={"running": True, "names": 5},
        warming=2,
        crawl={"what": HOSTILE, "bytes": 1, "bytes_total": 2, "files": 3},
        runs=["s1", "i2"],
        downloads=[download(name=HOSTILE, category=HOSTILE, problem=HOSTILE, hash=HOSTILE)],
        torrents=[torrent(name=HOSTILE, problem=HOSTILE, repair=HOSTILE, status=HOSTILE)],
        discs=[Disc(HOSTILE, HOSTILE, 1, 2, HOSTILE, HOSTILE, "")],
        warnings=[Warned(1.0, "error", HOSTILE, HOSTILE)],
    )


class Parsed(html.parser.HTMLParser):
    """The elements and attributes of a page, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts += data


class Served:
    """The page, asked without a network."""

    def __init__(self, facts: Facts, password: str | None = None) -> None:
        self.done: list[Mapping[str, str]] = []
        sessions = Sessions(None, "me" if password else None, password)
        self.guard = Guard(sessions, ["media.example.org"])
        pages = Pages(self.guard, lambda: facts, {"act": self._action()}, f"/data/{HOSTILE}")
        app = Flask("test")
        app.register_blueprint(pages.blueprint())
        self.client: FlaskClient = app.test_client()

    def _action(self) -> Action:
        def plan(form: Mapping[str, str]) -> Plan:
            if form["what"] == "bad":
                raise ValueError(HOSTILE)
            return Plan(f"Do {form['what']}?", "Do", (HOSTILE,))

        def do(form: Mapping[str, str]) -> str:
            plan(form)
            self.done.append(form)
            return f"Done {form['what']}"

        return Action(("what",), plan, do)

    def token(self) -> str:
        """That of the forms of the page."""
        found = re.search(r'name="token" value="([0-9a-f]{64})"', self.client.get("/").text)
        assert found
        return found[1]

    def post(self, path: str, headers: Mapping[str, str] | None = None, **form: str) -> Any:
        return self.client.post(path, data=form, headers=headers)


def test_no_name_becomes_markup_anywhere() -> None:
    plain, attacked = Served(Facts(status={**STATUS, "drives": [drive()]})), Served(hostile())
    parts = attacked.client.get("/web/parts").get_json()
    whole = attacked.client.get("/").text
    confirm = attacked.post("/web/do/act", token=attacked.token(), what=HOSTILE.replace("\udcff", "")).text
    refused = attacked.post("/web/do/act", token=attacked.token(), what="bad")
    said = attacked.client.get(refused.headers["Location"]).text
    for text in (whole, confirm, said, *parts.values()):
        seen = Parsed(text)
        assert "script" not in [tag for tag in seen.tags if tag != "script"] and "<script>" not in text
        scripts = [value for name, value in seen.attributes if name == "src"]
        assert set(scripts) <= {"/web/static/page.js", "/web/static/icon.svg"}
        assert not [name for name, _ in seen.attributes if name.startswith("on") or name == "style"]
        assert "49" not in seen.texts.replace("20:49", ""), "no template is made of a name"
        # Neither control characters, nor what turns the direction of writing, nor lone bytes arrive.
        assert not re.search("[\x1b\u202e\udcff]", text)
        text.encode()
    assert "alert(1)" in Parsed(whole).texts and "\\udcff" in whole and "\\x1b" in whole
    assert set(parts) == {"alerts", "playing", "throughput", "drives", "cache", "torrents", "jobs", "discs", "warnings"}
    for part in parts:
        assert f'data-part="{part}"' in whole
    assert set(Parsed(whole).tags) - {"img"} <= {*Parsed(plain.client.get("/").text).tags, "polygon", "dt", "th"}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_name_is_shown_as_text(name: str) -> None:
    facts = Facts(status=STATUS, downloads=[download(name=name, problem=name)])
    text = TEMPLATES.get_template("parts/torrents.html").render(part=view.torrents(facts), facts=facts, token="")
    assert set(Parsed(text).tags) <= {"ul", "li", "div", "span", "svg", "rect", "i", "form", "input", "button", "p"}


def test_a_page_says_what_a_browser_must_not_do() -> None:
    served = Served(Facts(status=STATUS))
    for path in ("/", "/web/parts", "/web/login", "/web/static/page.js", "/web/static/nothing"):
        headers = served.client.get(path, buffered=True).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "same-origin"
    assert served.client.get("/web/static/../pages.py").status_code == 404
    for name in ("page.js", "page.css", "icon.svg"):
        text = served.client.get(f"/web/static/{name}", buffered=True).text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and "//" not in re.sub(r"^//.*|\s//.*", "", text, flags=re.M), "all is served by us"


def test_forms_count_only_from_the_page_itself_and_only_with_its_token() -> None:
    served = Served(Facts(status=STATUS))
    token = served.token()
    for missing in ({}, {"token": "0" * 64}, {"token": ""}, {"token": "é"}):
        assert served.post("/web/do/act", what="x", sure="yes", **missing).status_code == 403
    for header in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Referer": "http://evil.example/page"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.example"},
    ):  # fmt: skip
        assert served.post("/web/do/act", header, token=token, what="x", sure="yes").status_code == 403
    other = Served(Facts(status=STATUS))
    assert served.post("/web/do/act", token=other.token(), what="x", sure="yes").status_code == 403
    assert not served.done
    good = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    # The first time only asks.
    assert "Do x?" in served.post("/web/do/act", good, token=token, what="x").text and not served.done
    done = served.post("/web/do/act", good, token=token, what="x", sure="yes")
    assert done.status_code == 303 and served.done == [{"what": "x"}]
    assert "Done x" in served.client.get(done.headers["Location"]).text
    assert "Done x" not in served.client.get(done.headers["Location"]).text, "it is said once"
    assert served.client.get("/web/do/act").status_code == 405 and len(served.done) == 1
    assert served.post("/web/do/nothing", token=token).status_code == 404
    assert served.client.get("/", headers={"Host": "evil.example"}).status_code == 403, "DNS rebinding"
    assert served.client.get("/", headers={"Host": "media.example.org"}).status_code == 200
    # A link on another site may lead here: nothing changes by that.
    assert served.client.get("/", headers={"Referer": "http://elsewhere.example/"}).status_code == 200


def test_where_there_is_a_password_nothing_is_told_without_it() -> None:
    served = Served(Facts(status=STATUS, downloads=[download(name="Private")]), password="SECRET-PASSWORD")
    assert served.client.get("/").headers["Location"] == "/web/login"
    assert served.client.get("/web/parts").status_code == 403
    assert served.post("/web/do/act", what="x", sure="yes", token="").status_code == 403
    assert "Wrong user name" in served.post("/web/login", username="me", password="wrong").text
    login = served.post("/web/login", {"Origin": "http://evil.example"}, username="me", password="SECRET-PASSWORD")
    assert login.status_code == 403
    login = served.post("/web/login", username="me", password="SECRET-PASSWORD")
    cookie = login.headers["Set-Cookie"]
    assert login.status_code == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    text = served.client.get("/").text
    assert "Private" in text and "SECRET-PASSWORD" not in text and "Sign out" in text
    token = served.token()
    assert served.post("/web/logout", token="x").status_code == 403
    assert served.post("/web/logout", token=token).status_code == 303
    assert served.client.get("/").headers["Location"] == "/web/login"
    assert served.post("/web/do/act", token=token, what="x", sure="yes").status_code == 403 and not served.done
    for _ in range(5):
        answer = served.post("/web/login", username="me", password="wrong")
    assert "Too many" in served.post("/web/login", username="me", password="SECRET-PASSWORD").text
    assert answer.status_code == 403


def test_an_answer_that_cannot_be_made_tells_nothing_but_that(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Facts:
        raise RuntimeError("/home/somebody/secret")

    app = Flask("test")
    app.register_blueprint(Pages(Guard(Sessions(None, None, None), []), broken, {}, "/data").blueprint())
    answer = app.test_client().get("/web/parts")
    assert answer.status_code == 500 and "somebody" not in answer.text
    assert "somebody" in caplog.text


def test_drives_say_how_they_fare() -> None:
    facts = Facts(
        status={
            **STATUS,
            "drives": [
                drive(), drive(name="gone", problem="pulled", total=None, available=None),
                drive(name="full", available=0), drive(name="old", mode="ro"), drive(name="leaving"),
            ],
        },
        retiring={"leaving": "it is drained (job 3)"},
    )  # fmt: skip
    rows = {row.name: row for row in view.drives(facts)}
    assert rows["disk1"].share == 60 and rows["disk1"].drainable and rows["disk1"].state == "ok"
    assert (rows["gone"].state, rows["gone"].words, rows["gone"].drainable) == ("bad", "pulled", False)
    assert rows["full"].state == "warn" and rows["full"].share == 100
    assert rows["old"].words == "read-only" and not rows["old"].drainable
    assert rows["leaving"].words == "it is drained (job 3)" and not rows["leaving"].drainable
    assert view.headline(facts) == ["pulled"]


def test_torrents_that_need_somebody_come_first() -> None:
    facts = Facts(
        status=STATUS,
        downloads=[
            download(hash="1" * 40, name="done", stage="complete", imported=True, added_at=9),
            download(hash="2" * 40, name="busy"),
            download(hash="3" * 40, name="held", paused=True),
            download(hash="4" * 40, name="failed", stage="failed", problem="it is fake"),
        ],
        torrents=[
            torrent(hash="1" * 40, name="done"), torrent(name="quiet"), torrent(name="dead", problem="gone"),
            torrent(name="coming", status="downloading", progress=40.0),
        ],
    )  # fmt: skip
    rows, more, rest = view.torrents(facts)
    assert {row.name for row in rows[:2]} == {"failed", "dead"} and (more, rest) == (0, 1)
    by = {row.name: row for row in rows}
    assert by["failed"].problem == "it is fake" and not by["failed"].hash and by["failed"].share is None
    assert by["busy"].share == 50 and by["busy"].hash == "2" * 40
    assert by["held"].words == "paused" and by["done"].words == "complete, imported"
    assert by["coming"].share == 40 and not by["coming"].hash and "quiet" not in by
    many = replace(facts, downloads=[download(hash=f"{n:040}", name=str(n)) for n in range(100)])
    assert len(view.torrents(many)[0]) == view.MOST and view.torrents(many)[1] == 62


def test_what_plays_is_one_row_for_each_program_and_file() -> None:
    def one(**changes: Any) -> Playing:
        made = Playing("media/Film.mkv", "jellyfin", "remote", "", 100.0, 5, False, None)
        return replace(made, **changes)

    facts = Facts(
        status=STATUS,
        playing=[
            one(rate=1000.0, kept=1.0), one(rate=500.0, kept=1.0), one(program="ffprobe", rate=0.0),
            one(path="a", kept=0.4), one(path="b", source="drive", drive="disk2", rate=None),
            one(path="c", source="copy"), one(path="d", kept=0.0, writes=True),
        ],
    )  # fmt: skip
    rows, others = view.playing(facts)
    assert rows[0].rate == 1500 and rows[0].came == 10 and rows[0].origin == "cache" and others == 1
    origins = {row.path: row.origin for row in rows[1:]}
    assert origins == {
        "a": "40% cache, rest Real-Debrid",
        "b": "drive disk2",
        "c": "pinned copy",
        "d": "Real-Debrid",
    }


def test_jobs_offer_what_can_be_done_with_them() -> None:
    facts = Facts(
        status={**STATUS, "walking": True},
        moves=[
            job(id=1, state="done", ended=5.0), job(id=2), job(id=3, state="paused"),
            job(id=4, kind="undo", spec={"of": 1}, state="done", ended=6.0), job(id=5, state="undone", ended=7.0),
            job(id=6, state="done", ended=8.0), job(id=8, rate=2048.0, part=10),
        ],
        pins=[{"goal": "pin", "path": "x", "size": 10, "done": 5, "state": "fetching", "problem": ""}],
    )  # fmt: skip
    rows = view.jobs(facts)
    by = {row.number: row for row in rows if row.number}
    assert list(by) == [2, 3, 8, 6, 5, 4], "what goes on first, then the last that ended, newest first"
    assert by[2].actions == ("pause", "undo") and by[3].actions == ("resume", "undo") and by[6].actions == ("undo",)
    assert by[4].actions == by[5].actions == ()
    assert by[2].share == 25 and by[8].share == 50 and "2.0 KiB/s" in by[8].detail
    assert [row.what for row in rows[6:]] == ["pin x", "walk of the drives, so that a pulled one stays listed"]


@given(st.lists(st.tuples(*[st.floats(0, 1e12)] * 3), max_size=STEPS + 20))
def test_the_plot_stays_in_its_box(values: list[tuple[float, float, float]]) -> None:
    made = plotted([Rates(*each) for each in values])
    peak = max((max(each) for each in values[-STEPS:]), default=0)
    assert made.top >= peak and (made.top == 1 << 20 or made.top < 2.6 * peak)
    for line in made.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH and -0.1 <= y <= HEIGHT


def test_the_hour_forgets_and_a_pause_is_a_gap() -> None:
    hour = Hour()
    hour.add(0.0, Sums(0, 0, 0))
    assert hour.rates() == []
    hour.add(10.0, Sums(100, 200, 50))
    assert hour.rates() == [Rates(10, 20, 5)]
    hour.add(20.0, Sums(90, 200, 50))
    assert hour.rates()[-1] == Rates(0, 0, 0), "a counter that falls is no rate"
    hour.add(80.0, Sums(690, 200, 50))
    assert len(hour.rates()) == 8 and hour.rates()[-1] == Rates(10, 0, 0)
    for step in range(STEPS * 2):
        hour.add(90.0 + 10 * step, Sums(690, 200, 50))
    assert hour.rates() == [Rates(0, 0, 0)] * STEPS


def test_speeds_are_over_the_last_looks_or_since_the_file_was_opened() -> None:
    speeds = Speeds()
    assert speeds.rate(5.0, 1, 50, since=0.0) == 10
    speeds.mark(10.0, {1: 100})
    speeds.mark(20.0, {1: 300})
    assert speeds.rate(25.0, 1, 400, since=0.0) == 20, "since the look before the last"
    assert speeds.rate(25.0, 2, 50, since=20.0) == 10
    speeds.mark(30.0, {1: 400, 2: 50})
    assert speeds.rate(30.0, 1, 400, since=0.0) == 10


def test_warnings_are_bounded_counted_and_without_secrets() -> None:
    recent = Recent(["SECRET", ""])
    log = logging.Logger("test.recent")
    log.addHandler(recent)
    for number in range(150):
        log.warning("number %d of SECRET\n\x1b[31m", number)
    log.error("bad %d", "no number")
    log.info("not this")
    latest = recent.latest()
    assert len(latest) == 100 and recent.counted == {"warning": 150, "error": 1}
    assert latest[0].text == "bad %d" and latest[0].level == "error"
    assert latest[1].text == "number 149 of ***\\n\\x1b[31m"


def test_many_who_look_cost_one_look() -> None:
    made: list[int] = []
    lately = Lately(60.0, lambda: made.append(1) or len(made))
    assert [lately() for _ in range(5)] == [1] * 5


def test_a_look_that_hangs_holds_up_nobody_else() -> None:
    go, begun = threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        assert go.wait(30)
        return 1

    lately = Lately(60.0, make, patience=0.01)
    hangs = threading.Thread(target=lately)
    hangs.start()
    assert begun.wait(30)
    with pytest.raises(TimeoutError, match="does not answer"):
        lately()
    app = Flask("test")
    pages = Pages(Guard(Sessions(None, None, None), []), lambda: Facts(status={"x": lately()}), {}, "/data")
    app.register_blueprint(pages.blueprint())
    answer = app.test_client().get("/web/parts")
    assert answer.status_code == 503 and "a drive that hangs" in answer.text
    go.set()
    hangs.join()
    assert lately() == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("/data/media/Film", "media/Film"), (" media/Film/ ", "media/Film"), ("/media", "media"), ("/data", ""),
        ("", ""), ("/database/x", "database/x"),
    ],
)  # fmt: skip
def test_a_path_is_meant_with_or_without_the_mount_point(given: str, meant: str) -> None:
    assert inner_path(given, Path("/data")) == meant


@pytest.mark.parametrize("given", ["../etc/passwd", "/data/../etc", "media//x", "media/./x", "media/.."])
def test_a_path_that_leads_elsewhere_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="Write the path"):
        inner_path(given, Path("/data"))
