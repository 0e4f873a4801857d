"""config.yaml as plain data, without asking the schema what its words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.config.document import Mapping, Node, Scalar, Sequence, parse
from hermesd.config.scalars import plain_value
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VISITS = 20_000


def tree_of(data: bytes, source: str) -> dict[str, Any]:
    """Maps, lists, texts, numbers, truth values and None. Raises ConfigError with file:line for what is no mapping."""
    found: dict[str, Any] = _Reading(source).plain(parse(data, source))
    return found


def leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no map, and every empty map, with its path."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


class _Reading:
    """Counts: a few anchors within anchors are many values."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._visits = 0

    def plain(self, node: Node) -> Any:  # noqa: ANN401 - plain data
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise ConfigError(
                f"holds more than {MAX_VISITS} values", where=f"{self._source}:{node.line}", next_step="make it smaller"
            )
        if isinstance(node, Mapping):
            return {name: self.plain(below) for name, below in node.values.items()}
        if isinstance(node, Sequence):
            return [self.plain(item) for item in node.items]
        if isinstance(node, Scalar) and node.is_null:
            return None
        return plain_value(node.text) if node.plain else node.text
