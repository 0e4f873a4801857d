"""``hermesctl config get|set|unset|show|check|edit|path|env-path|schema``: all of it on the files, without a daemon."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hermesctl.arguments import actions
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from hermesctl.context import Context
    from hermesd.config.settings import Settings
    from hermesd.home import Profile

ACTIONS = {
    "get": "the value of a key, with its default if it is not set",
    "set": "change a key; a secret goes to .env",
    "unset": "back to the default",
    "show": "everything in force; secrets are ***",
    "check": "errors and notices of every profile, or of the one after -p",
    "edit": "$VISUAL or $EDITOR on a copy, which replaces the file once it is right",
    "path": "where config.yaml is",
    "env-path": "where .env is",
    "schema": "the JSON Schema of config.yaml",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    verbs = actions(parser, ACTIONS, default="show")
    for name in ("get", "set", "unset"):
        verbs[name].add_argument("key", metavar="KEY", help="dotted, as in agent.max_turns; or a variable's name")
    verbs["set"].add_argument(
        "value", metavar="VALUE", help="a word, a,b or [a, b], {key: value}; - reads it from input"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action on the profile after ``-p``, or on the current one."""
    if args.action == "schema":
        from hermesd.config.reference import json_schema

        return context.show(json_schema(), _json(json_schema()))
    if args.action == "check":
        return _check(context)
    profile = _profile(context)
    if args.action in ("path", "env-path"):
        path = str(profile.config_path if args.action == "path" else profile.env_path)
        return context.show({"path": path}, path)
    if args.action in ("get", "show"):
        return _show(context, profile, getattr(args, "key", ""))
    if args.action == "edit":
        return _edit(context, profile)
    return _change(context, profile, args)


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())


def _json(value: Any) -> str:  # noqa: ANN401 - plain data
    import json

    return json.dumps(value, ensure_ascii=False, indent=2)


# -- looking -----------------------------------------------------------------------------------------------------------


def _show(context: Context, profile: Profile, key: str) -> int:
    from hermesd.config.load import load_settings
    from hermesd.config.show import text_of, value_of

    settings = load_settings(profile)
    value = value_of(settings.config, key, settings.secrets)
    print(_json(value) + "\n" if context.json else text_of(value), end="")
    return 0


def _check(context: Context) -> int:
    from hermesd.config.load import examine

    profiles = [context.home.profile(context.profile)] if context.profile else context.home.profiles()
    rows = []
    for profile in profiles:
        found = examine(profile)
        problems = list(found.problems)
        if found.settings is not None:
            problems += _beyond_files(found.settings)
        rows.append((profile.name, problems, found.notices))
    if context.json:
        result = {
            name: {"errors": [_plain(error) for error in problems], "notices": notices}
            for name, problems, notices in rows
        }
        print(_json(result))
    else:
        for name, problems, notices in rows:
            _print_findings(name, problems, notices)
    return ConfigError.exit_status if any(problems for _, problems, _ in rows) else 0


def _beyond_files(settings: Settings) -> list[ConfigError]:
    """What only the rooms that use a value can tell: providers and toolsets that do not exist."""
    from hermesd.providers.routes import resolve
    from hermesd.tools.registry import check_toolsets

    problems = []
    try:
        check_toolsets(settings.config.toolsets)
        for model in (settings.config.model, *settings.config.fallback_providers):
            resolve(model, settings.secrets)
    except ConfigError as error:
        error.where = f"{settings.profile.config_path}: {error.where.removeprefix('config.yaml: ')}"
        problems.append(error)
    return problems


def _print_findings(name: str, problems: list[ConfigError], notices: list[str]) -> None:
    for error in problems:
        print(f"error: {error}")
    for notice in notices:
        print(f"notice: {notice}")
    if not problems:
        print(f"{name}: right" if not notices else f"{name}: right, with {len(notices)} notices")


def _plain(error: ConfigError) -> dict[str, str]:
    return {"what": error.what, "where": error.where, "next_step": error.next_step}


# -- changing ----------------------------------------------------------------------------------------------------------


def _change(context: Context, profile: Profile, args: argparse.Namespace) -> int:
    from hermesctl.config_change import claims, told
    from hermesd.config.managed import manager_of
    from hermesd.config.server_changes import is_of_servers
    from hermesd.config.server_write import NOBODY
    from hermesd.config.write import set_value, unset_value

    key = args.key
    variable = key_variable(profile) if key == "model.api_key" else ""
    manager = manager_of(context.home)
    if manager is not None and any(manager.declares(each, profile.name) for each in _touched(key, variable)):
        raise manager.refusal(f"{args.action} {key}")
    others = claims(context, profile, f"{args.action} {key}") if is_of_servers(key) else NOBODY
    before = {_bare(notice) for notice in _notices(profile)}
    if args.action == "set":
        value = sys.stdin.readline().rstrip("\n") if args.value == "-" else args.value
        change = set_value(profile, key, value, variable=variable, claims=others)
        text = f"set {change.variable or key} in {change.path}{told(change, profile)}"
    else:
        change = unset_value(profile, key, variable=variable, claims=others)
        text = f"{key} has its default again{told(change, profile)}"
    for notice in change.notices:
        if _bare(notice) not in before:  # what was so before is not this change's news: `config check` has it all
            print(f"notice: {notice}", file=sys.stderr)
    result = {"path": str(change.path), "variable": change.variable, "variables": list(change.variables)}
    return context.show({**result, "message": text})


def _touched(key: str, variable: str) -> list[str]:
    """The key, and the variable of .env that a secret's value goes to."""
    from hermesd.config.secret_keys import is_secret, variable_for
    from hermesd.config.server_changes import is_of_servers

    is_kept = is_secret(key) and "." in key and not is_of_servers(key)  # of those, what it is is not known yet
    return [key, variable or variable_for(key)] if is_kept else [key]


def _notices(profile: Profile) -> list[str]:
    from hermesd.config.load import examine

    return list(examine(profile).notices)


def _bare(notice: str) -> str:
    """Without ``file:line: ``, which moves."""
    return notice.rpartition(": ")[2]


def key_variable(profile: Profile) -> str:
    """The variable that the configured model's key is looked for in."""
    from hermesd.config.load import try_load
    from hermesd.providers.routes import resolve

    settings = try_load(profile)
    if isinstance(settings, ConfigError):
        return ""
    try:
        return resolve(settings.config.model, {}).key_name
    except ConfigError:
        return ""


def _edit(context: Context, profile: Profile) -> int:
    from hermesctl.output import confirm, is_interactive
    from hermesd.config.edit import Draft
    from hermesd.config.managed import manager_of

    if (manager := manager_of(context.home)) is not None and not manager.is_listed:
        raise manager.refusal("edit config.yaml")
    with Draft(profile) as draft:
        while True:
            _run_editor(draft.path)
            if not draft.is_changed():
                print("nothing changed")
                return 0
            taken = [key for key in draft.changed_keys() if manager is not None and manager.declares(key, profile.name)]
            try:
                if manager is not None and taken:
                    raise manager.refusal(f"change {', '.join(taken)}")
                change = draft.put_in_place()
            except ConfigError as error:
                print(f"hermesctl: {error}", file=sys.stderr)
                if not is_interactive() or not confirm("Edit it again?", default=True):
                    draft.keep = True
                    print(f"your text is kept in {draft.path}; config.yaml is as it was", file=sys.stderr)
                    return error.exit_status
            else:
                break
    for notice in change.notices:
        print(f"notice: {notice}", file=sys.stderr)
    print(f"changed {profile.config_path}")
    return 0


def _run_editor(path: Path) -> None:
    import os
    import shlex
    import subprocess

    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        status = subprocess.run([*words, str(path)], check=False).returncode
    except OSError as error:
        raise ConfigError(
            f"the editor {words[0]!r} cannot be started: {error.strerror}", next_step="set EDITOR to one that is there"
        ) from None
    if status != 0:
        raise ConfigError(f"the editor ended with status {status}", next_step="config.yaml is as it was")
