"""Commands of a daemon that dies, of a machine that is full, and of a program that floods: with real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from hermesd.tools.terminal.leftovers import TAG, Mark, find, reap_leftovers, tag_prefix

DAEMON = """
import os, sys, trio
from pathlib import Path
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.leftovers import tag_prefix
from hermesd.tools.terminal.local import shell_argv
from hermesd.tools.terminal.processes import ProcessTable

async def main(home, command):
    table = ProcessTable(tag_prefix(home))
    async with trio.open_nursery() as nursery:
        await nursery.start(table.run)
        table.start(shell_argv(command), command=command, session_id="s", cwd=home, env=child_environment(os.environ))
        await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]), sys.argv[2])
"""

BARE = """
import os, resource, sys, trio
from pathlib import Path
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.leftovers import tag_prefix
from hermesd.tools.terminal.local import Spawn, run_to_end, shell_argv
from hermesd.tools.terminal.output import Output

async def run(command):
    output = Output(head=32768, tail=32768)
    tag = tag_prefix(Path("/x")) + str(os.getpid())
    spawn = Spawn(shell_argv(command), Path("/"), child_environment(os.environ), tag)
    finished = await run_to_end(spawn, output, timeout_s=60)
    return finished, output
"""


def run_python(code: str, *, check: bool = True) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def has_ended(pidfd: int, *, within_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


@pytest.mark.parametrize(
    "leaver",
    [
        "echo $$ > ready; exec sleep 60",
        "setsid sh -c 'echo $$ > ready; exec sleep 60' & exec sleep 60",
        "sh -c '(setsid sh -c \"echo \\$\\$ > ready; exec sleep 60\" > /dev/null 2>&1 &)'; sleep 60",
        "sh -c 'trap \"\" TERM HUP; echo $$ > ready; while :; do sleep 1; done'",
    ],
)
async def test_what_a_killed_daemon_left_running_is_ended_at_the_next_boot(tmp_path: Path, leaver: str) -> None:
    """By the tag of this home, whoever the processes' parent is by now; another home's are left alone."""
    home = tmp_path / "home"
    home.mkdir()
    os.mkfifo(home / "ready")
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(home), leaver])
    stranger = subprocess.Popen(["sleep", "60"], env={TAG: tag_prefix(tmp_path / "other") + "1"})
    try:
        with trio.fail_after(60):
            text = await trio.to_thread.run_sync((home / "ready").read_text, abandon_on_cancel=True)
        left = os.pidfd_open(int(text))
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        assert not has_ended(left, within_s=0)
        assert await reap_leftovers(tag_prefix(home)) >= 1
        assert has_ended(left, within_s=60)
        os.close(left)
        assert stranger.poll() is None
        assert await reap_leftovers(tag_prefix(home)) == 0
    finally:
        daemon.kill()
        stranger.kill()
        daemon.wait()
        stranger.wait()


def test_a_tag_in_the_middle_of_a_value_is_no_tag(tmp_path: Path) -> None:
    """Only a variable of that name counts."""
    prefix = tag_prefix(tmp_path)
    child = subprocess.Popen(["sleep", "60"], env={"X": f"{TAG}={prefix}1", f"NOT_{TAG}": prefix})
    try:
        assert find(Mark(prefix)) == []
    finally:
        child.kill()
        child.wait()


def test_we_never_find_ourselves(tmp_path: Path) -> None:
    """A daemon started from a daemon's own terminal bears its tag, and must not end itself."""
    prefix = tag_prefix(tmp_path)
    code = (
        "from hermesd.tools.terminal.leftovers import Mark, find, kill_marked\n"
        f"print(find(Mark({prefix!r})), kill_marked(Mark({prefix!r})))"
    )
    env = {**os.environ, TAG: prefix + "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[] 0\n"


def test_a_flood_of_output_takes_no_memory() -> None:
    """100 MB pass through; what stays is the cap."""
    out = run_python(
        BARE
        + """
async def main():
    await run("true; true")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finished, output = await run("yes | head -c 104857600")
    print(finished.status, output.total, len(output.text()) < 66000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
trio.run(main)
"""
    )
    first, grown_kib = out.splitlines()
    assert first == "0 104857600 True"
    assert int(grown_kib) < 4096


@pytest.mark.skipif(os.geteuid() != 0, reason="needs an unused user id to lower its process limit")
def test_no_more_processes_is_an_error_and_not_a_crash() -> None:
    """fork says EAGAIN (RLIMIT_NPROC of an otherwise unused user); afterwards all is well again."""
    out = run_python(
        BARE
        + """
async def main():
    os.setgid(54321); os.setuid(54321)
    import threading
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    await trio.to_thread.run_sync(lambda: None)
    resource.setrlimit(resource.RLIMIT_NPROC, (threading.active_count(), hard))
    try:
        await run("true; true")
    except OSError as error:
        print(error.strerror)
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    finished, _ = await run("true; true")
    print(finished.status, len(os.listdir("/proc/self/fd")) < 20)
trio.run(main)
"""
    )
    assert out.splitlines() == ["Resource temporarily unavailable", "0 True"]


def test_a_fork_bomb_is_ended_with_its_call() -> None:
    """It stays in its group; the group is killed whole."""
    out = run_python(
        BARE
        + """
from hermesd.tools.terminal.leftovers import Mark, find
async def main():
    output = Output(head=1000, tail=1000)
    tag = tag_prefix(Path("/bomb")) + str(os.getpid())
    bomb = "ulimit -u 2000; f() { sleep 0.05; f & f & wait; }; f"
    spawn = Spawn(shell_argv(bomb), Path("/"), child_environment(os.environ), tag)
    finished = await run_to_end(spawn, output, timeout_s=0.6)
    print(finished.timed_out, find(Mark(tag)))
trio.run(main)
"""
    )
    assert out == "True []\n"
