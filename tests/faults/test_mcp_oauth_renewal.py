"""Case 17: what broken or hostile servers, clocks, disks and files do to the renewal of tokens."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth import storage as storage_module
from hermesd.mcp.oauth.keeper import PAUSE_S, REJECTED_S
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.hostile import Hostile
from tests.servers.hostile_signed import GOOD, call, signed_in
from tests.standing_clock import standing_still


async def test_a_5xx_in_a_refresh_is_not_the_end(hostile: Hostile, storage: TokenStorage, clock: MockClock) -> None:
    """The tokens stay, the next calls do not storm the server, and after the pause one refresh mends it."""
    url = signed_in(hostile, storage)
    manager = OAuthManager(storage.directory)
    hostile.replies["/token"] = (503, {}, b"secret-in-an-error-page")
    with standing_still(clock):
        for refreshes in (1, 2):
            for _ in range(10):
                with pytest.raises(McpError) as caught:
                    await call(url, storage, manager)
                assert caught.value.kind == "down"
                assert "secret" not in str(caught.value)
            assert len(hostile.asked("/token")) == refreshes
            clock.jump(PAUSE_S[0] * refreshes)
        assert storage.read_tokens() == GOOD
        hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 60})
        assert await call(url, storage, manager) == 200
    assert len(hostile.asked("/token")) == 3


async def test_a_refresh_without_a_new_refresh_token_keeps_the_old_one(hostile: Hostile, storage: TokenStorage) -> None:
    """RFC 6749 §6; the scope stays too."""
    url = signed_in(hostile, storage)
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": "60"})
    assert await call(url, storage) == 200
    tokens = storage.read_tokens()
    assert tokens is not None
    assert (tokens.access_token, tokens.refresh_token) == ("access-2", "refresh-1")
    assert tokens.expires_at == pytest.approx(time.time() + 60, abs=10)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"access_token": ""}', b'{"access_token": "a\\r\\nx: y", "token_type": "Bearer"}',
     b'{"access_token": "a", "token_type": "mac"}', b'{"access_token": 1}', b"[" * 100_000, b"x" * 1_000_000],
)  # fmt: skip
async def test_a_senseless_refresh_answer_costs_nothing(body: bytes, hostile: Hostile, storage: TokenStorage) -> None:
    """Whatever comes back instead of tokens, the old ones are still there."""
    url = signed_in(hostile, storage)
    hostile.replies["/token"] = (200, {}, body)
    with pytest.raises(McpError) as caught:
        await call(url, storage)
    assert not caught.value.needs_reauth
    assert storage.read_tokens() == GOOD


@pytest.mark.parametrize("body", [b"", b"<h1>Sign in to the network</h1>", b'{"message": "Unauthorized"}'])
async def test_only_oauths_own_words_forget_a_registration(
    body: bytes, hostile: Hostile, storage: TokenStorage
) -> None:
    """A 401 that does not say invalid_client may be anybody's: a person is asked for once, and every file stays."""
    url = signed_in(hostile, storage)
    hostile.replies["/token"] = (401, {}, body)
    client, meta = storage.read_client(), storage.read_meta()
    manager = OAuthManager(storage.directory)
    for _ in range(3):
        with pytest.raises(McpError) as caught:
            await call(url, storage, manager)
        assert caught.value.needs_reauth
    assert len(hostile.asked("/token")) == 1
    assert (storage.read_client(), storage.read_meta(), storage.read_tokens()) == (client, meta, GOOD)


async def test_a_refusal_that_never_ends_holds_up_no_recovery(hostile: Hostile, storage: TokenStorage) -> None:
    """The body of a 401 is of no use: it is not waited for, however much of it comes."""
    signed_in(hostile, storage)
    storage.write_tokens(Tokens("access-1", refresh_token="refresh-1", expires_at=time.time() + 600))
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 60})

    async def serve(stream: trio.SocketStream) -> None:
        head = await stream.receive_some(65536)
        with contextlib.suppress(trio.BrokenResourceError):
            if b"Bearer access-2" in head:
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            else:
                await stream.send_all(b"HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n")
                await stream.send_all(b"1\r\nx\r\n")
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1",
                                                                             task_status=task_status))  # fmt: skip
        endless = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        storage.write_meta({**storage.read_meta(), "hermesd": {"resource": endless}})
        with trio.fail_after(60):
            assert await call(endless, storage) == 200
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("life", [0, "0", -1, -3600.5, "soon", 1e300, None, True])
async def test_a_senseless_life_makes_no_storm(life: object, hostile: Hostile, storage: TokenStorage) -> None:
    """A token that is said to have ended when it is issued is used until it is refused, not renewed for each call."""
    url = signed_in(hostile, storage)
    answer = {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "r2", "expires_in": life}
    hostile.replies["/token"] = (200, {}, answer)
    manager = OAuthManager(storage.directory)
    for _ in range(4):
        assert await call(url, storage, manager) == 200
    assert await call(url, storage) == 200  # as after a restart
    assert len(hostile.asked("/token")) == 1


@pytest.mark.parametrize("skew_s", [-600, 600])
async def test_a_wrong_clock_costs_one_refresh(skew_s: float, hostile: Hostile, storage: TokenStorage) -> None:
    """Ten minutes off in either direction: at most one refresh, and the calls work."""
    url = signed_in(hostile, storage)
    issued = Tokens("access-old", refresh_token="refresh-1", expires_in=300.0, expires_at=time.time() + 300 - skew_s)
    storage.write_tokens(issued)
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 300})
    manager = OAuthManager(storage.directory)
    for _ in range(3):
        assert await call(url, storage, manager) == 200
    assert len(hostile.asked("/token")) == 1


async def test_a_half_written_token_file_is_survived(hostile: Hostile, storage: TokenStorage) -> None:
    """What is in memory is used on; at a start there is nothing to use, and what is there is kept for a person."""
    url = signed_in(hostile, storage)
    storage.write_tokens(Tokens("access-2", refresh_token="refresh-1", expires_at=time.time() + 60))
    manager = OAuthManager(storage.directory)
    assert await call(url, storage, manager) == 200
    half = storage.tokens_path.read_bytes()[:30]
    storage.tokens_path.write_bytes(half)
    assert await call(url, storage, manager) == 200
    with pytest.raises(McpError, match="signing in"):
        await call(url, storage)
    assert storage.tokens_path.read_bytes() == half
    storage.write_tokens(GOOD)
    assert storage.tokens_path.with_name("srv.json.damaged").read_bytes() == half


@pytest.mark.parametrize("damage", ["link", "half", "others"])
async def test_a_token_file_that_cannot_be_used_is_named(damage: str, storage: TokenStorage, hostile: Hostile) -> None:
    """Nobody is told that they have not signed in when there is a file with something wrong: the words say what."""
    url = signed_in(hostile, storage)
    path = storage.tokens_path
    kept = path.rename(path.with_suffix(".kept"))
    match damage:
        case "link":
            path.symlink_to(kept)
        case "half":
            path.write_bytes(kept.read_bytes()[:30])
        case _:
            path.mkdir()
    expected = {"link": "is a symbolic link", "half": "is not JSON", "others": "is not a regular file"}[damage]
    with pytest.raises(McpError) as caught:
        await call(url, storage)
    assert caught.value.needs_reauth
    assert f"{path} {expected}" in caught.value.what


async def test_copied_tokens_of_another_user_are_taken_up_when_given_to_ours(
    hostile: Hostile, storage: TokenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scp as root, chown afterwards: the first is said, the second noticed, though the file's contents are the same."""
    url = signed_in(hostile, storage)
    storage.write_tokens(Tokens("access-2", expires_at=time.time() + 60))
    storage.tokens_path.chmod(0)
    noticed = trio.Event()
    manager = OAuthManager(storage.directory, on_notice=lambda _, notice: noticed.set() if notice == "tokens" else None)
    if os.geteuid() == 0:  # root may read everything
        plain = storage_module.read_bounded

        def read_bounded(path: Path, *, max_bytes: int) -> bytes:
            if not path.stat().st_mode & 0o400:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return plain(path, max_bytes=max_bytes)

        monkeypatch.setattr(storage_module, "read_bounded", read_bounded)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: manager.run(task_status=task_status))
        with pytest.raises(McpError, match=r"srv\.json cannot be read \(Permission denied\)"):
            await call(url, storage, manager)
        storage.tokens_path.chmod(0o600)
        with trio.fail_after(60):
            await noticed.wait()
        assert await call(url, storage, manager) == 200
        nursery.cancel_scope.cancel()


async def test_renewed_tokens_that_cannot_be_saved_are_used_on(hostile: Hostile, storage: TokenStorage) -> None:
    """The disk refuses: the new tokens are the only ones left, so they work from memory."""
    url = signed_in(hostile, storage)
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "r2"})
    manager = OAuthManager(storage.directory)

    def refuse(form: dict[str, str]) -> tuple[int, dict[str, str], object]:
        storage.directory.chmod(0o777)  # home.write_private refuses a directory that others may write to
        return 200, {}, {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "r2", "expires_in": 60}

    hostile.replies["/token"] = refuse
    assert await call(url, storage, manager) == 200
    assert await call(url, storage, manager) == 200
    assert storage.read_tokens() == GOOD
    assert len(hostile.asked("/token")) == 1


async def test_a_client_secret_goes_the_way_the_server_takes_it(hostile: Hostile, storage: TokenStorage) -> None:
    """A secret without a method goes into the body; if that is refused as ``invalid_client``, into the header."""
    url = signed_in(hostile, storage, token_endpoint_auth_methods_supported=None)
    storage.write_client({"client_id": "client-1", "client_secret": "hush", "issuer": hostile.url})

    def token(form: dict[str, str]) -> tuple[int, dict[str, str], object]:
        if "client_secret" in form:
            return 401, {}, {"error": "invalid_client"}
        return 200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 60}

    hostile.replies["/token"] = token
    assert await call(url, storage) == 200
    first, second = hostile.asked("/token")
    assert first["client_secret"] == "hush"
    assert second["header:authorization"].startswith("Basic ")


async def test_credentials_are_presented_to_their_own_issuer_only(hostile: Hostile, storage: TokenStorage) -> None:
    """A registration of another issuer is not used: a person has to sign in with the new one."""
    url = signed_in(hostile, storage)
    storage.write_client({"client_id": "client-1", "issuer": "https://former.example"})
    with pytest.raises(McpError) as caught:
        await call(url, storage)
    assert caught.value.needs_reauth
    assert hostile.asked("/token") == []


@pytest.mark.parametrize("who", ["caller", "service"])
async def test_a_cancel_does_not_lose_a_token_on_its_way(
    who: str, hostile: Hostile, storage: TokenStorage, clock: MockClock
) -> None:
    """A cancelled caller returns at once; a stopping daemon waits a moment: either way the answer is saved."""
    url = signed_in(hostile, storage)
    asked_for, may_answer = threading.Event(), threading.Event()

    def slow(form: dict[str, str]) -> tuple[int, dict[str, str], object]:
        asked_for.set()
        assert may_answer.wait(60)
        return 200, {}, {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "r2", "expires_in": 60}

    hostile.replies["/token"] = slow
    manager = OAuthManager(storage.directory)
    service = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with service:
            await manager.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        with standing_still(clock), trio.CancelScope() as caller:
            async with trio.open_nursery() as callers:
                callers.start_soon(call, url, storage, manager)
                assert await trio.to_thread.run_sync(asked_for.wait, 60)
                caller.cancel()
        if who == "service":
            service.cancel()
        may_answer.set()
        if who == "caller":
            assert await call(url, storage, manager) == 200
            service.cancel()
    tokens = storage.read_tokens()
    assert tokens is not None
    assert (tokens.access_token, tokens.refresh_token) == ("access-2", "r2")
    assert len(hostile.asked("/token")) == 1


async def test_a_server_that_refuses_everything_for_a_while_needs_nobody(
    hostile: Hostile, storage: TokenStorage, clock: MockClock
) -> None:
    """A fresh token is refused too: one refresh and no storm; after the pause the token is tried again and works."""
    url = signed_in(hostile, storage)
    hostile.replies["/token"] = (200, {}, {"access_token": "access-3", "token_type": "Bearer", "expires_in": 600})
    manager = OAuthManager(storage.directory)
    with standing_still(clock):
        for _ in range(5):
            with pytest.raises(McpError) as caught:
                await call(url, storage, manager)
            assert caught.value.needs_reauth
        assert len(hostile.asked("/token")) <= 2
        assert len(hostile.asked("/mcp")) <= 2
        hostile.replies["/mcp"] = (200, {}, {})
        clock.jump(REJECTED_S)
        assert await call(url, storage, manager) == 200
