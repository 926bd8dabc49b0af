"""The filesystem: branches, the union of them, remote names, chunked reading, and the adapters to FUSE and WinFsp."""
