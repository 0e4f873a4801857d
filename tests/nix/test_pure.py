"""What any Nix evaluates without nixpkgs: the files parse, the manifest, the units, the keys, the option docs."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from hermesd.deploy.container.manifest import parse_manifest
from tests.nix.evaluation import EVAL, FILES, NEEDS_NIX, NIX, ROOT, Nix, as_nix, rendered

pytestmark = NEEDS_NIX
KEYS = f"(import {NIX}/lib/keys.nix).wrong"


def test_every_file_parses(nix: Nix) -> None:
    """Those of the tests, too."""
    done = nix.run("nix-instantiate", "--parse", *map(str, FILES))
    assert done.returncode == 0, done.stderr


def test_nothing_declared_is_a_manifest_that_says_where_the_home_is(nix: Nix) -> None:
    """Options that nobody has set say nothing."""
    assert rendered(nix, {})["activate"] == {
        "schema": 1,
        "package": "/usr",
        "stateDir": "/var/lib/hermes",
        "home": "/var/lib/hermes/.hermes",
        "workingDirectory": "/var/lib/hermes/workspace",
        "managedBy": {"name": "NixOS", "rebuild": "sudo nixos-rebuild switch"},
        "config": {"mode": "merge", "value": {}},
        "env": {"values": {}, "files": []},
    }


EVERYTHING: dict[str, Any] = {
    "settings": {"model": {"default": "offline", "base_url": None}, "toolsets": ["files"]},
    "environment": {"LOG_LEVEL": "info"},
    "environmentFiles": ["/run/secrets/a", "-/run/secrets/b"],
    "authFile": "/run/secrets/auth.json",
    "documents": {"USER.md": "Short.", "notes/a.md": "b"},
    "homeFiles": {"SOUL.md": "You are terse."},
    "mcpServers": {
        "files": {"command": "serve", "args": ["/srv"], "tools": {"include": ["read"]}},
        "far": {"url": "https://mcp.example.com/mcp", "auth": "oauth", "sampling": {"model": "m"}, "era": "modern"},
    },
    "cron": {"digest": {"schedule": "every day at 08:00", "prompt": "What is new?"}},
    "webhooks": {"alerts": {"prompt": "An alert: {text}", "scheme": "standard"}},
    "extraPlugins": [{"name": "mine", "path": "/srv/mine"}, "/srv/other", "hermes-lcm==0.7.0"],
    "profiles": {"research": {"description": "Reads", "settings": {"model": {"default": "offline"}}}},
}


def test_every_option_has_its_place_in_the_manifest(nix: Nix) -> None:
    """In the form that the activation reads; keys of null are not said."""
    made = rendered(nix, EVERYTHING)["activate"]
    assert made["config"]["value"] == {
        "model": {"default": "offline"},
        "toolsets": ["files"],
        "mcp_servers": {
            "files": {"command": "serve", "args": ["/srv"], "enabled": True, "tools": {"include": ["read"]}},
            "far": {
                "url": "https://mcp.example.com/mcp",
                "auth": "oauth",
                "enabled": True,
                "era": "modern",
                "sampling": {"enabled": True, "model": "m"},
            },
        },
    }
    assert made["env"] == {"values": {"LOG_LEVEL": "info"}, "files": ["/run/secrets/a", "-/run/secrets/b"]}
    assert made["auth"] == {"source": "/run/secrets/auth.json", "force": False}
    assert [(each["target"], each["text"], each["mode"]) for each in made["documents"]] == [
        ("USER.md", "Short.", "0600"),
        ("notes/a.md", "b", "0600"),
    ]
    assert [each["target"] for each in made["files"]] == ["SOUL.md"]
    assert made["cron"] == [{"name": "digest", "schedule": "every day at 08:00", "prompt": "What is new?"}]
    assert made["webhooks"] == [{"name": "alerts", "prompt": "An alert: {text}", "scheme": "standard"}]
    assert made["plugins"] == [{"name": "mine", "path": "/srv/mine"}, {"name": "other", "path": "/srv/other"}]
    assert made["sidecar"] == {"python": "/usr/bin/python3", "specs": ["hermes-lcm==0.7.0"]}
    assert made["profiles"]["research"]["description"] == "Reads"
    assert made["profiles"]["research"]["config"]["value"] == {"model": {"default": "offline"}}


def test_a_configuration_of_ones_own_replaces(nix: Nix) -> None:
    """configFile: no merge, no generation."""
    made = rendered(nix, {"configFile": "/etc/hermes/config.yaml"})["activate"]
    assert made["config"] == {"mode": "replace", "source": "/etc/hermes/config.yaml"}


def test_hermesctl_container_reads_its_manifest(nix: Nix) -> None:
    """By its own parser, with every option of a container, and is told nothing of secrets."""
    container = {
        "backend": "podman",
        "image": "debian:12",
        "extraVolumes": ["/data:/data:rw"],
        "extraOptions": ["--gpus", "all"],
        "hostUsers": ["me"],
        "entrypoint": "exec sleep 1\n",
    }
    made = rendered(nix, EVERYTHING | {"container": container, "extraArgs": ["--log-level", "debug"]})["container"]
    found = parse_manifest(json.dumps(made).encode(), "rendered")
    assert (found.container.backend, found.container.image) == ("podman", "debian:12")
    assert (found.container.volumes, found.container.options) == (["/data:/data:rw"], ["--gpus", "all"])
    assert (found.container.user, found.container.uid, found.container.gid) == ("hermes", 10000, 10000)
    assert (found.container.args, found.container.host_users) == (["--log-level", "debug"], ["me"])
    assert found.container.entrypoint_text == "exec sleep 1\n"
    assert found.state_dir == "/var/lib/hermes"
    assert not found.env.files


def test_a_plugin_is_called_after_its_package(nix: Nix) -> None:
    """A source of a forge, which is always called "source", after its repository; a path after its last part."""
    stored = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz"
    given = [
        f'{{ outPath = "{stored}-x-1.0"; pname = "x"; name = "x-1.0"; }}',
        f'{{ outPath = "{stored}-source"; name = "source"; repo = "hermes-lcm"; }}',
        f'"{stored}-mine"',
        '"/srv/other"',
    ]
    made = nix.evaluate(f"map (each: each.name) ((import {NIX}/lib/manifest.nix).plugins [ {' '.join(given)} ])")
    assert made == ["x", "hermes-lcm", "mine", "other"]


def test_a_file_of_the_declaration_is_copied_into_the_store(nix: Nix) -> None:
    """Documents, configFile and plugins given as paths; text stays text."""
    found = nix.evaluate(
        f"""let
          stand-in = import {NIX}/lib/option-types.nix;
          manifest = import {NIX}/lib/manifest.nix;
          cfg = stand-in.define (import {NIX}/option-list.nix).trees.nixos {{
            documents = {{ "A.md" = {ROOT}/LICENSE; "B.md" = "text"; }};
            configFile = {ROOT}/LICENSE;
          }};
          made = manifest.agent cfg {{ envFiles = [ ]; authSource = null; settings = {{ }}; }};
        in builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.toJSON made))"""
    )
    first, second = found["documents"]
    assert first["source"].endswith("-LICENSE")
    assert found["config"]["source"] == first["source"] != str(ROOT / "LICENSE")
    assert second == {"target": "B.md", "mode": "0600", "text": "text"}


SECRETS: list[tuple[dict[str, Any], list[str]]] = [
    ({"settings": {"model": {"api_key": "sk-1"}}}, ["settings.model.api_key"]),
    ({"settings": {"platforms": {"telegram": {"token": "1:a"}}}}, ["settings.platforms.telegram.token"]),
    ({"settings": {"fallback_providers": [{"api_key": "k"}]}}, ["settings.fallback_providers[].api_key"]),
    ({"environment": {"OPENAI_API_KEY": "sk-1"}}, ["environment.OPENAI_API_KEY"]),
    ({"mcpServers": {"a": {"env": {"GITHUB_TOKEN": "t"}}}}, ["mcpServers.a.env.GITHUB_TOKEN"]),
    (
        {"mcpServers": {"a": {"headers": {"Authorization": "Bearer t"}}}},
        ["mcpServers.a.headers.Authorization"],
    ),
    ({"environmentFiles": ["/nix/store/x-secrets"]}, ["environmentFiles: /nix/store/x-secrets"]),
    ({"environmentFiles": ["-/nix/store/x"]}, ["environmentFiles: -/nix/store/x"]),
    ({"authFile": "/nix/store/x-auth.json"}, ["authFile"]),
    ({"settings": {"model": {"api_key": "${KEY}"}}}, []),
    ({"settings": {"model": {"api_key": ""}}}, []),
    ({"mcpServers": {"a": {"headers": {"Authorization": "Bearer ${T}"}}}}, []),
    ({"environmentFiles": ["/run/secrets/a", "-/run/secrets/b"], "authFile": "/run/secrets/c"}, []),
]


def test_a_secret_that_would_lie_in_the_store_is_found(nix: Nix) -> None:
    """By the names that hermesd itself goes by; a reference to a variable is none."""
    each = " ".join(f'(import {EVAL}/manifest.nix {as_nix(given)} {{ }} "nixos").secrets' for given, _ in SECRETS)
    assert nix.evaluate(f"[ {each} ]") == [where for _, where in SECRETS]


def test_two_plugins_of_one_name_are_found(nix: Nix) -> None:
    """Whichever way they got it."""
    assert rendered(nix, {"extraPlugins": ["/a/x", "/b/x", "/b/y"]})["clashes"] == ["x"]
    assert rendered(nix, {"extraPlugins": ["/a/x", {"name": "z", "path": "/b/x"}]})["clashes"] == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"agent": {"max_turns": "many"}}, "agent.max_turns must be a whole number"),
    ({"agent": {"max_turns": 1.5}}, "agent.max_turns must be a whole number"),
    ({"agent": {"busy": "wait"}}, "agent.busy must be one of queue, interrupt"),
    ({"model": "offline"}, "model must be a set of keys"),
    ({"fallback_providers": {"a": 1}}, "fallback_providers must be a list"),
    ({"fallback_providers": [{"max_attempts": True}]}, "fallback_providers[].max_attempts must be a whole number"),
    ({"mcp_servers": {"a": {"args": [1]}}}, "mcp_servers.a.args[] must be text"),
    ({"policy": {"tools": {"x": "maybe"}}}, "policy.tools.x must be one of allow, ask, deny"),
]


def test_a_setting_of_a_wrong_type_is_told(nix: Nix) -> None:
    """From the keys that the schema has."""
    each = " ".join(f"({KEYS} {as_nix(settings)})" for settings, _ in WRONG)
    assert nix.evaluate(f"[ {each} ]") == [[said] for _, said in WRONG]


def test_right_settings_and_those_of_others_pass(nix: Nix) -> None:
    """References, nulls, and keys that hermesd takes with a notice."""
    settings = {
        "agent": {"max_turns": 3, "turn_timeout_s": 3, "token_budget": "${BUDGET}", "busy": None},
        "display": {"personality": "kawaii"},
        "mcp_servers": {"a": {"timeout": 3, "ssl_verify": "/ca.pem", "tools": {"include": ["x"]}}},
        "platforms": {"telegram": {"home_channel": -100}},
    }
    assert nix.evaluate(f"{KEYS} {as_nix(settings)}") == []


def test_the_keys_are_those_of_the_schema(nix: Nix) -> None:
    """nix/config-keys.json is in sync; `python nix/config_keys.py` writes it."""
    assert nix.run(sys.executable, str(NIX / "config_keys.py"), "--check").returncode == 0


def test_the_page_of_options_is_made_from_them(nix: Nix) -> None:
    """docs/nix-options.md is in sync; `python nix/option_docs.py` writes it."""
    done = nix.run(sys.executable, str(NIX / "option_docs.py"), "--check")
    assert done.returncode == 0, done.stderr
    assert "`container.hostUsers`" in (ROOT / "docs/nix-options.md").read_text()


def test_the_nix_of_the_pages_parses(nix: Nix) -> None:
    """Whole expressions in docs/nix.md; single settings in docs/nix-options.md."""
    block = re.compile(r"^```nix\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    whole = block.findall((ROOT / "docs" / "nix.md").read_text())
    settings = block.findall((ROOT / "docs" / "nix-options.md").read_text())
    assert len(whole) > 4
    assert len(settings) > 9
    one = " ".join(f"({text.strip()})" for text in [*whole, *(f"{{ {setting} }}" for setting in settings)])
    done = nix.run("nix-instantiate", "--parse", "-E", f"{{ config, pkgs, ps, fetchFromGitHub }}: [ {one} ]")
    assert done.returncode == 0, done.stderr
