"""The Web API of qBittorrent over `debrid.downloads`, as Sonarr, Radarr and other clients use it."""
