"""sd_notify messages as a supervisor receives them, what it hands over at start, and the sign of life."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from hermesd.deploy.heartbeat import beat
from hermesd.deploy.notify import Notifier
from hermesd.errors import StoreError


class Supervisor:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}

    def message(self) -> dict[str, str]:
        return self.message_with_descriptors()[0]

    def message_with_descriptors(self) -> tuple[dict[str, str], list[int]]:
        text, ancillary, _, _ = self.socket.recvmsg(4096, 1024)
        found = array.array("i")
        for level, kind, data in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            found.frombytes(data)
        return dict(line.split("=", 1) for line in text.decode().splitlines()), list(found)

    def count(self) -> int:
        found = 0
        while True:
            try:
                self.message()
            except BlockingIOError:
                return found
            found += 1


@pytest.fixture(params=["a path", "an abstract address"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(str(tmp_path / "n") if request.param == "a path" else f"\0hermesd-{os.getpid()}-{tmp_path.name}")
    yield found
    found.socket.close()


def test_ready_names_the_process_its_status_and_writes_the_readiness_line_once(supervisor: Supervisor) -> None:
    """READY, STATUS, MAINPID; the s6 descriptor gets its newline and is closed."""
    reader, writer = os.pipe()
    notifier = Notifier(writer, environment=supervisor.environment)
    assert supervisor.environment == {}
    notifier.ready("up\nWATCHDOG=trigger")
    notifier.ready("again")
    assert supervisor.message() == {"READY": "1", "STATUS": "up WATCHDOG=trigger", "MAINPID": str(os.getpid())}
    assert supervisor.message()["STATUS"] == "again"
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"\n"


def test_a_reload_is_dated_on_the_monotonic_clock(supervisor: Supervisor) -> None:
    """RELOADING with MONOTONIC_USEC, as Type=notify-reload wants it."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(environment=supervisor.environment).reloading()
    found = supervisor.message()
    assert found["RELOADING"] == "1"
    assert before <= int(found["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_stopping_and_a_status_are_told(supervisor: Supervisor) -> None:
    """One message each."""
    notifier = Notifier(environment=supervisor.environment)
    notifier.stopping()
    notifier.status("waiting")
    assert supervisor.message()["STOPPING"] == "1"
    assert supervisor.message() == {"STATUS": "waiting"}


def test_descriptors_are_handed_over_and_taken_back_by_name(supervisor: Supervisor) -> None:
    """FDSTORE with the descriptor itself, FDSTOREREMOVE."""
    notifier = Notifier(environment=supervisor.environment)
    here, there = socket.socketpair()
    with here, there:
        notifier.store("a-name", [there.fileno()])
        found, (fd,) = supervisor.message_with_descriptors()
        assert found == {"FDSTORE": "1", "FDNAME": "a-name"}
        with socket.socket(fileno=fd) as copy:
            copy.send(b"x")
            assert here.recv(2) == b"x"
    notifier.unstore("a-name")
    assert supervisor.message() == {"FDSTOREREMOVE": "1", "FDNAME": "a-name"}


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    """Without the variable, and with one that leads nowhere."""
    cases: list[tuple[dict[str, str], bool]] = [({}, False), ({"NOTIFY_SOCKET": str(tmp_path / "gone")}, True)]
    for environment, is_named in cases:
        notifier = Notifier(environment=environment)
        notifier.ready("up")
        assert notifier.is_heard is is_named
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "-3"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_heeded_only_when_it_is_meant_for_this_process(
    variables: dict[str, str], wanted: float
) -> None:
    """sd_watchdog_enabled(3); the variables are taken out."""
    environment = dict(variables)
    assert Notifier(environment=environment).watchdog_s == wanted
    assert environment == {}


def watched(supervisor: Supervisor, interval_s: float) -> Notifier:
    usec = str(round(interval_s * 1_000_000))
    return Notifier(environment={**supervisor.environment, "WATCHDOG_USEC": usec})


async def test_signs_of_life_come_twice_an_interval_while_the_store_commits(
    supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    """A store that refuses is alive, too."""
    commits = 0

    async def commit() -> None:
        nonlocal commits
        commits += 1
        await trio.lowlevel.checkpoint()
        if commits > 5:
            raise StoreError("the disk is full")

    with trio.move_on_after(99):
        await beat(watched(supervisor, 20), commit)
    assert commits == 10
    assert supervisor.count() == 10


async def test_a_store_that_does_not_commit_stops_the_signs_of_life_until_it_does(
    supervisor: Supervisor, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, once."""
    wedged = trio.Event()

    async def commit() -> None:
        await wedged.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat, watched(supervisor, 20), commit)
        await trio.sleep(95)
        assert supervisor.count() == 0
        assert [record.message for record in caplog.records if "no sign of life" in record.message] == [
            "the store has not committed for 10.0 s: no sign of life is sent to the watchdog"
        ]
        wedged.set()
        await trio.sleep(0.001)
        assert supervisor.message() == {"WATCHDOG": "1"}
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_nothing_is_done(autojump_clock: trio.testing.MockClock) -> None:
    """No timer, so no wake-up."""

    async def commit() -> None:
        raise AssertionError("asked")

    await beat(Notifier(environment={}), commit)
    assert trio.current_time() == autojump_clock.current_time()


INHERIT = """
import os, sys
from hermesd.deploy.inherited import take_inherited
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
os.environ["LISTEN_FDS"] = sys.argv[2]
os.environ["LISTEN_FDNAMES"] = sys.argv[3]
print([(name, fd, os.get_inheritable(fd)) for name, fd in take_inherited()])
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


@pytest.mark.parametrize(
    ("whose", "count", "names", "wanted"),
    [
        (
            "ours",
            "2",
            "hermesd.socket:hermesd-listener",
            [("hermesd.socket", 3, False), ("hermesd-listener", 4, False)],
        ),
        ("ours", "2", "only-one", [("unknown", 3, False), ("unknown", 4, False)]),
        ("theirs", "2", "a:b", []),
        ("ours", "-1", "", []),
        ("ours", "", "", []),
    ],
)
def test_descriptors_of_the_supervisor_are_taken_by_name_and_not_passed_on(
    whose: str, count: str, names: str, wanted: list[tuple[str, int, bool]]
) -> None:
    """sd_listen_fds_with_names(3); the variables are gone afterwards."""
    command = f'exec "$0" -c "$1" {whose} "{count}" "{names}" 3</dev/null 4</dev/null'
    done = subprocess.run(["bash", "-c", command, sys.executable, INHERIT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [repr(wanted), "[]"]
