"""Replacing a file in one step, so that no reader and no crash ever sees half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

from hermesd.tools.files.paths import PathError, open_regular

if TYPE_CHECKING:
    from hermesd.tools.files.paths import Located

NEW_FILE_MODE = 0o666  # less the umask, as open(2) does


def current_mode(located: Located) -> int | None:
    """Permission bits of the existing file, None when there is none. Raises PathError if it is not to be replaced."""
    if not located.name:
        raise PathError(f"{located.path!r} is a directory")
    try:
        found = os.stat(located.name, dir_fd=located.directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise PathError(f"{located.path!r} is not a regular file")
    if not os.access(located.name, os.W_OK, dir_fd=located.directory):
        raise PathError(f"{located.path!r} is read-only")
    if located.protection.is_secret_file(found):
        raise PathError(f"{located.path!r} is a secret of the agent's home and cannot be written")
    return stat.S_IMODE(found.st_mode) & 0o777


def replace_file(located: Located, data: bytes) -> bool:
    """Make ``data`` the file's contents: temporary file, fsync, rename, fsync of the directory.

    The mode of an existing file is kept. Returns whether the file is new. Raises PathError and OSError; on either,
    the old contents stand.
    """
    mode = current_mode(located)
    temporary = f".hermesd-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, NEW_FILE_MODE if mode is None else 0o600, dir_fd=located.directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(fd, mode)
            os.fsync(fd)
        os.rename(temporary, located.name, src_dir_fd=located.directory, dst_dir_fd=located.directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=located.directory)
        raise
    os.fsync(located.directory)
    return mode is None


def read_whole(located: Located, *, max_bytes: int) -> bytes:
    """The contents of the file to be changed; raises PathError when it is missing, too large or not regular."""
    if not located.name:
        raise PathError(f"{located.path!r} is a directory")
    with os.fdopen(open_regular(located.directory, located.name, located.path, located.protection), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise PathError(f"{located.path!r} is larger than {max_bytes} bytes; change it with the terminal")
    return data


def encode(text: str, what: str) -> bytes:
    """UTF-8, or PathError when ``text`` holds a lone surrogate, which has no bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PathError(f"{what} holds a character that cannot be written as UTF-8") from None
