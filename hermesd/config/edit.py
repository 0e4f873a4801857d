"""A copy of config.yaml to be edited, which takes its place only if it loads."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from hermesd.config import MAX_CONFIG_BYTES
from hermesd.config.lock import changing
from hermesd.config.plain import leaves, tree_of
from hermesd.config.write import write_config
from hermesd.errors import ConfigError, ConflictError
from hermesd.home import read_bounded, write_private

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from hermesd.config.changed_files import Change
    from hermesd.home import Profile


class Draft:
    """A private file beside config.yaml, removed at the end of the ``with`` block unless ``keep`` is set.

    Entering raises ConfigError or OSError when config.yaml cannot be read or the directory is not private.
    """

    def __init__(self, profile: Profile) -> None:
        self.keep = False
        self.path: Path = profile.root / f"config.edit-{os.urandom(4).hex()}.yaml"
        self._profile = profile
        self._original = b""

    def __enter__(self) -> Draft:
        self._original = _contents(self._profile.config_path)
        write_private(self.path, self._original, durable=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.keep:
            self.path.unlink(missing_ok=True)

    def is_changed(self) -> bool:
        """Whether the editor wrote anything new."""
        return _contents(self.path) != self._original

    def changed_keys(self) -> list[str]:
        """Dotted keys whose values differ, of a draft that is YAML; none of another, which cannot take its place."""
        where = str(self.path)
        try:
            before, after = (dict(leaves(tree_of(data, where))) for data in (self._original, _contents(self.path)))
        except ConfigError:
            return []
        return [".".join(path) for path in before | after if before.get(path, leaves) != after.get(path, leaves)]

    def put_in_place(self) -> Change:
        """Replace config.yaml. Raises ConfigError with file:line of the draft, ConflictError when the file has changed
        meanwhile, OSError."""
        try:
            with changing(self._profile):
                self._check_unchanged()
                return write_config(self._profile, _contents(self.path))
        except ConfigError as error:
            error.where = error.where.replace(str(self._profile.config_path), str(self.path))
            raise
        except ConflictError as error:
            self.keep = True
            error.next_step = f"your text is kept in {self.path}"
            raise

    def _check_unchanged(self) -> None:
        if _contents(self._profile.config_path) != self._original:
            raise ConflictError("was changed by someone else meanwhile", where=str(self._profile.config_path))


def _contents(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return read_bounded(path, max_bytes=MAX_CONFIG_BYTES)
    return b""
