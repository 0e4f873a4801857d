"""What the model gets of what servers offer: chosen, cleaned, bounded, named, and held back where it changed.

Everything a server says about its tools is somebody else's text. ``prepare`` makes one server's part of it, ``name``
puts the parts of all servers together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.mcp.names import assign
from hermesd.mcp.sanitize import MAX_DESCRIPTION, MAX_PROPERTY_NAME, Work, clean, clean_schema, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from hermesd.config.schema import McpServerConfig, McpToolsConfig
    from hermesd.store.records import Effect

MAX_TOOLS = 256
"""Tools of one server that a model is offered; what is beyond it is told by a flag."""

MAX_OFFERED_CHARS = 256 * 1024
"""All of a server's descriptions and schemas: more than that no model reads, and providers refuse the request."""

Definition = dict[str, object]
Kind = Literal["tool", "list_resources", "read_resource", "list_prompts", "get_prompt"]


class Offer(msgspec.Struct, frozen=True):
    """One tool of a server as a model may see it. ``tool`` is the server's own name, ``flags`` what was done to it.

    ``quarantined`` is one whose definition is not the approved one: it is shown to people only. ``output`` is the
    schema of its structured answers, as the server has sent it.
    """

    server: str
    tool: str
    kind: Kind
    description: str
    parameters: dict[str, object]
    effect: Effect
    flags: tuple[str, ...] = ()
    quarantined: bool = False
    output: dict[str, object] | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A server's offers in its own order; ``flags`` are about the list as a whole."""

    offers: tuple[Offer, ...]
    flags: tuple[str, ...] = ()


def chosen(definitions: Iterable[Mapping[str, object]], config: McpToolsConfig) -> list[Definition]:
    """The tools that are wanted, by the server's own names; ``include`` beats ``exclude``. The first of a name counts.

    Also for pinning: what is not chosen is not pinned.
    """
    found: dict[str, Definition] = {}
    for each in definitions:
        name = each.get("name")
        if not isinstance(name, str) or not name or name in found:
            continue
        if name in config.include if config.include else name not in config.exclude:
            found[name] = dict(each)
    return list(found.values())


def prepare(
    server: str,
    config: McpServerConfig,
    definitions: Sequence[Definition],
    *,
    quarantined: Collection[str] = (),
    resources: bool = False,
    prompts: bool = False,
    faults: Iterable[str] = (),
) -> Prepared:
    """Clean what ``chosen`` left, and add the tools that stand for resources and prompts where the server has any.

    ``faults``: what of the server's list could not be used, to be told with the rest.

    Takes up to a second for what a hostile server may send: for a thread.
    """
    flags = list(faults)
    if len(definitions) > MAX_TOOLS:
        flags.append(f"offers {len(definitions)} tools; the first {MAX_TOOLS} are taken")
    offers: list[Offer] = []
    work, chars = Work(), 0
    for number, definition in enumerate(definitions[:MAX_TOOLS]):
        name = str(definition["name"])
        if len(name) > MAX_PROPERTY_NAME or visible(name) != name or not name.isprintable():
            flags.append("a tool was refused for its name")
            continue
        offer = _offer(server, name, definition, config, work, is_changed=name in quarantined)
        chars += _size(offer)
        if chars > MAX_OFFERED_CHARS or work.left < 0:
            flags.append(f"its definitions are too long for a model; the first {number} tools are taken")
            break
        offers.append(offer)
    kinds: list[Kind] = []
    if resources and config.tools.resources:
        kinds += ["list_resources", "read_resource"]
    if prompts and config.tools.prompts:
        kinds += ["list_prompts", "get_prompt"]
    offers += [_standing(server, kind, config) for kind in kinds]
    return Prepared(tuple(offers), tuple(dict.fromkeys(flags)))


def name(parts: Iterable[Prepared]) -> dict[str, Offer]:
    """Registered name → offer, sorted by name, so that a server's own order does not spoil a prompt cache.

    Where a server's own tool is called ``read_resource``, ours steps aside.
    """
    offers = [offer for part in parts for offer in part.offers]
    taken = {(offer.server, offer.tool) for offer in offers if offer.kind == "tool"}

    def key(offer: Offer) -> tuple[str, str]:
        steps_aside = offer.kind != "tool" and (offer.server, offer.tool) in taken
        return offer.server, f"{offer.tool}." if steps_aside else offer.tool

    names = assign(key(offer) for offer in offers)
    found: dict[str, Offer] = {}
    for offer in offers:
        found.setdefault(names[key(offer)], offer)  # whatever happens, no server takes a name that is another's
    return dict(sorted(found.items()))


def _size(offer: Offer) -> int:
    """Characters, or nearly."""
    import msgspec

    return len(offer.description) + len(msgspec.json.encode(offer.parameters))


def _offer(
    server: str, name: str, definition: Definition, config: McpServerConfig, work: Work, *, is_changed: bool
) -> Offer:
    flags: set[str] = set()
    description = clean(definition.get("description"), MAX_DESCRIPTION, flags, "the description", work)
    output = definition.get("outputSchema")
    return Offer(
        server=server,
        tool=name,
        kind="tool",
        description=description or f"{name} of the MCP server {server}",
        parameters=clean_schema(definition.get("inputSchema", {}), flags, work),
        effect=effect_of(definition, trusted=config.trusted),
        flags=tuple(sorted(flags)),
        quarantined=is_changed,
        output=output if isinstance(output, dict) else None,
    )


def effect_of(definition: Mapping[str, object], *, trusted: bool) -> Effect:
    """What a call may do. A server's hints count only where its owner has said that it is trusted.

    ToolAnnotations (MCP, server/tools): "clients MUST consider tool annotations to be untrusted unless they come from
    trusted servers".
    """
    hints = definition.get("annotations")
    if not trusted or not isinstance(hints, dict):
        return "unsafe"
    if hints.get("readOnlyHint") is True:
        return "read_only"
    return "idempotent" if hints.get("idempotentHint") is True else "unsafe"


def _standing(server: str, kind: Kind, config: McpServerConfig) -> Offer:
    text, properties, required = _STANDING[kind]
    parameters: dict[str, object] = {"type": "object", "properties": properties, "required": required}
    parameters["additionalProperties"] = False
    lists = kind in ("list_resources", "list_prompts")  # without arguments nothing can be carried out by them
    effect: Effect = "read_only" if lists or config.trusted else "unsafe"
    return Offer(server, kind, kind, f"{text} of the MCP server {server}.", parameters, effect)


_STANDING: dict[Kind, tuple[str, dict[str, object], list[str]]] = {
    "list_resources": ("List the resources", {}, []),
    "read_resource": ("Read one resource", {"uri": {"type": "string", "description": "As listed."}}, ["uri"]),
    "list_prompts": ("List the prompts", {}, []),
    "get_prompt": (
        "Fill in one prompt",
        {
            "name": {"type": "string", "description": "As listed."},
            "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        ["name"],
    ),
}
