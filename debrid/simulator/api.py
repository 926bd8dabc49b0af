"""The API's port: what happens to a request before and after its route."""

import socket
from urllib.parse import unquote, urlsplit

from debrid.simulator import account_routes, admin_routes, link_routes, oauth_routes, routing, torrent_routes
from debrid.simulator.journal import Entry
from debrid.simulator.routing import Call, Route
from debrid.simulator.server import Address, Exchange
from debrid.simulator.site import Site
from debrid.simulator.wire import HTML, ApiError, Reply, etag, page

REST, OAUTH, ADMIN = "/rest/1.0", "/oauth/v2", "/admin"
_REST_ROUTES = (*account_routes.ROUTES, *link_routes.ROUTES, *torrent_routes.ROUTES)
# What is wrong with the account -> error_code.
_ACCOUNT = {"free": 20, "permission_denied": 9, "locked": 14, "bad_token": 8}
_MAINTENANCE = 25
_TOO_MANY = 34


class ApiExchange(Exchange):
    """A connection to the API."""

    def __init__(self, site: Site, connection: socket.socket, address: Address) -> None:
        self._site = site
        super().__init__(connection, address)

    def respond(self) -> None:
        body = self.read_body()
        if body is None:
            self._send(Reply(411, text="Length Required", type=HTML))
            return
        call = self._call(body)
        if call.path.startswith(ADMIN + "/"):
            self._send(admin_routes.answer(self._site, call, self.ip))
            return
        entry = Entry(
            self._site.clock.now(),
            "api",
            0,
            call.method,
            call.path,
            call.query,
            self._lower(),
            self.ip,
            form=call.form,
        )
        self._site.journal.begin(entry)
        try:
            reply = self._outage() or self._checked(call)
            if reply:
                entry.status, entry.sent = reply.status, len(reply.body())
        finally:
            # Before the answer leaves: a client that goes on at once is not parallel to itself.
            self._site.journal.end(entry)
        if reply:
            self._send(reply)

    def _call(self, body: bytes) -> Call:
        parts = urlsplit(self.path)
        path = unquote(parts.path, errors="surrogateescape").rstrip("/")
        if path.startswith(REST + "/"):
            path = path.removeprefix(REST)
        elif not path.startswith((OAUTH + "/", ADMIN + "/")):
            path = "/unknown" + path
        query = routing.pairs(parts.query)
        form = routing.read_form(self.headers.get("Content-Type", ""), body)
        method = self.headers.get("X-HTTP-Verb", self.command).upper()
        bearer = self.headers.get("Authorization", "").partition("Bearer ")[2].strip()
        return Call(method, path, query, form, body, bearer or query.get("auth_token", ""))

    def _lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _outage(self) -> Reply | None:
        outage = self._site.faults.api_outage
        if outage == "maintenance":
            return ApiError(_MAINTENANCE).reply({})
        if outage == "html":
            return Reply(503, text=page(503, "Service Temporarily Unavailable"), type=HTML)
        return None

    def _checked(self, call: Call) -> Reply | None:
        """The answer after latency, faults and limits; None if the connection is cut instead."""
        site = self._site
        if site.faults.api_outage in ("closed", "refused"):
            self.reset()
            return None
        if not site.wait(self._latency(call.path), site.faults.api_jitter):
            self.close_connection = True
            return None
        if forced := self._forced(call.path):
            return forced
        reply = self._limited(call) or self._routed(call)
        prefix = site.faults.api_lost_reply
        if prefix is not None and call.path.startswith(prefix) and site.faults.take("api_lost_reply"):
            self.reset()
            return None
        return reply

    def _latency(self, path: str) -> float:
        faults = self._site.faults
        prefixes = faults.api_latency_by_prefix.copy()
        fitting = [prefix for prefix in prefixes if path.startswith(prefix)]
        return prefixes[max(fitting, key=len)] if fitting else faults.api_latency

    def _forced(self, path: str) -> Reply | None:
        faults = self._site.faults
        if not path.startswith(faults.api_status_prefix):
            return None
        kind, code = faults.api_status_body, faults.api_status_code
        status: int | None = faults.take("api_status")
        if status is None:
            return None
        kind = kind or ("html" if status >= 500 else "json")
        if kind == "html":
            return Reply(status, text=page(status, "Gateway Error"), type=HTML, headers=self._retry(status))
        if kind == "empty":
            return Reply(status, headers=self._retry(status))
        error = ApiError(code if code is not None else _TOO_MANY if status == 429 else -1, status=status)
        return Reply(status, error.reply({}).value, headers=self._retry(status))

    def _retry(self, status: int) -> dict[str, str]:
        """Headers of a throttled answer, which is noted as such."""
        if status != 429:
            return {}
        self._site.limiter.note_throttling()
        after = self._site.faults.retry_after
        return {} if after is None else {"Retry-After": f"{after:g}"}

    def _limited(self, call: Call) -> Reply | None:
        code = self._site.limiter.check(call.method, call.path)
        return self._error(ApiError(code)) if code else None

    def _error(self, problem: ApiError) -> Reply:
        reply = problem.reply(self._site.faults.error_status)
        return Reply(reply.status, reply.value, headers=self._retry(reply.status))

    def _routed(self, call: Call) -> Reply:
        try:
            if call.path.startswith(OAUTH + "/"):
                return self._run(oauth_routes.ROUTES, call, call.path.removeprefix(OAUTH))
            return self._run(_REST_ROUTES, call, call.path)
        except ApiError as problem:
            return self._error(problem)

    def _run(self, routes: tuple[Route, ...], call: Call, path: str) -> Reply:
        route, args = routing.find(routes, call.method, path)
        if not route.open:
            self._authorise(route, call.token)
        call = Call(call.method, path, call.query, call.form, call.body, call.token, args)
        return route.handler(self._site, call)

    def _authorise(self, route: Route, token: str) -> None:
        site = self._site
        if not site.tokens.is_valid(token):
            raise ApiError(8)
        state = site.faults.account
        if state == "free" and route.free:
            return
        if code := _ACCOUNT.get(site.faults.take("account")):
            raise ApiError(code)
        if not (route.free or site.profile.premium_left):
            raise ApiError(_ACCOUNT["free"])

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The header Date is of the virtual clock too."""
        return super().date_time_string(self._site.clock.now() if timestamp is None else timestamp)

    def _send(self, reply: Reply) -> None:
        body = reply.body()
        headers = dict(reply.headers)
        if body:
            headers["Content-Type"] = reply.type
        if reply.status == 200 and self.command == "GET":
            headers["ETag"] = etag(body)
            if self.headers.get("If-None-Match") == headers["ETag"]:
                self.send(304, headers)
                return
        self.send(reply.status, headers, b"" if reply.status == 204 else body)
