"""One event is one line, redacted, escaped, in a private file; nothing the log's readers do holds the daemon up."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermesd import log
from hermesd.errors import ConfigError
from hermesd.logfile import LogFile
from hermesd.redact import MARK, REDACTOR
from hermesd.supervision.current import service_path
from tests.waiting import PATIENCE_S

logger = logging.getLogger("hermesd.test")


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    """A configured log directory; standard error goes to a file in it."""
    directory = tmp_path / "logs"
    directory.mkdir(mode=0o700)
    with (tmp_path / "stderr").open("w") as stderr:
        log.configure(directory, level="debug", stderr=stderr)
        yield directory
        log.close()


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, parsed."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def last(logs: Path) -> dict[str, Any]:
    return lines(logs / "hermesd.log")[-1]


def test_an_event_is_one_json_object_on_one_line(logs: Path) -> None:
    """at, level, logger, message and fields, in file and on standard error."""
    logger.warning("polled %d updates", 7, extra={"fields": {"chat": 12}})
    line = last(logs)
    assert line["at"].endswith("Z")
    assert {k: line[k] for k in line if k != "at"} == {
        "level": "warning",
        "logger": "hermesd.test",
        "message": "polled 7 updates",
        "chat": 12,
    }
    assert lines(logs.parent / "stderr") == [line]


async def test_bound_fields_and_the_service_are_in_every_line_below(logs: Path) -> None:
    """What is bound goes with the task and the tasks it starts, and ends with its block."""

    async def part() -> None:
        logger.info("inside")

    service_path.set("profile/coder/turns")
    with log.bound(profile="coder", turn="t1"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part)
    inside = last(logs)
    assert (inside["service"], inside["profile"], inside["turn"]) == ("profile/coder/turns", "coder", "t1")
    logger.info("outside")
    assert "turn" not in last(logs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(), st.text(), st.text(alphabet=st.characters(), max_size=20))
def test_no_text_breaks_out_of_its_line(logs: Path, message: str, value: str, error: str) -> None:
    """CR, LF, ANSI and C1 sequences, separators, bidi controls, surrogates: still one printable line of JSON."""
    (logs / "hermesd.log").write_bytes(b"")
    try:
        raise ValueError(error)
    except ValueError:
        logger.exception("%s", message, extra={"fields": {"x": value}})
    raw = (logs / "hermesd.log").read_bytes().decode()
    assert raw.endswith("\n")
    assert len(raw.splitlines()) == 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in raw[:-1])
    assert set(json.loads(raw)) == {"at", "level", "logger", "message", "x", "error"}


def test_a_terminal_gets_text_without_control_sequences() -> None:
    """People get a line of text; a second line that a message forges is indented, an escape sequence is inert."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        log.configure(None, stderr=terminal)
        logger.warning("hello\n12:00:00 error forged \x1b[31m \x9b31m")
        shown = os.read(leader, 4096).decode()
        log.close()
    os.close(leader)
    first, second = shown.splitlines()
    assert first.split()[1:] == ["warning", "hello"]
    assert second == r"    12:00:00 error forged \u001b[31m \u009b31m"


def test_secrets_are_redacted_in_message_arguments_fields_and_tracebacks(logs: Path) -> None:
    """Neither form nor place lets a secret through."""
    REDACTOR.add(["swordfish-9001"])
    try:
        raise ValueError("refused swordfish-9001")
    except ValueError:
        logger.exception(
            "token=abc %s", "swordfish-9001", extra={"fields": {"api_key": "plain", "x": "sk-abcdefghijkl"}}
        )
    raw = (logs / "hermesd.log").read_text()
    for secret in ("swordfish", "abc ", "plain", "sk-abc"):
        assert secret not in raw
    assert last(logs)["message"] == f"token={MARK} {MARK}"
    assert last(logs)["api_key"] == MARK


def test_a_secret_at_the_cut_of_a_long_message_is_redacted(logs: Path) -> None:
    """A text is redacted before it is shortened."""
    REDACTOR.add(["swordfish-9002"])
    logger.info("x" * (log.MAX_TEXT - 5) + "swordfish-9002")
    assert "sword" not in last(logs)["message"]


def test_a_log_call_with_wrong_arguments_is_logged_all_the_same() -> None:
    """A bug in a log call loses no event and raises nothing."""
    record = logging.makeLogRecord({"msg": "%d of %d", "args": ("one",)})
    assert json.loads(log.JsonFormatter().format(record))["message"] == "%d of %d ('one',)"


def test_levels_apply_to_our_own_modules(logs: Path) -> None:
    """Libraries stay at warning."""
    logging.getLogger("somelibrary").info("chatter")
    log.set_level("warning")
    logger.info("chatter")
    assert lines(logs / "hermesd.log") == []


def test_log_files_are_private_whatever_the_umask(logs: Path) -> None:
    """Mode 0600."""
    for name in ("hermesd.log", "audit.log"):
        assert stat.S_IMODE((logs / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "directory", "fifo"])
def test_a_planted_log_path_is_refused(tmp_path: Path, kind: str) -> None:
    """Whatever is not a regular file with one name is refused, and what it leads to is not touched."""
    tmp_path.chmod(0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "hermesd.log"
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "hardlink":
        path.hardlink_to(victim)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigError) as caught:
        LogFile(path, max_bytes=1000, keep=1)
    assert caught.value.where == str(path)
    assert victim.read_text() == "precious"


def test_a_log_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """Somebody else could put anything in the log's place."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError):
        LogFile(tmp_path / "hermesd.log", max_bytes=1000, keep=1)


def test_the_log_is_rotated_by_size_and_only_so_many_are_kept(tmp_path: Path) -> None:
    """Whole lines move to .1, .2 … and the oldest goes."""
    tmp_path.chmod(0o700)
    file = LogFile(tmp_path / "hermesd.log", max_bytes=100, keep=2)
    for number in range(20):
        file.write(b"%039d\n" % number)
    file.close()
    found = {path.name: [int(line) for line in path.read_text().split()] for path in tmp_path.iterdir()}
    assert found == {"hermesd.log": [18, 19], "hermesd.log.1": [16, 17], "hermesd.log.2": [14, 15]}


def test_a_log_grows_from_what_an_earlier_daemon_left(tmp_path: Path) -> None:
    """Size counts over restarts, and lines are appended."""
    tmp_path.chmod(0o700)
    for _ in range(3):
        file = LogFile(tmp_path / "hermesd.log", max_bytes=100, keep=2)
        file.write(b"x" * 39 + b"\n")
        file.close()
    assert len((tmp_path / "hermesd.log").read_bytes()) == 40
    assert len((tmp_path / "hermesd.log.1").read_bytes()) == 80


def test_lines_from_many_threads_stay_whole(logs: Path) -> None:
    """Two threads never mix in one line."""

    def write(number: int) -> None:
        for _ in range(200):
            logger.info("%s", str(number) * 50)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["message"] for line in lines(logs / "hermesd.log")) == sorted(
        str(number) * 50 for number in range(4) for _ in range(200)
    )


def test_a_stderr_that_nobody_reads_blocks_nothing_and_says_what_was_lost(tmp_path: Path) -> None:
    """A full pipe drops lines; when it is read again, the number lost is said, and lines begin on their own."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writer, "w") as stream:
        log.configure(None, stderr=stream)
        writing = threading.Thread(target=lambda: [logger.warning("x" * 100) for _ in range(200)], daemon=True)
        writing.start()
        writing.join(PATIENCE_S)
        assert not writing.is_alive()
        first = os.read(reader, 65536)
        logger.warning("again")
        rest = os.read(reader, 65536)
        log.close()
    os.close(reader)
    assert first.count(b"\n") < 200
    shown = [json.loads(line)["message"] for line in rest.split(b"\n") if line.startswith(b"{")]
    assert shown[-1] == "again"
    assert shown[-2].endswith("lines were lost")


def test_the_journal_gets_a_priority_and_no_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under systemd the journal has the time already, and reads the level from the prefix."""
    with (tmp_path / "stderr").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log.configure(None, stderr=stream)
        logger.warning("hello")
        log.close()
    text = (tmp_path / "stderr").read_text()
    assert text.startswith("<4>{")
    assert "at" not in json.loads(text[3:])


def test_the_audit_log_says_who_did_what(logs: Path) -> None:
    """One line with uid, pid, method, target and outcome; redacted and escaped like every log."""
    log.audit(uid=1000, pid=42, method="service.stop", target="profile/coder\n\x1b[1m", outcome="token=abc")
    text = (logs / "audit.log").read_text()
    assert text.count("\n") == 1
    line = json.loads(text)
    assert list(line) == ["at", "uid", "pid", "method", "target", "outcome"]
    assert line["outcome"] == f"token={MARK}"


def test_auditing_is_silent_when_nothing_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Library use and tests need no log directory: nothing is raised, printed or written."""
    monkeypatch.chdir(tmp_path)
    log.close()
    log.audit(uid=0, pid=1, method="x")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_the_disk_refuses_is_counted_and_told(tmp_path: Path) -> None:
    """A write that fails raises nothing; the next that succeeds says how many lines are missing."""
    tmp_path.chmod(0o700)
    file = LogFile(tmp_path / "hermesd.log", max_bytes=1000, keep=1)
    good = file._fd
    full = os.open("/dev/full", os.O_WRONLY)
    file._fd = full
    file.write(b"lost\n")
    file.write(b"lost\n")
    file._fd = good
    file.write(b"kept\n")
    os.close(full)
    file.close()
    told, kept = (tmp_path / "hermesd.log").read_text().splitlines()
    assert json.loads(told)["message"] == "2 lines were lost"
    assert kept == "kept"
