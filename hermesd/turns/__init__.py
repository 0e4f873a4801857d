"""The turn engine: one event in, one answer out, every step journalled."""
