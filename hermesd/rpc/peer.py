"""Who is at the other end of a connection, and what that uid may do now.

Credentials are the kernel's (SO_PEERCRED, unix(7)): those of the process that called connect(2), whoever holds the
descriptor later and whatever process bears that pid now. So only the uid ever decides; the pid is for the audit log.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from hermesd.rpc.wire import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.config.schema import RpcConfig

_UCRED = struct.Struct("3i")
_OVERFLOW_UID_PATH = Path("/proc/sys/kernel/overflowuid")
DEFAULT_OVERFLOW_UID = 65534

RANK: dict[Role, int] = {"read": 0, "chat": 1, "operate": 2, "owner": 3}
"""Each role includes those of a lower rank."""


class Peer(NamedTuple):
    """The credentials of a connection, as they were when it was made."""

    pid: int
    uid: int
    gid: int


def credentials(connection: socket.socket) -> Peer:
    """The peer's pid, uid and gid. Raises OSError when the socket is not a connected AF_UNIX one."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def overflow_uid() -> int:
    """The uid that stands for "not mapped here" (user_namespaces(7)): it is anybody, so it is nobody."""
    try:
        return int(_OVERFLOW_UID_PATH.read_text())
    except (OSError, ValueError):
        return DEFAULT_OVERFLOW_UID


class Roles:
    """Uid → role under the configuration in force, which is asked for each time.

    Answers are kept as long as ``rpc_settings()`` returns the same object: a reload makes another one, and thereby
    everything known is forgotten at once.
    """

    def __init__(self, rpc_settings: Callable[[], RpcConfig], *, owner_uid: int | None = None) -> None:
        self._rpc_settings = rpc_settings
        self._owner_uid = os.geteuid() if owner_uid is None else owner_uid
        self._never = {overflow_uid(), DEFAULT_OVERFLOW_UID}
        self._config: RpcConfig | None = None
        self._known: dict[int, Role | None] = {}
        self._lookups = trio.CapacityLimiter(1)

    def role_of(self, uid: int) -> Role | None:
        """The role now, None for nobody; raises LookupError when ``resolve`` must be asked first."""
        config = self._rpc_settings()
        if config is not self._config:
            self._config = config
            self._known = {}
        return self._known[uid]

    async def resolve(self, uid: int) -> Role | None:
        """The role now, by the group database if need be: that may be a directory server, so in a thread."""
        while True:
            config = self._rpc_settings()
            if uid in self._never or uid in (0, self._owner_uid) or not (config.group and config.roles):
                found = self._without_groups(uid)
            else:
                found = await self._by_group(uid, config)
            if config is self._rpc_settings():  # else it was reloaded meanwhile: what was found is of the past
                if config is not self._config:
                    self._config, self._known = config, {}
                self._known[uid] = found
                return found

    def _without_groups(self, uid: int) -> Role | None:
        if uid in self._never:
            return None
        return "owner" if uid in (0, self._owner_uid) else None

    async def _by_group(self, uid: int, config: RpcConfig) -> Role | None:
        strongest: Role = max(config.roles, key=RANK.__getitem__)
        is_member = await trio.to_thread.run_sync(in_group, uid, config.group, limiter=self._lookups)
        return strongest if is_member else None


def in_group(uid: int, group: str) -> bool:
    """Whether the user with this uid is a member of the group, by the system's databases. Blocks."""
    import grp
    import pwd

    try:
        wanted = grp.getgrnam(group).gr_gid
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return wanted in os.getgrouplist(user.pw_name, user.pw_gid)
