"""auth.json: put there once, because tokens in it are refreshed here; or every time, where that is asked for."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.activation.sources import read_source
from hermesd.activation.steps import Step
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.activation.manifest import AuthPart
    from hermesd.activation.targets import Place

AUTH = PurePosixPath("auth.json")
MODE = 0o600


def steps(place: Place, target: PurePosixPath, auth: AuthPart | None) -> Iterator[Step]:
    """At most one. Raises ConfigError for a source that is missing or no JSON object, and for a link."""
    live = place.read(target)
    if auth is None or (live is not None and not auth.force):
        return
    data = read_source(auth.source)
    if data is None:
        return
    where = auth.source.removeprefix("-")
    try:
        is_object = isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ConfigError("is not a JSON object", where=where, next_step="name an auth.json")
    if live is None or (live.data, live.mode) != (data, MODE):
        yield Step("write", place, target, data, MODE, live.data if live else None)
