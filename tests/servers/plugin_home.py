"""Directory plugins for tests: written into a home's ``plugins/``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

GREET = """
def register(ctx):
    ctx.register_tool(
        name="greet",
        schema={"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]},
        handler=lambda arguments: f"hello {arguments['who']}",
        description="Greet somebody.",
        effect="read_only",
    )
"""
"""A plugin with one tool that only reads."""


def write_plugin(home: Path, name: str, code: str = GREET, *, manifest: str | None = None, directory: str = "") -> Path:
    """A plugin in ``home/plugins``; ``manifest`` is its plugin.yaml, None for one with name and version."""
    place = home / "plugins" / (directory or name)
    place.mkdir(parents=True, mode=0o700)
    (place / "plugin.yaml").write_text(
        f"name: {name}\nversion: 1.0.0\ndescription: A plugin of the tests\n" if manifest is None else manifest
    )
    (place / "__init__.py").write_text(textwrap.dedent(code))
    return place


def enabling(*names: str, **more: object) -> str:
    """config.yaml that enables them."""
    return json.dumps({"plugins": {"enabled": list(names), **more}}) + "\n"
