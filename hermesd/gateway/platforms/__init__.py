"""Chat platforms, a file each."""
