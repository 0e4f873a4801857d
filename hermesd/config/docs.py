"""``python -m hermesd.config.docs``: the keys in docs/configuration.md, made from the schema.

With ``--check`` nothing is written, and a stale page ends with status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermesd.config.environment_keys import VARIABLES
from hermesd.config.reference import DESCRIPTIONS
from hermesd.config.schema import Config
from hermesd.config.shape import leaves, shape_of
from hermesd.config.validate import RANGES

if TYPE_CHECKING:
    from hermesd.config.shape import Shape

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
BEGIN = "<!-- keys: made by python -m hermesd.config.docs -->"
END = "<!-- /keys -->"


def keys_table() -> str:
    """A Markdown table for each section."""
    sections: dict[str, list[str]] = {}
    for key, shape in leaves(shape_of(Config)):
        section, _, _ = key.rpartition(".")
        sections.setdefault(section or "at the top", []).append(_row(key, shape))
    parts = []
    for section, rows in sections.items():
        title = f"### `{section}`" if section != "at the top" else "### At the top"
        if section == "fallback_providers[]":
            parts.append(
                f"{title}\n\nA list of models that are asked in turn when `model` fails; keys as in `model`.\n"
            )
            continue
        parts.append("\n".join([f"{title}\n", "| key | value | default | |", "|---|---|---|---|", *rows, ""]))
    variables = [f"| `{name}` | `{key}` |" for name, key in VARIABLES.items()]
    parts.append("\n".join(["### Variables in .env\n", "| variable | stands for |", "|---|---|", *variables, ""]))
    return "\n".join(parts)


def page_with_table(page: str) -> str:
    """``page`` with what stands between the markers replaced. Raises ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the keys between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{keys_table()}\n{END}{after}"


def _row(key: str, shape: Shape) -> str:
    cells = f"`{key.rpartition('.')[2]}`", _value(key, shape), _default(key), DESCRIPTIONS.get(key, "")
    return f"| {' | '.join(cells)} |"


def _value(key: str, shape: Shape) -> str:
    if shape.kind == "list" and shape.item is not None:
        return f"list of {shape.item.expected.replace('one of', 'any of')}"
    if shape.kind == "map" and shape.item is not None:
        return f"name: {shape.item.expected}"
    if key not in RANGES:
        return shape.expected
    least, greatest = RANGES[key]
    return f"above 0, to {greatest:,.0f}" if least == 0.001 else f"{least:,.0f} to {greatest:,.0f}"


def _default(key: str) -> str:
    from hermesd.config.schema import McpServerConfig, ModelConfig, WebhookRoute

    items: dict[str, Any] = {
        "fallback_providers[]": ModelConfig(),
        "routes": WebhookRoute(),
        "mcp_servers": McpServerConfig(),
    }
    value: Any = Config()
    for name in key.split("."):
        if name in items:
            value = items[name]
        elif name != "<name>":
            value = getattr(value, name)
    return f"`{json.dumps(value)}`" if value not in ("", [], {}) else ""


def main() -> int:
    """Write or check the page; returns the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    made = page_with_table(page)
    if "--check" in sys.argv[1:]:
        if made != page:
            sys.stderr.write(f"{PAGE.name} is stale: run python -m hermesd.config.docs\n")
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
