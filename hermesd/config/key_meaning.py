"""What a dotted key of config.yaml may hold, and what a text on the command line means for it."""

from __future__ import annotations

import difflib
from typing import Any

from hermesd.config import foreign
from hermesd.config.roundtrip import load, unambiguous
from hermesd.config.scalars import to_value
from hermesd.config.schema import Config
from hermesd.config.shape import Shape, shape_of
from hermesd.errors import ConfigError, UsageError


def shape_at(key: str) -> Shape | None:
    """The shape of a dotted key; None below a key of hermes-agent's that means nothing here. Raises UsageError."""
    shape = shape_of(Config)
    for name in key.split("."):
        if (struct := shape.struct) is not None:
            if name in shape.fields:
                shape = shape.fields[name]
                continue
            known = foreign.KNOWN.get(struct, frozenset())
            if name in known:
                return None
            near = difflib.get_close_matches(name, [*shape.fields, *known], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(shape.fields)}"
            raise UsageError(f"there is no key {key[:120]!r}", next_step=hint)
        if shape.kind != "map" or shape.item is None or not name:
            raise UsageError(f"there is no key {key[:120]!r}", next_step="set the whole list or section")
        shape = shape.item
    return shape


def value_of(key: str, text: str, shape: Shape | None) -> Any:  # noqa: ANN401 - a YAML value
    """A text as what its shape asks for, as ``write.set_value`` takes it. Raises UsageError, ConfigError."""
    if shape is None or (shape.kind != "scalar" and text.lstrip()[:1] in ("[", "{")):
        return load(text)
    if shape.kind == "list" and shape.item is not None and shape.item.kind == "scalar":
        words = [word.strip() for word in text.split(",")]
        return [_scalar(key, word, shape.item) for word in words if word]
    if shape.kind != "scalar":
        raise UsageError(f"{key} must be {shape.expected}", next_step="write it as [a, b] or {key: value}")
    return _scalar(key, text, shape)


def _scalar(key: str, text: str, shape: Shape) -> Any:  # noqa: ANN401 - a YAML value
    if "${" in text:
        return text
    try:
        value = to_value(text, shape, plain=True)
    except ValueError as error:
        raise ConfigError(f"{key} must be {error}, not {text[:60]!r}", next_step="give another value") from None
    return unambiguous(value)
