"""What a webhook's route is made with: a name that can stand in its address and its variable, and a secret."""

from __future__ import annotations

import base64
import re
import secrets

from hermesd.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)


def check_name(name: str) -> None:
    """Raise UsageError for what is no name of a route."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is not a route's name", next_step="use letters, digits, - and _")


def new_secret(scheme: str) -> str:
    """A random secret in the form that senders of the scheme take (Standard Webhooks: base64 of 24 bytes)."""
    if scheme == "standard":
        return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    return secrets.token_hex(24)
