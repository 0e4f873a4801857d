"""One call: from a request and a role to the frame of its answer. Whatever a handler raises becomes an error object."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from hermesd.errors import DeniedError, HermesError, RestartError, UsageError
from hermesd.rpc.calls import AuditRecord
from hermesd.rpc.codec import Answer, FrameError, failure
from hermesd.rpc.peer import RANK
from hermesd.rpc.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MAX_DEPTH,
    MAX_FRAME_BYTES,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Params,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hermesd.rpc.calls import Caller
    from hermesd.rpc.codec import Encoding, Request
    from hermesd.rpc.routes import Route
    from hermesd.rpc.wire import Role

UNAUDITED_FIELDS = frozenset({"text", "answer", "note", "description"})
"""What people wrote: the audit log says what was done to what, not what was said."""

SHOWN_NAME_CHARS = 80

logger = logging.getLogger("hermesd.rpc")


class MethodNotFoundError(HermesError):
    """There is no such method."""

    exit_status = 2
    rpc_code = METHOD_NOT_FOUND


class InternalError(HermesError):
    """A bug; the log has its traceback."""

    rpc_code = INTERNAL_ERROR


class Call(NamedTuple):
    """A permitted request with its typed parameters."""

    route: Route
    params: Params
    request_id: int | str
    encoding: Encoding
    caller: Caller

    def audited(self, outcome: str, error: str = "") -> AuditRecord:
        """The audit log's line about this call."""
        peer = self.caller.peer
        return AuditRecord(
            method=self.route.method.name,
            uid=peer.uid,
            pid=peer.pid,
            role=self.caller.role,
            outcome=outcome,
            subject=subject_of(self.params),
            error=error,
        )

    def answer(self, result: msgspec.Struct) -> bytes:
        """The frame of a result; raises HermesError when it would be larger than a frame may be."""
        frame = self.encoding.frame(Answer(id=self.request_id, result=result))
        if len(frame) > MAX_FRAME_BYTES:
            name = self.route.method.name
            raise HermesError("the answer is larger than a frame", where=name, next_step="ask for less: limit=10")
        return frame

    def failure(self, error: HermesError) -> bytes:
        """The frame of an error."""
        return self.encoding.frame(failure(self.request_id, error))


def permit(routes: Mapping[str, Route], request: Request, role: Role | None, uid: int) -> Route:
    """The request's route. Raises MethodNotFoundError, or DeniedError when the role does not reach."""
    route = routes.get(request.method)
    if route is None:
        shown = request.method[:SHOWN_NAME_CHARS]
        raise MethodNotFoundError(f"no method {shown!r}", where="method", next_step="see `hermesctl rpc schema`")
    if role is None or RANK[role] < route.rank:
        has = f"has only {role}" if role else "has no role"
        raise DeniedError(
            f"the role {route.method.role} is needed, and uid {uid} {has}",
            where=route.method.name,
            next_step="ask the owner for it: rpc.group and rpc.roles in config.yaml",
        )
    return route


def decode_params(route: Route, request: Request, encoding: Encoding) -> Params:
    """The typed parameters. Raises UsageError, which names the field, or FrameError."""
    try:
        return route.params(request.params, encoding)
    except msgspec.ValidationError as error:
        if encoding.too_deep(bytes(request.params)):
            raise FrameError(INVALID_REQUEST, f"nested deeper than {MAX_DEPTH}") from error
        next_step = "see docs/rpc.md or `hermesctl rpc schema`"
        raise UsageError(f"bad params: {error}", where=route.method.name, next_step=next_step) from error
    except RecursionError as error:
        raise FrameError(INVALID_REQUEST, f"nested deeper than {MAX_DEPTH}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(PARSE_ERROR, f"not {encoding.name}: {error}") from error


def call_fast(call: Call, audit_failure: Callable[[Call, HermesError], None]) -> bytes:
    """Run a fast handler; the answer's frame."""
    try:
        return call.answer(call.route.handler(call.caller, call.params))
    except HermesError as error:
        audit_failure(call, error)
        return call.failure(error)
    except Exception:  # a bug in one method costs its caller an answer, and nobody anything else
        return _bug(call, audit_failure)


async def call_slow(
    call: Call, running: Awaitable[msgspec.Struct], audit_failure: Callable[[Call, HermesError], None]
) -> bytes:
    """Wait for an async handler; the answer's frame."""
    try:
        return call.answer(await running)
    except HermesError as error:
        audit_failure(call, error)
        return call.failure(error)
    except Exception:  # as above
        return _bug(call, audit_failure)


def _bug(call: Call, audit_failure: Callable[[Call, HermesError], None]) -> bytes:
    name = call.route.method.name
    logger.exception("%s failed", name)
    error = InternalError("internal error", where=name, next_step="see logs/hermesd.log, and report it")
    audit_failure(call, error)
    return call.failure(error)


def stopping(how_to_go_on: str) -> RestartError:
    """What is said to calls that a planned stop cuts or refuses."""
    return RestartError("the daemon is stopping", where="hermesd", next_step=how_to_go_on)


def subject_of(params: Params) -> str:
    """What a call is about, for the audit log: every parameter that names something, as ``name=value``."""
    return " ".join(
        f"{name}={str(value)[:SHOWN_NAME_CHARS]!r}"
        for name in params.__struct_fields__
        if name not in UNAUDITED_FIELDS and (value := getattr(params, name)) not in ("", False, None)
    )
