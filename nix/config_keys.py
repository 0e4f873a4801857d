"""nix/config-keys.json: every leaf of the configuration, made from the schema; the flake's ``configKeys``.

``python nix/config_keys.py`` writes it. With ``--check`` nothing is written, and a stale file ends with status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("config-keys.json")
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from hermesd.config.shape import Shape

_SCALARS = {bool: "bool", int: "int", float: "number", str: "text"}


def keys() -> dict[str, dict[str, Any]]:
    """``platforms.telegram.token`` → ``{type, choices, item, about}``, sorted; ``<name>`` stands for any name."""
    from hermesd.config.reference import DESCRIPTIONS
    from hermesd.config.schema import Config
    from hermesd.config.shape import leaves, shape_of

    return {
        key: {**_type(shape), **({"about": DESCRIPTIONS[key]} if key in DESCRIPTIONS else {})}
        for key, shape in sorted(leaves(shape_of(Config)))
    }


def _type(shape: Shape) -> dict[str, Any]:
    if shape.kind in ("list", "map") and shape.item is not None:
        return {"type": shape.kind, "item": _type(shape.item)}
    if shape.kind != "scalar":
        return {"type": "any"}
    if shape.choices:
        return {"type": "choice", "choices": list(shape.choices)}
    names = [name for kind, name in _SCALARS.items() if kind in shape.scalars]
    return {"type": names[0]} if len(names) == 1 else {"type": "either", "of": names}


def main() -> int:
    """Write or check the file; returns the exit status."""
    made = json.dumps(keys(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        stale = not FILE.exists() or FILE.read_text(encoding="utf-8") != made
        if stale:
            sys.stderr.write(f"{FILE.name} is stale: run python nix/config_keys.py\n")
        return int(stale)
    FILE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
