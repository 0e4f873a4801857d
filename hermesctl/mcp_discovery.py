"""What a server turns out to have: for ``mcp test``, and after ``mcp add`` for a person to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.errors import HermesError

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesd.home import Profile

EXIT_FAILED = 1


def test(context: Context, name: str, profile: str) -> int:
    """Wait for the server; print its tools, or why there are none and the next step. Returns the exit status."""
    result, rows = _found(context, name, profile)
    context.show({**result, "tool_names": [row["tool"] for row in rows]}, _told(name, result, rows))
    return 0 if result["ok"] else EXIT_FAILED


def after_adding(context: Context, name: str, profile: Profile) -> None:
    """At a terminal: say at once whether it works, and have the tools chosen. The server stays, whatever happens."""
    from hermesctl.mcp_change import choose
    from hermesctl.output import confirm
    from hermesd.mcp.configure import configure

    print(f"connecting to {name} … (Ctrl-C: do not wait; it is added)", flush=True)
    result, rows = _found(context, name, profile.name)
    print(_told(name, result, rows))
    if len(rows) < 2 or confirm("May the model have all of them?", default=True):
        return
    configure(profile, name, [("tools.include", choose(name, {row["tool"]: True for row in rows}))])
    context.act("daemon.reload")


def _found(context: Context, name: str, profile: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What ``mcp.test`` answers, and the tools that the model gets of this server; JSON."""
    result = context.act("mcp.test", name=name, profile=profile)
    if not result["ok"]:
        return result, []
    try:
        rows = context.call("mcp.tools", name=name, profile=profile)["tools"]
    except HermesError:  # removed or renamed meanwhile: that it was ready is still what was asked
        rows = []
    return result, [row for row in rows if row["kind"] == "tool"]


def _told(name: str, result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    if not result["ok"]:
        text = f"{name}: {result['state']}: {result.get('error', '')}".rstrip(": ")
        return text + (f"\n  → {result['next_step']}" if result.get("next_step") else "")
    count = result.get("tools", 0)
    text = f"{name}: ready, {count} tool{'' if count == 1 else 's'}, {result.get('elapsed_s', 0.0):.2f} s"
    width = max((len(row["tool"]) for row in rows), default=0)
    for row in rows:
        text += "\n" + _fit(f"  {row['tool']:<{width}}  {' '.join(str(row.get('description', '')).split())}".rstrip())
    return text


def _fit(line: str) -> str:
    from hermesctl.output import columns

    width = columns()
    return line if not width or len(line) <= width else line[: width - 1] + "…"
