"""What a transport gives to the owner of a session: two streams for the SDK, and word of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio


class Link(Protocol):
    """A connection to one server. ``read`` and ``write`` are what ClientSession takes."""

    read: Any  # mcp's ReadStream, whose import waits for the first server
    write: Any  # mcp's WriteStream
    lost: trio.Event
    """Set when the session cannot go on, before calls under way are told."""
    why: str
    """What ended it, in words; empty while it has not ended."""
    gap: trio.Event
    """Set when notifications may have been missed: what they come on broke, or is not there."""
    hears: bool
    """Whether notifications can come now."""
    abrupt: bool
    """Set by the owner when the server is not to be asked politely any more."""

    def words(self) -> list[str]:
        """The last lines the server wrote for people (stderr); for a person, never for a model."""
