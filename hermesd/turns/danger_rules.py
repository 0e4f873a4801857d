"""The table behind ``turns.danger``: for each program, when the words after it make it dangerous.

A row is (programs, test, reason); the reason completes "the command …". To know one more danger, add one row.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

SYSTEM = frozenset({"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr"})
SHARED = frozenset({"home", "nix", "opt", "root", "srv", "var", "Users"})
WORKSPACE = r"(?:profiles/[\w-]{1,64}/)?workspace(?:[\s;|&)]|$|/(?!\S{0,400}\.\.))"
AUTO = ("-auto-approve", "--auto-approve")


class Words(msgspec.Struct, frozen=True):
    """What follows a program: everything, short option letters, long options, and the rest."""

    all: tuple[str, ...]

    @property
    def letters(self) -> frozenset[str]:
        """Letters of options like ``-rf``."""
        return frozenset("".join(word[1:] for word in self.all if re.fullmatch(r"-[A-Za-z]+", word)))

    @property
    def operands(self) -> list[str]:
        """Words that are no options."""
        return [word for word in self.all if not word.startswith("-")]

    def has(self, *words: str) -> bool:
        """Whether any of these stands there, an option also with ``=value`` behind it."""
        return any(word in words or word.partition("=")[0] in words for word in self.all)

    def starts(self, *prefixes: str, but: tuple[str, ...] = ()) -> bool:
        """Whether any word, ``but`` those given, begins like this."""
        return any(word.startswith(prefixes) and word not in but for word in self.all)


Test = Callable[[Words], bool]


def _always(_: Words) -> bool:
    return True


def _any(*words: str) -> Test:
    return lambda given: given.has(*words)


def broad(path: str) -> bool:
    """Whether a path stands for a whole system, home, working directory, or an unknown variable."""
    bare = path.rstrip("/*").replace("$HOME", "~")
    if set(bare) <= set("./") or (bare.startswith("$") and "/" not in bare):
        return True
    parts = [part for part in bare.split("/") if part]
    if bare.startswith("/"):
        return len(parts) == 1 or parts[0] in SYSTEM or (parts[0] in SHARED and len(parts) == 2)
    return parts[0].startswith("~") and len(parts) <= 2


def _recursive(given: Words) -> bool:
    return bool(given.letters & {"r", "R"}) or given.has("--recursive")


def _removes_broadly(given: Words) -> bool:
    return given.has("--no-preserve-root") or (_recursive(given) and any(broad(word) for word in given.operands))


def _changes_broadly(given: Words) -> bool:
    return _recursive(given) and any(broad(word) for word in given.operands)


def _finds_and_removes(given: Words) -> bool:
    return given.has("-delete") or (given.starts("-exec", "-ok") and given.has("rm", "shred", "unlink"))


def _git(given: Words) -> bool:
    force = "f" in given.letters or given.has("--force", "--force-with-lease")
    pushes = given.has("push") and (force or given.has("--mirror", "--delete") or given.starts("+"))
    cleans = given.has("clean") and (force or bool(given.letters & {"d", "x"}))
    return pushes or cleans or (given.has("reset") and given.has("--hard")) or given.has("filter-branch")


def _cloud(given: Words) -> bool:
    verbs = ("delete", "terminate", "destroy", "remove", "purge", "rb")
    return given.has(*verbs) or given.starts("delete-", "terminate-") or (given.has("s3") and given.has("rm"))


def _docker(given: Words) -> bool:
    removes = given.has("prune") or (given.has("volume", "system") and given.has("rm"))
    return removes or given.has("--privileged") or given.starts("/:", "-v/:", "--volume=/:")


def _firewall(given: Words) -> bool:
    return (
        bool(given.letters & {"F", "X"})
        or given.has("--flush", "--delete-chain")
        or (given.has("ACCEPT") and given.has("-P"))
    )


def _opens_shell(given: Words) -> bool:
    return (
        bool(given.letters & {"e", "c"})
        or given.has("--exec", "--sh-exec")
        or any(":" in word and "exec" in word.lower() for word in given.all)
    )


def _kills_everything(given: Words) -> bool:
    return len(given.all) > 1 and given.all[-1] == "-1"


RULES: tuple[tuple[str, Test, str], ...] = (
    ("rm", _removes_broadly, "removes a whole tree"),
    ("find", _finds_and_removes, "removes every file found"),
    ("shred srm wipe", _always, "destroys files"),
    ("chmod chown chgrp setfacl chattr", _changes_broadly, "changes permissions of a whole tree"),
    ("mkswap wipefs fdisk sfdisk sgdisk parted blkdiscard badblocks", _always, "formats or partitions a disk"),
    ("dd", lambda given: given.starts("of=/dev/", but=("of=/dev/null", "of=/dev/stdout")), "writes to a device"),
    ("zfs zpool", _any("destroy"), "destroys a volume"),
    ("lvremove vgremove pvremove", _always, "destroys a volume"),
    ("btrfs cryptsetup", _any("delete", "erase", "luksFormat"), "destroys a volume"),
    ("shutdown reboot halt poweroff", _always, "stops the machine"),
    ("init telinit", _any("0", "6"), "stops the machine"),
    ("systemctl", _any("stop", "disable", "mask", "poweroff", "reboot", "halt", "kill", "isolate"), "stops a service"),
    ("service rc-service", _any("stop"), "stops a service"),
    ("pkill killall killall5", _always, "ends processes by name"),
    ("kill", _kills_everything, "ends every process"),
    ("iptables ip6tables ebtables", _firewall, "opens the firewall"),
    ("nft", _any("flush", "delete"), "opens the firewall"),
    ("ufw", _any("disable", "reset", "delete"), "opens the firewall"),
    ("crontab", lambda given: "l" not in given.letters, "removes or replaces the crontab"),
    ("insmod rmmod modprobe kexec", _always, "changes the kernel"),
    ("sysctl", lambda given: "w" in given.letters or any("=" in word for word in given.all), "changes the kernel"),
    ("userdel deluser groupdel usermod useradd adduser visudo chpasswd passwd", _always, "changes user accounts"),
    ("nc ncat socat netcat", _opens_shell, "opens a shell to the network"),
    ("kubectl oc", _any("delete", "drain"), "deletes from a cluster"),
    ("helm", _any("uninstall", "delete", "rollback"), "uninstalls a release"),
    ("terraform tofu terragrunt pulumi cdk", _any("destroy", "-destroy", *AUTO), "destroys infrastructure"),
    ("aws gcloud az doctl hcloud flyctl heroku", _cloud, "deletes from a cloud account"),
    ("docker podman", _docker, "removes or opens up containers"),
    ("git", _git, "discards work in git"),
    ("gh", _any("delete", "archive"), "deletes on GitHub"),
    ("npm twine cargo gem poetry", _any("publish", "unpublish", "upload", "yank"), "publishes a package"),
    ("dropdb", _always, "destroys data"),
    ("redis-cli", _any("flushall", "FLUSHALL", "flushdb", "FLUSHDB"), "destroys data"),
    ("hermesctl hermesd hermes", _always, "acts on the agent's own daemon"),
)  # fmt: skip

BY_PROGRAM: dict[str, list[tuple[Test, str]]] = {}
for _names, _test, _reason in RULES:
    for _name in _names.split():
        BY_PROGRAM.setdefault(_name, []).append((_test, _reason))

TEXTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"/dev/(?:tcp|udp)/", "opens a connection from the shell"),
        (r"[>\s]/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|dm-|mapper/)\w*", "touches a disk"),
        (r">\s*(?:/etc/|/boot/|/usr/|/lib|/proc/sys)", "writes system files"),
        (r">\s{0,8}\S{0,200}\.(?:bash_profile|bashrc|zshrc|zshenv|profile)\b", "changes a start-up file"),
        (r"authorized_keys|\.ssh/id_|/etc/(?:shadow|sudoers)", "touches keys or accounts"),
        (r"\bLD_(?:PRELOAD|AUDIT)=", "loads foreign code into programs"),
        (r"169\.254\.169\.254|metadata\.google\.internal|fd00:ec2::254", "reads cloud credentials"),
        (r"\b(?:drop|truncate)\s+(?:table|database|schema|user|index)\b|\bdropDatabase\b", "destroys data"),
        (r"\bdelete\s+from\s+[\w.]+\s*(?:;|$)", "destroys data"),
        (r"\brmtree\b|sysrq-trigger|\bhistory\s+-c\b", "removes a tree or traces"),
        (rf"hermesd\.sock|\bHERMES_HOME\b|\.hermes/(?!{WORKSPACE})", "reaches into the agent's own home"),
    )
)
