"""The socket's wire: frames, error codes and every method with its types. Standard library and msgspec only.

JSON-RPC 2.0 messages (https://www.jsonrpc.org/specification). The first byte a client sends chooses the encoding of
the connection: ``{`` means one JSON message a line, anything else means msgpack, each message after a 4-byte
big-endian length. docs/rpc.md is made from this file.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from hermesd.store.records import (  # records are plain msgspec structs, part of the wire
    EventRow,
    InboxRow,
    MessageRow,
    OutboxRow,
    QuestionRow,
    SearchHit,
    SessionRow,
    StepRow,
    TurnRow,
)
from hermesd.supervision.service import ServiceStatus

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_METHOD_BYTES = 1024
MAX_DEPTH = 64

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
LAGGED = -32030

Role = Literal["read", "chat", "operate", "owner"]
"""Each includes those before it. The owner's uid and root are ``owner``."""


class Params(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base of all parameters: unknown fields are an error that names them."""


class Result(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of all results."""


class Done(Result, kw_only=True):
    """An empty success; ``message`` is a sentence for people."""

    message: str = ""


class Nothing(Params, kw_only=True):
    """No parameters."""


class HelloResult(Result, kw_only=True):
    """Who answers. ``role`` is the caller's."""

    protocol: int
    server: str
    version: str
    pid: int
    role: Role
    capabilities: list[str]
    home: str


class SchemaResult(Result, kw_only=True):
    """An OpenRPC document (https://spec.open-rpc.org)."""

    openrpc: dict[str, Any]  # a JSON document by nature


class StatusResult(Result, kw_only=True):
    """The daemon at a glance. Times in epoch seconds, sizes in bytes."""

    version: str
    pid: int
    started_at: float
    home: str
    profiles: list[ProfileSummary]
    services: dict[str, int]
    inbox: dict[str, int]
    outbox: dict[str, int]
    turns_running: int
    rss_bytes: int
    problems: list[str]


class ProfileSummary(Result, kw_only=True):
    """A profile and its gateway. ``desired`` is running or stopped; ``state`` as in gateway_state.json."""

    name: str
    desired: str
    state: str
    current: bool = False
    model: str = ""
    platforms: dict[str, str] = {}
    path: str = ""
    error: str = ""


class TreeResult(Result, kw_only=True):
    """The supervision tree."""

    root: ServiceStatus


class ServiceParams(Params, kw_only=True):
    """A service by its path, e.g. ``profile/coder/platform/telegram``."""

    name: str


class StopParams(Params, kw_only=True):
    """Stop the daemon; ``now`` sets the drain deadline to zero."""

    now: bool = False


class ReloadResult(Result, kw_only=True):
    """What a reload did: the services it restarted, and the refusals (file:line …), if any."""

    applied: list[str]
    refused: list[str]


class DoctorCheck(Result, kw_only=True):
    """One finding: ``ok``, ``warning`` or ``problem``, with what to do."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    detail: str
    next_step: str = ""


class DoctorResult(Result, kw_only=True):
    """Everything looked at."""

    checks: list[DoctorCheck]


class ConsoleParams(Params, kw_only=True):
    """A read-only verb to be rendered here for a client that has no parser. ``width`` in columns."""

    argv: list[str]
    width: int = 80
    color: bool = False


class ConsoleResult(Result, kw_only=True):
    """Text for standard output (or standard error when status is not 0). The field order is part of the contract:
    a client that cannot parse msgpack finds ``text`` last."""

    status: int
    text: str


class ProfileParams(Params, kw_only=True):
    """A profile by name; empty means the current one."""

    profile: str = ""


class OptionalProfileParams(Params, kw_only=True):
    """A profile, or every one when empty."""

    profile: str = ""
    limit: int = 50


class ChatSendParams(Params, kw_only=True):
    """Say something. ``delivery_id`` makes it safe to repeat: the same id is processed once and gets the same answer.

    ``session`` is a session id (or unique prefix), empty for the profile's local chat session; ``new`` starts a fresh
    one. ``quiet`` asks for no notifications. ``wait`` false returns as soon as the message is durable. ``agent`` says
    that a program wrote it, another agent for instance: text from outside, in a conversation apart from the user's.
    """

    text: str
    profile: str = ""
    session: str = ""
    new: bool = False
    delivery_id: str = ""
    quiet: bool = False
    wait: bool = True
    agent: bool = False


class ChatResult(Result, kw_only=True):
    """The answer. ``state`` is the turn's: done, failed, cancelled, parked, deferred; or accepted when not waiting."""

    state: str
    text: str
    session: str = ""
    turn: str = ""
    inbox_id: int = 0
    duplicate: bool = False
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


class ChatUpdate(Result, kw_only=True):
    """A notification ``chat.update`` of a ``chat.send`` stream; ``id`` is the request's.

    kind: accepted (durable), started, text, reasoning, restarted, tool, tool_result, question, notice.
    """

    id: int | str
    kind: str
    text: str = ""
    name: str = ""
    session: str = ""
    turn: str = ""
    question: QuestionRow | None = None
    is_error: bool = False


class InterruptParams(Params, kw_only=True):
    """Stop the running turn of a session; empty: the profile's local chat session."""

    profile: str = ""
    session: str = ""


class AnswerParams(Params, kw_only=True):
    """Answer an open question; null closes it: nobody is there to answer."""

    question: int
    answer: str | None


class QuestionsResult(Result, kw_only=True):
    """Open questions."""

    questions: list[QuestionRow]


class EventsParams(Params, kw_only=True):
    """Events after ``since``; as a stream they go on until the client leaves."""

    since: int = 0
    limit: int = 500
    profile: str = ""


class EventNotification(Result, kw_only=True):
    """A notification ``events.event`` of an ``events.watch`` stream; ``id`` is the request's."""

    id: int | str
    event: EventRow


class LogsParams(Params, kw_only=True):
    """The last ``lines`` of hermesd.log."""

    lines: int = 50
    level: str = ""
    service: str = ""


class LogsResult(Result, kw_only=True):
    """Log lines as they stand in the file (JSON, one event a line)."""

    lines: list[str]


class LogNotification(Result, kw_only=True):
    """A notification ``logs.line`` of a ``logs.follow`` stream; ``id`` is the request's."""

    id: int | str
    line: str


class SessionParams(Params, kw_only=True):
    """A session by id or unique prefix."""

    session: str
    profile: str = ""
    limit: int = 200


class SessionsResult(Result, kw_only=True):
    """Sessions, most recently used first."""

    sessions: list[SessionRow]


class SessionResult(Result, kw_only=True):
    """A session with its messages."""

    session: SessionRow
    messages: list[MessageRow]


class SearchParams(Params, kw_only=True):
    """Full-text search over messages."""

    query: str
    profile: str = ""
    limit: int = 20


class SearchResult(Result, kw_only=True):
    """Hits, best first."""

    hits: list[SearchHit]


class InboxParams(Params, kw_only=True):
    """Inbox rows, newest first; empty ``states`` means those that need attention: pending, running, parked, failed."""

    profile: str = ""
    states: list[str] = []
    limit: int = 50


class InboxResult(Result, kw_only=True):
    """Inbox rows."""

    rows: list[InboxRow]


class RowParams(Params, kw_only=True):
    """One row by id."""

    id: int


class InboxDetail(Result, kw_only=True):
    """A row with its turn and journal, to decide on a parked one."""

    row: InboxRow
    turn: TurnRow | None = None
    steps: list[StepRow] = []


class ResolveParams(Params, kw_only=True):
    """Decide on a row. inbox: retry, resume (``note`` stands for the unknown result), drop. outbox: retry, drop."""

    id: int
    action: str
    note: str = ""


class OutboxParams(Params, kw_only=True):
    """Outbox rows, newest first; empty ``states`` means all but sent ones."""

    profile: str = ""
    states: list[str] = []
    limit: int = 50


class OutboxResult(Result, kw_only=True):
    """Outbox rows."""

    rows: list[OutboxRow]


class ConfigParams(Params, kw_only=True):
    """A dotted key of a profile's configuration in force; empty: all of it. Secrets are redacted."""

    profile: str = ""
    key: str = ""


class ConfigResult(Result, kw_only=True):
    """The value in force, as plain data."""

    value: Any  # a configuration value is whatever its key holds
    source: str = ""


class ProfileCreateParams(Params, kw_only=True):
    """A new profile; ``clone_from`` copies config.yaml, .env and SOUL.md of another."""

    name: str
    clone_from: str = ""
    description: str = ""


class ProfileNameParams(Params, kw_only=True):
    """A profile by its (existing) name."""

    name: str


class ProfileRenameParams(Params, kw_only=True):
    """Give a profile another name."""

    name: str
    new_name: str


class ProfilesResult(Result, kw_only=True):
    """Profiles, default first."""

    profiles: list[ProfileSummary]


class GatewayParams(Params, kw_only=True):
    """A gateway by its profile, or all of them."""

    profile: str = ""
    all: bool = False


class McpServerRow(Result, kw_only=True):
    """An MCP server. ``state``: idle, connecting, ready, backoff, auth, disabled, failed. Times are epoch seconds.

    ``tools`` counts what the model gets, ``quarantined`` what is held back because its definition changed, ``restarts``
    how often hermesd has started it again after it had been up and was lost (since it was configured, or restarted by a
    person).
    """

    name: str
    profile: str
    state: str
    kind: str
    era: str = ""
    tools: int = 0
    quarantined: int = 0
    restarts: int = 0
    last_error: str = ""
    next_try_at: float = 0.0
    lifecycle: str = "eager"
    trusted: bool = False


class McpServersResult(Result, kw_only=True):
    """MCP servers in the order of the configuration."""

    servers: list[McpServerRow]


class McpToolRow(Result, kw_only=True):
    """A tool of a server: its name for the model, the server's own, and what was noticed about it (``flags``)."""

    name: str
    server: str
    tool: str
    kind: str
    effect: str
    description: str
    parameters: dict[str, Any]  # a JSON Schema
    flags: list[str] = []
    quarantined: bool = False


class McpToolsResult(Result, kw_only=True):
    """Tools of MCP servers."""

    tools: list[McpToolRow]


class McpServerDetail(Result, kw_only=True):
    """One server with everything known of it. ``stderr``: its last lines. ``info``: what it says it is.

    ``left_out``: the server's names of tools that the configuration keeps from the model. ``held``: a mark of what is
    held back, for ``mcp.approve``. ``told_as``: what people call its profile after ``hermesctl -p``.
    """

    server: McpServerRow
    target: str
    tools: list[McpToolRow]
    left_out: list[str] = []
    held: str = ""
    told_as: str = ""
    flags: list[str] = []
    info: str = ""
    instructions: str = ""
    pid: int = 0
    stderr: list[str] = []


class McpServerParams(Params, kw_only=True):
    """An MCP server of a profile ('' is the current one)."""

    name: str
    profile: str = ""


class McpToolsParams(Params, kw_only=True):
    """Tools of one server, or of all."""

    name: str = ""
    profile: str = ""


class McpApproveParams(Params, kw_only=True):
    """Quarantined tools by the server's own names; none named means all of that server.

    ``expect``: the ``held`` that ``mcp.show`` told; anything else now is refused.
    """

    name: str
    tools: list[str] = []
    expect: str = ""
    profile: str = ""


class McpDefinitionParams(Params, kw_only=True):
    """A tool by the server's own name."""

    name: str
    tool: str
    profile: str = ""


class McpDefinitionResult(Result, kw_only=True):
    """What the server itself says of a tool, word for word: untrusted, and not what the model is shown."""

    definition: dict[str, Any]  # JSON


class McpCallParams(Params, kw_only=True):
    """Call a tool by its name for the model or by the server's own."""

    name: str
    tool: str
    arguments: dict[str, Any] = {}  # JSON
    profile: str = ""


class McpCallResult(Result, kw_only=True):
    """What a model would be told."""

    text: str
    is_error: bool = False
    needs_reauth: bool = False


class McpTestResult(Result, kw_only=True):
    """Whether a server can be reached. ``elapsed_s`` is from the request to the answer."""

    ok: bool
    state: str
    tools: int = 0
    era: str = ""
    error: str = ""
    next_step: str = ""
    elapsed_s: float = 0.0


class McpLoginUpdate(Result, kw_only=True):
    """A notification ``mcp.login_update`` of a ``mcp.login`` stream: the address to open, or words for the person."""

    id: int | str
    text: str = ""
    url: str = ""


class McpLoginAnswerParams(Params, kw_only=True):
    """The address that the browser ended at, for the sign-in under way."""

    name: str
    address: str
    profile: str = ""
