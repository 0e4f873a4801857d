"""Names of jobs and watches: what may be one, and which row somebody means by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from hermesd.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

MAX_NAME = 100
NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, ends of lines and what re-orders text: a name is shown at terminals and in chats."""


class Named(Protocol):
    """A row with an id and a name of its profile."""

    @property
    def id(self) -> str:
        """Hex digits."""

    @property
    def profile(self) -> str:
        """Whose it is."""

    @property
    def name(self) -> str:
        """Unlike all others of its profile."""


Row = TypeVar("Row", bound=Named)


def checked_name(text: str | None) -> str:
    """What somebody has called it; '' for no name. Raises UsageError."""
    name = (text or "").strip()
    if NOT_IN_NAMES.search(name):
        raise UsageError("the name holds control characters", next_step="leave them out")
    if len(name) > MAX_NAME:
        raise UsageError(f"the name has {len(name)} characters", next_step=f"{MAX_NAME} at most")
    return name


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def find(rows: Sequence[Row], reference: str, *, noun: str, plural: str, listing: str) -> Row:
    """The row of an id, the beginning of an id, or a name. Raises NotFoundError, ConflictError (several).

    ``listing`` is the command that shows them.
    """
    tests: tuple[Callable[[Row], bool], ...] = (
        lambda row: row.id == reference,
        lambda row: row.name == reference,
        lambda row: len(reference) >= 2 and row.id.startswith(reference),
        lambda row: row.name.casefold() == reference.casefold(),
    )
    for test in tests:
        found = [row for row in rows if test(row)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{row.id} ({row.profile})" for row in found[:5])
            raise ConflictError(
                f"{reference[:80]!r} is several {plural}: {names}", next_step="give the id, or -p PROFILE"
            )
    raise NotFoundError(f"there is no {noun} {reference[:80]!r}", next_step=f"see `{listing}`")
