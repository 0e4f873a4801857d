"""``mcp_serve`` in config.yaml: refused while anybody could use it, and read from .env."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermesd.config.load import Examination, examine_contents
from hermesd.home import Home

TOKEN = b"MCP_SERVE_TOKEN=0123456789abcdef\n"


def examined(tmp_path: Path, text: str, env: bytes = b"", profile: str = "default") -> Examination:
    home = Home(tmp_path)
    root = home.default_profile if profile == "default" else home.default_profile.__class__(profile, tmp_path / profile)
    return examine_contents(root, text.encode(), env)


def test_the_token_of_env_is_taken(tmp_path: Path) -> None:
    """Without a word about it in config.yaml."""
    found = examined(tmp_path, "mcp_serve: {enabled: true}", TOKEN)
    assert found.settings
    assert found.settings.config.mcp_serve.token == "0123456789abcdef"


@pytest.mark.parametrize("token", ["", "short", "with blanks in it, and long", "ümlauts-are-no-token-chars"])
def test_it_is_refused_without_a_good_token(tmp_path: Path, token: str) -> None:
    """With the command that makes one."""
    found = examined(tmp_path, f"mcp_serve: {{enabled: true, token: '{token}'}}")
    assert found.settings is None
    assert "hermesctl config set mcp_serve.token" in found.problems[0].next_step
    assert not token or token not in str(found.problems[0])


def test_switched_off_it_needs_none(tmp_path: Path) -> None:
    """As it is by default."""
    assert examined(tmp_path, "mcp_serve: {port: 9}").settings


def test_an_address_for_others_is_told_about(tmp_path: Path) -> None:
    """The token would go over the network as it is."""
    found = examined(tmp_path, "mcp_serve: {enabled: true, host: 0.0.0.0}", TOKEN)
    assert found.settings
    assert any("TLS" in notice for notice in found.notices)
    assert not examined(tmp_path, "mcp_serve: {enabled: true}", TOKEN).notices


def test_of_another_profile_it_has_no_effect(tmp_path: Path) -> None:
    """And that is said."""
    found = examined(tmp_path, "mcp_serve: {port: 9}", profile="coder")
    assert any("only in the default profile" in notice for notice in found.notices)
