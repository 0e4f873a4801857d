"""Who may import whom: dependencies point one way, and the fast paths stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS: list[set[str]] = [
    {"__main__"},
    {"process"},
    {"app"},
    {"watching"},
    {"routines"},
    {"rpc", "fleet", "health"},
    {"apart"},
    {"activation"},
    {"manifest"},
    {"gateway"},
    {"triggers"},
    {"turns", "serving"},
    {"plugins"},
    {"mcp"},
    {"skills"},
    {"tools", "providers"},
    {"config", "profiles", "log"},
    {"rpc.wire_methods"},
    {
        "rpc.wire_cron",
        "rpc.wire_outbox",
        "rpc.wire_plugins",
        "rpc.wire_routines",
        "rpc.wire_skills",
        "rpc.wire_upgrade",
        "rpc.wire_watch",
        "rpc.wire_webhook",
    },
    {"rpc.wire_turn_fields"},
    {"logfile", "rpc.wire"},
    {"supervision", "store"},
    {"deploy"},
    {"config.lock"},
    {"file_lock", "home", "redact", "web"},
    {"collector", "errors", "failpoint", "proxies"},
]
"""Top to bottom: a room imports rooms below it or its own. ``rpc.wire`` is types only, so it lies low."""

ALSO = {
    "hermesd.apart": {"hermesd.rpc.claim"},
    "hermesd.health": {"hermesd.fleet"},
    "hermesd.tools.registry": {"hermesd.providers.base"},  # the neutral ToolDefinition
}
"""Single imports between neighbours."""

HOSTED = "hermesd.deploy.container."
"""What the hands of ``hermesctl container``, a module that only this verb imports, may import."""


def room_of(module: str) -> str:
    """The room of a module of ours, e.g. hermesd.rpc.methods.chat → rpc.methods."""
    parts = module.split(".")[1:]
    for length in (2, 1):
        name = ".".join(parts[:length])
        if any(name in layer for layer in LAYERS):
            return name
    return parts[0] if parts else ""


def height(room: str) -> int:
    for index, layer in enumerate(LAYERS):
        if room in layer:
            return len(LAYERS) - index
    raise AssertionError(f"the room {room!r} is not in the layers of this test")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Imported modules of ours and whether the import is only for types."""
    tree = ast.parse(path.read_text())
    typed = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (ROOT / Path(*full.split("."))).with_suffix(".py").exists()
                found.append((full if is_module else node.module, id(node) in typed))
        elif isinstance(node, ast.Import):
            found += [(alias.name, id(node) in typed) for alias in node.names]
    return found


MODULES = sorted((ROOT / "hermesd").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    """A module imports its own room or one further down; types may be named from anywhere."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    room = room_of(module)
    for target, for_types in imports(path):
        if for_types or not target.startswith("hermesd.") or not room or target in ALSO.get(module, ()):
            continue
        other = room_of(target)
        assert other == room or height(other) < height(room), f"{module} imports {target}"


def test_nobody_imports_app() -> None:
    """Only the entry point knows the app."""
    for path in MODULES:
        if path.name != "process.py":
            assert not any(target == "hermesd.app" for target, typed in imports(path) if not typed), path


def test_the_store_speaks_sqlite_only_in_its_own_room() -> None:
    """apsw appears nowhere outside store/sqlite."""
    for path in MODULES:
        if "sqlite" not in path.parts:
            assert not any(target.split(".")[0] == "apsw" for target, _ in imports(path)), path


def test_hermesctl_imports_of_hermesd_only_wire_home_and_errors_at_the_top() -> None:
    """The client stays light: anything else of the daemon is imported inside a command."""
    allowed = {"hermesd", "hermesd.rpc.wire", "hermesd.home", "hermesd.errors"}
    rendered = {"hermesd.rpc.render.terminal", "hermesd.rpc.render.page", "hermesd.rpc.render.units"}  # texts only
    for path in sorted((ROOT / "hermesctl").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hermesd"):
                more = rendered if "chat" in path.parts else set()
                is_hosted = path.name == "host_container.py" and f"{node.module}.".startswith(HOSTED)
                assert is_hosted or node.module in allowed | more, f"{path}: {node.module}"


def test_an_idle_daemon_has_no_heavy_module_loaded() -> None:
    """What only some configurations need is imported when they need it."""
    heavy = ["httpx2", "httptools", "h11", "yaml", "ruamel", "prompt_toolkit", "rich", "psutil", "mcp", "pydantic"]
    heavy += ["starlette", "hypercorn", "jeepney", "hermesd.triggers.watchers", "hermesd.plugins"]
    code = f"import sys, hermesd.app; print([name for name in {heavy!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
