"""From argv to a verb: global flags anywhere, hints, statuses, and the same flags as the daemon's table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermesctl.__main__ import main
from hermesctl.arguments import Parser, split_verb
from hermesctl.verbs import VERBS, module_of
from hermesd.rpc.console_arguments import COMMON, DEFAULT_ACTIONS, GRAMMARS

CLIENT_ONLY = {"-h", "--help", "-f", "--follow", "-w", "--watch"}
DAEMON_ONLY = {"--client"}


def parser_of(verb: str) -> Parser:
    parser = Parser(prog=f"hermesctl {verb}")
    importlib.import_module(module_of(verb)).register(parser)
    return parser


def choices_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_daemon_takes_the_flags_that_the_parser_takes(name: str) -> None:
    """A read-only verb behaves alike with and without the fast path."""
    verb, _, action = name.partition(" ")
    parser = parser_of(verb)
    wanted = set(GRAMMARS[name].options) | set(COMMON)
    found = flags_of(choices_of(parser)[action] if action else parser)
    assert found - CLIENT_ONLY == wanted - DAEMON_ONLY
    if DEFAULT_ACTIONS.get(verb) == action:
        assert flags_of(parser) - CLIENT_ONLY == wanted


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_and_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``hermesctl VERB --help`` prints its line and ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert VERBS[verb] in " ".join(capsys.readouterr().out.split())


def test_there_is_no_module_without_a_verb() -> None:
    """The list of verbs is complete; ``verb_part.py`` is a part of a verb's."""
    modules = {path.stem for path in (Path(__file__).parents[3] / "hermesctl/commands").glob("[a-z]*.py")}
    own = {module_of(verb).rpartition(".")[2] for verb in VERBS}
    assert own <= modules
    assert {name.partition("_")[0] for name in modules - own} <= own


def test_global_flags_stand_before_or_after_the_verb() -> None:
    """And before or after the action."""
    assert split_verb(["-p", "x", "--json", "inbox", "list"]) == (["-p", "x", "--json"], "inbox", ["list"])
    for line in ("-p x retry 5 --json", "retry 5 -p x --json", "--json retry 5 --profile=x"):
        args = parser_of("inbox").parse_args(line.split())
        assert (args.profile, args.json, args.action, args.id) == ("x", True, "retry", 5)


def test_an_unknown_verb_gets_the_nearest_as_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, on standard error."""
    assert main(["statsu"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "hermesctl: there is no verb 'statsu'\n  → did you mean `hermesctl status`?\n"


def test_a_usage_error_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """In the form of all errors."""
    with pytest.raises(SystemExit) as ended:
        main(["inbox", "show", "five"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "hermesctl: argument ID: invalid int value: 'five'\n  → see `hermesctl inbox show --help`\n"
    )


@pytest.mark.parametrize("line", ["statsu --json", "--json inbox show five", "--json cron list", "cron show --json"])
def test_an_error_is_json_for_who_asks_for_json(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the socket answers it, on standard error: standard output holds results and nothing else."""
    monkeypatch.setenv("HERMES_HOME", str(tmp_path))
    try:
        status = main(line.split())
    except SystemExit as ended:
        status = int(str(ended.code))
    shown = capsys.readouterr()
    error = json.loads(shown.err)["error"]
    assert shown.out == ""
    assert error["data"]["exit_status"] == status != 0
    assert error["message"]
    assert error["data"]["next_step"]


def test_help_and_version_need_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a home; no arguments at all is a usage error."""
    assert main(["--help"]) == 0
    assert "exit status" in capsys.readouterr().out
    assert main(["-V"]) == 0
    assert capsys.readouterr().out.startswith("hermesctl ")
    assert main([]) == 2


def test_start_up_imports_neither_the_wire_nor_anything_heavy(tmp_path: Path) -> None:
    """Up to the connection that fails: argparse and json, no msgspec, no trio."""
    code = "import sys, hermesctl.__main__ as m; s = m.main(sys.argv[1:]); print(s, *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "gateway", "start"],
        env={**os.environ, "HERMES_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stderr.splitlines()[-1].split()
    assert status == "69"
    assert not {"msgspec", "trio", "rich", "prompt_toolkit", "hermesd.rpc.wire", "hermesctl.commands.chat"} & set(
        modules
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_verbs_actions_flags_and_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script is run by a real bash."""
    (tmp_path / "profiles/coder").mkdir(parents=True)
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    (tmp_path / "hermesctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m hermesctl "$@"\n')
    (tmp_path / "hermesctl").chmod(0o755)

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        code = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _hermesctl; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(
            ["bash", "-c", script + code],
            env={**os.environ, "HERMES_HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert complete("hermesctl sta") == ["status"]
    assert complete("hermesctl inbox re") == ["retry", "resume"]
    assert complete("hermesctl inbox resume --n") == ["--note"]
    assert complete("hermesctl -p co") == ["coder"]
    assert complete("hermesctl -p coder sta") == ["status"]
    assert complete("hermesctl profile use co") == ["coder"]
    assert complete("hermesctl profile create co") == []


def test_fish_and_zsh_get_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """zsh's is bash's under bashcompinit."""
    assert main(["completion", "fish"]) == 0
    assert "-a 'retry" not in capsys.readouterr().err
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef hermesctl")
