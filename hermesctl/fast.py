"""Read-only verbs without a parser: one request in literal bytes, an answer that the daemon has rendered.

What this file does not recognise at a glance goes to ``hermesctl.__main__``, which can do everything; so it may be
strict here. It imports nothing that the interpreter has not loaded already, except ``_socket``: that is what makes
``hermesctl status`` as fast as an empty Python program (bench/client_start.py).
"""

import os
import sys

from hermesctl import __version__

SUBVERBS = {
    "status": None,
    "tree": None,
    "doctor": None,
    "events": None,
    "logs": None,
    "version": None,
    "sessions": ("", "list", "show", "search"),
    "inbox": ("", "list", "show"),
    "outbox": ("", "list", "show"),
    "profile": ("", "list", "show"),
    "mcp": ("", "list", "show", "tools"),
    "plugins": ("", "list", "show"),
    "cron": ("", "list", "show", "runs"),
    "watch": ("", "list", "show", "runs"),
    "webhook": ("", "list", "show"),
    "gateway": ("", "list", "status"),
    "config": ("", "show", "get"),
}
"""The read-only verbs; where a verb has actions, those of them that only read ('' is the verb alone)."""

ALIASES = {"ls": "list"}
"""Other words for an action that reads; the daemon knows them too."""

NEEDS_PARSER = {"-h", "--help", "-f", "--follow", "-w", "--watch", "-V", "--version"}
TIMEOUT_S = 15.0
SILENCE = (
    b"hermesctl: hermesd does not answer\n"
    b"  \xe2\x86\x92 look into logs/hermesd.log of its home; hermesd.pid there holds its process id\n"
)
ERRORS = (b"hermesctl: ", b'{"error":')  # how an error begins, with --json and without
MAX_SOCKET_PATH_BYTES = 107  # as in hermesd.home
MAX_FRAME_BYTES = 16 * 1024 * 1024  # as in hermesd.rpc.wire


def run(argv: list[str]) -> int:
    """Run ``argv`` (with the program's name first); ends the process on the fast path, else returns a status."""
    arguments = argv[1:]
    routed = is_routed()
    path = _socket_path() if not routed and is_fast(arguments) else ""
    if path and _is_apart(path, arguments):
        path = ""
    if path:
        try:
            status, text = _ask(path, arguments)
        except TimeoutError:
            os._exit(_show(69, SILENCE))
        except (OSError, ValueError):
            pass  # no daemon, an error, an answer not understood: the parser's way words it for people
        except KeyboardInterrupt:
            os._exit(130)
        else:
            os._exit(_show(status, text))
    from hermesctl.__main__ import main

    return main(arguments, routed=routed)


def home() -> str:
    """The directory that $HERMES_HOME names, or ~/.hermes; '' when there is none."""
    named = os.environ.get("HERMES_HOME")
    if named:
        return os.path.expanduser(named) if named[:1] == "~" else named  # noqa: PTH111 - pathlib is not loaded
    user = os.environ.get("HOME")
    return user + "/.hermes" if user else ""


def is_routed() -> bool:
    """Whether calls for this home belong into a container: it has a .container-mode (or may have), and is no inside.

    HERMES_DEV=1 stays here.
    """
    if os.environ.get("HERMES_DEV") == "1":
        return False
    try:
        os.close(os.open(home() + "/.container-mode", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # hermesctl.routing says what is wrong with it
    from hermesctl.routing.place import is_in_container

    return not is_in_container()


def is_fast(arguments: list[str]) -> bool:
    """Whether these arguments are a read-only verb, whatever its flags."""
    words = []
    skip = False
    for argument in arguments:
        if argument in NEEDS_PARSER:
            return False
        if skip:
            skip = False
        elif argument in ("-p", "--profile"):
            skip = True
        elif argument[:1] != "-":
            words.append(argument)
        elif not words and argument != "--json" and argument[:10] != "--profile=":
            return False  # some other flag before the verb
    if not words or words[0] not in SUBVERBS:
        return False
    actions = SUBVERBS[words[0]]
    action = words[1] if words[1:] else ""
    return actions is None or ALIASES.get(action, action) in actions


def _is_apart(path: str, arguments: list[str]) -> bool:
    """Whether a profile is named that has a daemon of its own."""
    for number, argument in enumerate(arguments[:-1]):
        if argument in ("-p", "--profile"):
            own = path[: -len("hermesd.sock")] + "profiles/" + arguments[number + 1] + "/hermesd.sock"
            return os.path.exists(own)  # noqa: PTH110 - pathlib would cost more than everything else here
    return any(argument[:2] == "-p" or argument[:10] == "--profile=" for argument in arguments)


def _socket_path() -> str:
    """hermesd.sock of this home, as ``hermesd.home`` has it; '' when working it out takes more than a join."""
    root = home()
    path = root + "/hermesd.sock"
    return path if root[:1] == "/" and len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES else ""


def _ask(path: str, arguments: list[str]) -> tuple[int, bytes]:
    """Exit status and text from the daemon. Raises OSError, or ValueError when the answer is not a plain result."""
    import _socket

    if arguments[0] == "version":
        arguments = [*arguments, "--client", __version__]
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    connection.connect(path)
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # struct ucred, unix(7)
    if int.from_bytes(credentials[4:8], sys.byteorder) not in (0, os.geteuid()):
        raise ValueError("not ours")  # perhaps the home of another user: hermesctl.client looks closer
    connection.sendall(encode_request(arguments, *_terminal()))
    length = int.from_bytes(_receive(connection, 4), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(length)
    return decode_answer(_receive(connection, length))


def _terminal() -> tuple[int, bool]:
    """Columns of standard output (0: not a terminal, no limit) and whether it may be coloured (https://no-color.org)."""
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        return 0, False
    environment = os.environ
    return columns or 80, not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"


def _receive(connection: object, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))  # type: ignore[attr-defined]  # _socket is untyped
        if not part:
            raise ConnectionResetError
        parts += part
    return bytes(parts)


def encode_request(arguments: list[str], width: int, color: bool) -> bytes:
    """The framed ``console.run`` request (https://github.com/msgpack/msgpack/blob/master/spec.md)."""
    words = b"".join(map(_encode_text, arguments))
    body = (
        b"\x84\xa7jsonrpc\xa32.0\xa2id\x01\xa6method\xabconsole.run\xa6params\x83\xa4argv\xdd"
        + len(arguments).to_bytes(4, "big")
        + words
        + b"\xa5width\xcd"
        + min(width, 0xFFFF).to_bytes(2, "big")
        + (b"\xa5color\xc3" if color else b"\xa5color\xc2")
    )
    return len(body).to_bytes(4, "big") + body


def _encode_text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return b"\xdb" + len(data).to_bytes(4, "big") + data


def decode_answer(data: bytes) -> tuple[int, bytes]:
    """Status and UTF-8 text of a msgpack JSON-RPC answer; ValueError for an error answer or anything odd."""
    try:
        answer, end = _decode(data, 0)
        result = answer[b"result"]  # type: ignore[index]  # not a map: TypeError, below
        status, text = result[b"status"], result[b"text"]
    except (LookupError, TypeError, RecursionError):
        raise ValueError("not a result") from None
    if end != len(data) or type(status) is not int or type(text) is not bytes:
        raise ValueError("not a result")
    return status, text


def _decode(data: bytes, at: int) -> tuple[object, int]:
    """The msgpack value at ``at`` and where it ends. Strings stay bytes; floats and extensions are not needed."""
    tag = data[at]
    at += 1
    if tag <= 0x7F:
        return tag, at
    if tag >= 0xE0:
        return tag - 0x100, at
    if tag <= 0x8F:
        return _decode_map(data, at, tag & 0x0F)
    if tag <= 0x9F:
        return _decode_array(data, at, tag & 0x0F)
    if tag <= 0xBF:
        return _slice(data, at, tag & 0x1F)
    if tag in (0xC0, 0xC2, 0xC3):
        return (None, None, False, True)[tag - 0xC0], at
    if 0xCC <= tag <= 0xD3:
        size = 1 << (tag & 3)
        raw, at = _slice(data, at, size)
        return int.from_bytes(raw, "big", signed=tag >= 0xD0), at
    if tag not in _LENGTHS:
        raise ValueError(f"msgpack tag {tag:#x}")
    size, read = _LENGTHS[tag]
    raw, at = _slice(data, at, size)
    return read(data, at, int.from_bytes(raw, "big"))


def _slice(data: bytes, at: int, count: int) -> tuple[bytes, int]:
    if at + count > len(data):
        raise ValueError("cut short")
    return data[at : at + count], at + count


def _decode_map(data: bytes, at: int, count: int) -> tuple[object, int]:
    found = {}
    for _ in range(count):
        key, at = _decode(data, at)
        found[key], at = _decode(data, at)
    return found, at


def _decode_array(data: bytes, at: int, count: int) -> tuple[object, int]:
    found = []
    for _ in range(count):
        value, at = _decode(data, at)
        found.append(value)
    return found, at


_LENGTHS = {
    0xC4: (1, _slice),
    0xC5: (2, _slice),
    0xC6: (4, _slice),
    0xD9: (1, _slice),
    0xDA: (2, _slice),
    0xDB: (4, _slice),
    0xDC: (2, _decode_array),
    0xDD: (4, _decode_array),
    0xDE: (2, _decode_map),
    0xDF: (4, _decode_map),
}


def _show(status: int, text: bytes) -> int:
    """Write the text; the exit status. An error message goes to standard error."""
    target = 2 if status and text.startswith(ERRORS) else 1
    left = memoryview(text)
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            os.set_blocking(target, True)
        except BrokenPipeError:
            break  # the reader (head, less) has seen enough
        except OSError as error:
            _complain(error)
            return status or 1
    return status


def _complain(error: OSError) -> None:
    try:
        os.write(2, f"hermesctl: standard output cannot be written: {error.strerror}\n".encode())
    except OSError:
        sys.exit(1)
