"""Slash commands as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.gateway import slash
from hermesd.gateway.commands import DESCRIPTIONS, NAMES, Command, parse_command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/stop", Command("stop")),
        ("  /STOP  ", Command("stop")),
        ("/approve always\nplease", Command("approve", "always\nplease")),
        ("/new@our_bot", Command("new", named_us=True)),
        ("/New@OUR_Bot now", Command("new", "now", named_us=True)),
        ("/stpo", Command("stpo")),
        ("/new@other_bot", None),
        ("/tmp is full", None),
        ("/etc/hosts", None),
        ("stop", None),
        ("/", None),
        ("", None),
    ],
)
def test_commands_are_told_from_sentences(text: str, command: Command | None) -> None:
    """Known names, unknown ones that stand alone, and none meant for another bot."""
    assert parse_command(text, "our_bot") == command


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    """Nothing raises, and a command's meta is text."""
    command = parse_command(text, "our_bot")
    assert command is None or set(command.meta) == {"command", "args"}


def test_every_command_is_carried_out_and_the_menu_is_part_of_them() -> None:
    """What we recognise, the router knows."""
    assert set(slash.COMMANDS) == NAMES
    assert set(DESCRIPTIONS) <= NAMES
