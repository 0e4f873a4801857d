"""The resources: the daemon's status, and conversations as transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.serving.registry import Listed, Resource, Template
from hermesd.serving.tools import Nothing, OfProfile, Read, daemon_status, sessions_list, sessions_read

if TYPE_CHECKING:
    from hermesd.serving.backend import Call, Json
    from hermesd.serving.registry import Registry

SESSIONS = "hermes://sessions/{session}"
LISTED = 50
READ = 200


async def _status(call: Call) -> Json:
    return await daemon_status(call, Nothing())


async def _transcript(call: Call, variables: dict[str, str]) -> Json:
    return await sessions_read(call, Read(session=variables["session"], limit=READ))


async def _newest(call: Call) -> list[Listed]:
    found = await sessions_list(call, OfProfile(limit=LISTED))
    return [
        Listed(
            SESSIONS.format(session=row["id"]),
            name=row.get("title") or f"{row['source']} {row['id']}",
            description=f"Conversation of the profile {row['profile']}, {row.get('messages', 0)} messages",
        )
        for row in found["sessions"]
    ]


def register(registry: Registry) -> None:
    """Offer them."""
    registry.add_resource(Resource("hermes://status", "status", "The daemon at a glance", _status))
    registry.templates.append(Template(SESSIONS, "session", "A conversation with its newest messages", _transcript))
    registry.listers.append(_newest)
