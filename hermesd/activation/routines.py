"""Jobs, webhooks and watches of a manifest: written down for the daemon, which applies them as `hermesctl apply` does.

There is no daemon yet when a home is activated. ``.activation/routines.yaml`` is a file of routines like any other
(docs/routines.md), of the name ``activation``; ``DeclaredRoutines`` applies it at every start and reload.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hermesd.errors import ConfigError, HermesError
from hermesd.home import DEFAULT_PROFILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.activation.manifest import ProfilePart

PATH = PurePosixPath(".activation/routines.yaml")
NAME = "activation"
_SECTIONS = {"cron": "jobs", "webhooks": "webhooks", "watches": "watches"}


def routines_text(agents: Mapping[str, ProfilePart], where: str) -> bytes | None:
    """The file; None when nothing is declared. Raises ConfigError for what could not be applied in any home."""
    found: dict[str, Any] = {}
    for name, agent in agents.items():
        place = found if name == DEFAULT_PROFILE else {}
        for key, section in _SECTIONS.items():
            entries = {str(each["name"]): _fields(each) for each in getattr(agent, key)}
            if entries:
                place[section] = entries
        if place and place is not found:
            found.setdefault("profiles", {})[name] = place
    if not found:
        return None
    text = json.dumps({"version": 1, "name": NAME, "profile": DEFAULT_PROFILE, **found}, ensure_ascii=False, indent=1)
    _check(text, where)
    return text.encode("utf-8", "replace") + b"\n"


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "name" and value is not None}


def _check(text: str, where: str) -> None:
    """Read it as the daemon will."""
    from hermesd.manifest.document import Source, read
    from hermesd.manifest.kinds import KINDS
    from hermesd.manifest.secrets import resolved

    try:
        for entry in read([Source("routines", text)], {kind.section: kind.shape for kind in KINDS}).entries.values():
            resolved(entry.fields)
    except HermesError as error:
        raise ConfigError(f"cron, webhooks and watches: {error.what}", where=where, next_step=error.next_step) from None
