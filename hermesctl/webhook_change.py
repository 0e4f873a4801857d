"""Webhook routes in the files of a profile: made, given a new secret, removed, taken over from hermes-agent.

A route stands in config.yaml, its secret in .env (0600) as ``WEBHOOK_ROUTES_<NAME>_SECRET``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesctl.turn_options import words
from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError, UsageError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from hermesd.config.schema import WebhookConfig
    from hermesd.home import Profile

SECTION = "platforms.webhook"
SUBSCRIPTIONS = "webhook_subscriptions.json"
MAX_SUBSCRIPTIONS_BYTES = 4 * 1024 * 1024
_FIELDS = ("prompt", "deliver", "deliver_only", "header", "algorithm", "model", "provider", "description")
_SHORT = (("!=", "not_equals"), ("*=", "contains"), ("=", "equals"), ("~", "regex"))


def loaded(profile: Profile) -> tuple[WebhookConfig, dict[str, str]]:
    """The webhook section, and the variables of .env. Raises ConfigError."""
    from hermesd.config.load import load_settings

    settings = load_settings(profile)
    return settings.config.platforms.webhook, dict(settings.secrets)


def known_route(name: str, config: WebhookConfig) -> None:
    """Raise NotFoundError when there is no such route."""
    if name not in config.routes:
        known = ", ".join(config.routes) or "none"
        raise NotFoundError(f"there is no webhook {name[:80]!r}", next_step=f"there are: {known}")


def subscribe(args: argparse.Namespace, profile: Profile) -> str:
    """Make a route; returns the variable of its secret."""
    section = {name: getattr(args, name) for name in _FIELDS}
    section |= {name: words(getattr(args, name)) for name in ("events", "skills", "toolsets")}
    section |= {
        "scheme": args.scheme if args.scheme != "auto" else "",
        "filters": [short_filter(text) for text in args.filter],
        "deliver_extra": _extra(args),
    }
    if args.scheme != "hmac" and (args.header or args.algorithm):
        raise UsageError("--header and --algorithm are for --scheme hmac", next_step="add --scheme hmac")
    from hermesd.triggers.webhook_route import new_secret

    return _make(profile, args.name, section, given_secret(args) or new_secret(args.scheme))


def _make(profile: Profile, name: str, section: dict[str, Any], secret: str) -> str:
    """Write a route and its secret, or nothing. Raises ConflictError, ConfigError, UsageError."""
    from hermesd.config.lock import changing

    with changing(profile):
        return _make_alone(profile, name, section, secret)


def _make_alone(profile: Profile, name: str, section: dict[str, Any], secret: str) -> str:
    from hermesd.config.write import set_section, set_value, unset_value

    config, known = loaded(profile)
    key = route_key(name)
    if name in config.routes:
        raise ConflictError(f"there is a webhook {name!r} already", next_step=f"hermesctl webhook remove {name}")
    variable = _variable(key, known, "")
    if secret:
        section = section | {"secret": f"${{{variable}}}"}
        set_value(profile, variable, secret)
    try:
        set_section(profile, key, {field: value for field, value in section.items() if value or field == "enabled"})
        _check(profile, name)
    except HermesError:
        if name in loaded(profile)[0].routes:
            unset_value(profile, key)
        if secret:
            unset_value(profile, variable)
        raise
    if not config.enabled:
        set_value(profile, f"{SECTION}.enabled", "true")
    return variable


def _check(profile: Profile, name: str) -> None:
    """Raise ConfigError, UsageError, NotFoundError for what cannot be used of a route, before a sender relies on it."""
    from hermesd.config.load import load_settings
    from hermesd.triggers.webhook_check import check_route

    config = load_settings(profile).config
    check_route(config.platforms.webhook.routes[name], config, profile=profile, where=route_key(name))


def warned_of(profile: Profile, name: str) -> list[dict[str, str]]:
    """``what`` of a route could not be done as the settings stand, and the ``next_step`` about it."""
    from hermesd.config.load import load_settings
    from hermesd.triggers.webhook_check import warnings

    settings = load_settings(profile)
    route = settings.config.platforms.webhook.routes[name]
    found = warnings(route, settings.config, settings.secrets)
    return [{"what": each.what, "next_step": each.next_step} for each in found]


def rotate(args: argparse.Namespace, profile: Profile) -> str:
    """Give a route a new secret; returns its variable."""
    from hermesd.config.lock import changing
    from hermesd.config.write import set_value
    from hermesd.triggers.webhook_route import new_secret

    known_route(args.name, loaded(profile)[0])
    given = given_secret(args)  # perhaps typed in: nobody else has to wait for that
    with changing(profile):
        config, known = loaded(profile)
        known_route(args.name, config)
        route = config.routes[args.name]
        key = route_key(args.name)
        variable = _variable(key, known, route.secret)
        set_value(profile, f"{key}.secret", given or new_secret(route.scheme))
    return variable


def remove(args: argparse.Namespace, profile: Profile) -> str:
    """Take out a route and its secret."""
    from hermesd.config.lock import changing
    from hermesd.config.secret_keys import variable_for
    from hermesd.config.write import unset_value

    with changing(profile):
        config, known = loaded(profile)
        known_route(args.name, config)
        key = route_key(args.name)
        unset_value(profile, key)
        variable = variable_for(f"{key}.secret")
        if known.get(variable) == config.routes[args.name].secret != "":
            unset_value(profile, variable)
    return f"removed the webhook {args.name}"


def take_over(path: Path, profile: Profile) -> tuple[list[str], list[str]]:
    """Make the routes of hermes-agent's file that are not here yet; what was made, and sentences about the others.

    The file is left as it is. Raises UsageError, ConfigError.
    """
    from hermesd.home import read_bounded
    from hermesd.triggers.subscriptions_file import read_subscriptions

    try:
        text = read_bounded(path, max_bytes=MAX_SUBSCRIPTIONS_BYTES, follow=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {why}", next_step=f"name a {SUBSCRIPTIONS}") from None
    subscriptions, said = read_subscriptions(text)
    made = []
    for each in subscriptions:
        try:
            _make(profile, each.name, each.section, each.secret)
        except (ConfigError, ConflictError, NotFoundError, UsageError) as error:
            said.append(f"{each.name}: {error.what}")
            continue
        made.append(each.name)
        said += [f"{each.name} {notice}" for notice in each.notices]
    return made, said


# -- words -------------------------------------------------------------------------------------------------------------


def route_key(name: str) -> str:
    """The dotted key of a route; raises UsageError for what is no name."""
    from hermesd.triggers.webhook_route import check_name

    check_name(name)
    return f"{SECTION}.routes.{name}"


def short_filter(text: str) -> dict[str, Any]:
    """``FIELD=VALUE``, ``!=``, ``*=`` (contains), ``~`` (regex), ``FIELD``, ``!FIELD``, or a condition in braces."""
    if text.startswith("{"):
        from hermesd.config.roundtrip import load

        found = load(text)
        if not isinstance(found, dict):
            raise UsageError(f"{text[:80]!r} is no condition", next_step="write {field: a.b, equals: c}")
        return found
    import re

    field = re.match(r"!?[^\s=!*~]+", text)
    name, rest = (field[0], text[field.end() :]) if field else ("", text)
    if name and not rest:
        return {"field": name.removeprefix("!"), "missing" if name.startswith("!") else "exists": True}
    for sign, operator in _SHORT:
        if name and not name.startswith("!") and rest.startswith(sign):
            return {"field": name, operator: rest.removeprefix(sign)}
    raise UsageError(
        f"{text[:80]!r} is no filter", next_step="write FIELD=VALUE, FIELD!=VALUE, FIELD*=PART, FIELD~REGEX or FIELD"
    )


def given_secret(args: argparse.Namespace) -> str:
    """The sender's secret from where ``--secret`` says, '' for none given; never from the command line itself."""
    import os
    import sys

    source: str = args.secret
    if not source:
        return ""
    if source == "-":
        if sys.stdin.isatty():
            import getpass

            given = getpass.getpass("secret: ")
        else:
            given = sys.stdin.readline().rstrip("\r\n")
    elif source.startswith("env:"):
        given = os.environ.get(source.removeprefix("env:"), "")
    else:
        raise UsageError(
            "a secret on the command line can be read by others while it runs, and stays in the shell's history",
            next_step="give --secret - and type or pipe it in, or --secret env:NAME for a variable's value",
        )
    if not given:
        raise UsageError("the secret is empty", next_step="give one, or leave --secret out to have one made")
    return given


def _variable(key: str, known: dict[str, str], ours: str) -> str:
    """The variable of its secret. Raises ConflictError where another secret goes by that name (a-b and a_b)."""
    from hermesd.config.secret_keys import variable_for

    variable = variable_for(f"{key}.secret")
    if known.get(variable, ours) != ours:
        raise ConflictError(f"{variable} in .env belongs to something else", next_step="choose another name")
    return variable


def _extra(args: argparse.Namespace) -> dict[str, str]:
    found = {"chat_id": args.deliver_chat_id} if args.deliver_chat_id else {}
    for text in args.deliver_extra:
        name, sign, value = text.partition("=")
        if not sign or not value:
            raise UsageError(f"{text[:80]!r} is no KEY=VALUE", next_step="write it like chat_id=7")
        found[name] = value
    return found
