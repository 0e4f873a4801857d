"""``hostUsers``: people of the host whose ``~/.hermes`` is a link to the container's home."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from hermesd.deploy.container.files import link_target, opened, replace_link
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.deploy.container.manifest import Manifest

NAME = ".hermes"


def link_homes(
    manifest: Manifest, *, dry_run: bool = False, look_up: Callable[[str], pwd.struct_passwd] = pwd.getpwnam
) -> list[str]:
    """Make the links; what was done. Raises ConfigError for an unknown user and for a ``~/.hermes`` of their own."""
    changes = []
    for name in manifest.container.host_users:
        try:
            person = look_up(name)
        except KeyError:
            raise ConfigError(
                f"there is no user {name!r} on this host", where="container.hostUsers", next_step="correct the name"
            ) from None
        changes += _link(person, manifest.home, dry_run=dry_run)
    return changes


def outsiders(
    manifest: Manifest,
    *,
    look_up: Callable[[str], pwd.struct_passwd] = pwd.getpwnam,
    groups_of: Callable[[str, int], list[int]] = os.getgrouplist,
) -> list[str]:
    """A notice for each of these people who cannot enter the state directory, which is open to the agent's group."""
    container = manifest.container
    return [
        f"notice: {name} is not in the group with gid {container.gid}, and cannot enter {manifest.state_dir}"
        for name in container.host_users
        if container.gid not in groups_of(name, look_up(name).pw_gid)
    ]


def _link(person: pwd.struct_passwd, target: str, *, dry_run: bool) -> list[str]:
    where = f"{person.pw_dir}/{NAME}"
    with opened(person.pw_dir, where=person.pw_dir) as fd:
        if os.fstat(fd).st_uid not in (person.pw_uid, 0):
            raise ConfigError(f"does not belong to {person.pw_name}", where=person.pw_dir, next_step="look into it")
        if link_target(NAME, below=fd) == target:
            return []
        try:
            found = os.stat(NAME, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISLNK(found.st_mode):
                raise ConfigError(
                    f"{person.pw_name} has a home of hermesd already",
                    where=where,
                    next_step=f"move it away: mv {where} {where}.old",
                )
        if not dry_run:
            replace_link(NAME, target, below=fd, where=where)
            if os.geteuid() == 0:
                os.chown(NAME, person.pw_uid, person.pw_gid, dir_fd=fd, follow_symlinks=False)
    return [f"link {where} to {target}"]
