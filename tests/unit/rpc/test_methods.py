"""The methods that read, and those that steer: that each does what its name says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hermesd.config.schema import Config, ModelConfig, PlatformsConfig, TelegramConfig
from hermesd.config.settings import Secrets, Settings
from hermesd.rpc.methods.config import redacted
from hermesd.rpc.wire_methods import METHODS
from hermesd.store.records import Address, NewEvent
from tests.servers.served import Served, Wire

READING: list[tuple[str, dict[str, Any]]] = [
    ("daemon.status", {}),
    ("daemon.tree", {}),
    ("daemon.doctor", {}),
    ("events.list", {"since": 0}),
    ("logs.tail", {}),
    ("sessions.list", {}),
    ("sessions.search", {"query": "x"}),
    ("inbox.list", {}),
    ("outbox.list", {}),
    ("profile.list", {}),
    ("profile.show", {"name": "default"}),
    ("gateway.list", {}),
    ("chat.questions", {}),
    ("console.run", {"argv": ["status"]}),
]
STEERING: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("service.start", {"name": "a/b"}, ("start_service", "a/b")),
    ("service.restart", {"name": "a/b"}, ("restart_service", "a/b")),
    ("gateway.start", {}, ("start_gateway", "default")),
    ("gateway.stop", {"profile": "default"}, ("stop_gateway", "default")),
    ("gateway.restart", {"all": True}, ("restart_gateway", "default")),
    ("profile.create", {"name": "coder", "clone_from": "default"}, ("create_profile", "coder", "default", "")),
    ("profile.use", {"name": "default"}, ("use_profile", "default")),
    ("profile.rename", {"name": "default", "new_name": "other"}, ("rename_profile", "default", "other")),
    ("profile.delete", {"name": "default"}, ("delete_profile", "default")),
    ("daemon.stop", {"now": True}, ("request_stop", True)),
]


@pytest.mark.parametrize(("method", "params"), READING, ids=[name for name, _ in READING])
async def test_a_reading_method_answers_as_its_type_says(wire: Wire, method: str, params: dict[str, Any]) -> None:
    """The result converts to the wire's struct, and holds nothing that the struct does not know."""
    result = await wire.result(method, params)
    read = msgspec.convert(result, {item.name: item.result for item in METHODS}[method])
    assert msgspec.to_builtins(read) == result


@pytest.mark.parametrize(("method", "params", "done"), STEERING, ids=[name for name, _, _ in STEERING])
async def test_a_steering_method_asks_the_daemon(
    served: Served, wire: Wire, method: str, params: dict[str, Any], done: tuple[Any, ...]
) -> None:
    """Once, with what was given, and with a sentence as the answer."""
    assert (await wire.result(method, params))["message"]
    assert served.panel.done == [done]


async def test_a_row_is_shown_and_decided(served: Served, wire: Wire) -> None:
    """A dropped or retried event; the profile's turns are seen to."""
    event = NewEvent(
        profile="default", source="t", delivery_id="1", session_key="k", text="x", address=Address(platform="rpc")
    )
    [accepted] = await served.panel.store.accept([event])
    session = await served.panel.store.open_session("default", "k", source="t")
    begun = await served.panel.store.begin_turn(accepted.id, session_id=session.id)
    await served.panel.store.finish_turn(begun.turn.id, state="parked", inbox_state="parked")
    shown = await wire.result("inbox.show", {"id": accepted.id})
    assert (shown["row"]["state"], shown["turn"]["id"]) == ("parked", begun.turn.id)
    answer = await wire.result("inbox.resolve", {"id": accepted.id, "action": "retry"})
    assert answer["message"] == f"inbox {accepted.id} is pending"
    assert ("ensure_turns", "default") in served.panel.done
    assert (await wire.error("inbox.resolve", {"id": accepted.id, "action": "retry"}))["code"] == -32002
    assert (await wire.error("inbox.show", {"id": 999}))["code"] == -32001
    shown = await wire.result("sessions.show", {"session": session.id})
    assert shown["session"]["id"] == session.id


@pytest.fixture
def configured(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A configuration with secrets in it."""
    config = Config(
        model=ModelConfig(default="gpt", api_key="sk-very-secret", base_url="http://u:hunter22@host/"),
        platforms=PlatformsConfig(telegram=TelegramConfig(token="123:ABC")),
    )
    secrets = Secrets({"OPENAI_API_KEY": "sk-very-secret", "PASSWORD": "hunter22", "SHORT": "a"})
    settings = Settings(served.panel.home.default_profile, config, secrets)
    monkeypatch.setattr(served.panel, "settings", lambda _profile="": settings, raising=False)
    return served


async def test_the_configuration_is_shown_without_its_secrets(configured: Served, wire: Wire) -> None:
    """Neither under their own keys nor within other values; short ones do not blank out ordinary text."""
    shown = await wire.result("config.show")
    model = shown["value"]["model"]
    assert model["default"] == "gpt"
    assert model["api_key"] == "[redacted]"
    assert model["base_url"] == "http://u:[redacted]@host/"
    assert shown["value"]["platforms"]["telegram"]["token"] == "[redacted]"
    assert shown["source"] == str(configured.panel.home.root / "config.yaml")


async def test_one_key_of_the_configuration_is_shown(configured: Served, wire: Wire) -> None:
    """Dotted; an unknown one is named as far as it leads nowhere."""
    assert (await wire.result("config.show", {"key": "model.default"}))["value"] == "gpt"
    assert (await wire.result("config.show", {"key": "model.api_key"}))["value"] == "[redacted]"
    error = await wire.error("config.show", {"key": "model.nope.more"})
    assert (error["code"], error["message"]) == (-32001, "no key 'model.nope'")


def test_secrets_in_lists_and_maps_are_redacted() -> None:
    """Whatever holds them."""
    value = {"env": {"BOT_TOKEN": "x", "PATH": "/bin"}, "args": ["--key", "abcd1234"], "n": 1}
    assert redacted(value, ["abcd1234"], key="") == {
        "env": {"BOT_TOKEN": "[redacted]", "PATH": "/bin"},
        "args": ["--key", "[redacted]"],
        "n": 1,
    }
