"""Sonarr (v3 API: Sonarr 3, 4 and 5)."""

from placement.services.arr import Arr


class Sonarr(Arr):
    """Series and their episodes."""

    kind = "sonarr"
    items_at = "series"
    id_field = "seriesId"
    rescan_command = "RescanSeries"
    refresh_command = "RefreshSeries"
    unknown_items = "includeUnknownSeriesItems"
