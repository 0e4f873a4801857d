"""How a run of a service ended, as text: no exception object outlives the moment it was caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConfigError, HermesError
from hermesd.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LEAVES = 3
MAX_TEXT = 500


class End(msgspec.Struct, frozen=True):
    """``failed`` is False for a plain return; ``fatal`` means that another try is pointless.

    ``expected``: it raised nothing but errors of ours, which say all there is to say; a traceback adds nothing.
    """

    text: str
    failed: bool
    fatal: bool = False
    expected: bool = False


def end_of(group: BaseExceptionGroup[BaseException], *, was_ready: bool) -> End:
    """Render the leaves of a group; what broke before the service was ready says so."""
    leaves = list(_leaves(group))
    texts = list(dict.fromkeys(_text(leaf) for leaf in leaves))
    shown = "; ".join(texts[:MAX_LEAVES])
    if len(texts) > MAX_LEAVES:
        shown += f"; and {len(texts) - MAX_LEAVES} more"
    if not was_ready:
        shown = f"could not start: {shown}"
    expected = all(isinstance(leaf, HermesError) for leaf in leaves)
    return End(shown, failed=True, fatal=any(_is_fatal(leaf) for leaf in leaves), expected=expected)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from _leaves(member)
        else:
            yield member


def _text(error: BaseException) -> str:
    """One line: ``where: what → next step`` for our own errors, ``Type: message`` for others."""
    if isinstance(error, HermesError):
        text = f"{error.where}: {error.what}" if error.where else error.what
        text = f"{text} → {error.next_step}" if error.next_step else text
    else:
        message = str(error)
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    text = _one_line(redact(text))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _one_line(text: str) -> str:
    """No line ends, no terminal sequences: the text is shown in trees and statuses."""
    spaced = " ".join(text.split())
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in spaced)


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, ConfigError) or (isinstance(error, HermesError) and getattr(error, "fatal", False) is True)
