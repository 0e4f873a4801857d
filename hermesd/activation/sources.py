"""Files that a manifest names: absolute paths, and credentials that systemd has loaded for the service.

They are read when the home is activated, as the service's user, so a secret never stands in the manifest (systemd.exec,
``LoadCredential=``; https://systemd.io/CREDENTIALS).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermesd.activation.manifest import CREDENTIAL
from hermesd.activation.targets import MAX_BYTES
from hermesd.deploy.container.files import read_regular
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_source(named: str, environ: Mapping[str, str] | None = None) -> bytes | None:
    """The contents of a source; None for one that is missing and may be (``-`` before it).

    Raises ConfigError for one that is missing, unreadable, too large, or no regular file.
    """
    source = named.removeprefix("-")
    path = _path_of(source, os.environ if environ is None else environ)
    if path is None:
        if named.startswith("-"):
            return None
        step = "load it with LoadCredential= in the unit, or put - before it in the manifest"
        raise ConfigError("there are no credentials of a service here", where=source, next_step=step)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if named.startswith("-"):
            return None
        raise ConfigError(
            "is missing", where=source, next_step="write it, or put - before it in the manifest"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=source, next_step="make it readable") from None
    data = read_regular(fd, max_bytes=MAX_BYTES + 1)
    if data is None:
        raise ConfigError("is not a regular file", where=source, next_step="name a file")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes", where=source, next_step="make it smaller")
    return data


def _path_of(source: str, environ: Mapping[str, str]) -> str | None:
    if not source.startswith(CREDENTIAL):
        return source
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    return f"{directory}/{source.removeprefix(CREDENTIAL)}" if directory.startswith("/") else None
