"""The protocol as an OpenRPC document (https://spec.open-rpc.org), made from the types in ``rpc.wire``."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

import hermesd
from hermesd.rpc.wire_methods import METHODS, Method

OPENRPC_VERSION = "1.3.2"
_REFERENCE = "#/components/schemas/{name}"


@cache
def document() -> dict[str, Any]:  # a JSON document by nature
    """The whole document; the same object each time."""
    references, components = schemas()
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": "hermesd", "version": hermesd.__version__},
        "methods": [_method(method, references, components) for method in METHODS],
        "components": {"schemas": components},
    }


def schemas() -> tuple[dict[type, dict[str, Any]], dict[str, dict[str, Any]]]:
    """References by type, and the JSON Schemas they lead to by name."""
    types: list[type] = []
    for method in METHODS:
        types += [method.params, method.result, *([method.update] if method.update else [])]
    distinct = list(dict.fromkeys(types))
    references, components = msgspec.json.schema_components(distinct, schema_hook=_schema, ref_template=_REFERENCE)
    return dict(zip(distinct, references, strict=True)), components


def _schema(kind: type) -> dict[str, Any]:
    """``object`` is any JSON value."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(kind)


def _method(
    method: Method, references: dict[type, dict[str, Any]], components: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    params = components[method.params.__name__]
    required = params.get("required", [])
    entry: dict[str, Any] = {
        "name": method.name,
        "summary": method.doc,
        "description": params.get("description", ""),
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema}
            for name, schema in params.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": references[method.result]},
        "x-role": method.role,
        "x-mutating": method.mutating,
    }
    if method.update:
        entry["x-updates"] = references[method.update]
    return entry
