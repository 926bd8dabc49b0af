"""What the content is, wherever it lies: hashes of files."""
