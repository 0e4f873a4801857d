"""Seven ways in which a declared configuration meets a live one, by `hermesctl activate`."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checking import arguments, call, finish

Config = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
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
    """What is wrong. Each case is a profile of one home; all are activated twice, which is the seventh."""
    with tempfile.TemporaryDirectory() as place:
        return _problems_in(package, Path(place))


def _problems_in(package: Path, place: Path) -> list[str]:
    home = place / ".hermes"
    home.mkdir(mode=0o700)
    files = {case: home / "profiles" / _profile(case) / "config.yaml" for case in CASES}
    for case, file in files.items():
        if case.live is not None:
            file.parent.mkdir(mode=0o700, parents=True)
            file.write_text(case.live, encoding="utf-8")
    manifest = place / "manifest.json"
    manifest.write_text(json.dumps(_manifest(home)), encoding="utf-8")
    words = ["activate", "--manifest", str(manifest)]
    done = call(package, "hermesctl", words, home=place)
    if done.returncode:
        return [f"it ended with {done.returncode}: {done.stdout}{done.stderr}"]
    found = []
    for case, file in files.items():
        shown = call(package, "hermesctl", ["config", "show", "--json", "-p", _profile(case)], home=place)
        if not _holds(_settings(shown.stdout), case.wanted):
            found.append(f"{case.name}: config.yaml says {file.read_text('utf-8')!r}")
    before = {case: _stamp(file) for case, file in files.items()}
    again = call(package, "hermesctl", words, home=place)
    if again.returncode:
        found.append(f"the second time it ended with {again.returncode}: {again.stderr}")
    return found + [f"{case.name}: twice wrote it anew" for case in CASES if _stamp(files[case]) != before[case]]


def _profile(case: Case) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in case.name.lower())


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_ino


def _manifest(home: Path) -> Config:
    return {
        "schema": 1,
        "package": "/nix/store/none",
        "home": str(home),
        "managedBy": {"name": "NixOS", "rebuild": "sudo nixos-rebuild switch"},
        "profiles": {_profile(case): {"config": {"mode": "merge", "value": case.declared}} for case in CASES},
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
