"""What no file tool touches, wherever the workspace lies: the home's secrets, its own layout, git's directories."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.home import DEFAULT_PROFILE

if TYPE_CHECKING:
    from hermesd.home import Profile

SECRET = frozenset(
    {
        ".activation",
        ".env",
        "auth.json",
        "config.yaml",
        "gateway_state.json",
        "hermesd.pid",
        "hermesd.sock",
        "logs",
        "mcp-tokens",
        "pairing",
        "sessions",
        "state.db",
        "state.db-shm",
        "state.db-wal",
        "webhook_subscriptions.json",
    }
)
"""Names directly below a profile's directory that hold tokens or other people's words."""

LAYOUT = SECRET | {
    ".config.lock",
    ".container-mode",
    ".managed",
    "SOUL.md",
    "cron",
    "memories",
    "plugins",
    "profiles",
    "scripts",
    "skills",
}
"""Names that change what the daemon does: readable, but not for a file tool to write."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The rules for one profile. Paths given to it are real ones: absolute, without symbolic links."""

    home: Path
    profile: Path
    workspace: Path

    @classmethod
    def of(cls, profile: Profile) -> Protection:
        """The rules for this profile; its own ``workspace`` directory is the one place below a home that is free."""
        root = Path(os.path.realpath(profile.root))
        home = root if profile.name == DEFAULT_PROFILE else root.parent.parent
        return cls(home, root, root / "workspace")

    def refuses_read(self, path: Path) -> bool:
        """Whether ``path`` is a secret of the home, or lies in another profile."""
        if path.is_relative_to(self.workspace):
            return False
        if path.is_relative_to(self.profile):
            return _first(path, self.profile) in SECRET or self._elsewhere(path)
        return path.is_relative_to(self.home) and (_first(path, self.home) in SECRET or self._elsewhere(path))

    def refuses_write(self, path: Path) -> bool:
        """Whether writing ``path`` would change the daemon, or a git directory (whose config can name programs)."""
        if any(part.casefold() == ".git" for part in path.parts):
            return True
        if path.is_relative_to(self.workspace):
            return False
        for root in (self.profile, self.home):
            if path.is_relative_to(root) and path != root:
                return _first(path, root) in LAYOUT
        return False

    def is_secret_file(self, found: os.stat_result) -> bool:
        """Whether an open file is one of the secrets under another name (a hard link)."""
        if found.st_nlink < 2:
            return False
        for root in {self.home, self.profile}:
            for name in SECRET:
                try:
                    secret = (root / name).stat()
                except OSError:
                    continue
                if os.path.samestat(secret, found):
                    return True
        return False

    def _elsewhere(self, path: Path) -> bool:
        """Whether ``path`` is another profile's: each profile sees only itself."""
        profiles = self.home / "profiles"
        if not path.is_relative_to(profiles) or path == profiles:
            return False
        return not path.is_relative_to(self.profile) or self.profile == self.home


def _first(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if parts else ""
