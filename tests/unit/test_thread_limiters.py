"""Work in threads is bounded kind by kind."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_kind_of_work_in_threads_has_a_limiter_of_its_own() -> None:
    """Trio's default one is everybody's: forty slow reads of one kind would hold up all others, DNS lookups too."""
    calls = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for path in (ROOT / "hermesd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("to_thread.run_sync")
    ]
    assert len(calls) > 20
    assert [where for where, keywords in calls if "limiter" not in keywords] == []
