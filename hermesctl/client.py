"""A synchronous client of hermesd's socket, for scripts and for hermesctl: JSON lines by the standard library.

    from hermesctl.client import Client

    with Client.connect() as client:
        print(client.status().services)
        answer = client.stream("chat.send", {"text": "hello"}, on_update=print)

Untyped calls take and return plain dictionaries. Typed helpers return the structs of ``hermesd.rpc.wire``, which is
imported when the first of them is used: a client that needs no types starts in half the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from hermesd import errors
from hermesd.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from hermesd.rpc import wire

    Json = dict[str, Any]  # a JSON object, by nature of any shape

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 30.0
MAX_FRAME_BYTES = 16 * 1024 * 1024  # as wire.MAX_FRAME_BYTES, which would bring msgspec with it
RECEIVE_BYTES = 64 * 1024
_UCRED = struct.Struct("3i")
_START = "start it: hermesd"


class RemoteError(errors.HermesError):
    """An error of the daemon's that has no class here; ``exit_status`` and ``rpc_code`` are those it sent."""


_BY_CODE: dict[int, type[errors.HermesError]] = {
    kind.rpc_code: kind
    for kind in (
        errors.UsageError,
        errors.NotFoundError,
        errors.ConflictError,
        errors.RestartError,
        errors.DeniedError,
        errors.ConfigError,
        errors.StoreError,
    )
}


class Client:
    """One connection, one call at a time. Every method raises HermesError; nothing else is to be expected.

    After UnreachableError the connection is of no more use. ``timeout_s`` bounds connecting and each call, from its
    last sign of life; streams wait as long as it takes.
    """

    def __init__(self, connection: socket.socket, path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._socket = connection
        self._path = path
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._buffer = bytearray()

    @classmethod
    def connect(cls, home: Home | Path | str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Client:
        """Connect to the daemon of a home, by default of $HERMES_HOME or ~/.hermes.

        Raises UnreachableError when none answers, DeniedError when someone else's process does.
        """
        found = _home(home)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(found.socket_path))
            check_server(connection, found)
        except OSError as error:
            connection.close()
            why = error.strerror or str(error) or type(error).__name__
            raise errors.UnreachableError(
                f"no daemon answers: {why}", where=str(found.socket_path), next_step=_START
            ) from error
        except BaseException:  # a refused server, a Ctrl-C: whatever it is goes on, and leaves no socket open
            connection.close()
            raise
        return cls(connection, found.socket_path, timeout_s=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what is under way in the daemon goes on there."""
        self._socket.close()

    # -- untyped -------------------------------------------------------------------------------------------------

    def call(self, method: str, params: Mapping[str, object] | None = None) -> Json:
        """One request, one result."""
        return self._request(method, params, on_update=None, timeout_s=self._timeout_s)

    def stream(
        self, method: str, params: Mapping[str, object] | None = None, on_update: Callable[[Json], None] | None = None
    ) -> Json:
        """A request that is answered by updates, then a result.

        ``on_update`` gets each update's params; what it raises ends the stream, and the connection with it.
        """
        try:
            return self._request(method, params, on_update=on_update, timeout_s=None)
        except errors.HermesError:
            raise
        except BaseException:  # of ``on_update`` or a Ctrl-C: updates are still coming, so nothing else can be asked
            self.close()
            raise

    # -- typed ---------------------------------------------------------------------------------------------------

    def typed(self, method: str, result: type[T], params: Mapping[str, object] | None = None) -> T:
        """``call``, its result as a struct of the wire."""
        import msgspec

        return msgspec.convert(self.call(method, params), result)

    def hello(self) -> wire.HelloResult:
        """``rpc.hello``."""
        from hermesd.rpc import wire

        return self.typed("rpc.hello", wire.HelloResult)

    def status(self) -> wire.StatusResult:
        """``daemon.status``."""
        from hermesd.rpc import wire

        return self.typed("daemon.status", wire.StatusResult)

    def tree(self) -> wire.TreeResult:
        """``daemon.tree``."""
        from hermesd.rpc import wire

        return self.typed("daemon.tree", wire.TreeResult)

    def profiles(self) -> wire.ProfilesResult:
        """``profile.list``."""
        from hermesd.rpc import wire

        return self.typed("profile.list", wire.ProfilesResult)

    def chat(
        self, text: str, on_update: Callable[[wire.ChatUpdate], None] | None = None, **params: object
    ) -> wire.ChatResult:
        """``chat.send``; ``params`` are those of ChatSendParams."""
        import msgspec

        from hermesd.rpc import wire

        def convert(update: Json) -> None:
            if on_update is not None:
                on_update(msgspec.convert(update, wire.ChatUpdate))

        return msgspec.convert(self.stream("chat.send", {"text": text, **params}, convert), wire.ChatResult)

    # -- the wire ------------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        params: Mapping[str, object] | None,
        *,
        on_update: Callable[[Json], None] | None,
        timeout_s: float | None,
    ) -> Json:
        request_id = next(self._ids)
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params or {})}
        self._send(_encoded(request))
        while True:
            message = self._receive(timeout_s)
            if "method" in message:
                update = message["params"]
                if on_update is not None and update.get("id") == request_id:
                    on_update(update)
            elif message.get("id") in (request_id, None):
                if "error" in message:
                    raise remote_error(message["error"])
                result: Json = message["result"]
                return result

    def _send(self, data: bytes) -> None:
        if len(data) > MAX_FRAME_BYTES:
            raise errors.UsageError("the request is too large", where="params", next_step="send less at a time")
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(data)
        except ConnectionError:
            pass  # it may have said why before it closed: the next read tells
        except OSError as error:
            raise self._lost(error.strerror or "it takes nothing") from error

    def _receive(self, timeout_s: float | None) -> Json:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_FRAME_BYTES:
                raise self._lost("it sent a line without end")
            try:
                self._socket.settimeout(timeout_s)
                data = self._socket.recv(RECEIVE_BYTES)
            except TimeoutError as error:
                self.close()
                raise self._lost(f"no answer within {timeout_s:g} s") from error
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error
            if not data:
                raise self._lost("it closed the connection")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message: Json = json.loads(line)
        except ValueError as error:
            raise self._lost("it does not speak this protocol") from error
        return message

    def _lost(self, why: str) -> errors.UnreachableError:
        return errors.UnreachableError(
            f"the daemon is not reachable: {why}", where=str(self._path), next_step="see its log: logs/hermesd.log"
        )


def _encoded(request: Json) -> bytes:
    """A request as a line. Raises UsageError for what JSON or UTF-8 has no way to say."""
    try:
        return json.dumps(request, allow_nan=False, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        raise errors.UsageError(
            "what was given is not UTF-8", next_step="write it in UTF-8, in a locale like C.UTF-8"
        ) from None
    except ValueError:
        raise errors.UsageError("NaN and infinity are no numbers here", next_step="give a finite number") from None


def remote_error(error: Mapping[str, Any]) -> errors.HermesError:
    """The exception of an error object; its exit status is the daemon's."""
    code = int(error.get("code", 0))
    data = error.get("data") or {}
    kind = _BY_CODE.get(code, RemoteError)
    found = kind(
        str(error.get("message", "failed")), where=str(data.get("where", "")), next_step=str(data.get("next_step", ""))
    )
    found.rpc_code = code
    found.exit_status = int(data.get("exit_status", kind.exit_status))
    return found


def _home(named: Home | Path | str | None) -> Home:
    if named is None:
        return Home.from_environment()
    if isinstance(named, Home):
        return named
    from pathlib import Path

    return Home(Path(named).expanduser().absolute())


def check_server(connection: socket.socket, home: Home) -> None:
    """Whoever listens must be root, us, or the owner of the home: in /tmp anybody could have been first."""
    with contextlib.suppress(AttributeError):  # only Linux has SO_PEERCRED
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(credentials)
        trusted = {0, os.geteuid()}
        with contextlib.suppress(OSError):
            trusted.add(home.root.stat().st_uid)
        if uid not in trusted:
            raise errors.DeniedError(
                f"uid {uid} listens there, which does not own this home",
                where=str(home.socket_path),
                next_step="find out who it is before sending anything",
            )
