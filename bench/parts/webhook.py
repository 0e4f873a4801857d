"""Accepting signed webhooks (bench.webhook), beside the same listener answering 202 without reading or storing
anything, and beside hermes-agent's adapter, which keeps nothing on disk."""

from __future__ import annotations

from bench import figures, webhook
from bench.environments import NotAvailableError, peer
from bench.figures import Figure

SECONDS = 1.5


def run(*, runs: int, peers: bool) -> list[Figure]:
    stored = webhook.measure(SECONDS, runs, bare=False)
    bare = webhook.measure(SECONDS, runs, bare=True)
    name = "the listener alone, nothing stored"
    rows = [
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
        Figure(
            "accepted a second, 32 at once",
            stored["accepts_per_s"],
            "/s",
            name,
            bare["accepts_per_s"],
            "≥ 2,000 /s",
            stored["accepts_per_s"] >= 2000,
        ),
        figures.beside(
            "accepting one of 32 at once, median", stored["loaded_p50_ms"], "ms", name, bare["loaded_p50_ms"]
        ),
    ]
    return rows + (_beside_hermes_agent(stored, runs) if peers else [])


def _beside_hermes_agent(stored: dict[str, float], runs: int) -> list[Figure]:
    try:
        theirs = webhook.measure(SECONDS, runs, bare=False, peer=peer("hermes-agent") / "python")
    except NotAvailableError as error:
        return [figures.not_run("accepting, beside hermes-agent", str(error))]
    name = "hermes-agent, nothing stored"
    return [
        figures.beside("accepting one, median", stored["sequential_p50_ms"], "ms", name, theirs["sequential_p50_ms"]),
        figures.beside("accepted a second, 32 at once", stored["accepts_per_s"], "/s", name, theirs["accepts_per_s"]),
    ]
