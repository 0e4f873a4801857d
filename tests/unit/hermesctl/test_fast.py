"""The path without a parser: what it takes, what it sends, what it reads, and what it never imports."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hermesctl
import hermesd
from hermesctl import fast
from hermesctl.fast import decode_answer, encode_request, is_fast
from hermesd.errors import NotFoundError
from hermesd.home import MAX_SOCKET_PATH_BYTES
from hermesd.rpc.codec import Answer, failure
from hermesd.rpc.console_arguments import DEFAULT_ACTIONS, GRAMMARS
from hermesd.rpc.wire import MAX_FRAME_BYTES, ConsoleParams, ConsoleResult
from tests.unit.hermesctl.conftest import Listener, Request, frame, result

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "-p coder status",
        "--profile=coder --json tree",
        "sessions list --json",
        "sessions",
        "sessions search --limit 5 -- words",
        "inbox show 5",
        "outbox",
        "profile list -p x",
        "gateway status",
        "events --since 5",
        "logs -n 20",
        "version",
        "doctor",
    ],
)
def test_read_only_verbs_take_the_fast_path(line: str) -> None:
    """With any flags of theirs."""
    assert is_fast(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "chat",
        "chat -q status",
        "events --follow",
        "events -f",
        "logs -f",
        "tree --watch",
        "status --help",
        "-V",
        "inbox retry 5",
        "profile create status",
        "gateway start",
        "-p",
        "-p status",
        "--odd status",
        "config set model x",
        "statsu",
    ],
)
def test_everything_else_goes_to_the_parser(line: str) -> None:
    """Streams, help, whatever changes something, and what is not understood."""
    assert not is_fast(line.split())


def test_the_fast_verbs_are_those_the_daemon_renders() -> None:
    """The two tables name the same verbs and actions."""
    spelled = {
        f"{verb} {action}".strip()
        for verb, actions in fast.SUBVERBS.items()
        for action in actions or ("",)
        if action or not actions
    }
    assert spelled == set(GRAMMARS)
    assert {verb for verb, actions in fast.SUBVERBS.items() if actions and "" in actions} == set(DEFAULT_ACTIONS)


def test_constants_repeated_for_speed_are_those_of_the_daemon() -> None:
    """The fast path imports none of them."""
    assert hermesctl.__version__ == hermesd.__version__
    assert (fast.MAX_SOCKET_PATH_BYTES, fast.MAX_FRAME_BYTES) == (MAX_SOCKET_PATH_BYTES, MAX_FRAME_BYTES)


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(st.lists(text, max_size=6), st.integers(0, 0xFFFF), st.booleans())
def test_a_request_is_msgpack_of_the_wire(argv: list[str], width: int, color: bool) -> None:
    """As msgspec reads it, strictly."""
    data = encode_request(argv, width, color)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    request = msgspec.msgpack.decode(data[4:], type=Request)
    assert (request.jsonrpc, request.id, request.method) == ("2.0", 1, "console.run")
    assert request.params == ConsoleParams(argv=argv, width=width, color=color)


def test_an_argument_that_is_not_utf8_does_not_break_the_request() -> None:
    """Bytes that the shell passes on arrive as lone surrogates."""
    data = encode_request(["status", os.fsdecode(b"\xff")], 80, False)
    assert msgspec.msgpack.decode(data[4:], type=Request).params.argv == ["status", "?"]


@given(st.integers(0, 255), st.one_of(text, st.integers(0, 70_000).map(lambda count: "é" * count)))
def test_a_result_is_read_as_msgspec_writes_it(status: int, shown: str) -> None:
    """For any text and length."""
    data = msgspec.msgpack.encode(Answer(id=1, result=ConsoleResult(status=status, text=shown)))
    assert decode_answer(data) == (status, shown.encode())


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | text | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)


@given(st.dictionaries(text.filter(lambda name: name not in ("status", "text")), values), values)
def test_unknown_fields_are_passed_over(extra: dict[str, object], other: object) -> None:
    """Of the result and of the envelope, wherever they stand: a newer daemon may send more."""
    shape = {"new": other, "result": {**extra, "text": "shown", "status": 3}, "id": 1}
    assert decode_answer(msgspec.msgpack.encode(shape)) == (3, b"shown")


@given(st.binary(max_size=200))
def test_odd_bytes_are_refused_with_value_error(data: bytes) -> None:
    """Never another error, never an endless loop."""
    with pytest.raises(ValueError):
        decode_answer(data)


@given(st.integers(0, 200))
def test_a_cut_answer_is_refused(kept: int) -> None:
    """At any byte."""
    data = msgspec.msgpack.encode(Answer(id=1, result=ConsoleResult(status=0, text="x" * 100)))
    if kept < len(data):
        with pytest.raises(ValueError):
            decode_answer(data[:kept])


def test_an_error_answer_is_left_to_the_parsers_way() -> None:
    """It words errors."""
    with pytest.raises(ValueError):
        decode_answer(msgspec.msgpack.encode(failure(1, NotFoundError("no"))))


def test_the_text_is_printed_and_the_status_returned(listener: Listener) -> None:
    """argv, width 0 and no colour for a pipe."""
    listener.answer = lambda _: result(0, "grün\n")
    done = listener.run("-p", "coder", "status", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "grün\n".encode(), b"")
    assert listener.requests[0].params == ConsoleParams(argv=["-p", "coder", "status", "--json"], width=0)


def test_an_error_text_goes_to_standard_error(listener: Listener) -> None:
    """Findings of doctor with status 1 do not."""
    listener.answer = lambda _: result(2, "hermesctl: unknown option\n")
    done = listener.run("status")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"hermesctl: unknown option\n")
    listener.answer = lambda _: result(1, "1 problem\n")
    done = listener.run("doctor")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"1 problem\n", b"")


def test_version_tells_the_daemon_the_clients(listener: Listener) -> None:
    """So that the daemon can say when they differ."""
    listener.run("version")
    assert listener.requests[0].params.argv == ["version", "--client", hermesctl.__version__]


def test_a_big_answer_arrives_whole(listener: Listener) -> None:
    """Twelve megabytes through a pipe."""
    listener.answer = lambda _: result(0, "0123456789ab" * 1_000_000)
    assert listener.run("logs").stdout == b"0123456789ab" * 1_000_000


def test_a_reader_that_leaves_is_no_error(listener: Listener) -> None:
    """``hermesctl events | head -1``."""
    listener.answer = lambda _: result(0, "x" * 1_000_000)
    reader, writer = os.pipe()
    os.close(reader)
    done = listener.run("events", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_an_error(listener: Listener) -> None:
    """``hermesctl logs > file`` must not end with status 0 when the file is cut."""
    listener.answer = lambda _: result(0, "x" * 100)
    with Path("/dev/full").open("wb") as full:
        done = listener.run("logs", stdout=full.fileno())
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_a_daemon_that_hangs_is_reported(listener: Listener) -> None:
    """After a bounded wait, with status 69."""
    listener.answer = lambda _: None
    done = listener.run("status")
    assert done.returncode == 69
    assert done.stderr.startswith(b"hermesctl: hermesd does not answer\n  \xe2\x86\x92 ")


@pytest.mark.parametrize("answer", [b"", b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x03abc", frame({"error": {}})])
def test_an_odd_answer_is_left_to_the_parsers_way(answer: bytes, listener: Listener) -> None:
    """Which finds that nobody serves it here."""
    listener.answer = lambda _: answer
    done = listener.run("status")
    assert done.returncode == 69
    assert done.stderr.startswith(b"hermesctl: ")


def test_a_home_with_a_long_path_is_left_to_the_parsers_way(tmp_path: Path) -> None:
    """Its socket lies elsewhere; without a daemon that is status 69 too."""
    listener = Listener(tmp_path / ("x" * 120))
    listener.home.mkdir()
    done = listener.run("status", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 69


def test_nothing_but_the_socket_module_is_imported(listener: Listener, tmp_path: Path) -> None:
    """As installed: no import hook of an editable installation, the script as an installer writes it."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    [packages] = environment.glob("lib/python*/site-packages")
    for name in ("hermesctl", "hermesd"):
        (packages / name).symlink_to(ROOT / name)
    script = environment / "bin/hermesctl"
    python = environment / "bin/python"
    script.write_text((ROOT / "scripts/hermesctl").read_text().replace("#!python", f"#!{python}", 1))

    def imported(*command: str) -> list[str]:
        done = subprocess.run(
            [python, "-X", "importtime", *command],
            env={"HERMES_HOME": str(listener.home), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()[1:]]

    bare = imported("-c", "pass")
    listener.answer = lambda _: result(0, "ok")
    ours = imported(str(script), "status")
    assert len(listener.requests) == 1
    assert [name for name in ours if name not in bare] == ["hermesctl", "hermesctl.fast", "_socket"]
