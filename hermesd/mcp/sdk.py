"""The MCP SDK, made ready in a thread when the first server starts: a second in which the loop need not stand still."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

import trio

from hermesd import collector
from hermesd.mcp.backoff import starts

if TYPE_CHECKING:
    from types import ModuleType

FRONTS = ("mcp", "mcp.client")
MODULES = (
    "anyio._backends._trio",  # which anyio would import at its first use
    "mcp.client.session",
    "mcp.client.subscriptions",
    "mcp.shared.exceptions",
    "mcp.shared.message",
    "mcp_types",
    "mcp_types.version",
    "hermesd.mcp.callbacks",
    "hermesd.mcp.client_session",
    "hermesd.mcp.sifting",
    "hermesd.mcp.stdio",
)
HTTP_MODULES = ("httpx2", "mcp.client.streamable_http", "mcp.client.sse", "hermesd.mcp.client")

SWITCH_S = 0.0005

_once = trio.Lock()
_thread = trio.CapacityLimiter(1)
"""One at a time: the second finds what the first has imported, and nobody meets a half-made module."""
_loaded: set[str] = set()


def is_loaded() -> bool:
    """Whether sessions over stdio have all that they need."""
    return _loaded.issuperset(MODULES)


async def load(*, http: bool) -> None:
    """Return once everything is there that a session needs. The first time takes seconds on a slow machine.

    Whoever imports from ``mcp`` on the loop must have waited for this: an import of what a thread is importing blocks.
    """
    wanted = MODULES + (HTTP_MODULES if http else ())
    if not _loaded.issuperset(wanted):
        async with _once:
            if not _loaded.issuperset(wanted):
                with starts.one_less():
                    await trio.to_thread.run_sync(_import, wanted, limiter=_thread, abandon_on_cancel=True)
    if http:
        from hermesd.mcp.http import usual_context

        if not usual_context.cache_info().currsize:
            await trio.to_thread.run_sync(usual_context, limiter=_thread, abandon_on_cancel=True)


def _import(names: tuple[str, ...]) -> None:
    """Meanwhile the interpreter's lock changes hands more often: the loop has to ask for it at every turn."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with collector.importing():
            for name in FRONTS:
                _run_at_first_use(name)
            for name in names:
                importlib.import_module(name)
                _loaded.add(name)
        _quieten()
        collector.keep()
    finally:
        sys.setswitchinterval(usual_s)


def _run_at_first_use(name: str) -> None:
    """Have a package whose own file is run when somebody asks for one of its names; its modules can be imported.

    The files of FRONTS import the SDK's half for servers, which cost a client 0.2 s and 18 MB for nothing.
    ``importlib.util.LazyLoader`` would run them as soon as one of their modules is imported.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"there is no package {name}", name=name)
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def find(attribute: str) -> object:  # module.__getattr__ of PEP 562
        if attribute.startswith("__") and attribute != "__all__":
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, attribute)

    vars(package)["__getattr__"] = find
    sys.modules[name] = package
    _bind(name, package)


def _bind(name: str, package: ModuleType) -> None:
    """As the import system does it: a package knows its modules."""
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, package)


def _quieten() -> None:
    """The SDK logs session ids, and every message that it cannot use; its transports as errors, without end."""
    for name in ("mcp", "client", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("mcp.client.streamable_http", "mcp.client.sse"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
