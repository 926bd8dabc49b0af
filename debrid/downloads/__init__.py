"""What a download client adds, from a magnet link to files in the tree; the Web API in front of it is `qbittorrent`."""
