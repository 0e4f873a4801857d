"""What crashes comes back, and what a thousand services weigh (bench.supervision)."""

from __future__ import annotations

import json
import subprocess
import sys

from bench import figures
from bench.figures import Figure


def run(*, runs: int, peers: bool) -> list[Figure]:
    del runs, peers
    command = [sys.executable, "-m", "bench.supervision"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    task, process, many = found["restart_task"], found["restart_process"], found["many"]
    return [
        figures.plain("a crashed task is back, median", task["p50_us"] / 1e3, "ms", at_most=1),
        figures.plain("a crashed task is back, one in a hundred", task["p99_us"] / 1e3, "ms"),
        figures.plain("a killed process is back, median", process["p50_us"] / 1e3, "ms", at_most=5),
        figures.plain("a killed process is back, one in a hundred", process["p99_us"] / 1e3, "ms"),
        figures.plain("a service weighs", many["rss_bytes_a_service"] / 1024, "KiB"),
        figures.plain("starting a service", many["start_us_a_service"], "µs"),
        figures.plain("the state of 1,000 services", many["status_of_1000_ms"], "ms"),
        figures.plain("stopping 1,000 services in order", many["stop_1000_ms"], "ms"),
        figures.plain(
            "the stall watchdog adds to a pass of the loop", found["stall_watchdog"]["watchdog_adds_ns"], "ns"
        ),
        figures.plain("a line of the log", found["log"]["log_line_us"], "µs"),
    ]
