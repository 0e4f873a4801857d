"""gateway_state.json: the gateway of a declared agent is to run, until a person says otherwise."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.activation.steps import Detail, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.activation.targets import Place

GATEWAY_STATE = PurePosixPath("gateway_state.json")
MODE = 0o600
_RUNNING = b'{"desired_state": "running"}\n'


def steps(place: Place, target: PurePosixPath) -> Iterator[Step]:
    """At most one: where there is no state yet. Raises ConfigError for a link.

    hermesd makes the file when the gateway is first started or stopped, so one that is there is somebody's decision.
    """
    if place.read(target) is None:
        yield Step("write", place, target, _RUNNING, MODE, details=(Detail("+", "desired_state: running"),))
