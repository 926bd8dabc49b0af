"""Radarr (v3 API: Radarr 3 to 6)."""

from placement.services.arr import Arr


class Radarr(Arr):
    """Films."""

    kind = "radarr"
    items_at = "movie"
    id_field = "movieId"
    rescan_command = "RescanMovie"
    refresh_command = "RefreshMovie"
    unknown_items = "includeUnknownMovieItems"
