"""The status page, `/metrics` and `/healthz` of a running mount."""
