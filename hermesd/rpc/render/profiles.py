"""``profile list|show`` and ``gateway list|status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.entries import entry_lines
from hermesd.rpc.render.page import Painted, state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import ProfilesResult, ProfileSummary

HEADER = ("PROFILE", "GATEWAY", "MODEL", "PLATFORMS")


def render(page: Page, result: ProfilesResult) -> str:
    """A line for each profile; the current one bears a star."""
    return "\n".join(lines(page, result.profiles)) + "\n"


def lines(page: Page, profiles: Sequence[ProfileSummary]) -> list[str]:
    """The same as lines, errors below the table."""
    rows = [
        (
            Painted(f"{profile.name} *", "bold") if profile.current else profile.name,
            state(_gateway(profile)),
            profile.model or "–",
            _platforms(profile),
        )
        for profile in profiles
    ]
    found = table(page, HEADER, rows)
    found += [
        page.paint(page.fit(f"{profile.name}: {one_line(profile.error)}"), "red")
        for profile in profiles
        if profile.error
    ]
    return found


def render_one(page: Page, profile: ProfileSummary) -> str:
    """Everything about one."""
    entries = [
        ("profile", profile.name + (" (current)" if profile.current else "")),
        ("path", one_line(profile.path)),
        ("gateway", page.state(profile.state)),
        ("desired", profile.desired),
        ("model", one_line(profile.model) or "–"),
        *((f"platform {one_line(name)}", page.state(one_line(word))) for name, word in profile.platforms.items()),
    ]
    text = entry_lines(page, entries)
    return text + (page.paint(one_line(profile.error), "red") + "\n" if profile.error else "")


def _gateway(profile: ProfileSummary) -> str:
    """The state, and what it should be where that differs."""
    return profile.state or profile.desired


def _platforms(profile: ProfileSummary) -> str:
    return ", ".join(f"{name} {word}" for name, word in profile.platforms.items()) or "–"
