"""``hermesctl webhook``: routes for signed HTTP requests. Routes stand in config.yaml, their secrets in .env."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import TARGETS, actions
from hermesctl.turn_options import register_choice_options
from hermesd.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from hermesctl.context import Context
    from hermesd.home import Profile

ACTIONS = {
    "list": "every route with its counters",
    "show": "one route",
    "subscribe": "make a route; its secret goes to .env",
    "test": "post a signed sample to the running daemon",
    "rotate": "give it a new secret",
    "remove": "remove it and its secret",
    "import": "take over hermes-agent's webhook_subscriptions.json (FILE, or the one of the profile)",
}
ALIASES = {"add": "subscribe"}
"""As hermes-agent has it too."""

EXIT_FAILED = 1
SECTION = "platforms.webhook"
SCHEMES = ("auto", "standard", "slack", "stripe", "github", "gitlab", "v2", "plain", "hmac", "bearer")
_TOKENS = {"gitlab": "X-Gitlab-Token: ", "bearer": "Authorization: Bearer "}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    import argparse

    verbs = actions(parser, ACTIONS, default="list", aliases=ALIASES)
    made = verbs["subscribe"]
    made.epilog, made.formatter_class = TARGETS, argparse.RawDescriptionHelpFormatter
    for name in ("show", "subscribe", "test", "rotate", "remove"):
        verbs[name].add_argument("name", metavar="NAME", help="of the route")
    verbs["import"].add_argument("file", nargs="?", default="", metavar="FILE")
    add = verbs["subscribe"].add_argument
    add("--prompt", default="", metavar="TEXT", help="{a.b} is a field of the payload, {__raw__} all of it")
    add("--events", default="", metavar="A,B", help="take only these types of event")
    add(
        "--filter",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="take only what it holds for; also !=, *= (contains), ~ (regex), FIELD, !FIELD, {all: …}; repeatable",
    )
    add("--skills", default="", metavar="A,B", help="skills that the agent is given; see `hermesctl skills`")
    add("--deliver", default="log", metavar="WHERE", help="where the answer goes, see below (log)")
    add("--deliver-chat-id", default="", metavar="CHAT", help="the chat of a platform in --deliver")
    add(
        "--deliver-extra",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="chat_id, thread_id, repo, pr_number; {a.b} is filled from the payload; repeatable",
    )
    add("--deliver-only", action="store_true", help="send the text itself, without an agent")
    add("--scheme", choices=SCHEMES, default="auto", help="how its sender signs (auto: by what is present)")
    add("--header", default="", metavar="NAME", help="of the signature, for --scheme hmac")
    add("--algorithm", choices=("sha256", "sha512", "sha1"), default="", help="for --scheme hmac")
    register_choice_options(verbs["subscribe"], default="")
    add("--description", default="", metavar="TEXT", help="for people; has no effect")
    for name in ("subscribe", "rotate"):
        said = "the sender's: - asks for it or reads it, env:NAME takes a variable; else one is made"
        verbs[name].add_argument("--secret", default="", metavar="-|env:NAME", help=said)


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if args.action in ("list", "show"):
        return context.render()
    profile = _profile(context)
    if args.action == "test":
        return _test(args.name, context, profile)
    if args.action == "import":
        return _import(args, context, profile)
    from hermesctl.webhook_change import warned_of

    _check_ours(args.action, args.name, context)
    message = _changed(args, profile)
    warned = [] if args.action == "remove" else warned_of(profile, args.name)
    return _tell(context, args.name, message, warned)


def _changed(args: argparse.Namespace, profile: Profile) -> str:
    from hermesctl import webhook_change

    if args.action == "remove":
        return webhook_change.remove(args, profile)
    if args.action == "rotate":
        variable = webhook_change.rotate(args, profile)
        said = f"{args.name} has a new secret; the former one is refused from now on"
    else:
        variable = webhook_change.subscribe(args, profile)
        said = f"made the webhook {args.name} in {profile.config_path}"
    return "\n".join([said, _how(profile, args.name, variable, args.secret)])


def _import(args: argparse.Namespace, context: Context, profile: Profile) -> int:
    """Once: a route whose name is taken stays as it is."""
    from pathlib import Path

    from hermesctl.webhook_change import SUBSCRIPTIONS, take_over

    _check_ours("import webhooks into", "", context)
    path = Path(args.file).expanduser() if args.file else profile.root / SUBSCRIPTIONS
    made, said = take_over(path, profile)
    lines = [f"took over {len(made)} from {path}: {', '.join(made) or 'none'}", *said]
    return _tell(context, ", ".join(made), "\n".join(lines))


# -- telling -----------------------------------------------------------------------------------------------------------


def _how(profile: Profile, name: str, variable: str, given: str) -> str:
    """Its URL, where its secret is, and a request that works."""
    from hermesctl.webhook_change import loaded
    from hermesd.triggers.samples import url_of

    config, _ = loaded(profile)
    secret = config.routes[name].secret
    lines = [
        f"  url     {url_of(profile.name, config, name)}",
        f"  secret  {'the one you gave' if given else secret}   ({variable} in {profile.env_path})",
        "  try it (a signature with a time in it is good for five minutes):",
        f"  {_curl(profile, name, variable)}",
    ]
    return "\n".join(lines)


def _curl(profile: Profile, name: str, variable: str) -> str:
    """A line that holds a signature of this one body at most: a token is read from .env when the line is run."""
    import shlex
    import time

    from hermesctl.webhook_change import loaded
    from hermesd.triggers.samples import sample_body, signed_fields, url_of

    config, _ = loaded(profile)
    route = config.routes[name]
    body = sample_body(route)
    fields = signed_fields(route, route.secret, body, now=time.time())
    before, words = "", ["curl", "-sS"]
    if prefix := _TOKENS.get(route.scheme):  # by a pipe: the arguments of a program are no place for a token
        fields.pop(prefix.partition(":")[0])
        read = f"s/^{variable}=['\"]*\\([^'\"]*\\)['\"]*$/{prefix}\\1/p"
        before = f"sed -n {shlex.quote(read)} {shlex.quote(str(profile.env_path))} | "
        words += ["-H", "@-"]
    for field, value in fields.items():
        words += ["-H", shlex.quote(f"{field}: {value}")]
    return before + " ".join([*words, "-d", shlex.quote(body.decode()), url_of(profile.name, config, name)])


def _tell(context: Context, name: str, message: str, warned: Sequence[dict[str, str]] = ()) -> int:
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
    context.show({"name": name, "message": message, "refused": refused, "warnings": [*warned]}, message)
    return EXIT_FAILED if refused else 0


def _test(name: str, context: Context, profile: Profile) -> int:
    """Post a signed sample and show the answer."""
    import http.client
    import json
    import time
    from urllib.parse import urlsplit

    from hermesctl.webhook_change import known_route, loaded
    from hermesd.triggers.samples import sample_body, signed_fields, url_of

    config, _ = loaded(profile)
    known_route(name, config)
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
    if said.get("status") == "ignored":
        text += f": the sample does not pass its {said.get('filter') or 'events'}"
    if answer.status == 202:
        verb = "outbox list" if route.deliver_only else f"inbox show {said['id']}"
        text += f"; see what comes of it: `hermesctl {verb}`"
    context.show({"status": answer.status, "answer": said}, text)
    return 0 if answer.status == 202 else EXIT_FAILED


def _check_ours(action: str, name: str, context: Context) -> None:
    """Raise ConfigError where somebody else declares the configuration."""
    from hermesd.config.managed import manager_of

    key = f"{SECTION}.routes.{name}" if name else f"{SECTION}.routes"
    if (manager := manager_of(context.home)) is not None and manager.declares(key, _profile(context).name):
        raise manager.refusal(f"{action} the webhook {name}".rstrip())


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())
