"""Verbs as the daemon renders them: from argv to status and text, over a real store."""

from __future__ import annotations

import json
import time

import pytest

from hermesd.rpc.wire import DoctorCheck
from hermesd.store.records import Address, NewEvent, NewMessage, NewOutbox, StepRow
from tests.cost import LINEAR, growth_async
from tests.servers.panel import Panel, service
from tests.unit.rpc_console.conftest import Console


def event(text: str, delivery_id: str = "1", **more: str) -> NewEvent:
    defaults = {"profile": "default", "source": "telegram", "session_key": "agent:default:telegram:dm:1"}
    return NewEvent(**{**defaults, **more}, delivery_id=delivery_id, text=text, address=Address(platform="telegram"))


async def test_status_shows_who_runs_and_what_waits(panel: Panel, console: Console) -> None:
    """Version, pid, profiles, and counts of services and messages."""
    await panel.store.accept([event("hello")])
    panel.running = 2
    result = await console("status")
    assert result.status == 0
    assert "up 2 h" in result.text
    assert "2 ready" in result.text
    assert "2 running" in result.text
    assert "1 pending" in result.text
    assert "default *" in result.text


async def test_status_names_failed_services_and_parked_messages(panel: Panel, console: Console) -> None:
    """What needs a person stands below, with the command to look at it."""
    panel.root = service("hermesd", "ready", service("profile/a/telegram", "failed", last_error="token refused"))
    result = await console("status")
    assert "profile/a/telegram failed: token refused" in result.text


async def test_status_as_json_is_the_result_of_the_method(console: Console) -> None:
    """--json gives the fields of the wire."""
    result = await console("status", "--json")
    assert json.loads(result.text)["services"] == {"ready": 2}


@pytest.mark.parametrize("argv", [["sessions", "show", "none", "--json"], ["status", "--odd", "--json"]])
async def test_an_error_is_json_for_who_asks_for_json(console: Console, argv: list[str]) -> None:
    """As the socket answers it, in one line, also where the line cannot be parsed."""
    result = await console(*argv)
    error = json.loads(result.text)["error"]
    assert result.text.startswith('{"error":')
    assert error["data"]["exit_status"] == result.status
    assert error["message"]


async def test_status_of_many_profiles_stays_short(panel: Panel, console: Console) -> None:
    """Ten profiles are shown, broken ones first; the rest are counted."""
    for number in range(500):
        panel.add_profile(f"p{number}")
    panel.add_profile("zz", state="startup_failed", error="config.yaml:3: unknown key")
    lines = (await console("status")).text.splitlines()
    assert len(lines) < 25
    assert "492 more profiles" in lines[-1]
    assert any("config.yaml:3: unknown key" in line for line in lines)


async def test_status_of_a_thousand_services_costs_little_more(
    panel: Panel, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is only counted: it is not drawn, and what eight times as many cost is far from the square of it."""
    monkeypatch.setattr(panel, "tree", lambda: pytest.fail("the tree is drawn"))

    async def cost(count: int) -> float:
        panel.root = service("hermesd", "ready", *(service(f"s{n}") for n in range(count)))
        began = time.thread_time()
        result = await console("status")
        took = time.thread_time() - began
        assert f"{count} ready" in result.text
        return took

    assert await growth_async(cost, 1000) < LINEAR


async def test_tree_draws_branches_states_and_errors(panel: Panel, console: Console) -> None:
    """Names are relative to their branch; the last error of what is broken stands below it."""
    now = time.time()
    panel.root = service(
        "hermesd",
        "ready",
        service("store"),
        service(
            "profile/coder",
            "ready",
            service("profile/coder/turns", detail="2 running"),
            service(
                "profile/coder/telegram",
                "backoff",
                restarts=3,
                since=now - 2,
                next_try_at=now + 4,
                last_error="connection\nrefused \x1b[31m",
            ),
        ),
    )
    lines = (await console("tree")).text.splitlines()
    assert lines[0].startswith("hermesd")
    assert lines[1].startswith("├─ store ")
    assert lines[2].startswith("└─ profile/coder ")
    assert lines[3].startswith("   ├─ turns ")
    assert "2 running" in lines[3]
    assert lines[4].startswith("   └─ telegram ")
    assert "backoff" in lines[4]
    assert "3 restarts" in lines[4]
    assert "next try in 4 s" in lines[4]
    assert lines[5].strip() == "connection refused"


async def test_tree_of_one_profile(panel: Panel, console: Console) -> None:
    """-p, or a service's path, cuts the tree down."""
    panel.root = service("hermesd", "ready", service("profile/default", "ready", service("profile/default/turns")))
    assert (await console("-p", "default", "tree")).text.splitlines()[0].startswith("profile/default ")
    assert (await console("tree", "profile/default/turns")).text.count("\n") == 1
    missing = await console("tree", "nothing")
    assert (missing.status, missing.text.splitlines()[0]) == (1, "hermesctl: no service 'nothing'")


async def test_every_line_fits_the_terminal(panel: Panel, console: Console) -> None:
    """Long names, wide characters and long texts are cut with an ellipsis."""
    await panel.store.accept([event("語" * 300), event("x" * 300, "2")])
    for argv in (["inbox"], ["status"], ["profile", "list"], ["tree"]):
        text = (await console(*argv, width=60)).text
        assert all(sum(2 if char == "語" else 1 for char in line) <= 60 for line in text.splitlines()), text
    assert "…" in (await console("inbox", width=60)).text


async def test_nothing_is_cut_where_there_is_no_terminal(panel: Panel, console: Console) -> None:
    """Width 0 is a file or a pipe."""
    await panel.store.accept([event("x" * 180)])
    assert "x" * 180 in (await console("inbox", width=0)).text


async def test_texts_of_strangers_cannot_control_the_terminal(panel: Panel, console: Console) -> None:
    """Escape sequences, carriage returns and line breaks of a message do not come through."""
    await panel.store.accept([event("a\x1b]0;owned\x07b\r\nc\x9b2Jd")])
    text = (await console("inbox")).text
    assert "ab cd" in text
    assert not set(text) & set("\x1b\x07\r\x9b")


async def test_colour_only_where_it_is_wanted(panel: Panel, console: Console) -> None:
    """The same text, with and without."""
    assert "\x1b[32mready\x1b[0m" in (await console("tree", color=True)).text
    assert "\x1b" not in (await console("tree")).text


async def test_inbox_shows_what_needs_attention(panel: Panel, console: Console) -> None:
    """Done messages only with --all or --state."""
    [accepted] = await panel.store.accept([event("finished work")])
    session = await panel.store.open_session("default", "k", source="telegram")
    begun = await panel.store.begin_turn(accepted.id, session_id=session.id)
    await panel.store.finish_turn(begun.turn.id, state="done", inbox_state="done")
    assert (await console("inbox")).text == "nothing waits, runs or needs a decision\n"
    assert "finished work" in (await console("inbox", "list", "--all")).text
    assert "finished work" in (await console("inbox", "--state=done")).text
    odd = await console("inbox", "--state", "odd")
    assert odd.status == 2
    assert "use one of: pending, running" in odd.text


async def test_a_parked_message_is_shown_with_its_journal_and_the_ways_to_decide(
    panel: Panel, console: Console
) -> None:
    """inbox show names the unknown step and the three commands."""
    [accepted] = await panel.store.accept([event("deploy it")])
    session = await panel.store.open_session("default", "k", source="telegram")
    turn = (await panel.store.begin_turn(accepted.id, session_id=session.id)).turn
    step = StepRow(turn_id=turn.id, seq=1, kind="tool", name="terminal", state="unknown", effect="unsafe")
    await panel.store.journal([step])
    await panel.store.finish_turn(turn.id, state="parked", inbox_state="parked", error="cut by a crash")
    text = (await console("inbox", "show", str(accepted.id))).text
    assert "deploy it" in text
    assert "cut by a crash" in text
    assert "terminal" in text
    assert f"hermesctl inbox resume {accepted.id} --note TEXT" in text
    assert "1 parked" in (await console("status")).text


async def test_outbox_shows_dead_letters_and_how_to_retry(panel: Panel, console: Console) -> None:
    """With where they go, and why they were given up."""
    address = Address(platform="telegram", chat="42")
    new = NewOutbox(profile="default", address=address, text="hi", idempotency_key="k")
    [row] = await panel.store.offer([new])
    await panel.store.mark_attempting(row.id)
    await panel.store.mark_unsent(row.id, state="dead", error="chat not found")
    text = (await console("outbox")).text
    assert "telegram:42" in text
    assert "chat not found" in text
    assert "hermesctl outbox retry ID" in text


async def test_sessions_are_listed_shown_and_searched(panel: Panel, console: Console) -> None:
    """By id or its beginning; found words stand in brackets."""
    [accepted] = await panel.store.accept([event("how tall is the tower")])
    session = await panel.store.open_session("default", "k", source="telegram")
    turn = (await panel.store.begin_turn(accepted.id, session_id=session.id)).turn
    messages = [
        NewMessage(role="user", text="how tall is the tower", body="{}"),
        NewMessage(role="assistant", text="330 metres\x1b[2J\nto the tip", body="{}"),
    ]
    await panel.store.finish_turn(turn.id, state="done", inbox_state="done", messages=messages)
    assert session.id in (await console("sessions")).text
    shown = (await console("sessions", "show", session.id[:-2])).text
    assert "330 metres\nto the tip" in shown
    assert "[tower]" in (await console("sessions", "search", "tower")).text
    assert (await console("sessions", "search", "zebra")).text == "nothing found\n"
    assert (await console("sessions", "show", "nope")).status == 1


async def test_events_since_a_revision(panel: Panel, console: Console) -> None:
    """All of them, the last ones, or the exact suffix."""
    for number in range(5):
        await panel.store.record_event("service.ready", subject=f"s{number}")
    assert (await console("events")).text.count("service.ready") == 5
    assert "s4" in (await console("events", "-n", "1")).text
    last = await panel.store.last_event_id()
    assert (await console("events", "--since", str(last - 2))).text.count("\n") == 2
    assert (await console("events", "--since", "x")).status == 2


async def test_logs_are_filtered_and_readable(panel: Panel, console: Console) -> None:
    """JSON lines become a line for people; --json leaves them as they are."""
    entries = [
        {"at": 1.0, "level": "info", "event": "started", "service": "hermesd"},
        {"at": 2.0, "level": "error", "event": "refused\x1b[2J", "service": "profile/a/telegram"},
    ]
    (panel.home.logs / "hermesd.log").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + "plain\n")
    text = (await console("logs")).text
    assert "started" in text
    assert "plain" in text
    assert "\x1b" not in text
    assert "started" not in (await console("logs", "--level", "warning")).text
    assert "refused" in (await console("logs", "--service", "profile/a")).text
    assert json.loads(json.loads((await console("logs", "-n2", "--json")).text)["lines"][0])["level"] == "error"


async def test_doctor_fails_when_there_is_a_problem(panel: Panel, console: Console) -> None:
    """Findings from outside and from within; a problem is status 1, on standard output."""
    assert (await console("doctor")).status == 0
    panel.checks = [DoctorCheck(name="loop", verdict="problem", detail="stalled 3 s", next_step="see the log")]
    result = await console("doctor")
    assert result.status == 1
    assert "→ see the log" in result.text
    assert not result.text.startswith("hermesctl: ")


async def test_doctor_finds_a_readable_secret_file(panel: Panel, console: Console) -> None:
    """.env must be 0600."""
    (panel.home.root / ".env").write_text("TOKEN=x")
    (panel.home.root / ".env").chmod(0o644)
    result = await console("doctor")
    assert result.status == 1
    assert f"chmod 600 {panel.home.root / '.env'}" in result.text


async def test_profiles_and_gateways(panel: Panel, console: Console) -> None:
    """A line each; one of them in full; an unknown name is status 1."""
    panel.add_profile("coder", state="running", platforms={"telegram": "ready"}, model="m")
    assert "telegram ready" in (await console("gateway")).text
    assert "coder" in (await console("profile", "list")).text
    assert "platform telegram" in (await console("gateway", "status", "coder")).text
    assert "platform telegram" in (await console("-p", "coder", "profile", "show")).text
    assert (await console("profile", "show", "nobody")).status == 1
    assert (await console("-p", "nobody", "sessions")).status == 1


async def test_version_says_when_client_and_daemon_differ(console: Console) -> None:
    """The client tells its own version."""
    assert "they differ" in (await console("version", "--client", "9.9")).text
    assert "they differ" not in (await console("version", "--client", "0.1.0")).text


@pytest.mark.parametrize(
    "argv",
    [[], ["nothing"], ["sessions", "delete"], ["status", "x"], ["status", "--odd"], ["inbox", "show", "x"], ["-p"]],
)
async def test_a_malformed_call_is_a_usage_error(argv: list[str], console: Console) -> None:
    """Status 2 and a sentence, whatever is sent."""
    result = await console(*argv)
    assert result.status == 2
    assert result.text.startswith("hermesctl: ")
