"""Routes of /unrestrict, /downloads and /streaming."""

import hashlib
from urllib.parse import urlsplit

from debrid.simulator.downloads import Download
from debrid.simulator.links import HOST
from debrid.simulator.media import title_of
from debrid.simulator.paging import paged, window
from debrid.simulator.routing import Call, Route
from debrid.simulator.site import Site
from debrid.simulator.wire import NOTHING, ApiError, Reply, missing

# The simulator does not look into films; it claims 8 Mbit/s and full HD for each.
_BYTES_PER_SECOND = 1_000_000


def _check(site: Site, call: Call) -> Reply:
    return Reply(value=site.views.checked(site.unrestrict.check(call.need("link"))))


def _link(site: Site, call: Call) -> Reply:
    url = call.need("link")
    return Reply(value=site.views.unrestricted(site.unrestrict.unrestrict(url), url))


def _folder(site: Site, call: Call) -> Reply:
    return Reply(value=site.links.folder(call.need("link")))


def container_key(raw: bytes) -> bytes:
    return hashlib.sha1(raw, usedforsecurity=False).digest()


def _container_file(site: Site, call: Call) -> Reply:
    if not call.body:
        raise missing("container")
    return _contained(site, call.body)


def _container_link(site: Site, call: Call) -> Reply:
    url = call.need("link")
    if not urlsplit(url).hostname:
        raise ApiError(2, "{link} is invalid")
    return _contained(site, url.encode())


def _contained(site: Site, raw: bytes) -> Reply:
    """Containers are encrypted; the simulator knows those it was told of."""
    links = site.containers.get(container_key(raw))
    if links is None:
        raise ApiError(24)
    return Reply(value=links)


def _downloads(site: Site, call: Call) -> Reply:
    rows = site.downloads.rows(site.clock.now() - site.faults.cdn_url_lifetime)
    where = window(call.query, len(rows), site.faults)
    shown = [site.views.download(row) for row in rows[where.first : where.last]]
    return paged(shown, len(rows), site.faults)


def _delete(site: Site, call: Call) -> Reply:
    if not site.downloads.delete(call.args[0]):
        raise ApiError(7)
    return NOTHING


def _found(site: Site, call: Call) -> Download:
    download = site.downloads.find(call.args[0])
    if download is None:
        raise ApiError(7)
    return download


def _transcode(site: Site, call: Call) -> Reply:
    """Every quality is the file itself: nothing is transcoded here."""
    url = _found(site, call).listed_url
    return Reply(value={kind: {"full": url} for kind in ("apple", "dash", "liveMP4", "h264WebM")})


def _media_infos(site: Site, call: Call) -> Reply:
    download = _found(site, call)
    name, size = download.link.name, download.link.content.size
    title = title_of(name)
    if title is None:
        raise ApiError(25)
    empty: object = [] if site.faults.empty_maps_as_lists else {}
    video = {"stream": "0:0", "lang": "Unknown", "lang_iso": "und", "codec": "h264", "colorspace": "yuv420p"}
    audio = {
        "stream": "0:1",
        "lang": "English",
        "lang_iso": "eng",
        "codec": "aac",
        "sampling": 48000,
        "channels": 5.1,
    }
    tracks = {
        "video": empty if title.kind == "audio" else {"und1": video | {"width": 1920, "height": 1080}},
        "audio": {"eng1": audio},
        "subtitles": empty,
    }
    return Reply(
        value={
            "filename": name,
            "hoster": HOST,
            "link": download.link.url,
            "type": title.kind,
            "season": title.season,
            "episode": title.episode,
            "year": title.year,
            "duration": round(size / _BYTES_PER_SECOND, 3),
            "bitrate": 8 * _BYTES_PER_SECOND,
            "size": size,
            "details": tracks,
            "poster_path": None,
            "audio_image": None,
            "backdrop_path": None,
            "baseUrl": None,
            "host": HOST,
        }
    )


ROUTES = (
    Route("POST", "/unrestrict/check", _check, open=True),
    Route("POST", "/unrestrict/link", _link),
    Route("POST", "/unrestrict/folder", _folder),
    Route("PUT", "/unrestrict/containerFile", _container_file),
    Route("POST", "/unrestrict/containerLink", _container_link),
    Route("GET", "/downloads", _downloads),
    Route("DELETE", "/downloads/delete/{id}", _delete),
    Route("GET", "/streaming/transcode/{id}", _transcode),
    Route("GET", "/streaming/mediaInfos/{id}", _media_infos),
)
