"""The drives of the pool, the policies that choose one for each new file, and the folder layout."""
