"""What qBittorrent 4.6.7 would say of a download: its rows, with its keys and units. Pure.

States and limits are those that make Sonarr and Radarr do the right thing (their QBittorrent clients): they move and
remove only what stands at `pausedUP` with its ratio at the limit, and link what is complete otherwise.
"""

from dataclasses import dataclass
from typing import Any

from debrid.downloads.record import Download, Stage, Wanted
from debrid.downloads.sources import trackers_of

UNKNOWN_ETA = 8_640_000  # seconds
_DONE, _NONE = 1.0, -1  # a ratio at its limit; no limit
_STALLED_AFTER = 900.0  # seconds without bytes and anybody who has it


@dataclass(frozen=True, slots=True)
class Paths:
    """Where clients find the tree: the mount point, without a slash at the end."""

    mount: str

    def save(self, category: str) -> str:
        """The folder of what is complete."""
        return self._below("torrents/complete", category)

    def incomplete(self, category: str) -> str:
        """The folder of what is not."""
        return self._below("torrents/incomplete", category)

    def of(self, path: str) -> str:
        """A path of the tree as clients see it, '' for none."""
        return f"{self.mount}/{path}" if path else ""

    def _below(self, folder: str, category: str) -> str:
        return f"{self.mount}/{folder}/{category}".rstrip("/")


def state(download: Download, wanted: Wanted, now: float) -> str:
    """qBittorrent's word for how far it is."""
    stage = download.stage
    if stage is Stage.FAILED:
        return "error"
    if stage is Stage.COMPLETE:
        return "pausedUP" if download.paused or _given_up(download, wanted) else "stalledUP"
    if download.paused:
        return "pausedDL"
    if download.problem:
        return "stalledDL"
    if stage is Stage.FETCHING:
        silent = not download.speed and not download.seeders and now > download.changed_at + _STALLED_AFTER
        return "stalledDL" if silent else "downloading"
    return {
        Stage.ADDING: "queuedDL",
        Stage.CONVERTING: "metaDL",
        Stage.CHECKING: "checkingDL",
    }.get(stage, "moving")


def _given_up(download: Download, wanted: Wanted) -> bool:
    """Whether a client may move the files and remove the download."""
    return download.complete and (wanted.importing == "move" or download.imported)


# What means nothing here: there are no peers, no queue and no limits but that of the ratio.
_FIXED = {
    "auto_tmm": False,
    "dl_limit": 0,
    "f_l_piece_prio": False,
    "force_start": False,
    "inactive_seeding_time_limit": _NONE,
    "max_inactive_seeding_time": _NONE,
    "max_seeding_time": _NONE,
    "num_incomplete": 0,
    "num_leechs": 0,
    "private": False,
    "reannounce": 0,
    "seeding_time_limit": _NONE,
    "seq_dl": False,
    "super_seeding": False,
    "up_limit": 0,
    "uploaded_session": 0,
    "upspeed": 0,
}


def torrent(download: Download, wanted: Wanted, paths: Paths, now: float) -> dict[str, Any]:
    """A row of torrents/info."""
    done, size = download.complete, download.size
    progress = 1.0 if done else min(download.progress, 0.999)
    left = 0 if done else int(size * (1 - progress))
    limit = _DONE if _given_up(download, wanted) else _NONE
    ratio = _DONE if _given_up(download, wanted) else 0.0
    seeding = int(now - download.done_at) if done else 0
    trackers = trackers_of(download.source)
    return {
        **_FIXED,
        "added_on": int(download.added_at),
        "amount_left": left,
        "availability": 1.0 if done else -1,
        "category": download.category,
        "comment": comment(download),
        "completed": size - left,
        "completion_on": int(download.done_at) if done else -1,
        "content_path": paths.of(download.only or download.path),
        "dlspeed": 0 if done else download.speed,
        "download_path": "" if done else paths.incomplete(download.category),
        "downloaded": size - left,
        "downloaded_session": size - left,
        "eta": 0 if done else _eta(left, download.speed),
        "hash": download.hash,
        "infohash_v1": download.hash if len(download.hash) == 40 else "",
        "infohash_v2": download.v2,
        "last_activity": int(max(download.changed_at, download.done_at)),
        "magnet_uri": download.source,
        "max_ratio": limit,
        "name": download.name,
        "num_complete": download.seeders,
        "num_seeds": 0 if done else download.seeders,
        "priority": 0 if done else 1,
        "progress": progress,
        "ratio": ratio,
        "ratio_limit": limit,
        "root_path": "" if download.single else paths.of(download.path),
        "save_path": _save_path(download, paths),
        "seeding_time": seeding,
        "seen_complete": int(download.done_at) if done else -1,
        "size": size,
        "state": state(download, wanted, now),
        "tags": ", ".join(download.tags),
        "time_active": int(now - download.added_at),
        "total_size": sum(each.bytes for each in download.items) or size,
        "tracker": trackers[0] if trackers else "",
        "trackers_count": len(trackers),
        "uploaded": int(size * ratio),
    }


def comment(download: Download) -> str:
    """What people should know of it."""
    return download.copied or download.problem


def _eta(left: int, speed: int) -> int:
    return left // speed if speed > 0 else UNKNOWN_ETA


def _save_path(download: Download, paths: Paths) -> str:
    if download.complete:
        # Where it really is: a category that was changed since moves nothing.
        return paths.of(download.path.rpartition("/")[0])
    return paths.save(download.category)


def properties(download: Download, wanted: Wanted, paths: Paths, now: float) -> dict[str, Any]:
    """The answer of torrents/properties."""
    row = torrent(download, wanted, paths, now)
    elapsed = max(1, int(now - download.added_at))
    return {
        "addition_date": row["added_on"],
        "comment": row["comment"],
        "completion_date": row["completion_on"],
        "created_by": "",
        "creation_date": -1,
        "dl_limit": -1,
        "dl_speed": row["dlspeed"],
        "dl_speed_avg": row["downloaded"] // elapsed,
        "download_path": row["download_path"],
        "eta": row["eta"],
        "hash": row["hash"],
        "infohash_v1": row["infohash_v1"],
        "infohash_v2": row["infohash_v2"],
        "is_private": False,
        "last_seen": row["last_activity"],
        "name": row["name"],
        "nb_connections": 0,
        "nb_connections_limit": 100,
        "peers": 0,
        "peers_total": 0,
        "piece_size": 0,
        "pieces_have": 0,
        "pieces_num": 0,
        "reannounce": 0,
        "save_path": row["save_path"],
        "seeding_time": row["seeding_time"],
        "seeds": row["num_seeds"],
        "seeds_total": row["num_complete"],
        "share_ratio": row["ratio"],
        "time_elapsed": elapsed,
        "total_downloaded": row["downloaded"],
        "total_downloaded_session": row["downloaded"],
        "total_size": row["size"],
        "total_uploaded": row["uploaded"],
        "total_uploaded_session": 0,
        "total_wasted": 0,
        "up_limit": -1,
        "up_speed": 0,
        "up_speed_avg": 0,
    }


def files(download: Download) -> list[dict[str, Any]]:
    """The answer of torrents/files; empty until the files are known."""
    top = "" if download.single else download.path.rpartition("/")[2] or download.name
    progress = 1.0 if download.complete else min(download.progress, 0.999)
    return [
        {
            "index": index,
            "name": f"{top}{item.path}" if top else item.path.lstrip("/"),
            "size": item.bytes,
            "progress": progress if item.wanted else 0,
            "priority": 1 if item.wanted else 0,
            "availability": 1.0 if download.complete else -1,
            "piece_range": [0, 0],
            **({"is_seed": download.complete} if index == 0 else {}),
        }
        for index, item in enumerate(download.items)
    ]


def trackers(download: Download) -> list[dict[str, Any]]:
    """The answer of torrents/trackers."""
    own = [_tracker(f"** [{name}] **", -1) for name in ("DHT", "PeX", "LSD")]
    return own + [_tracker(url, tier) for tier, url in enumerate(trackers_of(download.source))]


def _tracker(url: str, tier: int) -> dict[str, Any]:
    counts = dict.fromkeys(("num_peers", "num_seeds", "num_leeches", "num_downloaded"), 0)
    return {"url": url, "tier": tier, "status": 0 if tier < 0 else 1, "msg": "", **counts}


def category(name: str, paths: Paths) -> dict[str, Any]:
    """A category, with the folder that its downloads come to."""
    return {"name": name, "savePath": paths.save(name)}


def preferences(paths: Paths) -> dict[str, Any]:
    """The settings that clients look at; the rest is as a new qBittorrent has it."""
    return {
        "add_trackers_enabled": False,
        "alt_dl_limit": 0,
        "alt_up_limit": 0,
        "auto_tmm_enabled": False,
        "create_subfolder_enabled": True,
        "dht": True,
        "dl_limit": 0,
        "encryption": 0,
        "export_dir": "",
        "incomplete_files_ext": False,
        "listen_port": 0,
        "locale": "en",
        "lsd": False,
        "max_active_downloads": -1,
        "max_active_torrents": -1,
        "max_active_uploads": -1,
        "max_inactive_seeding_time": -1,
        "max_inactive_seeding_time_enabled": False,
        "max_ratio": -1,
        "max_ratio_act": 0,
        "max_ratio_enabled": False,
        "max_seeding_time": -1,
        "max_seeding_time_enabled": False,
        "pex": False,
        "preallocate_all": False,
        "queueing_enabled": True,
        "save_path": paths.save(""),
        "scan_dirs": {},
        "start_paused_enabled": False,
        "temp_path": paths.incomplete(""),
        "temp_path_enabled": True,
        "torrent_content_layout": "Original",
        "up_limit": 0,
        "upnp": False,
    }
