"""A warm turn, a tool step and a shell step, less the model's own time: ours beside hermes-agent's API server.

Ours is asked by ``chat.send`` over a kept RPC connection, hermes-agent by POST /v1/chat/completions over a kept HTTP
connection; both in one session with the same scripted model, turn about.
"""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import daemon, figures, model
from bench.environments import NotAvailableError, installed_wheel
from bench.measure import Command, alternate, alternate_commands, median, p99, rss_mb
from bench.peers import hermes_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.figures import Figure
    from bench.model import Model

CONFIG = """\
model: {{provider: openai, default: gpt-4o, api_key: none, base_url: "{base_url}"}}
policy: {{unsafe: allow, tools: {{terminal: allow}}}}
agent: {{history_messages: 20}}
"""
HERMES_AGENT = "hermes-agent's API server"
PROBES = "before each turn it asks a model on loopback what kind of server that is; this is in its figure"
TURNS = {
    "plain": "a turn without tools",
    "tool": "a turn with one read_file call",
    "shell": "a turn with one shell command (`true`)",
}


def scripts(path: Path) -> dict[str, model.Script]:
    """What the model does in each kind of turn."""
    return {
        "plain": [model.says("hello")],
        "tool": [model.calls("read_file", path=str(path)), model.says("done")],
        "shell": [model.calls("terminal", command="true"), model.says("done")],
    }


def run(*, runs: int, peers: bool) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        llm = stack.enter_context(model.running())
        home = daemon.write_home(directory / "home", CONFIG.format(base_url=llm.base_url))
        hermesd = stack.enter_context(daemon.running(home))
        connection = stack.enter_context(hermesd.connect())
        (home / "workspace").mkdir(exist_ok=True)
        (home / "workspace/note.txt").write_text("a line\n" * 10)

        def ask() -> None:
            answer = connection.call("chat.send", text="hello", quiet=True)
            if answer["state"] != "done":
                raise RuntimeError(str(answer))

        ours = _measure(llm, ask, scripts(Path("note.txt")), runs)
        rows = [*_own_rows(ours), figures.plain("resident memory after these turns", rss_mb(hermesd.pid), "MB")]
        if peers:
            try:
                rows += _beside_hermes_agent(llm, ours, rss_mb(hermesd.pid), max(3, runs // 4))
                rows.append(_whole_commands(llm, daemon.environment(home)))
            except (NotAvailableError, RuntimeError) as error:
                rows.append(figures.not_run("a turn, beside hermes-agent", str(error)))
        return rows


def _measure(
    llm: Model, ask: Callable[[], object], kinds: Mapping[str, model.Script], runs: int
) -> dict[str, list[float]]:
    turns = {kind: (lambda script=script: llm.added_ms(script, ask)) for kind, script in kinds.items()}
    return alternate(turns, runs, warmup=3)


def _own_rows(found: dict[str, list[float]]) -> list[Figure]:
    plain = median(found["plain"])
    late = f"one in a hundred: {p99(found['plain']):.0f} ms"
    return [
        figures.plain(f"{TURNS['plain']} adds, median", plain, "ms", at_most=12, note=late),
        figures.plain("a tool step (read_file) adds to that", median(found["tool"]) - plain, "ms", at_most=5),
        figures.plain("a shell step (`true`) adds to that", median(found["shell"]) - plain, "ms", at_most=8),
    ]


def _beside_hermes_agent(llm: Model, ours: dict[str, list[float]], rss: float, runs: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, hermes_agent.gateway(Path(name), llm.base_url) as gateway:
        note = gateway.directory / "note.txt"
        note.write_text("a line\n" * 10)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)) as client:
            theirs = _measure(llm, lambda: gateway.ask(client, "hello", "bench"), scripts(note), runs)
        their_rss = rss_mb(gateway.pid)
    rows = []
    for kind, what in TURNS.items():
        rows.append(
            figures.beside(
                f"{what} adds, median", median(ours[kind]), "ms", HERMES_AGENT, median(theirs[kind]), note=PROBES
            )
        )
    return [*rows, figures.beside("resident memory after these turns", rss, "MB", HERMES_AGENT, their_rss)]


def _whole_commands(llm: Model, env: dict[str, str]) -> Figure:
    """One question from the shell, from its start to its end, the model's time in it."""
    llm.arm_always("hello")
    with tempfile.TemporaryDirectory() as name:
        commands = {
            "ours": Command([str(installed_wheel() / "hermesctl"), "chat", "-q", "hello"], env),
            "theirs": Command(
                [str(hermes_agent.program()), "-z", "hello"], hermes_agent.write_home(Path(name) / "home", llm.base_url)
            ),
        }
        found = alternate_commands(commands, 3, warmup=1)
    return figures.beside("one question, the whole command", found["ours"], "ms", "hermes -z", found["theirs"])
