"""``hermesctl completion bash|zsh|fish``: a script made from the parsers themselves."""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING

from hermesctl.arguments import Parser
from hermesctl.completion_names import KINDS, kind_of, names
from hermesctl.verbs import VERBS, module_of
from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesctl.context import Context

Words = tuple[str, str, list[str], str]
BASH = """# hermesctl completion for bash: eval "$(hermesctl completion bash)"
_hermesctl() {{
    local word before="" verb="" action="" named="" profile="" choices kind=""
    local current="${{COMP_WORDS[COMP_CWORD]}}"
    if [[ "${{COMP_WORDS[COMP_CWORD-1]}}" == "-p" || "${{COMP_WORDS[COMP_CWORD-1]}}" == "--profile" ]]; then
        choices="default $(cd "${{HERMES_HOME:-$HOME/.hermes}}/profiles" 2>/dev/null && echo *)"
        COMPREPLY=($(compgen -W "$choices" -- "$current"))
        return
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [[ "$before" == "-p" || "$before" == "--profile" ]]; then profile="$word"
        elif [[ "$word" != -* ]]; then
            if [[ -z "$verb" ]]; then verb="$word"
            elif [[ -z "$action" ]]; then action="$word"
            else named="$word"; fi
        fi
        before="$word"
    done
    case "$verb $action" in
{cases}
        *) choices="" ;;
    esac
    if [[ -n "$kind" && -z "$named" && "$current" != -* ]]; then
        choices="$choices $("${{COMP_WORDS[0]}}" completion ${{profile:+-p "$profile"}} --names "$kind" 2>/dev/null)"
    fi
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
}}
complete -o default -F _hermesctl hermesctl
"""
ZSH = """#compdef hermesctl
# hermesctl completion for zsh: eval "$(hermesctl completion zsh)"
autoload -U +X bashcompinit && bashcompinit
{bash}"""


def register(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", nargs="?", choices=("bash", "zsh", "fish"))
    parser.add_argument("--names", choices=KINDS, help="print names for the script, a line each")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the script, or what it asks for."""
    if args.names:
        print("\n".join(names(args.names, context)))
        return 0
    if not args.shell:
        raise UsageError("completion needs a shell", next_step="name bash, zsh or fish")
    words = list(_all_words())
    if args.shell == "fish":
        print("\n".join(_fish(words)))
        return 0
    cases = "\n".join(
        f'        "{verb} {action}") choices="{" ".join(flags)}"{f" kind={kind}" if kind else ""} ;;'
        for verb, action, flags, kind in words
    )
    bash = BASH.format(cases=cases)
    print(bash if args.shell == "bash" else ZSH.format(bash=bash), end="")
    return 0


def _all_words() -> Iterator[Words]:
    """(verb, action, what may follow, whose names may): from every verb's parser, '' standing for none."""
    yield "", "", [*VERBS, "-p", "--profile", "--json", "--version", "--help"], ""
    for verb in VERBS:
        parser = Parser(prog=f"hermesctl {verb}")
        importlib.import_module(module_of(verb)).register(parser)
        actions = _actions(parser)
        yield verb, "", [*actions, *_words(parser)], "" if actions else kind_of(verb, "", parser)
        for name, action in actions.items():
            yield verb, name, _words(action), kind_of(verb, name, action)


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Flags, and the choices of positional arguments that have some."""
    found: list[str] = []
    for action in parser._actions:
        if action.option_strings:
            found += action.option_strings
        elif action.choices and not isinstance(action, argparse._SubParsersAction):
            found += map(str, action.choices)
    return found


def _fish(words: list[Words]) -> Iterator[str]:
    yield "# hermesctl completion for fish: hermesctl completion fish | source"
    yield "complete -c hermesctl -f"
    for name, text in VERBS.items():
        yield f"complete -c hermesctl -n __fish_use_subcommand -a {name} -d {_quoted(text)}"
    for verb, action, flags, kind in words[1:]:
        seen = f"__fish_seen_subcommand_from {verb}" + (f"; and __fish_seen_subcommand_from {action}" if action else "")
        yield f"complete -c hermesctl -n {_quoted(seen)} -a {_quoted(' '.join(flags))}"
        if kind:
            asking = f"(hermesctl completion --names {kind} 2>/dev/null)"
            yield f"complete -c hermesctl -n {_quoted(seen)} -a {_quoted(asking)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
