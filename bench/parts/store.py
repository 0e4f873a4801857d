"""Commits, each fsynced (bench.store), beside the disk's own fsync and sqlite3 of the standard library."""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import trio

from bench import figures, store
from bench.figures import Figure
from bench.measure import median, timed_ms

COUNT = 300


def run(*, runs: int, peers: bool) -> list[Figure]:
    del runs, peers
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "home").mkdir()
        found: dict[str, Any] = trio.run(store.measure, directory / "home")
        fsync, commit = _fsync_ms(directory / "plain"), _commit_ms(directory / "other.db")
    accept, turn = found["accept"], found["turn"]
    many = next(value for key, value in found.items() if key.startswith("accepts_per_s"))
    return [
        figures.beside("an accepted event, median", accept["p50"], "ms", "one write and fsync of a file", fsync),
        figures.beside("an accepted event, median", accept["p50"], "ms", "sqlite3, one row, synchronous=FULL", commit),
        figures.plain("all commits of a turn, median", turn["p50"], "ms"),
        figures.beside("accepts a second, 64 tasks", many, "/s", "sqlite3, one after another", 1e3 / commit),
        figures.plain("opening an existing file", found["open_existing"], "ms"),
    ]


def _fsync_ms(path: Path) -> float:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:

        def once() -> None:
            os.write(fd, b"x" * 500)
            os.fsync(fd)

        return median([timed_ms(once) for _ in range(COUNT)])
    finally:
        os.close(fd)


def _commit_ms(path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, delivery TEXT UNIQUE, text TEXT)")
        insert = "INSERT INTO event (delivery, text) VALUES (?, ?)"
        rows = [(f"d{number}", "hello") for number in range(COUNT)]
        return median([timed_ms(functools.partial(connection.execute, insert, row)) for row in rows])
    finally:
        connection.close()
