"""``hermesctl rpc call METHOD [JSON]`` and ``rpc schema``: the socket's protocol by hand."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from hermesctl.arguments import actions
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {"call": "call a method; updates of a stream come a line each", "schema": "the protocol as OpenRPC"}


def register(parser: argparse.ArgumentParser) -> None:
    """The two actions."""
    call = actions(parser, ACTIONS)["call"]
    call.add_argument("method", metavar="METHOD", help="e.g. daemon.status")
    call.add_argument("params", nargs="?", default="{}", metavar="JSON", help="parameters as an object; - reads them")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print updates, then the result, as JSON."""
    if args.action == "schema":
        _print(context.call("rpc.schema")["openrpc"], indent=2)
        return 0
    params = _parse(sys.stdin.read() if args.params == "-" else args.params)
    with context.client() as client:
        _print(client.stream(args.method, params, _print), indent=2)
    return 0


def _parse(text: str) -> dict[str, Any]:
    try:
        params = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the parameters are not JSON: {error}") from None
    if not isinstance(params, dict):
        raise UsageError("the parameters must be an object", next_step="e.g. '{\"limit\": 5}'")
    return params


def _print(value: dict[str, Any], indent: int | None = None) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=indent), flush=True)
