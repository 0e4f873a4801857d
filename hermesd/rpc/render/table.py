"""Aligned columns that fit the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import Painted, display_width, truncate
from hermesd.rpc.render.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page

GAP = "  "
NARROWEST = 6
WIDEST_WITHOUT_LIMIT = 200

Cell = str | Painted


def table(
    page: Page, header: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: str = "", whole: int = 0
) -> list[str]:
    """Lines of a table. Cells are made safe and one line; the widest columns give way when the page is narrow.

    ``whole``: so many columns at the left are never cut, because what stands there is typed again.
    """
    body = [[_cell(cell) for cell in row] for row in rows]
    limit = page.width or WIDEST_WITHOUT_LIMIT
    widths = [min(max(map(display_width, column)), limit) for column in zip(header, *_texts(body), strict=True)]
    if page.width:
        room = page.width - len(indent) - len(GAP) * (len(widths) - 1)
        widths[whole:] = _shrunk(widths[whole:], room - sum(widths[:whole]))
    lines = [_line(page, [Painted(name, "dim") for name in header], widths, indent)] if any(header) else []
    lines += [_line(page, row, widths, indent) for row in body]
    return lines


def _cell(cell: Cell) -> Painted:
    text, color = cell if isinstance(cell, Painted) else (cell, "")
    return Painted(one_line(text), color)


def _texts(rows: Sequence[Sequence[Painted]]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in rows]


def _shrunk(widths: list[int], room: int) -> list[int]:
    """Columns taken from the widest until they fit, or all are at their narrowest; many columns have less."""
    if not widths:
        return widths
    narrowest = max(1, min(NARROWEST, room // len(widths)))
    while sum(widths) > room and max(widths) > narrowest:
        widest = max(range(len(widths)), key=widths.__getitem__)
        second = max([width for at, width in enumerate(widths) if at != widest], default=0)
        excess = sum(widths) - room
        widths[widest] = max(min(second, widths[widest] - 1), widths[widest] - excess, narrowest)
    return widths


def _line(page: Page, cells: Sequence[Painted], widths: Sequence[int], indent: str) -> str:
    parts = []
    for cell, width in zip(cells, widths, strict=True):
        text = truncate(cell.text, width)
        parts.append(page.paint(text, cell.color) + " " * (width - display_width(text)))
    return (indent + GAP.join(parts)).rstrip()
