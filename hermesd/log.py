"""The daemon's log: one event is one line of JSON in logs/hermesd.log, and text for people on a terminal.

Modules log through ``logging.getLogger(__name__)``; what is known of the running code is bound once and is in every
line below: ``with log.bound(profile="coder", turn=turn_id): …``, besides the service, which the supervisor sets.
Fields of one line: ``extra={"fields": {"chat": 7}}``. A line has ``at`` (UTC, RFC 3339), ``level``, ``logger``,
``message``, the fields, and ``error`` with the traceback. Everything is redacted and escaped before it is written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import stat
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

import msgspec

from hermesd.logfile import LogFile
from hermesd.redact import MARK, redact
from hermesd.supervision.current import service_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
KEEP = 5
MAX_TEXT = 32 * 1024
LEVELS = ("debug", "info", "warning", "error")
SECRET_FIELD = re.compile(r"token|secret|password|api_?key|authorization", re.IGNORECASE)

_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default={})  # noqa: B039 - never mutated
_encode = msgspec.json.Encoder(enc_hook=str).encode

# JSON escapes C0 only. DEL, C1 (a terminal takes U+009B for CSI), line separators and bidi controls are left to us.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@contextlib.contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add these fields to every line logged in the block and in tasks started in it."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def bind(**fields: object) -> None:
    """Add these fields to every line logged by the current task from now on, and by tasks it starts."""
    _fields.set({**_fields.get(), **fields})


def escape_control(text: str) -> str:
    """``text`` with control, bidi and surrogate characters as ``\\uXXXX``; line feeds and tabs are left."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# -- one record as a line --------------------------------------------------------------------------------------------
def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):  # the call's arguments do not fit its format: say both
        text = f"{record.msg} {record.args!r}"
    return _bounded(redact(text))


def _error(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0] is not None:
        return _bounded(redact(logging.Formatter().formatException(record.exc_info)))
    return ""


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"


def _context(record: logging.LogRecord) -> dict[str, object]:
    """The service, what is bound, and the record's own fields; redacted by name and by value."""
    fields: dict[str, object] = {}
    if service := service_path.get():
        fields["service"] = service
    fields.update(_fields.get())
    own = getattr(record, "fields", None)
    if isinstance(own, dict):
        fields.update(own)
    return {name: _field(name, value) for name, value in fields.items()}


def _field(name: str, value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return MARK if SECRET_FIELD.search(name) else _bounded(redact(str(value)))


class JsonFormatter(logging.Formatter):
    """One JSON object without a line end in it; ``timed`` is False where the reader adds its own time (journald)."""

    def __init__(self, *, timed: bool = True) -> None:
        super().__init__()
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line feed."""
        line: dict[str, object] = {}
        if self._timed:
            line["at"] = _instant(record.created)
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        line["message"] = _message(record)
        for name, value in _context(record).items():
            line.setdefault(name, value)
        if error := _error(record):
            line["error"] = error
        return _dump(line)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, fields; the traceback below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and more for a traceback."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = _message(record).replace("\n", "\n    ")
        fields = "".join(f"  {name}={value}".replace("\n", "\\n") for name, value in _context(record).items())
        text = f"{clock} {record.levelname.lower():7} {message}{fields}"
        if error := _error(record):
            text += "\n    " + error.replace("\n", "\n    ")
        return escape_control(text)


def _dump(line: dict[str, object]) -> str:
    """One line of JSON, in which a terminal finds nothing to obey."""
    try:
        text = _encode(line).decode()
    except UnicodeEncodeError:  # a lone surrogate, e.g. of an undecodable file name
        text = _encode({name: _plain(value) for name, value in line.items()}).decode()
    return escape_control(text)


def _plain(value: object) -> object:
    return escape_control(value) if isinstance(value, str) else value


def _instant(epoch_s: float) -> str:
    seconds, micros = divmod(round(epoch_s * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z"


# -- where lines go --------------------------------------------------------------------------------------------------
class FileHandler(logging.Handler):
    """Lines into a LogFile."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        self.file.write(self.format(record).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()


class StderrHandler(logging.Handler):
    """Lines to standard error, which may be a pipe that nobody reads: what it does not take at once is dropped.

    A terminal gets text. journald (``JOURNAL_STREAM`` names our standard error, systemd.exec(5)) gets JSON without a
    time and with the priority prefix of sd-daemon(3); anything else gets JSON.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream  # held, so that its descriptor stays ours
        self._fd = stream.fileno()
        found = os.fstat(self._fd)
        self._may_block = not stat.S_ISREG(found.st_mode)
        self._journal = os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
        self._lost = 0
        self._torn = False
        self.setFormatter(TextFormatter() if stream.isatty() else JsonFormatter(timed=not self._journal))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, if that does not block."""
        text = "\n" if self._torn else ""
        if self._lost:
            text += self._line(_lost_record(self._lost))
        data = (text + self._line(record)).encode()
        sent = self._send(data)
        if sent == len(data):
            self._lost, self._torn = 0, False
        else:
            self._lost += 1
            self._torn = self._torn or sent > 0

    def _line(self, record: logging.LogRecord) -> str:
        prefix = f"<{_syslog_priority(record.levelno)}>" if self._journal else ""
        return f"{prefix}{self.format(record)}\n"

    def _send(self, data: bytes) -> int:
        """Write as much as is taken without waiting; a writable pipe takes PIPE_BUF bytes (pipe(7))."""
        sent = 0
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            while sent < len(data):
                if self._may_block and not any(event & select.POLLOUT for _, event in poll.poll(0)):
                    break
                sent += os.write(self._fd, data[sent : sent + select.PIPE_BUF])
        except OSError:  # closed by its reader, or the disk is full: the log file has the line
            pass
        return sent


def _lost_record(count: int) -> logging.LogRecord:
    text = f"{count} lines were lost"
    return logging.makeLogRecord({"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text})


def _syslog_priority(level: int) -> int:
    if level >= logging.ERROR:
        return 3
    return 4 if level >= logging.WARNING else 6 if level >= logging.INFO else 7


# -- set-up and audit ------------------------------------------------------------------------------------------------
_handlers: list[logging.Handler] = []
_audit: list[LogFile] = []  # none or one


def configure(
    logs: Path | None,
    *,
    level: str = "info",
    stderr: TextIO | None = None,
    to_stderr: bool = True,
    max_bytes: int = MAX_BYTES,
    keep: int = KEEP,
) -> None:
    """Log into ``logs``/hermesd.log (None: no files) and to ``stderr`` (default: sys.stderr), and open the audit log.

    Not ``to_stderr``: a daemon in the background leaves the terminal alone.

    Replaces what was configured before. Raises ConfigError and OSError, as LogFile does.
    """
    close()
    stream = stderr or sys.stderr
    if to_stderr and stream is not None:
        with contextlib.suppress(OSError, ValueError):  # closed, or no descriptor: the file remains
            _handlers.append(StderrHandler(stream))
    if logs is not None:
        _handlers.append(FileHandler(LogFile(logs / "hermesd.log", max_bytes=max_bytes, keep=keep)))
        _audit.append(LogFile(logs / "audit.log", max_bytes=max_bytes, keep=keep))
    root = logging.getLogger()
    for handler in _handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """debug, info, warning or error for our own modules; libraries stay at warning. Raises ValueError."""
    logging.getLogger("hermesd").setLevel(level.upper())


def close() -> None:
    """Close the files and forget the handlers."""
    for handler in _handlers:
        logging.getLogger().removeHandler(handler)
        handler.close()
    _handlers.clear()
    for file in _audit:
        file.close()
    _audit.clear()


def audit(*, uid: int, pid: int, method: str, target: str = "", outcome: str = "ok") -> None:
    """Note who did what to what, with which result, in logs/audit.log: one write(2); nothing when not configured."""
    if not _audit:
        return
    line = {"at": _instant(time.time()), "uid": uid, "pid": pid, "method": method}
    line |= {"target": redact(target), "outcome": redact(outcome)}
    _audit[0].write(_dump(line).encode() + b"\n")
