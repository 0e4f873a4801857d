"""Files of tokens that hermes-agent has named: for names that are not safe as files its rule is another one than ours.

It puts ``_`` for every character that is no letter, digit, ``_`` or ``-`` (of any script), and takes ``_`` off both
ends: ``my.server`` and ``my_server`` share one file there. Such a file is used where it stands, so that hermes-agent
finds it too; but never where another server could be meant, which would be given tokens that are not its own.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from hermesd.mcp.oauth.storage import TokenStorage, safe_file_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

MAX_NAME = 128


def inherited_file_name(server: str) -> str:
    """The file name, less its suffix, that hermes-agent has for a server (its tools/mcp_oauth.py)."""
    return re.sub(r"[^\w-]", "_", server).strip("_")[:MAX_NAME] or "default"


class InheritedStorage(TokenStorage):
    """One server's files under hermes-agent's name; what that program does not know of, the lock too, under ours."""

    def __init__(self, directory: Path, server: str) -> None:
        super().__init__(directory, server)
        name = inherited_file_name(server)
        self.tokens_path = directory / f"{name}.json"
        self.client_path = directory / f"{name}.client.json"
        self.meta_path = directory / f"{name}.meta.json"
        self._unfinished = re.compile(
            rf"{self._unfinished.pattern}|\.{re.escape(name)}(\.[a-z]+)?\.json\.[0-9a-f]{{12}}"
        )


def storage_of(directory: Path, server: str, configured: Collection[str] | None) -> TokenStorage:
    """The files of a server: ours, or hermes-agent's where there are only those and nobody else's they could be.

    ``configured``: the names of all servers; None where they are not known, and then no file is taken over.
    """
    own = TokenStorage(directory, server)
    name = inherited_file_name(server)
    if configured is None or name == safe_file_name(server) or _has_files(own):
        return own
    if any(name in (safe_file_name(other), inherited_file_name(other)) for other in configured if other != server):
        return own
    inherited = InheritedStorage(directory, server)
    return inherited if _has_files(inherited) else own


def _has_files(storage: TokenStorage) -> bool:
    return any(os.path.lexists(path) for path in (storage.tokens_path, storage.client_path))
