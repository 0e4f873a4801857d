"""Other users of the machine: real processes with other uids, by setuid in a child."""

from __future__ import annotations

import array
import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from hermesd.config.schema import RpcConfig
from tests.servers.served import Served, serve

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

CHILD = """
import json, os, socket, sys
path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(path)
except OSError as error:
    print(json.dumps({"connect": error.strerror}), flush=True)
    sys.exit()
file = client.makefile("rb")
for line in sys.stdin:
    try:
        client.sendall(line.encode())
        print((file.readline() or b"null\\n").decode(), end="", flush=True)
    except OSError:
        print("null", flush=True)
"""


class Other:
    """A process of another user that is connected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The whole answer, or None when the connection was closed."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        return await trio.to_thread.run_sync(self._ask, json.dumps(request) + "\n")

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    async def first_word(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await trio.to_thread.run_sync(self._process.stdout.readline))


@contextlib.contextmanager
def other(path: Path, uid: int, gid: int, groups: list[int]) -> Any:
    arguments = [str(path), str(uid), str(gid), json.dumps(groups)]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Other(process)
        process.kill()


@pytest.fixture
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A home that others can look up but not write to."""
    root = tmp_path_factory.mktemp("rpc")
    for directory in (root, *root.parents[:3]):
        if directory.owner() == "root" and directory != Path("/tmp"):
            directory.chmod(0o711)
    async with serve(root / "home") as found:
        found.panel.home.root.chmod(0o711)
        yield found


@pytest.fixture
def daemon_user() -> pwd.struct_passwd:
    """A user with a group of the same gid: Debian's ``daemon``."""
    return pwd.getpwnam("daemon")


async def test_another_user_cannot_even_connect(served: Served, daemon_user: pwd.struct_passwd) -> None:
    """The socket is 0600."""
    with other(served.path, daemon_user.pw_uid, daemon_user.pw_gid, []) as stranger:
        assert await stranger.first_word() == {"connect": "Permission denied"}


async def test_one_who_could_connect_without_a_role_is_told_so_and_disconnected(
    served: Served, daemon_user: pwd.struct_passwd
) -> None:
    """Whatever let him connect; a refused mutating call is audited with his uid and pid."""
    served.path.chmod(0o666)
    with other(served.path, daemon_user.pw_uid, daemon_user.pw_gid, []) as stranger:
        answer = await stranger.ask("rpc.ping")
        assert (answer["id"], answer["error"]["code"]) == (1, -32005)
        assert answer["error"]["data"]["exit_status"] == 77
        assert await stranger.ask("rpc.ping") is None
    assert served.audited[0].outcome == "denied"
    assert (served.audited[0].uid, served.audited[0].role) == (daemon_user.pw_uid, "")


async def test_the_overflow_uid_is_refused_even_as_a_member_of_the_group(served: Served) -> None:
    """65534 may be anybody of another user namespace."""
    served.settings = RpcConfig(group="nogroup", roles=["operate"])
    served.server.apply_settings()
    with other(served.path, 65534, 65534, []) as nobody:
        assert (await nobody.ask("rpc.ping"))["error"]["code"] == -32005


async def test_a_member_may_do_what_the_role_says_and_no_more(served: Served, daemon_user: pwd.struct_passwd) -> None:
    """A reader who calls a writer's method is denied, audited, and goes on reading."""
    served.settings = RpcConfig(group="daemon", roles=["read"])
    served.server.apply_settings()
    with other(served.path, daemon_user.pw_uid, daemon_user.pw_gid, []) as member:
        assert (await member.ask("rpc.hello"))["result"]["role"] == "read"
        for method, params in (("chat.send", {"text": "x"}), ("gateway.stop", {}), ("daemon.stop", {})):
            assert (await member.ask(method, params))["error"]["code"] == -32005
        assert "result" in await member.ask("daemon.status")
    assert served.panel.done == []
    assert [record.outcome for record in served.audited] == ["denied"] * 3
    assert {record.uid for record in served.audited} == {daemon_user.pw_uid}


async def test_a_reload_changes_what_an_open_connection_may_do_at_once(
    served: Served, daemon_user: pwd.struct_passwd
) -> None:
    """Less, more, and in the end nothing."""
    served.settings = RpcConfig(group="daemon", roles=["operate"])
    served.server.apply_settings()
    with other(served.path, daemon_user.pw_uid, daemon_user.pw_gid, []) as member:
        assert "result" in await member.ask("gateway.start")
        served.settings = RpcConfig(group="daemon", roles=["read"])
        assert (await member.ask("gateway.start"))["error"]["code"] == -32005
        assert "result" in await member.ask("daemon.status")
        served.settings = RpcConfig(group="daemon", roles=["chat"])
        assert "result" in await member.ask("chat.questions")
        served.settings = RpcConfig()
        assert (await member.ask("rpc.ping"))["error"]["code"] == -32005
        assert await member.ask("rpc.ping") is None


async def test_a_descriptor_that_is_passed_on_keeps_the_credentials_of_who_connected(
    served: Served, daemon_user: pwd.struct_passwd
) -> None:
    """A member hands his connection to root's process: it stays the member's, and cannot do more."""
    served.settings = RpcConfig(group="daemon", roles=["read"])
    served.server.apply_settings()
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    code = (
        "import array, os, socket, sys; os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]));"
        "c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); p = socket.socket(fileno=int(sys.argv[4]));"
        "p.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [c.fileno()]))])"
    )
    arguments = [str(served.path), str(daemon_user.pw_uid), str(daemon_user.pw_gid), str(theirs.fileno())]
    with ours, theirs:
        await trio.run_process([sys.executable, "-c", code, *arguments], pass_fds=[theirs.fileno()])
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    passed = array.array("i", ancillary[0][2])[0]
    client = socket.socket(fileno=passed)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
    async with stream:
        await stream.send_all(b'{"jsonrpc":"2.0","id":1,"method":"gateway.stop"}\n')
        answer = json.loads(await stream.receive_some())
    assert answer["error"]["code"] == -32005
    assert served.audited[0].uid == daemon_user.pw_uid
    assert served.panel.done == []
