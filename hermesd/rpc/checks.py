"""Checks of a home from outside the daemon: ``hermesctl doctor`` runs them also when no daemon does."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from typing import TYPE_CHECKING

from hermesd.rpc.render.units import counted
from hermesd.rpc.wire import DoctorCheck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermesd.home import Home

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 200 * 1000 * 1000
SECRET_FILES = (".env", "auth.json", "state.db")
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs"})


def home_checks(home: Home) -> list[DoctorCheck]:
    """All of them. Blocks on the disk."""
    found = [_python()]
    if not home.root.is_dir():
        found.append(
            DoctorCheck(
                name="home",
                verdict="warning",
                detail=f"{home.root} does not exist yet",
                next_step="it is made at the first start of hermesd",
            )
        )
        return found
    found += [_home(home.root), *_secret_files(home), _free_space(home.root), _filesystem(home.root)]
    return found


def _python() -> DoctorCheck:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return DoctorCheck(name="python", verdict="problem", detail=version, next_step="install Python 3.11 or newer")
    return DoctorCheck(name="python", verdict="ok", detail=version)


def _home(root: Path) -> DoctorCheck:
    found = root.stat()
    if found.st_uid not in (os.geteuid(), 0):
        return DoctorCheck(
            name="home",
            verdict="problem",
            detail=f"{root} is owned by uid {found.st_uid}",
            next_step=f"chown -R {os.geteuid()} {root}",
        )
    if not os.access(root, os.W_OK | os.X_OK):
        return DoctorCheck(
            name="home", verdict="problem", detail=f"{root} is not writable", next_step=f"chmod u+rwx {root}"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return DoctorCheck(
            name="home", verdict="problem", detail=f"others may write to {root}", next_step=f"chmod go-w {root}"
        )
    if found.st_mode & 0o077:
        return DoctorCheck(
            name="home", verdict="warning", detail=f"others may look into {root}", next_step=f"chmod 700 {root}"
        )
    return DoctorCheck(name="home", verdict="ok", detail=f"{root}, private")


def _secret_files(home: Home) -> Iterator[DoctorCheck]:
    """One finding for all that is well, one for each file that others may read."""
    looked_at = 0
    open_files = 0
    for profile in home.profiles():
        for path in (profile.root / name for name in SECRET_FILES):
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue
            looked_at += 1
            if stat.S_ISREG(mode) and mode & 0o077:
                open_files += 1
                detail = f"others may read {path}"
                yield DoctorCheck(name=path.name, verdict="problem", detail=detail, next_step=f"chmod 600 {path}")
    if not open_files:
        yield DoctorCheck(name="secrets", verdict="ok", detail=f"{counted(looked_at, 'file')}, all private")


def _free_space(root: Path) -> DoctorCheck:
    free = shutil.disk_usage(root).free
    detail = f"{free // 1_000_000} MB free"
    if free < LEAST_FREE_BYTES:
        return DoctorCheck(name="disk", verdict="problem", detail=detail, next_step=f"make room on the disk of {root}")
    return DoctorCheck(name="disk", verdict="ok", detail=detail)


def _filesystem(root: Path) -> DoctorCheck:
    """SQLite's write-ahead log needs shared memory, which network file systems do not have (sqlite.org/wal.html)."""
    kind = _filesystem_kind(root)
    if kind in NETWORK_FILESYSTEMS:
        return DoctorCheck(
            name="filesystem",
            verdict="warning",
            detail=f"{kind}, a network file system",
            next_step="move the home to a local disk",
        )
    return DoctorCheck(name="filesystem", verdict="ok", detail=kind or "unknown")


def _filesystem_kind(root: Path) -> str:
    """The type of the mount that holds ``root`` (proc_pid_mountinfo(5)); '' where there is no /proc."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a kernel file
            mounts = [line.split() for line in file]
    except OSError:
        return ""
    here = str(root.resolve()) + "/"
    best, kind = "", ""
    for fields in mounts:
        point = fields[4].rstrip("/") + "/"
        if here.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind
