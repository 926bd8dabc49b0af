"""Real-Debrid: client, rate limits, the torrents of the account, ranged reading of their content, and a simulator."""
