"""gateway_state.json, which says whether a profile's gateway shall run, and logs/boot.log.

The file is hermes-agent's: keys of it that mean nothing here are kept as they are when it is written again.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from hermesd.errors import ConfigError
from hermesd.home import check_private, open_directory, read_bounded, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from hermesd.home import Home, Profile

MAX_STATE_BYTES = 256 * 1024
MAX_BOOT_LOG_BYTES = 256 * 1024

DesiredState = Literal["running", "stopped"]
RunState = Literal["starting", "running", "degraded", "draining", "stopped", "startup_failed"]

_STATES: dict[object, RunState] = {word: word for word in get_args(RunState)}
_RUNNING = frozenset({"running", "draining", "degraded"})


class PlatformState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One platform as last known; ``updated_at`` is ISO 8601 in UTC."""

    state: str
    error_code: str | None = None
    error_message: str | None = None
    updated_at: str = ""


class GatewayState(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's gateway. ``updated_at`` is ISO 8601 in UTC; ``pid`` 0 means that none is known.

    ``problem`` is not in the file: it says what became of one that could not be read.
    """

    desired_state: DesiredState = "stopped"
    gateway_state: RunState = "stopped"
    exit_reason: str | None = None
    platforms: dict[str, PlatformState] = {}
    pid: int = 0
    updated_at: str = ""
    problem: str = ""


def read_state(profile: Profile) -> GatewayState:
    """The profile's state; stopped when there is no file.

    A file that is no JSON object, or whose states are no words we know, is renamed to
    ``gateway_state.json.corrupt-<time>`` and reported in ``problem``: nothing is started on its account, and nothing
    in it is lost. Raises OSError for what is not the file's own fault, and ConfigError for a symbolic link.
    """
    path = profile.gateway_state_path
    try:
        data = read_bounded(path, max_bytes=MAX_STATE_BYTES)
    except FileNotFoundError:
        return GatewayState()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError("is a symbolic link", where=str(path), next_step=f"remove it: rm {path}") from error
    try:
        return _understood(json.loads(data))
    except (ValueError, RecursionError) as error:
        return GatewayState(problem=_quarantine(path, error))


def write_state(profile: Profile, state: GatewayState, *, durable: bool = True) -> None:
    """Replace the file in one step, 0600, keeping keys of hermes-agent's that are not ours.

    ``updated_at`` becomes now, whatever ``state`` says. Raises OSError; ConfigError when the directory is not private.
    """
    fields: dict[str, Any] = msgspec.to_builtins(state)
    fields.pop("problem")
    fields["updated_at"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    if not state.pid:
        fields["pid"] = None
    path = profile.gateway_state_path
    data = json.dumps({**_others(path), **fields}, ensure_ascii=False, indent=2).encode("utf-8", "replace")
    write_private(path, data + b"\n", durable=durable)


def _understood(found: object) -> GatewayState:
    """hermes-agent's rules: what is desired, else whether it ran. Raises ValueError."""
    if not isinstance(found, dict):
        raise ValueError("is not an object")  # noqa: TRY004 - the file's contents are wrong, not a caller's argument
    desired, ran = found.get("desired_state"), found.get("gateway_state")
    if desired is None:
        if ran is None:
            raise ValueError("has neither desired_state nor gateway_state")
        desired = "running" if isinstance(ran, str) and ran in _RUNNING else "stopped"
    if desired not in get_args(DesiredState):
        raise ValueError("has a desired_state that is neither running nor stopped")
    platforms = found.get("platforms")
    pid = found.get("pid")
    return GatewayState(
        desired_state="running" if desired == "running" else "stopped",
        gateway_state=_STATES.get(ran, "stopped") if isinstance(ran, str) else "stopped",
        exit_reason=_text(found.get("exit_reason")),
        platforms=_platforms(platforms if isinstance(platforms, dict) else {}),
        pid=pid if type(pid) is int and 0 < pid < 2**31 else 0,
        updated_at=_text(found.get("updated_at")) or "",
    )


def _platforms(found: dict[str, Any]) -> dict[str, PlatformState]:
    """Only shown to people, so what is odd in it is passed over."""
    return {
        name: PlatformState(
            state=_text(row.get("state")) or "unknown",
            error_code=_text(row.get("error_code")),
            error_message=_text(row.get("error_message")),
            updated_at=_text(row.get("updated_at")) or "",
        )
        for name, row in found.items()
        if isinstance(row, dict)
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:4096]


def _others(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bounded(path, max_bytes=MAX_STATE_BYTES))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    ours = set(GatewayState.__struct_fields__)
    return {name: value for name, value in found.items() if name not in ours} if isinstance(found, dict) else {}


def _quarantine(path: Path, error: Exception) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    with open_directory(path.parent) as directory:
        for number in range(100):
            aside = f"{path.name}.corrupt-{stamp}" + (f".{number}" if number else "")
            try:
                os.link(path.name, aside, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError:
                continue
            os.unlink(path.name, dir_fd=directory)
            os.fsync(directory)
            reason = "is too deeply nested" if isinstance(error, RecursionError) else _reason(error)
            return f"{path} {reason}; it was kept as {aside}, and the gateway is not started"
    raise ConfigError(
        "too many corrupt copies", where=str(path), next_step=f"look at them and remove them: ls {path}.corrupt-*"
    )


def _reason(error: Exception) -> str:
    return "is not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)


def append_boot_log(home: Home, line: str) -> None:
    """Append ``line`` with the time in UTC to logs/boot.log; at 256 KiB that becomes ``boot.log.1``.

    Control characters become blanks, so that one event is one line. Raises OSError, and ConfigError when the path is a
    symbolic link or hard link, or the directory is writable by others.
    """
    clean = "".join(char if char.isprintable() else " " for char in line[:4096])
    data = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {clean}\n".encode("utf-8", "replace")
    path = home.logs / "boot.log"
    with open_directory(home.logs) as directory:
        check_private(directory, home.logs)
        fd = _open_for_append(directory, path)
        try:
            if os.fstat(fd).st_size + len(data) > MAX_BOOT_LOG_BYTES:
                os.close(fd)
                fd = -1
                os.rename(path.name, f"{path.name}.1", src_dir_fd=directory, dst_dir_fd=directory)
                fd = _open_for_append(directory, path)
            os.write(fd, data)
        finally:
            if fd >= 0:
                os.close(fd)


def _open_for_append(directory: int, path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path.name, flags, 0o600, dir_fd=directory)
    except OSError as error:
        if not path.is_symlink():
            raise
        raise ConfigError("is a symbolic link", where=str(path), next_step=f"remove it: rm {path}") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
        os.close(fd)
        raise ConfigError("is no file of our own", where=str(path), next_step=f"remove it: rm {path}")
    return fd
