"""How answers look on the wire: JSON with tabs and escaped slashes, errors, and the HTML of a gateway."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

# error_code -> (slug, HTTP status). Codes are documented; slugs and statuses only in part, the rest are
# guesses that the switch `error_status` can change.
ERRORS: Mapping[int, tuple[str, int]] = MappingProxyType(
    {
        -1: ("internal_error", 503),
        1: ("parameter_missing", 400),
        2: ("wrong_parameter", 400),
        3: ("unknown_method", 404),
        4: ("method_not_allowed", 405),
        5: ("slow_down", 429),
        6: ("resource_unreachable", 503),
        7: ("unknown_ressource", 404),
        8: ("bad_token", 401),
        9: ("permission_denied", 403),
        10: ("twofactor_auth_needed", 403),
        11: ("twofactor_auth_pending", 403),
        12: ("invalid_login", 403),
        13: ("invalid_password", 403),
        14: ("account_locked", 403),
        15: ("account_not_activated", 403),
        16: ("hoster_unsupported", 503),
        17: ("hoster_maintenance", 503),
        18: ("hoster_limit_reached", 503),
        19: ("hoster_unavailable", 503),
        20: ("hoster_not_free", 403),
        21: ("too_many_active_downloads", 509),
        22: ("ip_not_allowed", 403),
        23: ("traffic_exhausted", 503),
        24: ("unavailable_file", 503),
        25: ("service_unavailable", 503),
        26: ("upload_too_big", 400),
        27: ("upload_error", 400),
        28: ("file_not_allowed", 403),
        29: ("torrent_too_big", 400),
        30: ("torrent_file_invalid", 400),
        31: ("action_already_done", 202),
        32: ("image_resolution", 400),
        33: ("torrent_already_active", 400),
        34: ("too_many_requests", 429),
        35: ("infringing_file", 451),
        36: ("fair_usage_limit", 503),
        37: ("disabled_endpoint", 403),
    }
)
CODES: Mapping[str, int] = MappingProxyType({slug: code for code, (slug, _) in ERRORS.items()})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it has a form: `value` becomes JSON, `text` stays as it is; neither: an empty body."""

    status: int = 200
    value: object = None
    text: str | None = None
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        if self.text is not None:
            return self.text.encode("utf-8", "replace")
        return b"" if self.value is None else dumps(self.value)


NOTHING = Reply(204)


class ApiError(Exception):
    """An error answer by its error_code; `status` where this endpoint differs from the table."""

    def __init__(self, code: int, details: str = "", status: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.details = details
        self.status = status

    def reply(self, statuses: Mapping[str, int]) -> Reply:
        """`statuses` holds other HTTP statuses by error_code, as text."""
        slug, usual = ERRORS.get(self.code, ("unknown_error", 400))
        value: dict[str, object] = {"error": slug}
        if self.details:
            value["error_details"] = self.details
        value["error_code"] = self.code
        return Reply(statuses.get(str(self.code), self.status or usual), value)


def missing(name: str, status: int | None = None) -> ApiError:
    return ApiError(1, f"{{{name}}} is missing", status)


def dumps(value: object) -> bytes:
    """As PHP prints it: tabs, `\\/`, and everything outside ASCII as \\uXXXX."""
    return json.dumps(value, indent="\t").replace("/", "\\/").encode("ascii")


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def page(status: int, title: str) -> str:
    """The HTML that a gateway or the CDN sends with an error: long enough to look like a real page."""
    style = "body { font-family: sans-serif; margin: 4em auto; max-width: 40em; }\n" * 40
    return (
        f"<!DOCTYPE html>\n<html>\n<head><title>{status} {title}</title>\n<style>\n{style}</style></head>\n"
        f"<body><h1>{status} {title}</h1></body>\n</html>\n"
    )
