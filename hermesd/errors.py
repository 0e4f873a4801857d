"""Every error hermesd raises on purpose, and what each means to a caller.

    HermesError
    ├─ UsageError          2   the call is malformed
    ├─ NotFoundError       1   the named thing does not exist
    ├─ ConflictError       1   the thing exists, or is in another state
    ├─ UnreachableError   69   no daemon answers
    ├─ RestartError       75   try again after a restart
    ├─ DeniedError        77   the caller may not do this
    ├─ ConfigError        78   configuration is wrong: file and line are named
    ├─ StoreError          1   the state file refused a read or a write
    ├─ ProviderError       1   a model endpoint failed (see ``providers.base``)
    └─ PlatformError       1   a chat platform failed (see ``gateway.platform``)

Exit statuses follow BSD ``sysexits.h`` (EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG, EX_TEMPFAIL). RPC codes use the
server range -32000..-32099 of JSON-RPC 2.0, section 5.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "ConflictError",
    "DeniedError",
    "HermesError",
    "NotFoundError",
    "RestartError",
    "StoreError",
    "UnreachableError",
    "UsageError",
]


class HermesError(Exception):
    """What is wrong, where, and the one next step.

    ``what`` is a sentence without a full stop; ``where`` a path, ``file:line``, service or method name;
    ``next_step`` an imperative sentence or a command.
    """

    exit_status = 1
    rpc_code = -32000

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  → {self.next_step}" if self.next_step else text

    def said_to(self, argv: Sequence[str]) -> str:
        """As hermesctl prints it for this command line: a sentence and its next step, or a line of JSON for --json.

        The JSON is what the socket answers: ``{"error": {code, message, data: {where, next_step, exit_status}}}``.
        """
        if "--json" not in (argv[: argv.index("--")] if "--" in argv else argv):
            return f"hermesctl: {self}"
        import json

        data = {"where": self.where, "next_step": self.next_step, "exit_status": self.exit_status}
        found = {"error": {"code": self.rpc_code, "message": self.what, "data": data}}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


class UsageError(HermesError):
    """The call itself is malformed."""

    exit_status = 2
    rpc_code = -32602


class NotFoundError(HermesError):
    """The named profile, session, service or row does not exist."""

    rpc_code = -32001


class ConflictError(HermesError):
    """The thing already exists, or is in a state that forbids this."""

    rpc_code = -32002


class UnreachableError(HermesError):
    """No daemon answers on the socket."""

    exit_status = 69
    rpc_code = -32003


class RestartError(HermesError):
    """The work cannot go on in this process; a restart will take it up."""

    exit_status = 75
    rpc_code = -32004


class DeniedError(HermesError):
    """The caller's uid or role does not permit this."""

    exit_status = 77
    rpc_code = -32005


class ConfigError(HermesError):
    """Configuration is wrong; ``where`` is ``file:line`` when a line is known."""

    exit_status = 78
    rpc_code = -32006


class StoreError(HermesError):
    """The state file refused: disk full, read-only, I/O error, corrupt, or not ours."""

    rpc_code = -32007
