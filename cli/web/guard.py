"""Who may see the page and act by it: the sessions of the Web API, and for each form a token of its session.

A form counts if its token is the one that was made for the session in the cookie, and if it comes from a page of ours:
by its Origin (else Referer), and by Sec-Fetch-Site where the browser sends that. Without a configured password nobody
signs in, since only this machine reaches the address then; a session is made all the same, so that forms have a token
that other sites in the same browser cannot know.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection

from flask import Response, request

from debrid.qbittorrent.guard import Sessions, host_allowed, origin_allowed
from debrid.qbittorrent.routes import COOKIE

# Nothing from elsewhere, nothing inline, in nobody's frame. The referrer stays within the page: with "no-referrer"
# browsers would send "null" as the origin of a form.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OURS = (None, "same-origin", "none")  # of Sec-Fetch-Site; older browsers send none


class Guard:
    """Decides about the request under way."""

    def __init__(self, sessions: Sessions, hosts: Collection[str]) -> None:
        """`hosts`: names with a dot by which this machine may be asked."""
        self.sessions = sessions
        self._hosts = hosts
        self._key = secrets.token_bytes(32)

    def is_for_us(self) -> bool:
        """Whether the Host header can be meant for this machine."""
        return host_allowed(request.headers.get("Host", ""), self._hosts)

    def is_from_us(self) -> bool:
        """Whether a request that changes something comes from a page of ours, or from no page at all."""
        origin = request.headers.get("Origin") or request.headers.get("Referer")
        site = request.headers.get("Sec-Fetch-Site")
        return origin_allowed(origin, request.headers.get("Host", "")) and site in _OURS

    @property
    def session(self) -> str:
        """The session of the request, whether it counts or not."""
        return request.cookies.get(COOKIE, "")

    def is_signed_in(self) -> bool:
        """Whether the request may see the page."""
        return self.sessions.allows(self.session)

    def form_token(self, session: str) -> str:
        """What forms of this session carry."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def has_token(self) -> bool:
        """Whether the form under way carries the token of its session."""
        given = request.form.get("token", "").encode(errors="replace")
        return bool(self.session) and hmac.compare_digest(given, self.form_token(self.session).encode())

    def begin(self, answer: Response, session: str) -> Response:
        """Have the browser keep this session, which no script and no other site can use."""
        answer.set_cookie(COOKIE, session, path="/", httponly=True, samesite="Strict")
        return answer


def protected(answer: Response) -> Response:
    """The answer with what keeps others from using the page in a browser."""
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    return answer


def text(said: str, status: int) -> Response:
    """A short answer for programs, and for people with a strange browser."""
    return Response(f"{said}\n", status, mimetype="text/plain")
