"""``hermesctl webhook``: routes for signed HTTP requests. Routes stand in config.yaml, their secrets in .env."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesctl.arguments import actions
from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context
    from hermesd.config.schema import WebhookConfig
    from hermesd.home import Profile

ACTIONS = {
    "list": "every route with its counters",
    "show": "one route",
    "subscribe": "make a route; its secret goes to .env",
    "test": "post a signed sample to the running daemon",
    "rotate": "give it a new secret",
    "remove": "remove it and its secret",
}
EXIT_FAILED = 1
SECTION = "platforms.webhook"
SCHEMES = ("auto", "standard", "slack", "stripe", "github", "gitlab", "v2", "plain", "hmac", "bearer")
_TOKENS = {"gitlab": "X-Gitlab-Token: ", "bearer": "Authorization: Bearer "}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    verbs = actions(parser, ACTIONS, default="list")
    for name in ("show", "subscribe", "test", "rotate", "remove"):
        verbs[name].add_argument("name", metavar="NAME")
    add = verbs["subscribe"].add_argument
    add("--prompt", default="", metavar="TEXT", help="{a.b} is a field of the payload, {__raw__} all of it")
    add("--events", default="", metavar="A,B", help="take only these types of event")
    add("--skills", default="", metavar="A,B", help="skills that the agent is given")
    add("--deliver", default="log", metavar="WHERE", help="local, log, all, telegram, telegram:CHAT; with commas")
    add("--deliver-only", action="store_true", help="send the text itself, without an agent")
    add("--scheme", choices=SCHEMES, default="auto", help="how its sender signs (auto: by what is present)")
    add("--header", default="", metavar="NAME", help="of the signature, for --scheme hmac")
    add("--algorithm", choices=("sha256", "sha512", "sha1"), default="", help="for --scheme hmac")
    add("--model", default="", metavar="MODEL")
    add("--provider", default="", metavar="NAME")
    add("--toolsets", default="", metavar="A,B")
    add("--description", default="", metavar="TEXT")
    for name in ("subscribe", "rotate"):
        verbs[name].add_argument("--secret", default="", metavar="SECRET", help="the sender's; - reads it; else made")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if args.action in ("list", "show"):
        return _READ[args.action](args, context)
    profile = _profile(context)
    if args.action == "test":
        return _test(args.name, context, profile)
    _check_ours(args, context)
    return _tell(context, args.name, _CHANGE[args.action](args, profile))


# -- reading -----------------------------------------------------------------------------------------------------------


def _list(_args: argparse.Namespace, context: Context) -> int:
    result = context.call("webhook.list", profile=context.profile)
    lines = [_line(route) for route in result["routes"]]
    if not lines:
        lines = ["no routes; make one with `hermesctl webhook subscribe NAME --prompt TEXT`"]
    elif not result.get("listening"):
        lines.append("they are not answered now: `hermesctl gateway start`")
    return context.show(result, "\n".join(lines))


def _line(route: dict[str, Any]) -> str:  # JSON
    counted = f"{route.get('accepted', 0)} accepted, {route.get('duplicates', 0)} repeated"
    refused = sum(route.get("refused", {}).values())
    off = "" if route["enabled"] else "  (disabled)"
    return f"{route['name']:<20} {route['url']}  {counted}, {refused} refused{off}"


def _show(args: argparse.Namespace, context: Context) -> int:
    from datetime import UTC, datetime

    from hermesd.rpc.render.terminal import one_line

    route = context.call("webhook.show", name=args.name, profile=context.profile)
    last = route.get("last_at")
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(route.get("refused", {}).items()))
    lines = [
        _line(route),
        f"  scheme     {route['scheme']}{'' if route['has_secret'] else ' (no secret: it is refused)'}",
        f"  deliver    {one_line(route['deliver'])}{' (without an agent)' if route.get('deliver_only') else ''}",
        *(f"  {key:<10} {', '.join(route[key])}" for key in ("events", "skills") if route.get(key)),
        *(f"  {key:<10} {one_line(route[key])}" for key in ("prompt", "description") if route.get(key)),
        f"  refused    {refused or 'none'}",
        f"  last       {datetime.fromtimestamp(last, UTC).isoformat(timespec='seconds') if last else 'never'}",
    ]
    return context.show(route, "\n".join(lines))


_READ = {"list": _list, "show": _show}


# -- files -------------------------------------------------------------------------------------------------------------


def _subscribe(args: argparse.Namespace, profile: Profile) -> str:
    from hermesd.config.write import set_section, set_value, unset_value

    config, known = _loaded(profile)
    key = _key(args.name)
    if args.name in config.routes:
        raise ConflictError(
            f"there is a webhook {args.name!r} already", next_step=f"hermesctl webhook remove {args.name}"
        )
    _check_scheme(args)
    variable = _variable(key, known, "")
    secret = _secret(args)
    names = ("prompt", "deliver", "deliver_only", "header", "algorithm", "model", "provider", "description")
    section = {name: getattr(args, name) for name in names}
    section |= {name: _words(getattr(args, name)) for name in ("events", "skills", "toolsets")}
    section |= {"scheme": args.scheme if args.scheme != "auto" else "", "secret": f"${{{variable}}}"}
    set_value(profile, variable, secret)
    try:
        set_section(profile, key, {name: value for name, value in section.items() if value})
        _check_deliver(profile, args.name)
    except HermesError:
        if args.name in _loaded(profile)[0].routes:
            unset_value(profile, key)
        unset_value(profile, variable)
        raise
    if not config.enabled:
        set_value(profile, f"{SECTION}.enabled", "true")
    return f"made the webhook {args.name} in {profile.config_path}\n{_how(profile, args.name, variable, args.secret)}"


def _check_scheme(args: argparse.Namespace) -> None:
    if args.scheme != "hmac" and (args.header or args.algorithm):
        raise UsageError("--header and --algorithm are for --scheme hmac", next_step="add --scheme hmac")


def _check_deliver(profile: Profile, name: str) -> None:
    """Raise ConfigError for a target that nothing can be sent to, before a sender relies on it."""
    from hermesd.config.load import load_settings
    from hermesd.triggers.deliver import homes, parse_deliver

    platforms = load_settings(profile).config.platforms
    parse_deliver(platforms.webhook.routes[name].deliver, homes=homes(platforms), where=_key(name))


def _rotate(args: argparse.Namespace, profile: Profile) -> str:
    from hermesd.config.write import set_value

    config, known = _loaded(profile)
    _check_known(args.name, config)
    key = _key(args.name)
    variable = _variable(key, known, config.routes[args.name].secret)
    set_value(profile, f"{key}.secret", _secret(args))
    how = _how(profile, args.name, variable, args.secret)
    return f"{args.name} has a new secret; the former one is refused from now on\n{how}"


def _remove(args: argparse.Namespace, profile: Profile) -> str:
    from hermesd.config.secret_keys import variable_for
    from hermesd.config.write import unset_value

    config, known = _loaded(profile)
    _check_known(args.name, config)
    key = _key(args.name)
    unset_value(profile, key)
    variable = variable_for(f"{key}.secret")
    if known.get(variable) == config.routes[args.name].secret != "":
        unset_value(profile, variable)
    return f"removed the webhook {args.name}"


_CHANGE = {"subscribe": _subscribe, "rotate": _rotate, "remove": _remove}


def _loaded(profile: Profile) -> tuple[WebhookConfig, dict[str, str]]:
    from hermesd.config.load import load_settings

    settings = load_settings(profile)
    return settings.config.platforms.webhook, dict(settings.secrets)


def _key(name: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", name, re.ASCII):
        raise UsageError(f"{name[:80]!r} is not a route's name here", next_step="use letters, digits, - and _")
    return f"{SECTION}.routes.{name}"


def _check_known(name: str, config: WebhookConfig) -> None:
    if name not in config.routes:
        known = ", ".join(config.routes) or "none"
        raise NotFoundError(f"there is no webhook {name[:80]!r}", next_step=f"there are: {known}")


def _variable(key: str, known: dict[str, str], ours: str) -> str:
    """The variable of its secret. Raises ConflictError where another secret goes by that name (a-b and a_b)."""
    from hermesd.config.secret_keys import variable_for

    variable = variable_for(f"{key}.secret")
    if known.get(variable, ours) != ours:
        raise ConflictError(f"{variable} in .env belongs to something else", next_step="choose another name")
    return variable


def _secret(args: argparse.Namespace) -> str:
    import base64
    import secrets
    import sys

    if args.secret:
        source = str(args.secret)
        given = sys.stdin.readline().rstrip("\n") if source == "-" else source
        if not given:
            raise UsageError("the secret is empty", next_step="give one, or leave --secret out to have one made")
        return given
    if getattr(args, "scheme", "") == "standard":
        return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    return secrets.token_hex(24)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


# -- telling -----------------------------------------------------------------------------------------------------------


def _how(profile: Profile, name: str, variable: str, given: str) -> str:
    """Its URL, where its secret is, and a request that works."""
    from hermesd.triggers.samples import url_of

    config, _ = _loaded(profile)
    secret = config.routes[name].secret
    lines = [
        f"  url     {url_of(profile.name, config, name)}",
        f"  secret  {'the one you gave' if given else secret}   ({variable} in {profile.env_path})",
        "  try it (a signature with a time in it is good for five minutes):",
        f"  {_curl(profile, name, variable)}",
    ]
    return "\n".join(lines)


def _curl(profile: Profile, name: str, variable: str) -> str:
    import shlex
    import time

    from hermesd.triggers.samples import sample_body, signed_fields, url_of

    config, _ = _loaded(profile)
    route = config.routes[name]
    body = sample_body(route)
    words = ["curl", "-sS"]
    for field, value in signed_fields(route, route.secret, body, now=time.time()).items():
        words += ["-H", shlex.quote(f"{field}: {value}")]
    if prefix := _TOKENS.get(route.scheme):  # the token itself is read when the line is run
        read = f"$(sed -n 's/^{variable}=//p' {shlex.quote(str(profile.env_path))} | tr -d \"'\\\"\")"
        words[-1] = f'"{prefix}{read}"'
    return " ".join([*words, "-d", shlex.quote(body.decode()), url_of(profile.name, config, name)])


def _tell(context: Context, name: str, message: str) -> int:
    """Have the daemon take it up; say what is missing."""
    refused: list[str] = []
    try:
        refused = context.act("daemon.reload").get("refused", [])
        listed = context.call("webhook.list", profile=context.profile)
        if listed["routes"] and not listed.get("listening"):
            message += "\nit is not answered yet: start it with `hermesctl gateway start`"
    except UnreachableError:
        message += "\nno daemon is running; this counts when one is started, with `hermesctl gateway start`"
    message += "".join(f"\nnot taken up: {line}" for line in refused)
    context.show({"name": name, "message": message, "refused": refused}, message)
    return EXIT_FAILED if refused else 0


def _test(name: str, context: Context, profile: Profile) -> int:
    """Post a signed sample and show the answer."""
    import http.client
    import json
    import time
    from urllib.parse import urlsplit

    from hermesd.triggers.samples import sample_body, signed_fields, url_of

    config, _ = _loaded(profile)
    _check_known(name, config)
    route = config.routes[name]
    if not (secret := route.secret or config.secret):
        raise ConfigError(f"the webhook {name} has no secret", next_step=f"hermesctl webhook rotate {name}")
    url, body = urlsplit(url_of(profile.name, config, name)), sample_body(route)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=15)
    try:
        connection.request("POST", url.path, body, signed_fields(route, secret, body, now=time.time()))
        answer = connection.getresponse()
        said = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(
            f"nothing answers at {url.geturl()}: {error}", next_step="hermesctl gateway start"
        ) from None
    finally:
        connection.close()
    text = f"{answer.status} {said.get('status') or said.get('error') or ''}"
    if answer.status == 202:
        verb = "outbox list" if route.deliver_only else f"inbox show {said['id']}"
        text += f"; see what comes of it: `hermesctl {verb}`"
    context.show({"status": answer.status, "answer": said}, text)
    return 0 if answer.status == 202 else EXIT_FAILED


def _check_ours(args: argparse.Namespace, context: Context) -> None:
    """Raise ConfigError where somebody else declares the configuration."""
    from hermesd.config.managed import manager_of

    if (manager := manager_of(context.home)) is not None and manager.declares(f"{SECTION}.routes.{args.name}"):
        raise manager.refusal(f"{args.action} the webhook {args.name}")


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())
