"""docs/rpc.md is what the types say."""

from __future__ import annotations

from pathlib import Path

from hermesd.rpc.docs import render
from hermesd.rpc.wire_methods import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "rpc.md"


def test_the_page_is_up_to_date() -> None:
    """Otherwise: python -m hermesd.rpc.docs > docs/rpc.md."""
    assert PAGE.read_text() == render()


def test_every_method_has_a_section() -> None:
    """By its name."""
    text = PAGE.read_text()
    assert all(f"\n### {method.name}\n" in text for method in METHODS)


def test_every_link_leads_to_a_heading() -> None:
    """Types and methods."""
    text = PAGE.read_text()
    headings = {line.lstrip("# ").lower().replace(".", "") for line in text.splitlines() if line.startswith("#")}
    links = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert links <= headings
