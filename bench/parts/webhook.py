"""Accepting signed webhooks (bench.webhook), beside the same listener answering 202 without reading or storing."""

from __future__ import annotations

from bench import figures, webhook
from bench.figures import Figure

SECONDS = 1.5


def run(*, runs: int, peers: bool) -> list[Figure]:
    del peers  # the bare listener is what it stands beside
    stored = webhook.measure(SECONDS, runs, bare=False)
    bare = webhook.measure(SECONDS, runs, bare=True)
    name = "the listener alone, nothing stored"
    return [
        Figure(
            "accepting one, median",
            stored["sequential_p50_ms"],
            "ms",
            name,
            bare["sequential_p50_ms"],
            "≤ 3 ms",
            stored["sequential_p50_ms"] <= 3,
            note=f"one in a hundred: {stored['sequential_p99_ms']:.1f} ms",
        ),
        figures.beside("accepted a second, 32 at once", stored["accepts_per_s"], "/s", name, bare["accepts_per_s"]),
        figures.beside(
            "accepting one of 32 at once, median", stored["loaded_p50_ms"], "ms", name, bare["loaded_p50_ms"]
        ),
    ]
