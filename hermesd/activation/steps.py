"""What a run does, one step at a time: found out before anything is changed, and then taken in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermesd.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from hermesd.activation.targets import Place

Action = Literal["make", "write", "remove", "keep"]
"""``keep``: a copy of what somebody has changed is put beside."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A part of a step: ``+`` is new, ``-`` goes, ``~`` changes. ``text`` holds no secret."""

    mark: Literal["+", "-", "~", " "]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """``data`` (None: nothing) takes the place of ``before``, which must still be there when the step is taken."""

    action: Action
    place: Place
    target: PurePosixPath
    data: bytes | None = None
    mode: int = 0o600
    before: bytes | None = None
    details: tuple[Detail, ...] = ()

    @property
    def path(self) -> str:
        """Where, in words."""
        return self.place.where(self.target)

    def take(self) -> None:
        """Do it. Raises ConflictError when somebody else was there meanwhile, ConfigError, OSError."""
        if self.action == "make":
            self.place.make(self.target)
            return
        found = self.place.read(self.target)
        if (found.data if found else None) != self.before:
            raise ConflictError("was changed meanwhile", where=self.path, next_step="run it again")
        if self.data is None:
            self.place.remove(self.target)
        else:
            self.place.write(self.target, self.data, mode=self.mode)
