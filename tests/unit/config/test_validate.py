"""What types cannot say: ranges, addresses, and what must not be open to everyone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermesd.config.load import examine_contents
from hermesd.config.settings import Secrets
from hermesd.config.validate import is_loopback
from hermesd.home import Profile

PROFILE = Profile("default", Path("/home/of/nobody"))


def findings(text: str) -> tuple[list[str], list[str]]:
    found = examine_contents(PROFILE, text.encode(), Secrets({}))
    return [str(problem) for problem in found.problems], found.notices


@pytest.mark.parametrize(
    "text",
    [
        "agent: {max_turns: 0}",
        "agent: {max_turns: -1}",
        "agent: {turn_timeout_s: 0}",
        "agent: {turn_timeout_s: 1e308}",
        "agent: {turn_timeout_s: .inf}",
        "agent: {turn_timeout_s: .nan}",
        "agent: {max_concurrent_turns: 0}",
        "model: {read_timeout_s: -1}",
        "model: {base_url: 'ftp://x'}",
        "model: {base_url: 'file:///etc/passwd'}",
        "model: {base_url: '$(id)'}",
        "model: {base_url: 'https://user:pass@host/v1'}",
        "model: {base_url: 'https://host:99999/v1'}",
        'model: {base_url: "https://host/\\nx"}',
        "fallback_providers: [{model: a, max_attempts: 0}]",
        "fallback_providers: [{model: a, base_url: nowhere}]",
        "platforms: {webhook: {port: 65536}}",
        "platforms: {webhook: {port: -1}}",
        "platforms: {webhook: {host: 'a b'}}",
        "platforms: {webhook: {host: ''}}",
        "platforms: {webhook: {max_body_bytes: 0}}",
        "platforms: {webhook: {routes: {'a/b': {}}}}",
        "platforms: {webhook: {routes: {'../x': {}}}}",
        'platforms: {telegram: {token: "1:a\\r\\nHost: x"}}',
        "platforms: {telegram: {base_url: 'gopher://x'}}",
        "terminal: {timeout: 0}",
        "terminal: {cwd: relative/path}",
        "terminal: {backend: docker}",
        "terminal: {env_passthrough: ['A=B']}",
        "rpc: {group: no-such-group-here}",
        "rpc: {roles: [read]}",
        "rpc: {roles: [owner]}",
        "store: {retain_days: 0}",
        "store: {path: here.db}",
        "shutdown: {drain_s: -1}",
        "policy: {ask_timeout_s: 0}",
    ],
)
def test_a_value_out_of_its_bounds_is_refused(text: str) -> None:
    """With one error that names the key's line and the next step."""
    problems, _ = findings(f"\n{text}")
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{PROFILE.config_path}:2: ")
    assert "→" in problems[0]


@pytest.mark.parametrize(
    "text", ["platforms: {webhook: {port: 0}}", "terminal: {cwd: ~/work}", "shutdown: {drain_s: 0, stop_s: 0}"]
)
def test_a_value_at_its_bound_is_accepted(text: str) -> None:
    """Port 0 is any free one, a drain of 0 none at all."""
    assert findings(text) == ([], [])


EXPOSED = """platforms:
  webhook:
    enabled: {enabled}
    host: {host}
    secret: {secret}
    routes:
      a: {{{route}}}
"""


@pytest.mark.parametrize("host", ["0.0.0.0", "'::'", "192.168.1.5", "example.org"])
@pytest.mark.parametrize("secret", ["''", "INSECURE_NO_AUTH"])
def test_a_route_without_a_secret_is_refused_off_loopback(host: str, secret: str) -> None:
    """Also with hermes-agent's word for no secret, which everybody knows."""
    problems, _ = findings(EXPOSED.format(enabled="true", host=host, secret=secret, route=""))
    assert len(problems) == 1
    assert problems[0].startswith(f"{PROFILE.config_path}:7: platforms.webhook.routes.a would take events from anyone")


@pytest.mark.parametrize(
    "values",
    [
        {"host": "127.0.0.1"},
        {"host": "localhost"},
        {"host": "'::1'"},
        {"secret": "s3cret"},
        {"route": "secret: own"},
        {"route": "enabled: false"},
        {"enabled": "false"},
    ],
)
def test_a_route_is_accepted_with_a_secret_or_on_loopback(values: dict[str, str]) -> None:
    """Or when it takes nothing."""
    usual = {"enabled": "true", "host": "0.0.0.0", "secret": "''", "route": ""}
    assert findings(EXPOSED.format(**{**usual, **values}))[0] == []


def test_what_works_but_is_hardly_meant_is_noticed() -> None:
    """A bot without a token or without users, keys sent unencrypted."""
    _, notices = findings("platforms: {telegram: {enabled: true}}\nmodel: {base_url: 'http://models.example/v1'}")
    assert any("no token" in notice for notice in notices)
    assert any("answers nobody" in notice for notice in notices)
    assert any("unencrypted" in notice for notice in notices)
    assert findings("model: {base_url: 'http://127.0.0.1:8080/v1'}") == ([], [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.9.9.9", True),
        ("[::1]", True),
        ("LOCALHOST.", True),
        ("::ffff:10.0.0.1", False),
        ("127.0.0.1.nip.io", False),
    ],
)
def test_loopback_is_told_from_its_look_alikes(host: str, expected: bool) -> None:
    """A name that merely begins like an address is public."""
    assert is_loopback(host) is expected
