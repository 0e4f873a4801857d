"""One thing in full: a label and a value a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_turn_fields import TurnFields


def entry_lines(page: Page, entries: Sequence[tuple[str, str]]) -> str:
    """The values below each other; what has none is left out. Text from outside must be clean already."""
    width = max(len(label) for label, _ in entries) + 2
    return "".join(f"{page.paint(f'{label:<{width}}', 'dim')}{value}\n" for label, value in entries if value)


def field_entries(fields: TurnFields) -> list[tuple[str, str]]:
    """What was said of a job or a watch."""
    found = []
    for name in fields.__struct_fields__:
        value = getattr(fields, name)
        if value is not None and value is not False and value not in ("", []):
            found.append((name.removesuffix("_s").replace("_", " "), one_line(_shown(name, value))))
    return found


def _shown(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}{' s' if name.endswith('_s') else ''}"
    return str(value)
