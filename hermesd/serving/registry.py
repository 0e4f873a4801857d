"""What a server offers: tools, resources, templates of resources, prompts. Plain records, without the SDK."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec

from hermesd.errors import UsageError
from hermesd.tools.schema import complaint, parameters_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import BaseModel

    from hermesd.serving.backend import Call, Json

    Answer = Json | BaseModel  # plain data, or a result of the SDK's as it goes out

A = TypeVar("A", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. ``schema`` is JSON Schema (2020-12) of its arguments, which are checked before ``handler`` sees them.

    ``handler`` returns plain data, or the SDK's result; it raises HermesError, which the caller is told.
    """

    name: str
    title: str
    description: str
    schema: Mapping[str, object]
    handler: Callable[[Call, Json], Awaitable[Answer]]
    read_only: bool = True
    idempotent: bool = True

    def check(self, arguments: Json) -> None:
        """Raises UsageError with what is wrong with the arguments."""
        if found := complaint(self.schema, arguments):
            raise UsageError(found, where=self.name, next_step="correct the arguments by the tool's input schema")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource at a fixed URI."""

    uri: str
    name: str
    description: str
    handler: Callable[[Call], Awaitable[Answer]]
    mime_type: str = "application/json"


@dataclass(frozen=True)
class Template:
    """Resources of one pattern, e.g. ``hermes://sessions/{session}`` (RFC 6570, level 1)."""

    uri_template: str
    name: str
    description: str
    handler: Callable[[Call, dict[str, str]], Awaitable[Answer]]
    mime_type: str = "application/json"

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", self.uri_template)
        return re.compile(
            "".join(f"(?P<{part}>[^/?#]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        )

    def match(self, uri: str) -> dict[str, str] | None:
        """The variables of a URI, decoded; None when it is not one of these."""
        found = self._pattern.fullmatch(uri)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt. ``arguments`` maps names to descriptions; all are required."""

    name: str
    description: str
    handler: Callable[[Call, dict[str, str]], Awaitable[Answer]]
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A resource that exists now, read by one of the templates."""

    uri: str
    name: str
    description: str = ""
    mime_type: str = "application/json"


@dataclass(slots=True)
class Registry:
    """Everything on offer. ``handlers`` adds methods of the protocol that nothing else here covers."""

    tools: dict[str, Tool] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    templates: list[Template] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    listers: list[Callable[[Call], Awaitable[list[Listed]]]] = field(default_factory=list)
    handlers: dict[str, tuple[type[BaseModel], Callable[[Any, Any], Awaitable[Any]]]] = field(default_factory=dict)

    def add_tool(self, tool: Tool) -> None:
        """Offer a tool; its name must be free."""
        assert tool.name not in self.tools, tool.name
        self.tools[tool.name] = tool

    def add_resource(self, resource: Resource) -> None:
        """Offer a resource; its URI must be free."""
        assert resource.uri not in self.resources, resource.uri
        self.resources[resource.uri] = resource

    def add_prompt(self, prompt: Prompt) -> None:
        """Offer a prompt; its name must be free."""
        assert prompt.name not in self.prompts, prompt.name
        self.prompts[prompt.name] = prompt


def typed(
    arguments: type[A], handler: Callable[[Call, A], Awaitable[Answer]]
) -> tuple[dict[str, object], Callable[[Call, Json], Awaitable[Answer]]]:
    """The schema of a struct, and a handler of plain arguments that calls ``handler`` with one."""

    async def convert(call: Call, plain: Json) -> Answer:
        return await handler(call, msgspec.convert(plain, arguments, strict=False))

    return parameters_of(arguments), convert
