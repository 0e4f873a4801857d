"""The environment of every child process: an allow-list, so that no secret of the daemon's own leaks by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALLOWED = frozenset({"PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM", "SHELL", "TMPDIR"})
ALLOWED_PREFIX = "XDG_"
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def child_environment(
    base: Mapping[str, str], passthrough: Iterable[str] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The whole environment for a child: what of ``base`` is allowed or passed through, then ``extra`` over it.

    ``base`` is normally ``os.environ`` and the profile's .env is not in it. Entries of ``passthrough`` are exact
    names; one that is not set is left out. PATH is always there, because a shell without one invents its own.
    """
    named = frozenset(passthrough)
    chosen = {
        name: value
        for name, value in base.items()
        if name in ALLOWED or name.startswith(ALLOWED_PREFIX) or name in named
    }
    chosen.setdefault("PATH", DEFAULT_PATH)
    chosen.update(extra or {})
    return chosen
