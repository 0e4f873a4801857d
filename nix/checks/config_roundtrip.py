"""Seven ways in which a declared configuration meets a live one, by `hermesctl activate`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from checking import arguments, call, finish

Config = dict[str, Any]


class Case(NamedTuple):
    """A live file (None: there is none), what is declared, and what the file then says."""

    name: str
    live: str | None
    declared: Config
    wanted: Config


CASES = (
    Case("fresh", None, {"agent": {"max_turns": 7}}, {"agent": {"max_turns": 7}}),
    Case("declared overrides", "agent: {max_turns: 3}\n", {"agent": {"max_turns": 7}}, {"agent": {"max_turns": 7}}),
    Case(
        "user's keys kept",
        "timezone: UTC\n",
        {"agent": {"max_turns": 7}},
        {"timezone": "UTC", "agent": {"max_turns": 7}},
    ),
    Case(
        "mixed",
        "timezone: UTC\nagent: {max_turns: 3, busy: queue}\n",
        {"agent": {"max_turns": 7}, "toolsets": ["files"]},
        {"timezone": "UTC", "agent": {"max_turns": 7, "busy": "queue"}, "toolsets": ["files"]},
    ),
    Case(
        "MCP servers added to",
        "mcp_servers: {mine: {command: a}}\n",
        {"mcp_servers": {"theirs": {"command": "b"}}},
        {"mcp_servers": {"mine": {"command": "a"}, "theirs": {"command": "b"}}},
    ),
    Case(
        "nested",
        "platforms: {webhook: {port: 9000, routes: {mine: {prompt: a}}}}\n",
        {"platforms": {"webhook": {"host": "127.0.0.1", "routes": {"theirs": {"prompt": "b"}}}}},
        {
            "platforms": {
                "webhook": {
                    "port": 9000,
                    "host": "127.0.0.1",
                    "routes": {"mine": {"prompt": "a"}, "theirs": {"prompt": "b"}},
                }
            }
        },
    ),
)


def problems(package: Path) -> list[str]:
    """What is wrong; each case is activated twice, which is the seventh."""
    found = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as place:
            found += [f"{case.name}: {problem}" for problem in _problems_of(case, package, Path(place))]
    return found


def _problems_of(case: Case, package: Path, place: Path) -> list[str]:
    home = place / ".hermes"
    home.mkdir(mode=0o700)
    config = home / "config.yaml"
    if case.live is not None:
        config.write_text(case.live, encoding="utf-8")
    manifest = place / "manifest.json"
    manifest.write_text(json.dumps(_manifest(home, case.declared)), encoding="utf-8")
    words = ["activate", "--manifest", str(manifest)]
    done = call(package, "hermesctl", words, home=place)
    if done.returncode:
        return [f"ended with {done.returncode}: {done.stdout}{done.stderr}"]
    first = config.stat()
    shown = call(package, "hermesctl", ["config", "show", "--json"], home=place)
    found = [] if _holds(_settings(shown.stdout), case.wanted) else [f"config.yaml says {config.read_text('utf-8')!r}"]
    again = call(package, "hermesctl", words, home=place)
    second = config.stat()
    if again.returncode or (first.st_mtime_ns, first.st_ino) != (second.st_mtime_ns, second.st_ino):
        found.append(f"the second time wrote it anew, or ended with {again.returncode}: {again.stderr}")
    return found


def _manifest(home: Path, declared: Config) -> Config:
    return {
        "schema": 1,
        "package": "/nix/store/none",
        "home": str(home),
        "managedBy": {"name": "NixOS", "rebuild": "sudo nixos-rebuild switch"},
        "config": {"mode": "merge", "value": declared},
    }


def _settings(text: str) -> Config:
    """What `config show --json` says; nothing where it says something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holds(settings: Config, wanted: Config) -> bool:
    return all(
        _holds(settings.get(key) or {}, value) if isinstance(value, dict) else settings.get(key) == value
        for key, value in wanted.items()
    )


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "package").package)))
