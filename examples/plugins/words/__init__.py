"""A whole plugin: one tool that counts words. See docs/plugins.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.plugins.context import PluginContext
    from hermesd.plugins.tool import Call

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "what to count in"},
        "file": {"type": "string", "description": "or a file of the workspace"},
        "most": {"type": "integer", "description": "how many of the most frequent words to name", "maximum": 20},
    },
    "additionalProperties": False,
}


def count_words(arguments: dict[str, str | int], context: Call) -> dict[str, object]:
    """Run in a thread, so it may read files. Whatever it raises is told to the model."""
    text = str(arguments.get("text", ""))
    if "file" in arguments:
        path = (context.workspace / str(arguments["file"])).resolve()
        if not path.is_relative_to(context.workspace.resolve()):
            raise ValueError("the file is not in the workspace")
        text = path.read_text()
    words = text.split()
    frequent = Counter(word.lower().strip(".,;:!?") for word in words).most_common(int(arguments.get("most", 3)))
    return {"words": len(words), "frequent": dict(frequent)}


def register(ctx: PluginContext) -> None:
    """Called once, when the profile's plugins are loaded."""
    ctx.register_tool(
        name="count_words",
        schema=SCHEMA,
        handler=count_words,
        description="Count the words of a text, or of a file in the workspace, and name the most frequent ones.",
        effect="read_only",
    )
