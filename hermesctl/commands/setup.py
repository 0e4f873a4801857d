"""``hermesctl setup [SECTION …]``: the first questions, asked at a terminal; each answer is one ``config set``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermesd.errors import HermesError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from hermesctl.context import Context
    from hermesd.home import Profile


@dataclass(frozen=True, slots=True)
class Question:
    """One key. A secret is typed unseen, goes to .env and is never shown again."""

    key: str
    text: str
    secret: bool = False


SECTIONS: dict[str, tuple[Question, ...]] = {
    "model": (
        Question("model.provider", "Provider (auto, openai, anthropic, openrouter, offline, …)"),
        Question("model.default", "Model"),
        Question("model.api_key", "API key", secret=True),
    ),
    "telegram": (
        Question("platforms.telegram.token", "Bot token, from @BotFather", secret=True),
        Question("platforms.telegram.allowed_users", "Who is answered: ids or @names, with commas"),
        Question("platforms.telegram.home_channel", "Chat that `deliver: telegram` means"),
    ),
    "webhook": (
        Question("platforms.webhook.host", "Address to listen on"),
        Question("platforms.webhook.port", "Port"),
    ),
    "slack": (
        Question("platforms.slack.token", "Bot token (xoxb-…)", secret=True),
        Question("platforms.slack.home_channel", "Channel that `deliver: slack` means"),
    ),
    "discord": (
        Question("platforms.discord.token", "Bot token", secret=True),
        Question("platforms.discord.home_channel", "Channel id that `deliver: discord` means"),
    ),
    "sms": (
        Question("platforms.sms.account_sid", "Twilio account (AC…)"),
        Question("platforms.sms.auth_token", "Its token", secret=True),
        Question("platforms.sms.sender", "Number that messages come from"),
    ),
    "email": (
        Question("platforms.smtp.host", "SMTP server"),
        Question("platforms.smtp.port", "Port"),
        Question("platforms.smtp.user", "User"),
        Question("platforms.smtp.password", "Password", secret=True),
        Question("platforms.smtp.sender", "Address that mails come from"),
    ),
}
PLATFORMS = tuple(name for name in SECTIONS if name != "model")
ENABLED = {"telegram": "platforms.telegram.enabled", "webhook": "platforms.webhook.enabled"}
"""What is switched on once its questions are answered; the others are when they have what they need."""


def register(parser: argparse.ArgumentParser) -> None:
    """Which questions."""
    names = ", ".join((*SECTIONS, "gateway"))
    parser.add_argument("section", nargs="*", metavar="SECTION", help=f"only these: {names} (all platforms)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Ask everything, or what was named."""
    return ask(context, args.section)


def ask(context: Context, sections: Sequence[str]) -> int:
    """Put the questions of these sections (none: the model, then the platforms wanted); returns the exit status."""
    from hermesctl.output import is_interactive
    from hermesd.config.managed import manager_of

    if (manager := manager_of(context.home)) is not None:
        raise manager.refusal("setup")
    if unknown := [name for name in sections if name not in SECTIONS and name != "gateway"]:
        known = ", ".join((*SECTIONS, "gateway"))
        raise UsageError(f"there is nothing to set up called {unknown[0]!r}", next_step=f"one of {known}")
    if not is_interactive():
        raise UsageError(
            "setup asks questions, and this is no terminal", next_step="`hermesctl config set KEY VALUE` for each key"
        )
    profile = _profile(context)
    print(f"Enter keeps what stands in brackets. Answers go to {profile.config_path}, secrets to {profile.env_path}.")
    try:
        for name in _expanded(sections):
            _section(profile, name)
    except (EOFError, KeyboardInterrupt):
        print("\nstopped; what was answered is kept", file=sys.stderr)
        return 130
    print("\nLook it over with `hermesctl config check`, then `hermesd --detach` if it does not run yet.")
    return 0


def _expanded(sections: Sequence[str]) -> Iterator[str]:
    """The sections one after the other; ``gateway`` asks which platforms are wanted, when its turn has come."""
    for name in sections or ("model", "gateway"):
        yield from _wanted_platforms() if name == "gateway" else (name,)


def _wanted_platforms() -> list[str]:
    print(f"\nPlatforms: {', '.join(PLATFORMS)}")
    while True:
        words = [word for word in input("Which, with commas (Enter: none)? ").replace(",", " ").lower().split() if word]
        wrong = [word for word in words if word not in PLATFORMS]
        if not wrong:
            return list(dict.fromkeys(words))
        print(f"  there is no {wrong[0]!r}", file=sys.stderr)


def _section(profile: Profile, name: str) -> None:
    print(f"\n{name}")
    for question in SECTIONS[name]:
        _put(profile, question)
    if name == "webhook":
        _make_secret(profile)
    if name == "telegram" and not _current(profile, SECTIONS[name][0]):
        print("  telegram has no token and stays off", file=sys.stderr)
    elif name in ENABLED:
        _set(profile, ENABLED[name], "true")
        print(f"  {name} is enabled")


def _put(profile: Profile, question: Question) -> None:
    """Ask until the answer is one, or empty."""
    now = _current(profile, question)
    prompt = f"  {question.text}{f' [{now}]' if now else ''}: "
    while True:
        answer = _hidden(prompt) if question.secret else input(prompt).strip()
        if not answer:
            return
        try:
            _set(profile, question.key, answer)
        except HermesError as error:
            print(f"  {error.what}" + (f"\n  → {error.next_step}" if error.next_step else ""), file=sys.stderr)
        else:
            return


def _hidden(prompt: str) -> str:
    import getpass

    return getpass.getpass(prompt).strip()


def _current(profile: Profile, question: Question) -> str:
    """What is in force, for the brackets; of a secret only that it is there."""
    from hermesd.config.load import examine
    from hermesd.config.show import value_of

    settings = examine(profile).settings
    if settings is None:
        return ""
    value = value_of(settings.config, question.key)
    if question.secret:
        return "kept" if value else ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _set(profile: Profile, key: str, text: str) -> None:
    from hermesctl.commands.config import key_variable
    from hermesd.config.write import set_value

    set_value(profile, key, text, variable=key_variable(profile) if key == "model.api_key" else "")


def _make_secret(profile: Profile) -> None:
    """Requests are signed from the first one on."""
    import secrets

    if not _current(profile, Question("platforms.webhook.secret", "", secret=True)):
        _set(profile, "platforms.webhook.secret", secrets.token_hex(32))
        print(f"  a secret for its senders was made: WEBHOOK_SECRET in {profile.env_path}")


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())
