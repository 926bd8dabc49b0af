"""The page itself: shown, refreshed in parts, signed in to, and acted by. See `guard` for who may.

A name from a filesystem or a provider may hold anything: each value that a template shows is made printable and then
escaped, by the environment here and not by the templates.
"""

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request, send_from_directory
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.exceptions import HTTPException

from cli.output import human_size, printable
from cli.web import view
from cli.web.actions import Action
from cli.web.facts import Facts
from cli.web.guard import Guard, protected, text
from cli.web.plot import HEIGHT, WIDTH, plotted
from debrid.errors import DebridError
from debrid.qbittorrent.guard import Banned
from debrid.qbittorrent.routes import COOKIE

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_LONGEST_BODY = 64 << 10  # bytes
_MOST_NOTES = 100
# What a refused wish of a person raises; the text says why.
_REFUSALS = (ValueError, LookupError, OSError, DebridError)

View = Callable[[Facts], Any]
# What the page consists of; each part has a template, and is refreshed by itself.
_VIEWS: Mapping[str, View] = {
    "alerts": view.headline,
    "playing": view.playing,
    "throughput": lambda facts: plotted(facts.rates),
    "drives": view.drives,
    "cache": view.cache,
    "torrents": view.torrents,
    "jobs": view.jobs,
    "discs": lambda facts: facts.discs,
    "warnings": lambda facts: facts.warnings[: view.MOST],
}


def templates() -> Environment:
    """The templates, with everything in them printable and escaped."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["size"] = lambda size: human_size(int(size))
    made.filters["rate"] = lambda rate: f"{human_size(int(rate))}/s"
    made.filters["when"] = lambda seconds: f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
    made.globals.update(plot_width=WIDTH, plot_height=HEIGHT)
    return made


def _shown(value: Any) -> Any:
    """Texts that are no markup of ours, without control characters and lone bytes."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


class Notes:
    """What is said once after an action, on the page that follows. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: OrderedDict[str, tuple[str, bool]] = OrderedDict()

    def add(self, said: str, good: bool) -> str:
        """By which word it is found."""
        word = secrets.token_urlsafe(12)
        with self._lock:
            self._notes[word] = (said, good)
            while len(self._notes) > _MOST_NOTES:
                self._notes.popitem(last=False)
        return word

    def take(self, word: str) -> tuple[str, bool] | None:
        """The text, and whether it is good news; the second time None."""
        with self._lock:
            return self._notes.pop(word, None)


class Pages:
    """The routes."""

    def __init__(self, guard: Guard, facts: Callable[[], Facts], actions: Mapping[str, Action], mount: str) -> None:
        self._guard, self._facts, self._actions, self._mount = guard, facts, actions, mount
        self._templates = templates()
        self._notes = Notes()

    def blueprint(self) -> Blueprint:
        """What Flask serves."""
        made = Blueprint("page", __name__)
        made.before_request(self._check)
        made.after_request(protected)
        made.register_error_handler(Exception, _failed)
        made.add_url_rule("/", "page", self._page, methods=["GET"])
        made.add_url_rule("/web/parts", "parts", self._parts, methods=["GET"])
        made.add_url_rule("/web/static/<path:name>", "static", _static, methods=["GET"])
        made.add_url_rule("/web/login", "login_form", self._login_form, methods=["GET"])
        made.add_url_rule("/web/login", "login", self._login, methods=["POST"])
        made.add_url_rule("/web/logout", "logout", self._logout, methods=["POST"])
        made.add_url_rule("/web/do/<name>", "do", self._do, methods=["POST"])
        return made

    def _check(self) -> Response | None:
        request.max_content_length = _LONGEST_BODY
        if not self._guard.is_for_us():
            host = request.headers.get("Host", "")
            log.warning("a page for host %.100r is refused: is it missing in [http] hosts?", host)
            return text("This is not a name of this machine: is it missing in [http] hosts?", 403)
        if request.method == "POST" and not self._guard.is_from_us():
            log.warning("a form from another site is refused: %.100r", request.headers.get("Origin", ""))
            return text("This came from a page of another site.", 403)
        if request.endpoint in ("page.static", "page.login", "page.login_form"):
            return None
        if not self._guard.is_signed_in():
            return _to("/web/login") if request.endpoint == "page.page" else text("Please sign in.", 403)
        if request.method == "POST" and not self._guard.has_token():
            return text("This form is too old, or not of this page. Go back, load the page anew, and try again.", 403)
        return None

    def _rendered(self, template: str, status: int = 200, **values: Any) -> Response:
        values.setdefault("token", self._guard.form_token(self._guard.session))
        said = self._templates.get_template(template).render(
            mount=self._mount, guarded=not self._guard.sessions.open, **values
        )
        return Response(said, status, mimetype="text/html")

    def _page(self) -> Response:
        if not self._guard.session:
            # Without a password anybody is let in; the forms need a session all the same.
            session = self._guard.sessions.login("", "", request.remote_addr or "") or ""
            return self._guard.begin(self._whole(self._guard.form_token(session)), session)
        return self._whole(self._guard.form_token(self._guard.session))

    def _whole(self, token: str) -> Response:
        facts = self._facts()
        shown = {name: made(facts) for name, made in _VIEWS.items()}
        note = self._notes.take(request.args.get("note", ""))
        account = facts.status["remote"]["account"] is not None
        return self._rendered("page.html", shown=shown, facts=facts, note=note, account=account, token=token)

    def _parts(self) -> Response:
        facts, token = self._facts(), self._guard.form_token(self._guard.session)
        return jsonify(
            {
                name: self._templates.get_template(f"parts/{name}.html").render(
                    part=made(facts), facts=facts, token=token
                )
                for name, made in _VIEWS.items()
            }
        )

    def _login_form(self) -> Response:
        return self._rendered("login.html", problem="")

    def _login(self) -> Response:
        name, password = request.form.get("username", ""), request.form.get("password", "")
        try:
            session = self._guard.sessions.login(name, password, request.remote_addr or "")
        except Banned:
            log.warning("too many wrong passwords from %s", request.remote_addr)
            return self._rendered("login.html", 403, problem="Too many wrong passwords. Try again in ten minutes.")
        if session is None:
            log.warning("wrong user name or password from %s", request.remote_addr)
            return self._rendered("login.html", 403, problem="Wrong user name or password.")
        return self._guard.begin(_to("/"), session)

    def _logout(self) -> Response:
        self._guard.sessions.logout(self._guard.session)
        answer = _to("/web/login")
        answer.delete_cookie(COOKIE, path="/")
        return answer

    def _do(self, name: str) -> Response:
        action = self._actions.get(name)
        if action is None:
            return text("There is no such action.", 404)
        form = {field: request.form.get(field, "") for field in action.fields}
        try:
            if request.form.get("sure") == "yes":
                said, good = action.do(form), True
                # Not what was added: the link of a private tracker is as good as a password there.
                about = [value for field, value in form.items() if field != "link" and value]
                log.info("by the page: %s %s", name, printable(" ".join(about)[:200]))
            else:
                return self._rendered("confirm.html", name=name, form=form, plan=action.plan(form))
        except _REFUSALS as problem:
            said, good = _why(problem), False
        return _to(f"/?note={self._notes.add(said, good)}")


def _why(problem: Exception) -> str:
    if isinstance(problem, OSError):
        return f"It failed: {problem.strerror or problem}."
    return str(problem.args[0] if isinstance(problem, LookupError) and problem.args else problem)


def _to(where: str) -> Response:
    return Response(status=303, headers={"Location": where})


def _static(name: str) -> Response:
    return send_from_directory(_HERE / "static", name)


def _failed(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return text(error.name, error.code or 400)
    if isinstance(error, TimeoutError):
        return text(f"{error}", 503)
    log.error("%s failed: %s", request.path, error, exc_info=True)
    return text("It failed; the log of mediapool says why.", 500)
