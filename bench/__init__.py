"""Ours beside others, on the same work in one run: see docs/benchmarks.md."""
