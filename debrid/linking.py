"""Which link leads to which file of a torrent, and whether it leads there really."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from debrid import errors
from debrid.budget import Allowance
from debrid.client import Client
from debrid.errors import DebridError, Reaction
from debrid.models import TorrentInfo, Unrestricted, match_file
from debrid.store import PACK, StoredFile
from debrid.transport import Budget, exchange
from debrid.urls import HELD, check_size

log = logging.getLogger(__name__)

PROOF_BYTES = 1
_PROOF_SECONDS = 15.0


class Links(NamedTuple):
    """Links by file id, URLs of those that had to be asked for, and what the one link to a RAR of all leads to.

    That link has the id PACK.
    """

    links: Mapping[int, str]
    urls: Mapping[int, str]
    pack: Unrestricted | None = None


def links_of(client: Client, info: TorrentInfo, budget: Budget) -> Links:
    """The links of a finished torrent. Raises DebridError if the provider cannot be asked at the moment.

    As many links as selected files belong to them in order; else each is unrestricted and matched by name and
    size.
    """
    in_order = info.links_by_file
    return Links(in_order, {}) if in_order is not None else match_links(client, info, budget)


def match_links(client: Client, info: TorrentInfo, budget: Budget) -> Links:
    """As `links_of`, always by asking what each link leads to."""
    links: dict[int, str] = {}
    urls: dict[int, str] = {}
    pack: Unrestricted | None = None
    for link in info.links:
        try:
            answer = client.unrestrict(link, budget)
        except DebridError as error:
            if error.reaction not in HELD | {Reaction.FAIL} or isinstance(error, errors.Interrupted):
                raise
            log.info("%s: a link of it fails: %s", info.filename, error)
            continue
        file = match_file(answer, [each for each in info.selected if each.id not in links])
        if file is not None:
            links[file.id], urls[file.id] = link, answer.download
        elif len(info.links) == 1 and answer.filename.lower().endswith(".rar"):
            links[PACK], urls[PACK], pack = link, answer.download, answer
    return Links(links, urls, pack)


def prove_link(client: Client, link: str, file: StoredFile, allowance: Allowance, budget: Budget) -> str:
    """The download URL of a link, once a byte of the file has come from it. Raises DebridError.

    The provider's own word for a link being fine, or dead, has been seen to be wrong.
    """
    answer = client.unrestrict(link, budget)
    check_size(answer, file)
    prove_url(client, answer.download, file, allowance, budget)
    return answer.download


def prove_url(client: Client, url: str, file: StoredFile, allowance: Allowance, budget: Budget) -> None:
    """Read the last byte of a file, so that its size is proven too. Raises DebridError."""
    if not file.bytes:
        return
    allowance.take(PROOF_BYTES, urgent=budget.urgent)
    response = client.open_range(
        url, file.bytes - PROOF_BYTES, PROOF_BYTES, _PROOF_SECONDS, size=file.bytes, budget=budget
    )
    try:
        if len(exchange("reading", budget, lambda: response.raw.read(PROOF_BYTES))) != PROOF_BYTES:
            raise errors.Unavailable("the body ended early")
    finally:
        budget.interrupt.hold(None)
        response.close()
