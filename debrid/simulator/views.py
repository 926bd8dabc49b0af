"""The JSON forms of torrents, links and downloads: which field appears when, and in which order."""

from debrid.simulator import lifecycle
from debrid.simulator.account import shown_links
from debrid.simulator.clock import Clock, json_date
from debrid.simulator.downloads import Download
from debrid.simulator.faults import Faults
from debrid.simulator.links import HOST, Link
from debrid.simulator.media import is_streamable, mime_type
from debrid.simulator.torrents import SimTorrent

# Documented as the number of connections a client may open to the file.
CHUNKS = 32
# Every torrent shows this number; its unit is not documented.
SPLIT = 2000


class Views:
    """Reads the clock once per row."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults

    def date(self, moment: float) -> str:
        return json_date(moment, self._faults.true_utc_dates)

    def torrent(self, torrent: SimTorrent) -> dict[str, object]:
        """A row of GET /torrents: no `files`, no `original_*`."""
        head = {"id": torrent.id, "filename": self._filename(torrent), "hash": torrent.hash}
        return head | self._rest(torrent)

    def info(self, torrent: SimTorrent) -> dict[str, object]:
        """GET /torrents/info: `files` stays empty until the magnet is converted."""
        files = torrent.files if torrent.converted else ()
        head: dict[str, object] = {
            "id": torrent.id,
            "filename": self._filename(torrent),
            "original_filename": torrent.name,
            "hash": torrent.hash,
        }
        sizes: dict[str, object] = {"original_bytes": sum(file.size for file in files)}
        listed = [
            {
                "id": file.id,
                "path": file.path,
                "bytes": file.size,
                "selected": int(file.id in torrent.selected),
            }
            for file in files
        ]
        return head | sizes | {"files": listed} | self._rest(torrent)

    def _filename(self, torrent: SimTorrent) -> str:
        chosen = torrent.chosen
        if self._faults.rename_single_file and len(chosen) == 1:
            return chosen[0].name
        return torrent.name

    def _rest(self, torrent: SimTorrent) -> dict[str, object]:
        now, step = self._clock.now(), torrent.step
        row: dict[str, object] = {
            "bytes": sum(file.size for file in torrent.chosen),
            "host": HOST,
            "split": SPLIT,
            "progress": step.progress(now),
            "status": step.status,
            "added": self.date(torrent.added),
            "links": shown_links(torrent, step, self._faults, now),
        }
        if step.status == lifecycle.DOWNLOADED:
            row["ended"] = self.date(step.start)
        if step.status in lifecycle.WITH_SPEED:
            row["speed"] = self._speed(torrent, step, now)
        if step.status in lifecycle.WITH_SEEDERS:
            row["seeders"] = torrent.seeders
        return row

    @staticmethod
    def _speed(torrent: SimTorrent, step: lifecycle.Step, now: float) -> int:
        """Bytes per second."""
        if not step.moving(now):
            return 0
        size = sum(file.size for file in torrent.chosen)
        return int(size * (step.last - step.first) / 100 / step.seconds)

    def checked(self, link: Link) -> dict[str, object]:
        return {
            "host": link.host,
            "host_icon": _icon(link.host),
            "host_icon_big": _icon(link.host, "_big"),
            "link": link.url,
            "filename": link.name,
            "filesize": link.content.size,
            "supported": 1,
        }

    def unrestricted(self, download: Download, link: str) -> dict[str, object]:
        """The answer of /unrestrict/link; `link` is echoed as it was sent."""
        name, host = download.filename, download.link.host
        return {
            "id": download.id,
            "filename": name,
            "mimeType": mime_type(name),
            "filesize": download.filesize,
            "link": link,
            "host": host,
            "host_icon": _icon(host),
            "chunks": CHUNKS,
            "crc": 1,
            "download": download.url,
            "streamable": int(is_streamable(name)),
        }

    def download(self, download: Download) -> dict[str, object]:
        """A row of GET /downloads."""
        row = self.unrestricted(download, download.link.url)
        del row["crc"]
        return row | {"download": download.listed_url, "generated": self.date(download.made)}


def _icon(host: str, suffix: str = "") -> str:
    return f"https://fcdn.real-debrid.com/0001/images/hosters/{host.split('.')[0]}{suffix}.png"
