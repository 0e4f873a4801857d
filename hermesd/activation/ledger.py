"""What was applied last, in ``.activation/applied.json``: how a run knows what of a home is the manifest's.

Before anything is changed, what is about to be applied is appended; when all is done, only that remains. So a run that
was cut short leaves every state that the home may be in, and the next one can tell all of it from its user's.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.activation.merge import same
from hermesd.home import DEFAULT_PROFILE, PROFILE_NAME

if TYPE_CHECKING:
    from hermesd.activation.targets import Found

PATH = PurePosixPath(".activation/applied.json")
SCHEMA = 1
MAX_STATES = 20


class Applied(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one profile. Digests by target (``documents``: by directory, then by target) and by variable."""

    config: dict[str, Any] = {}
    config_digest: str = ""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    documents: dict[str, dict[str, str]] = {}


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a whole home."""

    profiles: dict[str, Applied] = {}


class Ledger(msgspec.Struct, frozen=True):
    """``applied``: the last state, and after runs that were cut short those that they were to bring about."""

    schema: int = SCHEMA
    applied: list[State] = []

    def of(self, profile: str) -> list[Applied]:
        """What was applied to a profile."""
        return [state.profiles[profile] for state in self.applied if profile in state.profiles]

    def before(self, state: State) -> Ledger:
        """What is to be remembered before a state is brought about."""
        if self.applied and _alike(self.applied[-1], state):
            return self
        return Ledger(applied=[*self.applied, state][-MAX_STATES:])

    def encode(self) -> bytes:
        """As it is stored."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"


def read(found: Found | None, notices: list[str]) -> Ledger:
    """The ledger; an unreadable one counts as none, and that is said."""
    if found is None:
        return Ledger()
    try:
        ledger = msgspec.json.decode(found.data, type=Ledger)
    except msgspec.DecodeError:
        ledger = Ledger(schema=0)
    if ledger.schema != SCHEMA or not all(map(_is_sound, ledger.applied)):
        notices.append(f"{PATH} cannot be read: what is no longer declared stays, this time")
        return Ledger()
    return ledger


def _is_sound(state: State) -> bool:
    """Whether it names only profiles, and targets below their directories: whoever has the home can write it."""
    for name, applied in state.profiles.items():
        if name != DEFAULT_PROFILE and not PROFILE_NAME.fullmatch(name):
            return False
        targets = [*applied.files, *(target for digests in applied.documents.values() for target in digests)]
        pure = [PurePosixPath(target) for target in targets]
        if any(not each.parts or each.is_absolute() or ".." in each.parts for each in pure):
            return False
        if any(not path.startswith("/") or ".." in PurePosixPath(path).parts for path in applied.documents):
            return False
    return True


def _alike(one: State, other: State) -> bool:
    return same(msgspec.to_builtins(one), msgspec.to_builtins(other))
