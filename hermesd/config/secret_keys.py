"""Which keys hold secrets, and the .env names they go by."""

from __future__ import annotations

import re

REDACTED = "***"

_SECRET = re.compile(r"(?:^|_)(?:token|secret|password|passphrase|api_key|private_key)$")
_UPPER_SECRET = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSPHRASE|KEY)$")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

KNOWN = {
    "model.api_key": "OPENAI_API_KEY",
    "platforms.telegram.token": "TELEGRAM_BOT_TOKEN",
    "platforms.smtp.password": "EMAIL_PASSWORD",
    "platforms.slack.token": "SLACK_BOT_TOKEN",
    "platforms.discord.token": "DISCORD_BOT_TOKEN",
    "platforms.sms.auth_token": "TWILIO_AUTH_TOKEN",
    "platforms.webhook.secret": "WEBHOOK_SECRET",
    "mcp_serve.token": "MCP_SERVE_TOKEN",
}
"""Secret keys → the .env names that hermes-agent knows them by."""
IMPLIED = frozenset(KNOWN) - {"model.api_key"}
"""Keys that are read from their .env name without a ``${NAME}`` in config.yaml."""


def is_secret(key: str) -> bool:
    """Whether the last part of a dotted key, or a variable's name, says that its value is a secret."""
    last = key.rpartition(".")[2]
    return bool(_SECRET.search(last) or _UPPER_SECRET.search(last))


def variable_for(key: str) -> str:
    """The .env name for a secret's dotted key.

    >>> variable_for("platforms.telegram.token")
    'TELEGRAM_BOT_TOKEN'
    >>> variable_for("platforms.webhook.routes.deploy.secret")
    'WEBHOOK_ROUTES_DEPLOY_SECRET'
    """
    if key in KNOWN:
        return KNOWN[key]
    name = re.sub(r"[^A-Za-z0-9]+", "_", key.removeprefix("platforms.")).strip("_").upper()
    return name if VARIABLE.fullmatch(name) else f"HERMES_{name}"
