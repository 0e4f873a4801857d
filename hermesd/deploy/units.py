"""The texts of hermesd.service and hermesd.socket.

https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html and its neighbours say what each line means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.deploy.unitfile import with_header
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from hermesd.deploy.manager import Installation

SERVICE_UNIT = "hermesd.service"
SOCKET_UNIT = "hermesd.socket"
SYSTEM_SOCKET = "/run/hermesd/hermesd.sock"

_SERVICE = """\
[Unit]
Description=hermesd, the agents of {owner}
Requires={socket_unit}
After={after}
# Ten starts in five minutes are a crash loop. `hermesctl service start` gives it another chance.
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
{identity}Environment={home}
{search_path}ExecStart={hermesd}
# This unit's own daemon is meant, also where a .container-mode takes calls for this home into a container.
ExecReload=/usr/bin/env HERMES_DEV=1 {hermesctl} reload
Restart=on-failure
RestartSec=1
# A wrong configuration is not mended by another start.
RestartPreventExitStatus=78
# The loop and the store give the sign of life; a wedged process is ended with its stack in the journal.
WatchdogSec=30
TimeoutStartSec=300
# Longer than shutdown.drain_s and shutdown.stop_s together.
TimeoutStopSec={stop_s}
# The shells that agents start are theirs to stop; what is left goes with the unit.
KillMode=mixed
# A tool that the kernel ended for want of memory is the business of the agent that ran it.
OOMPolicy=continue
# Connections that wait while hermesd is restarted.
FileDescriptorStoreMax=512
LimitNOFILE=65536
UMask=0077

{hardening}
[Install]
WantedBy={target}
"""

_SOCKET = """\
[Unit]
Description=The socket of hermesd, the agents of {owner}

[Socket]
ListenStream={path}
SocketMode=0600
{access}Backlog=4096
RemoveOnStop=yes
# Clients that come during a crash loop must not close the socket for good.
TriggerLimitIntervalSec=0

[Install]
WantedBy=sockets.target
"""

_USER_HARDENING = """\
# What an unprivileged manager can enforce. Agents work in the files of their owner, so those stay reachable.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
ProtectClock=yes
ProtectKernelModules=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
"""Not CapabilityBoundingSet=: a user's manager has no right to drop any, and the start would fail (218). Not what needs
mounts (ProtectSystem= and the like): ignored without PrivateUsers=, and with it root's files are nobody's, which ssh
refuses, and so is every client but the owner. Not @privileged and @resources: chgrp, nice and taskset are needed."""

_SYSTEM_HARDENING = """\
# Everything is read-only but the home; other people's homes are not even there. Relax it in a drop-in.
ReadWritePaths={writable}
{hidden_homes}NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
"""Not MemoryDenyWriteExecute: MCP servers in JavaScript compile at run time. Not PrivateUsers: the kernel would tell
hermesd that every client is nobody, and roles go by who they are."""

HOMES = ("/home", "/root", "/run/user")


def service(installation: Installation) -> str:
    """hermesd.service. Raises ConfigError for a path that no unit can hold."""
    system = installation.scope == "system"
    body = _SERVICE.format(
        owner=escape(installation.user) if system else "%u",
        socket_unit=SOCKET_UNIT,
        after=f"{SOCKET_UNIT} network.target" if system else SOCKET_UNIT,
        identity=_identity(installation) if system else "",
        home=quote(f"HERMES_HOME={installation.home}"),
        search_path=f"Environment={quote(f'PATH={installation.search_path}')}\n" if installation.search_path else "",
        hermesd=quote_command(installation.hermesd),
        hermesctl=quote_command(installation.hermesctl),
        stop_s=installation.stop_s,
        hardening=_system_hardening(installation) if system else _USER_HARDENING,
        target="multi-user.target" if system else "default.target",
    )
    return with_header(body, facts(installation))


def socket(installation: Installation) -> str:
    """hermesd.socket.

    The system manager's lies in a directory of root's, with a link to it in the home: root must not change owners
    below a directory that somebody else can rearrange.
    """
    system = installation.scope == "system"
    access = "DirectoryMode=0700\n"  # of the home, where that is not there yet
    if system:
        group = f"SocketGroup={escape(installation.group)}\n" if installation.group else ""
        access = f"SocketUser={escape(installation.user)}\n{group}DirectoryMode=0755\n"
        access += f"Symlinks={quote(str(installation.socket))}\n"
    body = _SOCKET.format(
        owner=escape(installation.user) if system else "%u",
        path=SYSTEM_SOCKET if system else escape(str(installation.socket)),
        access=access,
    )
    return with_header(body, facts(installation))


def facts(installation: Installation) -> dict[str, str]:
    """What the units were made from, so that they can be made again."""
    found = installation._asdict()
    return {name: str(value) for name, value in found.items() if name != "scope" and value != ""}


def _identity(installation: Installation) -> str:
    group = f"Group={escape(installation.group)}\n" if installation.group else ""
    # What tools keep below ~ (caches of npx and uvx, say) must lie where something may be written.
    return f"User={escape(installation.user)}\n{group}Environment={quote(f'HOME={installation.home}')}\n"


def _system_hardening(installation: Installation) -> str:
    inside = any(str(installation.home).startswith(f"{place}/") for place in HOMES)
    hidden = "ProtectHome=yes\n"
    if inside:
        hidden = f"ProtectHome=tmpfs\nBindPaths={quote_path(str(installation.home))}\n"
        for program in {installation.hermesd, installation.hermesctl}:
            if any(program.startswith(f"{place}/") for place in HOMES):
                raise ConfigError(
                    "lies in somebody's home, which a system service does not see",
                    where=program,
                    next_step="install hermesd below /opt or /usr/local, or use --user",
                )
    return _SYSTEM_HARDENING.format(writable=quote_path(str(installation.home)), hidden_homes=hidden)


def quote(word: str) -> str:
    """One word of a setting: quoted, so that blanks mean themselves. Raises ConfigError for what quotes cannot hold."""
    if '"' in word or "\\" in word:
        raise _not_in_a_unit(word)
    return f'"{escape(word)}"'


def quote_command(word: str) -> str:
    """One word of a command line, in which ``$`` would be a variable."""
    return quote(word).replace("$", "$$")


def quote_path(word: str) -> str:
    """A path in a setting where a colon would begin another one."""
    if ":" in word:
        raise _not_in_a_unit(word)
    return quote(word)


def escape(value: str) -> str:
    """A whole value that is not unquoted: only ``%`` is special. Raises ConfigError for a line break and the like."""
    if not value.isprintable():
        raise _not_in_a_unit(value)
    return value.replace("%", "%%")


def _not_in_a_unit(value: str) -> ConfigError:
    return ConfigError(
        "has a character in it that a unit file cannot hold", where=repr(value), next_step="choose another path"
    )
