"""The files of ``plan`` and ``apply``: what ``-f`` names, as text for the daemon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import argparse

MAX_BYTES = 8 * 1024 * 1024
SUFFIXES = (".yaml", ".yml")


def register(parser: argparse.ArgumentParser) -> None:
    """``-f``, which may be given several times."""
    parser.add_argument(
        "-f",
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="FILE",
        help="a YAML file, a directory of them, or - for standard input; more than once for files that belong together",
    )


def read(names: list[str]) -> list[dict[str, str]]:
    """Every file as ``{name, text}``. Raises UsageError, NotFoundError."""
    if not names:
        raise UsageError("there is no file", next_step="name it: -f routines.yaml")
    found: list[dict[str, str]] = []
    for name in names:
        if name == "-":
            found.append({"name": "-", "text": _decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")})
            continue
        found += [{"name": str(path), "text": _text(path)} for path in _paths(Path(name))]
    return found


def _paths(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())
    if not found:
        raise NotFoundError("has no .yaml files", where=str(path), next_step="name a directory that has some")
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decoded(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise NotFoundError(
            f"cannot be read: {error.strerror}", where=str(path), next_step="look at it: ls -l"
        ) from None


def _decoded(data: bytes, where: str) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"is larger than {MAX_BYTES} bytes", where=where, next_step="split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("is not UTF-8", where=where, next_step="save it as UTF-8") from None
