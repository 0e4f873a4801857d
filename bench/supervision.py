"""Supervision figures: how fast things come back, what they weigh, what stopping and logging cost; prints JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from hermesd.redact import redact
from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.stall import StallWatchdog
from hermesd.supervision.supervisor import Supervisor

AT_ONCE = Policy(immediate=10**9, max_restarts=10**9)
SERVICES = 1000


class Idle:
    async def run(self, *, task_status):
        task_status.started()
        await trio.sleep_forever()


class Crashing:
    """Breaks when told, and notes the time from the raise to the next started()."""

    def __init__(self, told, took_s):
        self.told, self.took_s = told, took_s

    async def run(self, *, task_status):
        task_status.started()
        if self.told["at"]:
            self.took_s.append(time.perf_counter() - self.told["at"])
        self.told["ready"].set()
        await self.told["go"].wait()
        self.told["go"] = trio.Event()
        self.told["at"] = time.perf_counter()
        raise ValueError("told to")


class OwnsProcess:
    """A service that is one child process, watched by its pidfd."""

    def __init__(self, state):
        self.state = state

    async def run(self, *, task_status):
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        fd = os.pidfd_open(process.pid)
        try:
            self.state["pid"] = process.pid
            self.state["ready"].set()
            task_status.started()
            await trio.lowlevel.wait_readable(fd)
            raise ValueError("the process has ended")
        finally:
            os.close(fd)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def spread(times_s):
    ordered = sorted(times_s)
    p99 = ordered[int(len(ordered) * 0.99)]
    return {"p50_us": round(statistics.median(ordered) * 1e6, 1), "p99_us": round(p99 * 1e6, 1)}


async def restart_task(root, count=1000):
    told = {"go": trio.Event(), "ready": trio.Event(), "at": 0.0}
    took_s = []
    await root.add(ServiceSpec("crashing", lambda: Crashing(told, took_s), policy=AT_ONCE))
    for _ in range(count):
        told["ready"] = trio.Event()
        told["go"].set()
        await told["ready"].wait()
    await root.remove("crashing")
    return spread(took_s)


async def restart_process(root, count=100):
    state = {"ready": trio.Event()}
    took_s = []
    await root.add(ServiceSpec("process", lambda: OwnsProcess(state), policy=AT_ONCE))
    for _ in range(count):
        state["ready"] = trio.Event()
        began = time.perf_counter()
        os.kill(state["pid"], signal.SIGKILL)
        await state["ready"].wait()
        took_s.append(time.perf_counter() - began)
    await root.remove("process")
    return spread(took_s)


def rss_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def many():
    root = Supervisor("many")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        before, began = rss_bytes(), time.perf_counter()
        for number in range(SERVICES):
            await root.add(ServiceSpec(f"s{number}", Idle), wait=False)
        await wait_all_tasks_blocked()
        start_s = time.perf_counter() - began
        weight = (rss_bytes() - before) / SERVICES
        began = time.perf_counter()
        root.status()
        status_s = time.perf_counter() - began
        began = time.perf_counter()
        await root.shutdown(10)
        stop_s = time.perf_counter() - began
    return {
        "rss_bytes_a_service": round(weight),
        "start_us_a_service": round(start_s / SERVICES * 1e6, 1),
        "status_of_1000_ms": round(status_s * 1e3, 2),
        "stop_1000_ms": round(stop_s * 1e3, 1),
    }


async def cancel_many():
    root = Supervisor("many")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in range(SERVICES):
            await root.add(ServiceSpec(f"s{number}", Idle), wait=False)
        await wait_all_tasks_blocked()
        began = time.perf_counter()
        nursery.cancel_scope.cancel()
    return {"cancel_1000_ms": round((time.perf_counter() - began) * 1e3, 1)}


async def watchdog_cost(passes=20_000, rounds=9):
    """Nanoseconds that the watchdog adds to one pass of the loop, as the median of paired runs."""

    async def one():
        began = time.perf_counter()
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        return (time.perf_counter() - began) / passes * 1e9

    bare, added = [], []
    for _ in range(rounds):
        without = await one()
        with StallWatchdog().watching():
            added.append(await one() - without)
        bare.append(without)
    return {"pass_ns": round(statistics.median(bare)), "watchdog_adds_ns": round(statistics.median(added))}


def log_cost(count=3000):
    import tempfile

    from hermesd import log

    text = "profile/coder/telegram: connection refused by 192.0.2.1:443 after 3 attempts; the next is in 3.2 s"
    with tempfile.TemporaryDirectory() as directory, Path(os.devnull).open("w") as nowhere:
        log.configure(Path(directory), stderr=nowhere)
        logger = logging.getLogger("hermesd.bench")
        began = time.perf_counter()
        for _ in range(count):
            logger.info(text)
        line_s = (time.perf_counter() - began) / count
        began = time.perf_counter()
        for _ in range(count):
            log.audit(uid=1000, pid=42, method="service.restart", target="profile/coder/telegram")
        audit_s = (time.perf_counter() - began) / count
        log.close()
    began = time.perf_counter()
    for _ in range(count):
        redact(text)
    redact_s = (time.perf_counter() - began) / count
    return {
        "log_line_us": round(line_s * 1e6, 1),
        "audit_line_us": round(audit_s * 1e6, 1),
        "redact_us": round(redact_s * 1e6, 2),
    }


async def main():
    found = {"many": await many(), "cancel": await cancel_many()}
    root = Supervisor("bench")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        found["restart_task"] = await restart_task(root)
        found["restart_process"] = await restart_process(root)
        await root.shutdown(1)
    found["stall_watchdog"] = await watchdog_cost()
    found["log"] = log_cost()
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    logging.getLogger("hermesd.supervision").addHandler(logging.FileHandler(os.devnull))  # render each traceback
    trio.run(main)
