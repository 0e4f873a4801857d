"""Case 31: SIGTERM in start, in drain, twice: a real process under a supervisor stops, bounded, with status 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.waiting import PATIENCE_S

DAEMON = """
import json, os, signal, sys
import trio, trio.testing
from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.supervisor import Supervisor

def say(word):
    print(word, flush=True)

class Plain:
    async def run(self, *, task_status):
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            say("plain gone")

class NeverReady:
    async def run(self, *, task_status):
        say("starting")
        await trio.sleep_forever()

class NeverDrained(Plain):
    async def drain(self):
        say("draining")
        await trio.sleep_forever()

class Stubborn:
    async def run(self, *, task_status):
        task_status.started()
        with trio.CancelScope(shield=True):
            say("stubborn")
            await trio.sleep_forever()

class Crashing:
    async def run(self, *, task_status):
        raise ValueError("broken")

KINDS = {"start": NeverReady, "drain": NeverDrained, "stubborn": Stubborn, "crash": Crashing}

async def serve(root, nursery):
    await root.run()
    nursery.cancel_scope.cancel()

async def stop(root):
    if stuck := await root.shutdown(3600):
        say(json.dumps(stuck))
        os._exit(1)

async def main():
    root = Supervisor("hermesd")
    await root.add(ServiceSpec("plain", Plain, group=0))
    policy = Policy(drain_s=3600, stop_s=0.5, immediate=0, base_s=3600, cap_s=3600, start_timeout_s=3600)
    await root.add(ServiceSpec("subject", KINDS[sys.argv[1]], policy=policy, group=1))
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, root, nursery)
            await trio.testing.wait_all_tasks_blocked()
            say("up")
            async for _ in signals:
                nursery.start_soon(stop, root)

trio.run(main)
say("stopped")
"""


@contextmanager
def daemon(kind: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a supervisor, a plain service, and one of the kind; killed at the end whatever happens."""
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        patience = threading.Timer(PATIENCE_S, process.kill)  # which ends what it says
        patience.start()
        try:
            yield process
        finally:
            patience.cancel()
            process.kill()


def wait_for(process: subprocess.Popen[str], *words: str) -> None:
    """Read lines until each of the words was said."""
    assert process.stdout is not None
    missing = set(words)
    while missing:
        line = process.stdout.readline()
        assert line, f"ended before it said {missing}"
        missing.discard(line.strip())


@pytest.mark.parametrize("kind", ["start", "crash"])
def test_term_while_a_service_starts_or_is_in_backoff_stops_at_once(kind: str) -> None:
    """Nothing waits for readiness or for the end of a backoff, which are an hour away."""
    with daemon(kind) as process:
        wait_for(process, "up")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "plain gone", "stopped")
        assert process.wait(PATIENCE_S) == 0


def test_a_second_term_during_drain_ends_the_drain() -> None:
    """The first begins a drain that would last, the second sets its deadline to now; the order is kept."""
    with daemon("drain") as process:
        wait_for(process, "up")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "draining")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "plain gone", "stopped")
        assert process.wait(PATIENCE_S) == 0


def test_a_service_that_ignores_its_cancellation_is_named_and_the_process_ends() -> None:
    """The others are stopped, the culprit is reported, and the process can end by itself."""
    with daemon("stubborn") as process:
        wait_for(process, "up", "stubborn")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "plain gone", json.dumps(["subject"]))
        assert process.wait(PATIENCE_S) == 1


def test_a_storm_of_terms_is_one_stop() -> None:
    """Many requests in a row change nothing more."""
    with daemon("drain") as process:
        wait_for(process, "up")
        os.kill(process.pid, signal.SIGTERM)
        wait_for(process, "draining")
        for _ in range(50):  # the kernel keeps one pending at most, so at least one arrives after the drain began
            os.kill(process.pid, signal.SIGTERM)
        wait_for(process, "plain gone", "stopped")
        assert process.wait(PATIENCE_S) == 0
