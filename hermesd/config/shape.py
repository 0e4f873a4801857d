"""The schema as data: what stands below each key, for reading, for error messages and for the documentation."""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import msgspec.structs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermesd.config.schema import Section


@dataclass(frozen=True, slots=True)
class Shape:
    """One of: a section (``struct``, ``fields``), a map or list of ``item``, a scalar, or a tree of any of these.

    A scalar is one of ``choices``, or of the Python types in ``scalars``.
    """

    kind: Literal["section", "map", "list", "scalar", "tree"]
    struct: type[Section] | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    scalars: frozenset[type] = frozenset()
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What may stand here, for people."""
        if self.kind != "scalar":
            return {
                "section": "a mapping of keys",
                "map": "a mapping of names",
                "list": "a list",
                "tree": "values",
            }[self.kind]
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        return " or ".join(text for kind, text in names.items() if kind in self.scalars)


@functools.cache
def shape_of(annotation: Any) -> Shape:  # noqa: ANN401 - a type expression
    """The shape of a Section, or of a type that a field of one has."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return Shape("tree")
    if origin is Literal:
        return Shape("scalar", scalars=frozenset({str}), choices=arguments)
    if origin in (Union, types.UnionType):
        return Shape("scalar", scalars=frozenset(arguments))
    if origin is list:
        return Shape("list", item=shape_of(arguments[0]))
    if origin is dict:
        return Shape("map", item=shape_of(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        fields = {row.name: shape_of(row.type) for row in msgspec.structs.fields(annotation)}
        return Shape("section", struct=annotation, fields=fields)  # type: ignore[arg-type]  # all structs are Sections
    return Shape("scalar", scalars=frozenset({annotation}))


def leaves(shape: Shape, path: str = "") -> Iterator[tuple[str, Shape]]:
    """Every key as ``platforms.webhook.routes.<name>.secret`` with its shape, sections excluded."""
    for name, below in shape.fields.items():
        key = f"{path}.{name}" if path else name
        if below.kind == "section":
            yield from leaves(below, key)
        elif below.item is not None and below.item.kind == "section":
            yield from leaves(below.item, f"{key}.<name>" if below.kind == "map" else f"{key}[]")
        else:
            yield key, below
