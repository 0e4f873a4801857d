"""Read-only verbs, rendered here for clients without a parser: ``console.run``.

``argv`` → ``console_arguments.parse`` → a query → JSON, or a text that fits the caller's terminal. That makes
``hermesctl status`` as fast as an empty Python program (hermesctl.fast).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

import hermesd
from hermesd.errors import HermesError
from hermesd.rpc import queries, wire
from hermesd.rpc.console_answer import MAX_ROWS, Answer, limit_of
from hermesd.rpc.console_arguments import parse, whole_number
from hermesd.rpc.render.page import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.console_arguments import Call
    from hermesd.rpc.context import Daemon
    from hermesd.rpc.wire import ConsoleParams, ConsoleResult, Role

NARROWEST = 40


async def run(params: ConsoleParams, daemon: Daemon, role: Role) -> ConsoleResult:
    """Parse, ask, render. Errors become their text and exit status; nothing a caller sends makes this raise.

    ``role`` has been checked for the method: every verb here asks for ``read`` and nothing more.
    """
    try:
        call = parse(params.argv)
        answer = await VERBS[call.verb](call, daemon)
    except HermesError as error:
        return wire.ConsoleResult(status=error.exit_status, text=f"{error.said_to(params.argv)}\n")
    if call.json:
        text = msgspec.json.format(msgspec.json.encode(answer.result), indent=2).decode() + "\n"
    else:
        width = max(params.width, NARROWEST) if params.width > 0 else 0
        text = answer.render(Page(width=width, color=params.color))
    return wire.ConsoleResult(status=answer.status, text=text)


async def _status(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import status

    result = await queries.status(daemon)
    if call.profile:
        result = msgspec.structs.replace(result, profiles=[queries.profile(daemon, call.profile)])
    return Answer(result, lambda page: status.render(page, result))


async def _tree(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import tree

    name = f"profile/{queries.profile(daemon, call.profile).name}" if call.profile else ""
    result = queries.tree(daemon, call.words[0] if call.words else name)
    return Answer(result, lambda page: tree.render(page, result))


async def _doctor(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import doctor

    result = await queries.doctor(daemon)
    has_problem = any(check.verdict == "problem" for check in result.checks)
    return Answer(result, lambda page: doctor.render(page, result), int(has_problem))


async def _version(call: Call, daemon: Daemon) -> Answer:
    client = call.values.get("client", "")
    result = VersionResult(daemon=hermesd.__version__, client=client)
    lines = [f"hermesctl {client}"] if client else []
    lines.append(f"hermesd {hermesd.__version__}")
    if client not in ("", hermesd.__version__):
        lines.append("they differ: restart hermesd to run the installed version")
    return Answer(result, lambda page: "\n".join(lines) + "\n")


class VersionResult(wire.Result, kw_only=True):
    """Versions of both sides; ``client`` as far as it told."""

    daemon: str
    client: str = ""


async def _events(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import events

    limit = limit_of(call, 50)
    if "since" in call.values:
        result = await queries.events_since(daemon, call.number("since", 0), call.profile, limit)
    else:
        result = await queries.newest_events(daemon, call.profile, limit)
    return Answer(result, lambda page: events.render(page, result))


async def _logs(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import logs

    lines = min(call.number("lines", 50), MAX_ROWS)
    result = await queries.logs(daemon, lines, call.values.get("level", ""), call.values.get("service", ""))
    return Answer(result, lambda page: logs.render(page, result))


async def _config(call: Call, daemon: Daemon) -> Answer:
    """What the files say now, as hermesctl reads them itself when no daemon runs."""
    from hermesd.config.show import text_of

    value = await queries.configured(daemon, call.profile, call.words[0] if call.words else "")
    return Answer(value, lambda page: text_of(value))


async def _sessions_list(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import sessions

    result = await queries.sessions(daemon, call.profile, limit_of(call, 30))
    return Answer(result, lambda page: sessions.render_list(page, result))


async def _sessions_show(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import sessions

    result = await queries.session(daemon, call.words[0], call.profile, limit_of(call, 200))
    return Answer(result, lambda page: sessions.render_one(page, result))


async def _sessions_search(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import sessions

    result = await queries.search(daemon, " ".join(call.words), call.profile, limit_of(call, 20))
    return Answer(result, lambda page: sessions.render_hits(page, result))


async def _inbox_list(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import inbox

    states = call.states or ([] if "all" in call.values else queries.INBOX_ATTENTION)
    result = await queries.inbox(daemon, call.profile, states, limit_of(call, 50))
    return Answer(result, lambda page: inbox.render_list(page, result))


async def _inbox_show(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import inbox

    result = await queries.inbox_row(daemon, whole_number(call.words[0], "ID"))
    return Answer(result, lambda page: inbox.render_one(page, result))


async def _outbox_list(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import outbox

    dead = ["dead"] if "dead" in call.values else []
    states = call.states + dead or ([] if "all" in call.values else queries.OUTBOX_ATTENTION)
    result = await queries.outbox(daemon, call.profile, states, limit_of(call, 50))
    return Answer(result, lambda page: outbox.render(page, result, dead=states == ["dead"]))


async def _outbox_show(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import outbox

    result = await queries.outbox_row(daemon, whole_number(call.words[0], "ID"))
    return Answer(result, lambda page: outbox.render_one(page, result))


async def _profiles(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import profiles

    result = queries.profiles(daemon)
    return Answer(result, lambda page: profiles.render(page, result))


async def _profile(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.render import profiles

    result = queries.profile(daemon, call.words[0] if call.words else call.profile)
    return Answer(result, lambda page: profiles.render_one(page, result))


async def _mcp_list(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc import mcp as queries_mcp
    from hermesd.rpc.render import mcp

    result = queries_mcp.servers(daemon, call.profile)
    return Answer(result, lambda page: mcp.render_list(page, result))


async def _mcp_show(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc import mcp as queries_mcp
    from hermesd.rpc.render import mcp

    result = queries_mcp.server(daemon, call.profile, call.words[0])
    return Answer(result, lambda page: mcp.render_one(page, result))


async def _mcp_tools(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc import mcp as queries_mcp
    from hermesd.rpc.render import mcp

    result = queries_mcp.tools(daemon, call.profile, call.words[0] if call.words else "")
    return Answer(result, lambda page: mcp.render_tools(page, result))


async def _plugins_list(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc import plugins as queries_plugins
    from hermesd.rpc.render import plugins

    result = await queries_plugins.listing(daemon, call.profile)
    return Answer(result, lambda page: plugins.render_list(page, result))


async def _plugins_show(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc import plugins as queries_plugins
    from hermesd.rpc.render import plugins

    result = await queries_plugins.one(daemon, call.profile, call.words[0])
    return Answer(result, lambda page: plugins.render_one(page, result))


async def _routines(call: Call, daemon: Daemon) -> Answer:
    from hermesd.rpc.console_routines import ROUTINE_VERBS

    return await ROUTINE_VERBS[call.verb](call, daemon)


VERBS: dict[str, Callable[[Call, Daemon], Awaitable[Answer]]] = {
    "status": _status,
    "tree": _tree,
    "doctor": _doctor,
    "version": _version,
    "events": _events,
    "logs": _logs,
    "sessions list": _sessions_list,
    "sessions show": _sessions_show,
    "sessions search": _sessions_search,
    "inbox list": _inbox_list,
    "inbox show": _inbox_show,
    "outbox list": _outbox_list,
    "outbox show": _outbox_show,
    "profile list": _profiles,
    "profile show": _profile,
    "mcp list": _mcp_list,
    "mcp show": _mcp_show,
    "mcp tools": _mcp_tools,
    "plugins list": _plugins_list,
    "plugins show": _plugins_show,
    "cron list": _routines,
    "cron show": _routines,
    "cron runs": _routines,
    "watch list": _routines,
    "watch show": _routines,
    "watch runs": _routines,
    "webhook list": _routines,
    "webhook show": _routines,
    "gateway list": _profiles,
    "gateway status": _profile,
    "config show": _config,
    "config get": _config,
}
