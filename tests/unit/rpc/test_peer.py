"""Uid → role under the configuration in force."""

from __future__ import annotations

import grp
import os
import pwd
import socket

import pytest

from hermesd.config.schema import RpcConfig
from hermesd.rpc.peer import DEFAULT_OVERFLOW_UID, Roles, credentials, in_group


def any_member() -> tuple[int, str]:
    """A uid of this machine that is neither ours nor root's, and a group it is in."""
    for user in pwd.getpwall():
        if user.pw_uid not in (0, os.geteuid(), DEFAULT_OVERFLOW_UID):
            return user.pw_uid, grp.getgrgid(user.pw_gid).gr_name
    pytest.skip("this machine has no other user")


class Settings:
    """A configuration that can be replaced, as a reload does."""

    def __init__(self, **values: object) -> None:
        self.set(**values)
        self.asked = 0

    def set(self, **values: object) -> None:
        self.config = RpcConfig(**values)  # type: ignore[arg-type]  # a test's own values

    def __call__(self) -> RpcConfig:
        self.asked += 1
        return self.config


def test_credentials_are_those_of_the_connecting_process() -> None:
    """Of a socket pair: our own."""
    one, other = socket.socketpair()
    with one, other:
        peer = credentials(one)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())


async def test_root_and_the_owner_are_owners() -> None:
    """Whatever the group is."""
    roles = Roles(Settings(), owner_uid=1234)
    assert await roles.resolve(0) == "owner"
    assert await roles.resolve(1234) == "owner"


async def test_a_stranger_has_no_role() -> None:
    """Neither without a group configured nor with one he is not in."""
    uid, _ = any_member()
    assert await Roles(Settings()).resolve(uid) is None
    assert await Roles(Settings(group="no-such-group-here", roles=["read"])).resolve(uid) is None


async def test_a_member_of_the_group_has_the_strongest_role_given() -> None:
    """Roles include those before them, so the strongest is enough."""
    uid, group = any_member()
    assert in_group(uid, group)
    assert await Roles(Settings(group=group, roles=["chat", "read"])).resolve(uid) == "chat"
    assert await Roles(Settings(group=group, roles=[])).resolve(uid) is None


async def test_the_overflow_uid_is_nobody() -> None:
    """Not even when the daemon itself seems to run as that uid: it stands for anybody."""
    roles = Roles(Settings(group="nogroup", roles=["operate"]), owner_uid=DEFAULT_OVERFLOW_UID)
    assert await roles.resolve(DEFAULT_OVERFLOW_UID) is None


async def test_a_reload_forgets_every_role_at_once() -> None:
    """What was known holds for the configuration it was found under, and for no other."""
    uid, group = any_member()
    settings = Settings(group=group, roles=["operate"])
    roles = Roles(settings)
    assert await roles.resolve(uid) == "operate"
    assert roles.role_of(uid) == "operate"
    settings.set(group=group, roles=["read"])
    with pytest.raises(LookupError):
        roles.role_of(uid)
    assert await roles.resolve(uid) == "read"
    settings.set()
    assert await roles.resolve(uid) is None


async def test_a_reload_during_the_lookup_is_not_overtaken_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role found under the old configuration is looked up again under the new one."""
    uid, group = any_member()
    settings = Settings(group=group, roles=["operate"])

    def slow_lookup(_uid: int, _group: str) -> bool:
        settings.set(group=group, roles=["read"])
        monkeypatch.undo()
        return True

    monkeypatch.setattr("hermesd.rpc.peer.in_group", slow_lookup)
    assert await Roles(settings).resolve(uid) == "read"
