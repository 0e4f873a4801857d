"""What the rest of the daemon sees of configuration: one immutable object a profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.config.schema import Config
    from hermesd.home import Profile


class Secrets(Mapping[str, str]):
    """The profile's .env. Its text form never shows a value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"


@dataclass(frozen=True, slots=True)
class Settings:
    """One profile's configuration in force: ``config`` with every ``${VAR}`` resolved, and the ``secrets`` themselves.

    ``notices`` are sentences for ``config check`` about keys that are known but have no meaning here.
    """

    profile: Profile
    config: Config
    secrets: Secrets
    notices: tuple[str, ...] = ()
