"""Other words for actions: the same for every verb, in the parser, its help, completion and the daemon's table."""

from __future__ import annotations

import argparse
import importlib

import pytest

from hermesctl.__main__ import main
from hermesctl.arguments import Parser
from hermesctl.fast import is_fast
from hermesctl.verbs import VERBS, module_of
from hermesd.rpc.console_arguments import GRAMMARS, parse

LISTING = ("sessions", "inbox", "outbox", "profile", "mcp", "plugins", "skills", "cron", "watch", "webhook", "gateway")
REMOVING = {"mcp": "remove", "cron": "remove", "watch": "remove", "webhook": "remove", "profile": "delete"}
OWN = {
    ("cron", "add"): "create",
    ("cron", "delete"): "remove",
    ("webhook", "add"): "subscribe",
    ("mcp", "config"): "configure",
    ("mcp", "catalog"): "presets",
}


def parser_of(verb: str) -> Parser:
    parser = Parser(prog=f"hermesctl {verb}")
    importlib.import_module(module_of(verb)).register(parser)
    return parser


def actions_of(verb: str) -> set[str]:
    found = (each for each in parser_of(verb)._actions if isinstance(each, argparse._SubParsersAction))
    return {name for each in found for name in each.choices}


def test_every_verb_that_lists_or_removes_has_the_same_words_for_it() -> None:
    """Also one that is added later: the lists of this file are all there are."""
    assert {verb for verb in VERBS if "list" in actions_of(verb)} == set(LISTING)
    assert {verb for verb in VERBS if "ls" in actions_of(verb)} == set(LISTING)
    assert {verb for verb in VERBS if actions_of(verb) & {"remove", "delete"}} == set(REMOVING)
    assert {verb for verb in VERBS if "rm" in actions_of(verb)} == set(REMOVING)


@pytest.mark.parametrize("verb", LISTING)
def test_ls_is_list_on_every_way(verb: str) -> None:
    """By the parser, and where the daemon renders it, by the fast path and the daemon."""
    assert parser_of(verb).parse_args(["ls"]).action == "list"
    if f"{verb} list" in GRAMMARS:
        assert is_fast([verb, "ls", "--json"])
        assert parse(["-p", "x", verb, "ls"]) == parse(["-p", "x", verb, "list"])


@pytest.mark.parametrize(("verb", "action"), REMOVING.items())
def test_rm_removes(verb: str, action: str) -> None:
    """Whatever the verb calls it; it is nothing for the fast path."""
    assert parser_of(verb).parse_args(["rm", "x"]).action == action
    assert not is_fast([verb, "rm", "x"])


@pytest.mark.parametrize(("words", "action"), OWN.items())
def test_words_of_hermes_agent_are_taken(words: tuple[str, str], action: str) -> None:
    """Beside those that all verbs have."""
    verb, alias = words
    more = [] if action == "presets" else ["x"]
    assert parser_of(verb).parse_args([alias, *more]).action == action


def test_help_and_completion_know_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the action in the help; a shell offers the names that go with them."""
    with pytest.raises(SystemExit):
        main(["cron", "--help"])
    said = capsys.readouterr().out
    assert all(line in said for line in ("list (ls)", "create (add)", "remove (rm, delete)"))
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    for words, kind in {
        "cron rm": "jobs",
        "watch rm": "watches",
        "webhook rm": "webhooks",
        "profile rm": "profiles",
    }.items():
        line = next(line for line in script.splitlines() if f'"{words}")' in line)
        assert f"kind={kind}" in line
    assert "kind=" not in next(line for line in script.splitlines() if '"webhook add")' in line)


def test_a_word_of_a_verb_alone_is_no_action() -> None:
    """``ls`` is an action, not a verb, and stands for one only where there is an action."""
    assert not is_fast(["ls"])
    assert not is_fast(["config", "ls"])
    assert parse(["tree", "ls"]).words == ["ls"]
