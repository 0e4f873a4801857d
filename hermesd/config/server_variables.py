"""Which variable of .env takes a secret of an MCP server, and what config.yaml has in its place."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING

from hermesd.config.secret_keys import is_secret, variable_for
from hermesd.config.server_secrets import HIDDEN_MAPS, REFERENCE, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9]+", re.ASCII)


class Keeper:
    """Collects the secrets of one server in ``kept``; every value of ``env`` and ``headers`` is taken for one.

    ``known`` are the variables of .env. None of them is given another value, but for those with the server's name that
    nothing but the replaced setting refers to; ``in_use`` has a name for each reference in config.yaml. ``kept`` may be
    that of another server, so that both are written together.
    """

    def __init__(
        self,
        server: str,
        known: Mapping[str, str],
        in_use: list[str] | None = None,
        kept: dict[str, str] | None = None,
    ) -> None:
        self._server = server
        self._prefix = variable_name(server)
        self._known = known
        self._in_use = Counter(in_use or ())
        self.kept = {} if kept is None else kept

    # A setting is whatever YAML can hold: a text, a number, a list or a map.
    def without_secrets(self, key: str, value: object, before: object) -> object:
        """What config.yaml gets for a key of the server's. ``before`` is what stood there, None for nothing."""
        name, _, below = key.partition(".")
        if isinstance(value, dict):
            old = before if isinstance(before, dict) else {}
            return {each: self.without_secrets(f"{key}.{each}", value[each], old.get(each)) for each in value}
        if key == "args" and isinstance(value, list):
            return self._args([str(each) for each in value], before)
        if not isinstance(value, str) or not value or REFERENCE.search(value):
            return value
        if name in HIDDEN_MAPS and below:
            wanted = variable_name(below) if name == "env" else f"{self._prefix}_{variable_name(below)}"
        elif key == "url" and "?" in value:
            wanted = f"{self._prefix}_URL"
        elif is_secret(key):
            wanted = variable_for(f"mcp_servers.{self._server}.{key}")
        else:
            return value
        return self._keep(wanted, value, before)

    def _args(self, args: list[str], before: object) -> list[str]:
        found = []
        for word in words(args):
            wanted = variable_name(word.name)
            wanted = wanted if word.name.isupper() and word.name != "ARG" else f"{self._prefix}_{wanted}"
            found.append(word.told + (self._keep(wanted, word.secret, before) if word.secret else ""))
        return found

    def _keep(self, wanted: str, value: str, before: object) -> str:
        old = Counter(references(before))
        mine = [name for name, count in old.items() if count == self._in_use[name] and is_of_server(name, self._server)]
        for name in itertools.chain(mine if isinstance(before, str) else (), self._candidates(wanted)):
            current = self.kept.get(name, value if name in mine else self._known.get(name, value))
            if current == value:
                self.kept[name] = value
                return f"${{{name}}}"
        raise AssertionError("candidates never end")

    def _candidates(self, wanted: str) -> Iterator[str]:
        if not wanted.startswith((f"{self._prefix}_", "MCP_SERVERS_")):
            yield wanted
            wanted = f"{self._prefix}_{wanted}"
        yield wanted
        yield from (f"{wanted}_{number}" for number in itertools.count(2))


def is_of_server(name: str, server: str) -> bool:
    """Whether a variable bears the server's name, so that hardly anything but the server needs it."""
    return name.startswith((f"{variable_name(server)}_", f"{variable_for(f'mcp_servers.{server}')}_"))


def references(value: object) -> list[str]:
    """The variables that a setting refers to, as often as it does."""
    if isinstance(value, dict):
        return [name for below in value.values() for name in references(below)]
    if isinstance(value, list):
        return [name for below in value for name in references(below)]
    text = value if isinstance(value, str) else ""
    return [match[2:-1].removeprefix("env:") for match in REFERENCE.findall(text)]


def variable_name(text: str) -> str:
    """A variable's name made of other words: ``X-Api-Key`` is ``X_API_KEY``."""
    found = _OTHER.sub("_", text).strip("_").upper()
    return found if _NAME.fullmatch(found) else f"MCP_{found}"
