"""Every fault and every open question of the simulated service, as one table of switches.

A switch named `..._times` says how often the switch before it acts: ALWAYS, or n times, after which both go
back to their defaults. Globs (`..._only`, `link_verdicts`) are matched against names as `fnmatch` does.
Where no source says how Real-Debrid behaves, the comment begins with "Open:" and the default is a guess.
"""

from dataclasses import dataclass, field
from typing import Literal

ALWAYS = -1

Outage = Literal["", "maintenance", "html", "closed", "refused"]
AccountState = Literal["premium", "free", "permission_denied", "locked", "bad_token"]
ListFault = Literal["", "object", "no_content", "half", "empty_array"]
Body = Literal["html", "json", "empty"]
MagnetOutcome = Literal["converted", "never", "error"]
DownloadOutcome = Literal["downloaded", "error", "virus", "dead", "stalled"]
LinkForm = Literal["13", "16", "26", "mixed"]
Verdict = Literal[
    "hoster_unavailable",  # 19: the link aged out
    "unavailable_file",  # 24: the content was evicted
    "infringing_file",  # 35
    "fair_usage_limit",  # 36
    "traffic_exhausted",  # 23
    "ip_not_allowed",  # 22
    "too_many_requests",  # 34
    "hoster_not_free",  # 20
    "service_unavailable",  # 25
    "foreign",  # made by another account: only the 13-character form works, longer ones are unavailable_file
    "empty_download",  # 200 with "download": ""
    "wrong_name",  # 200, `filename` of something else
    "wrong_size",  # 200, `filesize` one byte too large
]


@dataclass(eq=False)
class Switches:
    """Times in seconds, sizes in bytes, rates in bytes per second; defaults are a healthy service."""

    # -- API: speed and failures; prefixes are paths below /rest/1.0, or /oauth/v2/... as they stand
    api_latency: float = 0.0  # before each answer
    # the longest prefix wins over api_latency
    api_latency_by_prefix: dict[str, float] = field(default_factory=dict)
    api_jitter: float = 0.0  # up to this much more, evenly distributed
    api_status: int | None = None  # answer this instead: 429, 500, 502, 503, 504 ...
    api_status_times: int = ALWAYS
    api_status_prefix: str = "/"  # only for paths that begin so
    api_status_body: Body | None = None  # None: json for 4xx, html for 5xx, as a gateway does
    api_status_code: int | None = None  # error_code of the json body; None: 34 for 429, else -1
    # carry out requests to paths that begin so, then close without an answer
    api_lost_reply: str | None = None
    api_lost_reply_times: int = ALWAYS
    api_outage: Outage = ""  # whole API: 503 json 25, 503 html, connections reset, or nobody listening
    retry_after: float | None = None  # Open: value of Retry-After on every 429; None leaves it out
    # Open: error_code (as text) -> other HTTP status
    error_status: dict[str, int] = field(default_factory=dict)
    # free: 403/20; permission_denied: 403/9; locked: 403/14; bad_token: 401/8
    account: AccountState = "premium"
    account_times: int = ALWAYS
    true_utc_dates: bool = False  # dates in real UTC instead of Paris time stamped Z
    empty_maps_as_lists: bool = True  # PHP's habit: an empty map is written []

    # -- API: rate limits of the account (docs: 250/min; the others were measured by clients' authors)
    rate_limits: bool = False
    limit_per_minute: int = 250
    limit_lists_per_minute: int = 75
    limit_changes_per_10s: int = 22  # add, select, delete
    limit_unrestrict_per_minute: int = 60  # above: 36 fair_usage_limit
    limit_tokens_per_minute: int = 60  # Open: POST /oauth/v2/token has a limit of its own
    limit_block_after: int = 60  # refused calls within a minute that lead to a block
    limit_block_seconds: float = 600.0  # Open: docs say "undefined time"
    spurious_infringing: bool = False  # within 30 s of a 429, adding answers 35

    # -- OAuth
    # the user types the code so long after it was asked for; None: never
    oauth_approve_after: float | None = 5.0
    oauth_revoked: bool = False  # the user withdrew the application: 403
    oauth_token_seconds: int = 3600  # life of an access token

    # -- lists of torrents and downloads
    # GET /torrents: 200 {}, 204 though there are some, the newer half only, 200 []
    list_fault: ListFault = ""
    list_fault_times: int = ALWAYS
    insert_between_pages: int = 0  # so many times: a torrent is added after a page that has a successor
    remove_between_pages: int = 0  # so many times: the newest torrent is removed after such a page
    past_end_status: Literal[204, 400] = 204  # Open: an offset past the end
    total_count_on_204: bool = False  # Open: X-Total-Count on 204
    waiting_is_active: bool = False  # Open: does filter=active show waiting_files_selection

    # -- life of a torrent; read when the magnet is added or the files are selected
    magnet_outcome: MagnetOutcome = "converted"
    magnet_seconds: float | None = None  # conversion time; None: what the offer says
    settle_seconds: float = 0.0  # a cached selection is recognised only after this
    download_outcome: DownloadOutcome = "downloaded"  # how a download that is not cached ends
    active_limit: int = 100  # slots; docs give no number, it depends on the account
    slots_full: bool = False  # 509/21 on add and select
    refuse_active_duplicates: bool = False  # Open: 33 when the hash is already active
    name_filter: bool = False  # 451/35 for release names since May 2026
    max_torrent_bytes: int | None = None  # larger ones are refused with 29
    silent_delete_after: float | None = None  # torrents added by a client vanish so long after being added
    rename_single_file: bool = False  # Open: `filename` becomes the file's name if one file is selected

    # -- links of a torrent
    torrents_only: str = "*"  # glob on the torrent's name for the switches of this group
    links_empty: bool = False  # `links: []` on downloaded
    links_missing: list[int] = field(default_factory=list)  # indices of links that are left out
    links_shuffled: bool = False  # reversed, so that link i is not file i
    late_links_seconds: float = 0.0  # only the first link until so long after `ended`
    link_form: LinkForm = "13"  # characters of links made from now on; mixed: 30 % have 16
    same_links: bool = False  # adding a known (hash, selection) again gives the old links back
    rar_packing: bool = True  # several files with one that cannot be streamed are delivered as one .rar
    link_lifetime: float = 90 * 86400.0  # then 19; measured: two months old worked, three did not

    # -- unrestrict
    # glob on link id, file name or inner path
    link_verdicts: dict[str, Verdict] = field(default_factory=dict)
    check_denies: bool = False  # /unrestrict/check answers 404/24 for links that work
    check_status: Literal[404, 503] = 404  # of a dead link: docs say 503, 404 was seen
    numbered_hosts: bool = False  # unrestrict names the host `localhost`, /downloads 127.0.0.1

    # -- CDN: its rules
    cdn_url_lifetime: float = 7 * 86400.0
    cdn_connection_limit: int = 32  # bodies at the same time per host
    cdn_over_limit: Literal[429, 503, 0] = 429  # 0: the connection is reset
    cdn_quota: int | None = None  # bytes a day, until midnight in Paris
    cdn_quota_status: int = 503  # Open: sent with X-Error: bytes_limit_reached

    # -- CDN: faults of answers; `cdn_only` and `cdn_only_host` narrow these and the next group
    cdn_only: str = "*"  # glob on the file name
    cdn_only_host: int | None = None
    cdn_outage: Literal["", "html", "closed", "refused"] = ""  # closed and refused cut running bodies too
    cdn_first_byte: float = 0.0
    cdn_jitter: float = 0.0
    cdn_rate: float | None = None  # per connection; read again all the time
    cdn_total_rate: float | None = None  # all connections of all hosts together
    cdn_status: int | None = None  # 403, 404, 410, 416, 429, 5xx
    cdn_status_times: int = ALWAYS
    cdn_error: str = ""  # X-Error sent with it, e.g. read_pxy_timeout
    cdn_status_body: Literal["html", "empty"] = "html"
    cdn_head_status: int | None = None  # HEAD is broken: answered so
    cdn_ignore_range: bool = False  # 200 with the whole file

    # -- CDN: bodies; each counts bytes of the body
    cdn_reset_after: int | None = None  # then RST
    cdn_reset_times: int = ALWAYS
    cdn_short_after: int | None = None  # then an orderly close, short of Content-Length
    cdn_short_times: int = ALWAYS
    cdn_stall_after: int | None = None  # then nothing, until the client leaves
    cdn_stall_times: int = ALWAYS
    cdn_drip: float | None = None  # slow-loris: one byte each so many seconds
    cdn_drip_times: int = ALWAYS
    cdn_corrupt_at: int | None = None  # the byte at this offset of the file is sent inverted
    cdn_corrupt_times: int = ALWAYS


# What a spent `..._times` switches off.
COUNTED = {
    "api_status": "api_status_times",
    "api_lost_reply": "api_lost_reply_times",
    "account": "account_times",
    "list_fault": "list_fault_times",
    "cdn_status": "cdn_status_times",
    "cdn_reset_after": "cdn_reset_times",
    "cdn_short_after": "cdn_short_times",
    "cdn_stall_after": "cdn_stall_times",
    "cdn_drip": "cdn_drip_times",
    "cdn_corrupt_at": "cdn_corrupt_times",
}
