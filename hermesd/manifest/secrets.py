"""No secret stands in a manifest: it refers to a variable of the profile's .env, and so does what is shown of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hermesd.config.interpolate import FREE_TEXT
from hermesd.config.secret_keys import REDACTED, is_secret
from hermesd.errors import UsageError
from hermesd.redact import Redactor

if TYPE_CHECKING:
    from hermesd.manifest.merge import Fields

REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TELLING = re.compile(r"(?i)auth|key|token|secret|cookie|password")
_FORMS = Redactor()  # of its own: what is in some .env is not asked here
ENDING = "_env"


def resolved(fields: Fields) -> Fields:
    """With ``secret_env: NAME`` as ``secret: ${NAME}``, and references in one spelling. Raises UsageError."""
    found: Fields = {}
    for name, value in fields.items():
        base = name.removesuffix(ENDING)
        if base != name and is_secret(base):
            if not _VARIABLE.fullmatch(value):
                raise UsageError(f"{name} is no name of a variable", next_step="give the name that .env sets")
            if base in fields:
                raise UsageError(f"{name} stands beside {base}", next_step="keep one of them")
            found[base] = f"${{{value}}}"
        else:
            found[name] = _one_spelling(name, value)
    for name, value in found.items():
        if holds_secret(name, value):
            step = f"put it into .env of the profile and write {name}: ${{NAME}}"
            raise UsageError(f"{name} is a secret and stands in the file", next_step=step)
    return found


def holds_secret(name: str, value: object) -> bool:
    """Whether a field's value is, or contains, a secret rather than a reference to one."""
    if isinstance(value, list):
        pairs = zip(["", *value], value, strict=False)
        return any(holds_secret(name, each) or _follows_a_flag(before, each) for before, each in pairs)
    if not isinstance(value, str) or not value:
        return False
    last = name.rpartition(".")[2]
    if last in FREE_TEXT:
        return False
    if is_secret(last) or (name.startswith("headers.") and _TELLING.search(last)):
        return not REFERENCE.search(value)
    bare = REFERENCE.sub("", value)
    return _FORMS.redact(bare) != bare or (last == "url" and "?" in bare and bool(_TELLING.search(bare)))


def _follows_a_flag(before: object, value: object) -> bool:
    """``--api-key VALUE``."""
    if not isinstance(before, str) or not isinstance(value, str) or not before.startswith("-"):
        return False
    return is_secret(before.lstrip("-").replace("-", "_").lower()) and not REFERENCE.search(value)


def shown(name: str, value: object) -> object:
    """The value as it may be shown: what is there now may hold a literal secret."""
    return REDACTED if holds_secret(name, value) else value


def _one_spelling(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_one_spelling(name, each) for each in value]
    if not isinstance(value, str) or name.rpartition(".")[2] in FREE_TEXT:
        return value
    if "$${" in value:
        raise UsageError(f"{name} holds `$${{`", next_step="set this one with `hermesctl config edit`")
    return value.replace("${env:", "${")
