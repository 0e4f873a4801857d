"""A file replaced in one step, below an open directory."""

from __future__ import annotations

import contextlib
import os

from hermesd import failpoint


def replace_file(
    name: str, data: bytes, *, below: int, mode: int, owner: tuple[int, int] | None = None, temporary: str = ""
) -> None:
    """Put the file there in one step, whatever was there before, and fsync it. Raises OSError.

    ``owner``: uid and gid, given to the new file through its descriptor before it has its name; None: ours.
    ``temporary``: the name it has until then; '' makes one up.
    """
    temporary = temporary or f".{name}.{os.urandom(6).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=below)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            os.fsync(fd)
        failpoint.hit("files.before_rename")
        os.rename(temporary, name, src_dir_fd=below, dst_dir_fd=below)
        failpoint.hit("files.after_rename")
    except BaseException:  # whatever it is goes on, and leaves no temporary file behind
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=below)
        raise
    os.fsync(below)
