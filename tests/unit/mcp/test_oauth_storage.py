"""mcp-tokens/: names, legacy forms, damage, permissions, and the lock between processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import MAX_FILE_BYTES, TokenStorage, safe_file_name

HELD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def storage(tmp_path: Path) -> TokenStorage:
    return TokenStorage(tmp_path / "mcp-tokens", "srv")


def test_what_is_written_is_read(storage: TokenStorage) -> None:
    """All members survive, the file is 0600 in a 0700 directory, whatever the umask."""
    tokens = Tokens("a", expires_in=60.0, scope="x y", refresh_token="r", expires_at=123.5)
    before = os.umask(0)
    try:
        storage.write_tokens(tokens)
    finally:
        os.umask(before)
    assert storage.read_tokens() == tokens
    assert storage.tokens_path.stat().st_mode & 0o777 == 0o600
    assert storage.directory.stat().st_mode & 0o777 == 0o700


def test_the_file_has_the_names_of_a_hermes_agent_home(storage: TokenStorage) -> None:
    """Another program reads these members."""
    storage.write_tokens(Tokens("a", expires_in=60.0, scope="x", refresh_token="r", expires_at=9.0))
    found = json.loads(storage.tokens_path.read_text())
    assert found == {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": 60.0,
        "scope": "x",
        "refresh_token": "r",
        "expires_at": 9.0,
    }
    storage.write_tokens(Tokens("a"))
    assert json.loads(storage.tokens_path.read_text()) == {"access_token": "a", "token_type": "Bearer"}


def test_a_legacy_file_counts_from_its_mtime(storage: TokenStorage) -> None:
    """Without expires_at the life began when the file was written."""
    storage.directory.mkdir(mode=0o700)
    storage.tokens_path.write_text('{"access_token": "a", "expires_in": 3600, "token_type": "bearer", "id_token": "x"}')
    os.utime(storage.tokens_path, (1000, 1000))
    tokens = storage.read_tokens()
    assert tokens is not None
    assert tokens.expires_at == 4600


@pytest.mark.parametrize("length", range(0, 90, 7))
def test_a_torn_file_is_no_tokens_and_is_left_alone(length: int, storage: TokenStorage) -> None:
    """Cut off anywhere, the file gives nothing, raises nothing and is not touched."""
    storage.write_tokens(Tokens("access", refresh_token="refresh", expires_at=123.0, expires_in=60.0))
    torn = storage.tokens_path.read_bytes()[:length]
    storage.tokens_path.write_bytes(torn)
    assert storage.read_tokens() is None
    assert storage.tokens_path.read_bytes() == torn


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["access_token", "refresh_token", "expires_in", "expires_at", "token_type", "scope", "issuer",
                         "client_id", "redirect_uris", "client_secret_expires_at", "hermesd"]), inner, max_size=6),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_content_makes_reading_fail(content: bytes) -> None:
    """Whatever the three files hold, reading gives tokens that can be sent, or nothing."""
    with tempfile.TemporaryDirectory() as directory:
        storage = TokenStorage(Path(directory), "srv")
        for path in (storage.tokens_path, storage.client_path, storage.meta_path):
            path.write_bytes(content)
        tokens = storage.read_tokens()
        if tokens is not None:
            assert tokens.access_token.isascii()
            assert tokens.access_token.isprintable()
            assert tokens.expires_at >= 0
            tokens.renew_at()
        assert isinstance(storage.read_client(), dict)
        assert isinstance(storage.read_meta(), dict)


def test_odd_files_are_not_read(storage: TokenStorage, tmp_path: Path) -> None:
    """A link, a directory, a giant: no tokens, no error."""
    storage.directory.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_text('{"access_token": "a"}')
    storage.tokens_path.symlink_to(target)
    assert storage.read_tokens() is None
    storage.tokens_path.unlink()
    storage.tokens_path.mkdir()
    assert storage.read_tokens() is None
    storage.tokens_path.rmdir()
    storage.tokens_path.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    assert storage.read_tokens() is None


def test_a_directory_that_others_may_write_to_is_refused(storage: TokenStorage) -> None:
    """Tokens are not written where somebody else could swap them."""
    storage.directory.mkdir()
    storage.directory.chmod(0o777)
    with pytest.raises(ConfigError):
        storage.write_tokens(Tokens("a"))


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_two_servers_share_a_file(one: str, other: str) -> None:
    """A file name is safe, and different for different servers."""
    for name in (one, other):
        found = safe_file_name(name)
        assert found
        assert len(found) <= 100
        assert all(character.isascii() and (character.isalnum() or character in "_-") for character in found)
    assert one == other or safe_file_name(one) != safe_file_name(other)


def test_common_names_are_kept() -> None:
    """What hermes-agent has named is found again."""
    assert safe_file_name("linear-prod_2") == "linear-prod_2"
    assert safe_file_name("../../etc/passwd").startswith("______etc_passwd-")


async def test_the_lock_is_waited_for_and_can_be_given_up(storage: TokenStorage) -> None:
    """Held by another process: an error that says so after the time; free again: taken; a cancel leaves it free."""
    storage.directory.mkdir(mode=0o700)
    path = storage.directory / ".srv.lock"
    holder = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HELD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    await trio.to_thread.run_sync(holder.stdout.readline)
    with pytest.raises(McpError, match="another process") as caught:
        async with storage.lock(timeout_s=0.05):
            raise AssertionError("it is held")
    assert caught.value.kind == "down"
    with trio.move_on_after(0.05):
        async with storage.lock():
            raise AssertionError("it is held")
    await trio.to_thread.run_sync(holder.communicate)
    with trio.fail_after(60):
        async with storage.lock():
            pass
        async with storage.lock():
            pass


async def test_a_lock_that_is_never_free_takes_no_threads_from_other_servers(storage: TokenStorage) -> None:
    """Given up again and again, it costs one thread; another server's lock is taken at once, and its own once free."""
    storage.directory.mkdir(mode=0o700)
    other = TokenStorage(storage.directory, "other")
    with (storage.directory / ".srv.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = threading.active_count()
        for _ in range(10):
            with pytest.raises(McpError):
                async with storage.lock(timeout_s=0.02):
                    raise AssertionError("it is held")
        assert threading.active_count() <= before + 2  # the one that waits, and an idle one of the pool
        with trio.fail_after(60):
            async with other.lock():
                pass
    with trio.fail_after(60):
        async with storage.lock():
            pass


@pytest.mark.parametrize("then", ["write", "remove"])
def test_what_a_killed_writer_leaves_is_deleted(then: str, storage: TokenStorage) -> None:
    """Killed before the rename, it leaves tokens in a file of no use: the next write or logout deletes it."""
    storage.write_tokens(Tokens("a"))
    others = TokenStorage(storage.directory, "srv-2")
    others.write_tokens(Tokens("b"))
    for name in ("srv", "srv-2"):
        code = (
            "import sys, pathlib; from hermesd.mcp.oauth.storage import TokenStorage, Tokens\n"
            "TokenStorage(pathlib.Path(sys.argv[1]), sys.argv[2]).write_tokens(Tokens('secret'))"
        )
        environment = {**os.environ, "HERMESD_FAILPOINT": "home.before_rename"}
        command = [sys.executable, "-c", code, str(storage.directory), name]
        assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert sum("secret" in path.read_text() for path in storage.directory.iterdir()) == 2
    if then == "write":
        storage.write_tokens(Tokens("c"))
    else:
        assert storage.remove()
    (left,) = [path.name for path in storage.directory.iterdir() if "secret" in path.read_text()]
    assert left.startswith(".srv-2.json.")
