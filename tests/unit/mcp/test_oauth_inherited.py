"""Token files under the names that hermes-agent gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.oauth.inherited import inherited_file_name, storage_of
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import TokenStorage, safe_file_name


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("my.server", "my_server"),
        ("api.example.com:8443/mcp", "api_example_com_8443_mcp"),
        ("_notes_", "notes"),
        ("a b", "a_b"),
        ("...", "default"),
        ("größe.x", "größe_x"),
        ("x" * 200, "x" * 128),
        ("linear-prod_2", "linear-prod_2"),
    ],
)
def test_its_names_are_known(server: str, name: str) -> None:
    """As tools/mcp_oauth.py of hermes-agent makes them."""
    assert inherited_file_name(server) == name


def written(directory: Path, name: str, token: str = "theirs") -> Path:
    """A file as that program leaves it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(
        json.dumps({"access_token": token, "token_type": "Bearer", "refresh_token": "r", "expires_at": 9e9})
    )
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("server", ["my.server", "_notes_", "größe.x"])
def test_its_files_are_read_and_replaced_where_they_stand(tmp_path: Path, server: str) -> None:
    """So that it finds the new tokens too; what a killed writer has left goes as well."""
    path = written(tmp_path, inherited_file_name(server))
    left = path.with_name(f".{path.name}.0123456789ab")
    left.write_text("half")
    found = storage_of(tmp_path, server, [server])
    tokens = found.read_tokens()
    assert tokens is not None
    assert tokens.access_token == "theirs"
    found.write_tokens(Tokens("new"))
    assert json.loads(path.read_text())["access_token"] == "new"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert found.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["my_server", "my server", "_my.server"])
def test_a_file_that_could_be_another_servers_is_left_alone(tmp_path: Path, other: str) -> None:
    """Nobody is given somebody else's tokens."""
    written(tmp_path, "my_server")
    assert storage_of(tmp_path, "my.server", ["my.server", other]).read_tokens() is None
    assert storage_of(tmp_path, "my.server", None).read_tokens() is None


def test_our_own_file_counts_where_there_is_one(tmp_path: Path) -> None:
    """A sign-in of ours is newer."""
    written(tmp_path, "my_server")
    written(tmp_path, safe_file_name("my.server"), "ours")
    tokens = storage_of(tmp_path, "my.server", ["my.server"]).read_tokens()
    assert tokens is not None
    assert tokens.access_token == "ours"
    empty = tmp_path / "other"
    assert storage_of(empty, "my.server", ["my.server"]).tokens_path == TokenStorage(empty, "my.server").tokens_path


async def test_the_sign_ins_of_a_profile_find_them(tmp_path: Path) -> None:
    """And notice when that program replaces them."""
    path = written(tmp_path, "my_server")
    noticed = trio.Event()
    manager = OAuthManager(tmp_path, on_notice=lambda server, _notice: noticed.set() if server == "my.server" else None)
    assert not manager.has_tokens("my.server")
    manager.configured = ["my.server"]
    assert manager.has_tokens("my.server")
    manager.get_or_build_provider("my.server", "https://mcp.example/mcp", McpServerConfig())
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run)
        written(tmp_path, "my_server.new", "another").rename(path)
        with trio.fail_after(20):
            await noticed.wait()
        nursery.cancel_scope.cancel()
    assert await manager.remove("my.server")
    assert not manager.has_tokens("my.server")
