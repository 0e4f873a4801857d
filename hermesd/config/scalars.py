"""Words of a YAML file as the values their schema asks for."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.config.shape import Shape

    Value = str | int | float | bool

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,18})", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def to_value(text: str, shape: Shape, *, plain: bool) -> Value:
    """``text`` as one of the shape's choices or types; ``plain`` words win as numbers where text may stand as well.

    Raises ValueError with what is expected; the text itself is not in it.
    """
    if shape.choices:
        if text in shape.choices:
            return text
        raise ValueError(shape.expected)
    kinds = shape.scalars
    if str in kinds:
        return int(text) if int in kinds and plain and _INTEGER.fullmatch(text) else text
    if bool in kinds and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    if int in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if float in kinds and _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise ValueError(shape.expected)


def plain_value(text: str) -> Value:
    """A word without quotes, where anything may stand: a truth value (``true``, ``false``), a number, or itself."""
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
