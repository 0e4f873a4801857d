"""A call that goes into a container: its words, its terminal, its statuses, its signals; docker and podman stand in."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from hermesctl.routing import route as routing
from hermesctl.routing import spinner
from hermesctl.routing.backend import ABSENT, REFUSED, RUNNING, UNANSWERED, age, reach
from hermesctl.routing.inside import Entered, ends_with, entered, pass_signal
from hermesctl.routing.marker import Marker
from hermesctl.routing.route import await_container, verb_of
from hermesd.errors import DeniedError, NotFoundError, UnreachableError
from tests.servers.stand_in import RUNNING as RUNS
from tests.servers.stand_in import StandIns
from tests.servers.terminal import at_terminal

BIN = "/data/current-package/bin/hermesctl"
FOUR = ("TERM", "COLORTERM", "LANG", "LC_ALL")


class Caller:
    """A host with stand-ins, a marker and an environment."""

    def __init__(self, place: Path) -> None:
        self.stand_ins = StandIns(place / "bin")
        self.home = place / "home"
        self.home.mkdir(mode=0o700)
        environment = {name: value for name, value in os.environ.items() if name not in (*FOUR, "HERMES_DEV")}
        self.env = {**environment, "PATH": self.stand_ins.path, "HERMES_HOME": str(self.home)}
        self.mark()

    def mark(self, *lines: str) -> None:
        (self.home / ".container-mode").write_text("\n".join(lines))

    def command(self, *words: str) -> list[str]:
        # as on a host: these tests may run in a container themselves
        outside = "import sys, hermesctl.routing.place as place; place.SIGNS = ()"
        run = "from hermesctl.fast import run; sys.exit(run(sys.argv))"
        return [sys.executable, "-c", f"{outside}; {run}", *words]

    def ctl(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextlib.contextmanager
    def started(self, *words: str, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """A call whose program has said that it is ready; killed on exit."""
        process = subprocess.Popen(
            [*before, *self.command(*words)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdout
            assert select.select([process.stdout], [], [], 30)[0], "it says nothing"
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path)


@pytest.mark.parametrize("backend", ["docker", "podman"])
@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("-p", "coder", "status", "--json"),
        ("sessions", "list", "--profile=coder"),
        ("--help",),
        ("chat", "-q", "two words; $(touch x) \"'`", ""),
        (),
    ],
)
def test_the_call_becomes_an_exec_with_its_words_unchanged(
    caller: Caller, backend: str, words: tuple[str, ...]
) -> None:
    """Word by word, whatever the verb and wherever ``-p`` stands."""
    caller.stand_ins.put(backend, RUNS)
    caller.mark(f"backend={backend}")
    done = caller.ctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    [call] = caller.stand_ins.calls(verb="exec")
    assert call == [backend, "exec", "-i", "-u", "hermes", "hermes-agent", BIN, *words]


def test_variables_of_the_terminal_go_along_if_they_are_set_and_sound(caller: Caller) -> None:
    """Four of them and no others; each is one word."""
    caller.stand_ins.put("docker", RUNS)
    caller.ctl("chat", TERM="xterm", LANG="de_DE.UTF-8", COLORTERM="a\x1bb", LC_ALL="", SECRET="s")
    [call] = caller.stand_ins.calls(verb="exec")
    assert call[1:8] == ["exec", "-i", "-u", "hermes", "-e", "TERM=xterm", "-e"]
    assert call[8:] == ["LANG=de_DE.UTF-8", "hermes-agent", BIN, "chat"]


def test_every_value_of_the_marker_is_one_word(caller: Caller, tmp_path: Path) -> None:
    """Blanks, quotes and what a shell would run."""
    caller.stand_ins.put("docker", RUNS)
    name, program = f"a b\"; touch {tmp_path}/x; '$(touch {tmp_path}/x)", "/opt/my `id`/hermesctl"
    caller.mark(f"container_name={name}", "exec_user=me too", f"hermes_bin={program}")
    assert caller.ctl("status").returncode == 0
    [call] = caller.stand_ins.calls(verb="exec")
    assert call == ["docker", "exec", "-i", "-u", "me too", name, program, "status"]
    assert not (tmp_path / "x").exists()


def test_bytes_that_are_no_text_arrive_as_they_are(caller: Caller) -> None:
    """File names may be anything."""
    caller.stand_ins.put("docker", RUNS)
    caller.ctl("chat", os.fsdecode(b"\xff"))
    assert caller.stand_ins.calls(verb="exec")[0][-1] == os.fsdecode(b"\xff")


def test_a_terminal_is_asked_for_only_when_both_ends_are_one(caller: Caller) -> None:
    """Input alone is not enough."""
    caller.stand_ins.put("docker", RUNS)
    with at_terminal(caller.command("chat"), caller.env) as terminal:
        assert terminal.wait() == 0
    with at_terminal(["sh", "-c", '"$@" | cat', "sh", *caller.command("chat")], caller.env) as terminal:
        assert terminal.wait() == 0
    assert [call[2] for call in caller.stand_ins.calls(verb="exec")] == ["-it", "-i"]


@pytest.mark.parametrize("env", [{"HERMES_DEV": "1"}, {}])
def test_only_hermes_dev_stays_on_the_host(caller: Caller, env: dict[str, str]) -> None:
    """Without it, a call that cannot get in fails: it never runs here instead."""
    caller.stand_ins.put("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    caller.mark("container_name=not possible")  # no container can have this name: no retry
    done = caller.ctl("completion", "fish", **env)
    assert ("complete -c hermesctl" in done.stdout) == bool(env)
    assert (done.returncode == 0) == bool(env)
    assert bool(caller.stand_ins.calls()) != bool(env)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("container", "--help"), "ensure"),
        (("-p", "x", "container", "--help"), "ensure"),
        (("activate", "--help"), "--manifest"),
    ],
)
def test_the_verbs_for_the_container_itself_stay_on_the_host(
    caller: Caller, words: tuple[str, ...], shown: str
) -> None:
    """There is nothing inside that could start it, or that has the host's manifest."""
    caller.stand_ins.put("docker", RUNS)
    assert shown in caller.ctl(*words).stdout
    assert not caller.stand_ins.calls()


def test_verb_of_passes_over_flags_and_their_values() -> None:
    """Also where there is no verb."""
    assert verb_of(["-p", "container", "--json", "status"]) == "status"
    assert verb_of(["--profile=container", "container"]) == "container"
    assert verb_of(["-p"]) == verb_of([]) == ""


def test_an_unknown_key_is_told_and_a_wrong_marker_is_a_configuration_error(caller: Caller) -> None:
    """78, and nothing is run."""
    caller.stand_ins.put("docker", RUNS)
    caller.mark("colour=red")
    done = caller.ctl("status")
    assert done.returncode == 0
    assert "unknown key 'colour'" in done.stderr
    caller.mark("backend=lxc")
    done = caller.ctl("status")
    assert done.returncode == 78
    assert "there is no backend 'lxc'" in done.stderr
    assert len(caller.stand_ins.calls(verb="exec")) == 1


@pytest.mark.parametrize("status", [0, 1, 2, 37, 69, 130, 255])
def test_the_exit_status_comes_back(caller: Caller, status: int) -> None:
    """As it is."""
    caller.stand_ins.put("docker", f"{RUNS}\nexit {status}")
    assert caller.ctl("status").returncode == status
    assert len(caller.stand_ins.calls(verb="exec")) == 1


@pytest.mark.parametrize("status", [126, 127])
def test_a_status_of_the_program_itself_is_told_from_dockers(caller: Caller, status: int) -> None:
    """The program is there for this user, so the status was the program's: it is not run again."""
    caller.stand_ins.put("docker", f'{RUNS}\ncase "$*" in *" test -x "*) exit 0;; esac; exit {status}')
    assert caller.ctl("status").returncode == status
    assert [call[-1] for call in caller.stand_ins.calls(verb="exec")] == ["status", BIN]


@pytest.mark.parametrize("answer", ["exit 1", "echo 'unable to find user hermes' >&2; exit 126"])
def test_a_user_or_program_that_never_comes_is_an_error(stand_ins: StandIns, clock: Clock, answer: str) -> None:
    """After the same patience as for a container."""
    stand_ins.put("docker", answer)
    with pytest.raises(UnreachableError, match="cannot be run as hermes, also not after 10 s: ") as refused:
        routing._await_program(Marker(), ("docker",), has_terminal=False)
    assert "docker logs hermes-agent" in refused.value.next_step
    assert clock.now >= 10


def test_an_image_without_test_is_believed(stand_ins: StandIns) -> None:
    """Whether the program is there shows when it is run."""
    stand_ins.put("docker", """echo 'exec: "test": executable file not found in $PATH: unknown' >&2; exit 127""")
    assert not routing._await_program(Marker(), ("docker",), has_terminal=False)


def test_a_program_that_is_not_there_yet_is_waited_for_and_run_once(caller: Caller) -> None:
    """The entrypoint has not made the user yet: docker says 126, and nothing has run."""
    once = 'n="${0%/*}/count"; echo >>"$n"; [ "$(wc -l <"$n")" -gt 3 ] || { echo "unable to find user" >&2; exit 126; }'
    caller.stand_ins.put("docker", f"{RUNS}\n{once}\necho ran")
    done = caller.ctl("status")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert [call[-1] for call in caller.stand_ins.calls(verb="exec")] == ["status", *[BIN] * 3, "status"]


def test_a_container_that_has_just_started_is_asked_for_the_program_first(caller: Caller) -> None:
    """So that nothing is said by docker while the entrypoint still makes the user."""
    count = (
        'n="${0%/*}/count"; echo >>"$n"; [ "$(wc -l <"$n")" -gt 2 ] || { echo "unable to find user" >&2; exit 126; }'
    )
    young = 'case "$1" in inspect) date -u "+running %Y-%m-%dT%H:%M:%S.5Z"; exit;; esac'
    caller.stand_ins.put("docker", f"{young}\n{count}\necho ran")
    done = caller.ctl("status")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    assert [call[-1] for call in caller.stand_ins.calls(verb="exec")] == [*[BIN] * 3, "status"]


def test_ages_are_read_from_the_times_of_both_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no time is long ago."""
    monkeypatch.setattr(time, "time", lambda: 1_700_000_010.0)
    assert age("2023-11-14T22:13:20.123456789Z") == 10
    assert age("2023-11-15 00:13:20.5 +0200 CEST") == 10
    assert age("2023-11-14 22:13:20 +0000 UTC") == 10
    assert age("") == age("0001-01-01") == age("9999-99-99T00:00:00Z") == math.inf


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(caller: Caller, closed: str) -> None:
    """Nothing else takes their place."""
    caller.stand_ins.put("docker", f'{RUNS}\nls -l /proc/$$/fd >"${{0%/*}}/fds"; exit 7')
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *caller.command("chat")], env=caller.env, check=False)
    assert done.returncode == 7
    assert (caller.stand_ins.place / "fds").read_text().count("/dev/null") >= 1


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        ours = SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep)  # not that of subprocess
        monkeypatch.setattr(routing, "time", ours)
        monkeypatch.setattr(spinner, "time", ours)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """For code that runs in this process, as an ordinary user."""
    found = StandIns(tmp_path / "bin")
    monkeypatch.setenv("PATH", found.path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return found


@pytest.mark.parametrize(("has_terminal", "patience_s"), [(True, 5), (False, 10)])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("echo exited", "the container is not running (exited)"),
        ("echo 'Error: No such container: hermes-agent' >&2; exit 1", "there is no such container"),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "docker does not answer: Cannot connect"),
    ],
)
def test_what_is_not_up_is_tried_again_and_then_an_error(
    stand_ins: StandIns, clock: Clock, has_terminal: bool, patience_s: float, answer: str, told: str
) -> None:
    """5 s for a person, 10 s for a script, twice a second."""
    stand_ins.put("docker", answer)
    with pytest.raises(UnreachableError, match="also not after") as refused:
        await_container(Marker(), has_terminal=has_terminal)
    assert told in refused.value.what
    assert refused.value.exit_status == 69
    assert "HERMES_DEV=1" in refused.value.next_step
    assert patience_s <= clock.now <= patience_s + routing.PAUSE_S
    assert len(stand_ins.calls()) == patience_s / routing.PAUSE_S + 1


def test_what_comes_up_meanwhile_is_taken(stand_ins: StandIns, clock: Clock) -> None:
    """At the third look."""
    stand_ins.put("docker", '[ "$(grep -c inspect "${0%/*}/calls" -a)" -ge 3 ] && echo running || echo restarting')
    assert await_container(Marker(), has_terminal=False).seen.state == RUNNING
    assert clock.now == 2 * routing.PAUSE_S


PASSWORD = "echo 'sudo: a password is required' >&2; exit 1"
AS_ROOT = 'shift; export AS_ROOT=1; exec "$@"'
DENIED = "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1"


def test_sudo_is_tried_only_when_the_plain_call_is_refused(stand_ins: StandIns) -> None:
    """A container that is absent or down is no refusal by docker."""
    stand_ins.put("sudo", AS_ROOT)
    for answer, state in [("echo running", RUNNING), ("echo 'No such container: x' >&2; exit 1", ABSENT)]:
        stand_ins.put("docker", answer)
        assert reach("docker", "x") == (("docker",), reach("docker", "x").seen)
        assert reach("docker", "x").seen.state == state
    assert not stand_ins.calls("sudo")
    stand_ins.put("docker", f'[ "$AS_ROOT" ] && echo running && exit\n{DENIED}')
    assert reach("docker", "x") == (("sudo", "-n", "docker"), (RUNNING, "", math.inf))
    assert stand_ins.calls("sudo")[0][1:3] == ["-n", "docker"]


def test_podmans_containers_of_root_are_looked_for_with_sudo(stand_ins: StandIns) -> None:
    """To an ordinary user they do not exist."""
    stand_ins.put("sudo", AS_ROOT)
    stand_ins.put("podman", '[ "$AS_ROOT" ] && echo running && exit\necho "no container with name x" >&2; exit 125')
    assert reach("podman", "x") == (("sudo", "-n", "podman"), (RUNNING, "", math.inf))


def test_when_sudo_is_refused_too_the_error_says_what_to_do(stand_ins: StandIns) -> None:
    """docker: 77. podman: the container may simply not be there, so that is said, and that sudo is refused."""
    stand_ins.put("sudo", PASSWORD)
    stand_ins.put("docker", DENIED)
    with pytest.raises(DeniedError, match="a password is required") as refused:
        reach("docker", "x")
    assert "NOPASSWD" in refused.value.next_step
    stand_ins.put("podman", "echo 'no container with name x' >&2; exit 125")
    found = reach("podman", "x")
    assert (found.prefix, found.seen.state) == (("podman",), ABSENT)
    assert "sudo -n is refused" in found.seen.detail


def test_root_never_calls_sudo(stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be no other answer."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stand_ins.put("sudo", AS_ROOT)
    stand_ins.put("docker", DENIED)
    assert reach("docker", "x").seen.state == REFUSED
    assert not stand_ins.calls("sudo")


def test_words_of_the_backend_are_bounded_and_printable(stand_ins: StandIns) -> None:
    """They end up in an error."""
    stand_ins.put("docker", "printf 'boom \\033[2J%0999d' 1 >&2; exit 1")
    seen = reach("docker", "x").seen
    assert seen.state == UNANSWERED
    assert seen.detail.isprintable()
    assert len(seen.detail) == 200


def test_a_backend_that_is_not_installed_is_an_error_at_once(caller: Caller) -> None:
    """There is nothing to wait for."""
    caller.env["PATH"] = str(caller.stand_ins.place)
    done = caller.ctl("status")
    assert done.returncode == 69
    assert "docker is not installed" in done.stderr


@pytest.fixture
def asleep(caller: Caller) -> Iterator[subprocess.Popen[bytes]]:
    """A routed call whose client waits; signals are refused inside."""
    caller.stand_ins.put("docker", f'{RUNS}\ncase "$*" in *pass-signal*) exit 1;; esac\necho ready; exec sleep 60')
    with caller.started("chat") as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_cannot_be_passed_on_ends_the_client(
    caller: Caller, asleep: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    """The call ends with the status of that signal; inside was tried first."""
    asleep.send_signal(number)
    assert asleep.wait(30) == 128 + number
    passed = caller.stand_ins.calls(verb="exec")[1]
    assert passed[:8] == ["docker", "exec", "-u", "hermes", "hermes-agent", BIN, "container", "pass-signal"]
    assert passed[8] == number.name
    assert passed[10] == '["chat"]'


def test_a_second_signal_ends_the_client(caller: Caller) -> None:
    """When the program inside does not heed the first."""
    caller.stand_ins.put("docker", f'{RUNS}\ncase "$*" in *pass-signal*) exit 0;; esac\necho ready; exec sleep 60')
    with caller.started("chat") as process:
        process.send_signal(signal.SIGINT)
        while len(caller.stand_ins.calls(verb="exec")) < 2:
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_a_signal_that_was_ignored_stays_ignored(caller: Caller) -> None:
    """nohup(1), and the background jobs of a shell."""
    caller.stand_ins.put("docker", f"{RUNS}\necho ready; sleep 0.5; exit 5")
    with caller.started("chat", before=["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 5
    assert len(caller.stand_ins.calls(verb="exec")) == 1


def test_a_reader_that_leaves_ends_the_program_inside_and_is_no_error(caller: Caller) -> None:
    """``hermesctl events --follow | head -1`` would leave it running for ever."""
    caller.stand_ins.put("docker", f'{RUNS}\ncase "$*" in *pass-signal*) exit 0;; esac\nwhile :; do echo line; done')
    reader, writer = os.pipe()
    process = subprocess.Popen(
        caller.command("events", "-f"), env=caller.env, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.read(reader, 5)
    os.close(reader)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0
    assert caller.stand_ins.calls(verb="exec")[1][7:9] == ["pass-signal", "SIGHUP"]


def _process(proc: Path, pid: int, words: list[str], *, parent: int = 0, age_s: float = 0.0) -> None:
    """A process as proc_pid_stat(5) and proc_pid_cmdline(5) show it."""
    ticks = os.sysconf("SC_CLK_TCK")
    started = int((time.clock_gettime(time.CLOCK_BOOTTIME) - age_s) * ticks)
    (proc / str(pid)).mkdir(parents=True)
    fields = ["S", str(parent), *["0"] * 17, str(started), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} (odd ) name) {' '.join(fields)}\n")
    (proc / str(pid) / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))


def test_a_call_is_found_by_its_words_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among others of the same words; only what came from outside, and never the first process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    words = ["/bin/sh", "/usr/bin/hermesctl", "chat", "-q", "a b"]
    _process(tmp_path, 1, words)
    _process(tmp_path, 20, words, age_s=21)
    _process(tmp_path, 21, words, age_s=4)
    _process(tmp_path, 22, words, parent=1, age_s=6)
    _process(tmp_path, 23, ["hermesctl", "status"], age_s=5)
    _process(tmp_path, os.getpid(), ["hermesctl", "chat", "-q", "a b"], age_s=1)  # the difference counts
    (tmp_path / "self").mkdir()
    assert pass_signal("SIGINT", 3.2, ["chat", "-q", "a b"], proc=tmp_path) == 21
    assert pass_signal("SIGTERM", 11.8, ["chat", "-q", "a b"], proc=tmp_path) == 20
    assert sent == [(21, signal.SIGINT), (20, signal.SIGTERM)]
    for words, age_s in ((["chat"], 4.0), (["chat", "-q", "a b"], 100.0)):
        with pytest.raises(NotFoundError):
            pass_signal("SIGINT", age_s, words, proc=tmp_path)
    assert Entered(23, ["hermesctl", "status"], 5.0)._replace(age_s=0) in [
        one._replace(age_s=0) for one in entered(tmp_path)
    ]


def test_words_fit_only_at_the_end_behind_a_program() -> None:
    """With at most an interpreter and its options before it."""
    assert ends_with(["hermesctl"], [])
    assert ends_with(["python", "-I", "-m", "hermesctl", "x"], ["x"])
    assert not ends_with(["x"], ["x"])
    assert not ends_with(["hermesctl", "x", "y"], ["x"])
    assert not ends_with([], [])
