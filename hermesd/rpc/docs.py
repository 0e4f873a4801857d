"""docs/rpc.md, made from the types: ``python -m hermesd.rpc.docs > docs/rpc.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hermesd.rpc.openrpc import document
from hermesd.rpc.wire import MAX_DEPTH, MAX_FRAME_BYTES, MAX_METHOD_BYTES, PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Schema = Mapping[str, Any]  # a JSON Schema

HEAD = f"""\
<!-- Made by `python -m hermesd.rpc.docs > docs/rpc.md`; a test fails when it is stale. -->

# RPC on the socket

hermesd listens on `$HERMES_HOME/hermesd.sock` (or below `$XDG_RUNTIME_DIR/hermesd/` when that path would be longer
than 107 bytes, or on the socket it inherits from socket activation). It speaks JSON-RPC 2.0, protocol version
{PROTOCOL_VERSION}. Any program that can write a line to a Unix socket is a client:

```sh
echo '{{"jsonrpc": "2.0", "id": 1, "method": "rpc.hello"}}' | nc -N -U ~/.hermes/hermesd.sock
```

The same with `socat`, and a stream that is followed until it is interrupted:

```sh
echo '{{"jsonrpc": "2.0", "id": 1, "method": "rpc.hello"}}' | socat -t5 - UNIX-CONNECT:$HOME/.hermes/hermesd.sock
echo '{{"jsonrpc": "2.0", "id": 1, "method": "events.watch"}}' | nc -U ~/.hermes/hermesd.sock
```

From Python, with errors as exceptions and results as types:

```python
from hermesctl.client import Client

with Client.connect() as client:
    print(client.status().services)
    print(client.stream("chat.send", {{"text": "hello"}}, on_update=print)["text"])
```

## Behaviour, numbered

1. **Encoding.** The first byte a client sends chooses for the whole connection: `{{` means one JSON message a line,
   anything else msgpack, each message after its length as 4 bytes, big-endian. Empty lines are ignored.
2. **Requests** are objects with `jsonrpc: "2.0"`, `id` (an integer within ±2^53, or a text of up to 128 characters),
   `method`, and optionally `params`, an object. Every request has an id. Batches are refused: send one after another.
3. **Pipelining.** Requests may be sent without waiting. Answers carry the id; those of methods that have to wait come
   when they are ready, not in order. A connection has up to 256 calls under way; then it is not read until one ends.
4. **Streams** (`chat.send`, `events.watch`, `logs.follow`) answer with notifications whose params carry the request's
   `id`, then with the result. Closing the connection ends the stream, never what it watched: a turn goes on.
5. **Lagging.** A client that does not read is not waited for. When more than 1 MiB waits for it, or when it makes no
   room within 30 s, its stream ends with the error -32030 (lagged), whose `next_step` says how to go on.
6. **Bad frames** are answered by an error with `id: null`, and the connection is closed: longer than {MAX_FRAME_BYTES}
   bytes, of length 0, not JSON or msgpack or not UTF-8, not a request, nested deeper than {MAX_DEPTH} where it cannot
   be what it should, a method name of more than {MAX_METHOD_BYTES} characters. Nobody else notices.
7. **Bad params** (-32602) name the field and leave the connection open; so does an unknown method (-32601).
8. **Who may.** The kernel says who connects (SO_PEERCRED). The owner's uid and root may do everything; members of
   `rpc.group` what `rpc.roles` says: `read` ⊂ `chat` ⊂ `operate`. This is looked up for each request, so that a
   reload revokes at once; somebody without any role gets one error (-32005) and is disconnected.
9. **Audit.** Each call of a mutating method is recorded with method, uid, pid and role before it takes effect, and
   again if it fails; so is each denied call.
10. **Stopping.** A planned stop ends streams with -32004 and lets other calls finish.

## Errors

`error` is `{{code, message, data: {{where, next_step, exit_status}}}}`.

| code | meaning | exit status of hermesctl |
|---:|---|---:|
| -32700 | not JSON, not msgpack | 2 |
| -32600 | not a request, or a frame that is out of bounds | 2 |
| -32601 | no such method | 2 |
| -32602 | bad params, or a call that makes no sense | 2 |
| -32603 | a bug; the log has more | 1 |
| -32000 | any other failure | 1 |
| -32001 | no such thing | 1 |
| -32002 | it exists already, or is in another state | 1 |
| -32004 | the daemon is stopping: ask again | 75 |
| -32005 | not permitted | 77 |
| -32006 | wrong configuration | 78 |
| -32007 | the state file refused | 1 |
| -32020 | a chat platform failed | 1 |
| -32030 | lagged | 1 |

## Methods
"""


def render() -> str:
    """The whole page."""
    openrpc = document()
    schemas = openrpc["components"]["schemas"]
    parts = [HEAD, *_overview(openrpc["methods"])]
    for method in openrpc["methods"]:
        parts += _method(method, schemas)
    parts.append("\n## Types\n")
    for name in sorted(_types(openrpc["methods"], schemas)):
        parts += [f"\n### {name}\n", *_type(schemas[name])]
    return "".join(parts)


def _overview(methods: list[Schema]) -> Iterator[str]:
    yield "\n| method | role | |\n|---|---|---|\n"
    for method in methods:
        marks = [word for word, key in (("changes things", "x-mutating"), ("stream", "x-updates")) if method.get(key)]
        note = f" ({', '.join(marks)})" if marks else ""
        name, anchor = method["name"], method["name"].replace(".", "")
        yield f"| [`{name}`](#{anchor}) | {method['x-role']} | {method['summary']}{note} |\n"


def _method(method: Schema, schemas: Schema) -> Iterator[str]:
    yield f"\n### {method['name']}\n\n{method['summary']} Role: `{method['x-role']}`."
    yield " Changes things, and is audited.\n" if method["x-mutating"] else "\n"
    if method["params"]:
        yield f"\n{_text(method['description'])}\n"
        yield "\n| parameter | type | default |\n|---|---|---|\n"
        for param in method["params"]:
            default = "required" if param["required"] else _default(param["schema"])
            yield f"| `{param['name']}` | {_shape(param['schema'])} | {default} |\n"
    if "x-updates" in method:
        yield f"\nUpdates: {_shape(method['x-updates'])}."
    yield f"\nResult: {_shape(method['result']['schema'])}.\n"


def _types(methods: list[Schema], schemas: Schema) -> set[str]:
    """Names of all types that parameters, results and updates lead to."""
    found: set[str] = set()
    keys = ("params", "result", "x-updates")
    pending: list[object] = [method[key] for method in methods for key in keys if key in method]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                pending.append(schemas[name])
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return found


def _type(schema: Schema) -> Iterator[str]:
    if schema.get("description"):
        yield f"\n{_text(schema['description'])}\n"
    if not schema.get("properties"):
        return
    required = schema.get("required", [])
    yield "\n| field | type | |\n|---|---|---|\n"
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_shape(field)} | {'' if name in required else 'may be absent'} |\n"


def _text(docstring: str) -> str:
    """A docstring's reStructuredText, as far as ours goes, as Markdown."""
    import inspect

    return inspect.cleandoc(docstring).replace("``", "`")


def _shape(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_shape(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_shape(inner)}" if isinstance(inner, dict) and inner else "object"
    return {"string": "text", "boolean": "true or false"}.get(kind, str(kind))


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return str(value).lower() if value not in ("", None, []) else "empty"


if __name__ == "__main__":
    sys.stdout.write(render())
