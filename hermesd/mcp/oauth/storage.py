"""mcp-tokens/: what one server's sign-in left on disk, shared with the command line and with hermes-agent.

``<server>.json`` holds tokens, ``<server>.client.json`` the RFC 7591 registration, ``<server>.meta.json`` the RFC 8414
metadata (our own notes under ``hermesd``), ``<server>.dpop.json`` the key that the tokens are bound to. All are 0600
and replaced in one step. Who changes them, or presents the refresh token, holds ``.<server>.lock`` (flock), so that two
processes never use one refresh token twice.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio

from hermesd.errors import ConfigError
from hermesd.file_lock import FileLock, open_lock
from hermesd.home import make_private_directory, read_bounded, write_private
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.metadata import Tokens, tokens_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 256 * 1024
LOCK_TIMEOUT_S = 45.0
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


class Stamp(NamedTuple):
    """What tells one version of a file from another; ``ctime_ns`` changes with its owner and mode too."""

    mtime_ns: int
    ctime_ns: int
    inode: int
    size: int


def safe_file_name(server: str) -> str:
    """The file name, less its suffix, of a server: the name itself where that is safe.

    Others get ``_`` for every odd character and a digest, so that no two servers share one file of tokens.
    """
    if SAFE_NAME.fullmatch(server):
        return server
    digest = hashlib.sha256(server.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', server)[:80]}-{digest}"


class TokenStorage:
    """One server's files. Reads never raise for what is in a file; writes raise OSError and ConfigError."""

    def __init__(self, directory: Path, server: str) -> None:
        name = safe_file_name(server)
        self.server = server
        self.directory = directory
        self.tokens_path = directory / f"{name}.json"
        self.client_path = directory / f"{name}.client.json"
        self.meta_path = directory / f"{name}.meta.json"
        self.key_path = directory / f"{name}.dpop.json"
        self._lock_path = directory / f".{name}.lock"
        self._unfinished = re.compile(rf"\.{name}(\.[a-z]+)?\.json\.[0-9a-f]{{12}}")  # as home.write_private names them
        self._damaged_path = directory / f"{name}.json.damaged"
        self._retired_path = directory / f"{name}.client.json.bak"
        self._warned: dict[Path, Stamp | None] = {}
        self._token_problem = ""
        # A wait that was given up keeps its thread until the lock is free: one for each server, so that whoever holds
        # one lock for ever takes no threads from the other servers.
        self._lock_threads = trio.CapacityLimiter(1)

    # -- reading -----------------------------------------------------------------------------------------------------
    def stamp(self) -> Stamp | None:
        """The version of the token file; None when there is none."""
        return _stamp(self.tokens_path)

    def read_tokens(self) -> Tokens | None:
        """The tokens; None when the file is absent, half-written or not ours to understand (logged once).

        Without ``expires_at`` (legacy) the token's life is counted from the file's mtime.
        """
        stamp = self.stamp()
        self._token_problem = ""
        found = self._read(self.tokens_path)
        tokens = tokens_from(found, now=stamp.mtime_ns / 1e9 if stamp else time.time()) if found else None
        if found and tokens is None:
            self._warn(self.tokens_path, "holds no access token")
        return tokens

    def why_no_tokens(self) -> str:
        """What was wrong with the token file when it was last read; "" when nothing was, or there was none."""
        return self._token_problem

    def read_client(self) -> dict[str, object]:
        """The registration; empty when there is none that can be read."""
        return self._read(self.client_path)

    def read_meta(self) -> dict[str, object]:
        """The authorization server's metadata; empty when there is none that can be read."""
        return self._read(self.meta_path)

    def read_key(self) -> dict[str, object]:
        """The key that the tokens are bound to; empty when there is none that can be read."""
        return self._read(self.key_path)

    def _read(self, path: Path) -> dict[str, object]:
        try:
            found = msgspec.json.decode(read_bounded(path, max_bytes=MAX_FILE_BYTES))
        except FileNotFoundError:
            return {}
        except OSError as error:
            is_link = error.errno == errno.ELOOP
            self._warn(path, "is a symbolic link" if is_link else f"cannot be read ({error.strerror})")
            return {}
        except ConfigError as error:
            self._warn(path, error.what)
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._warn(path, "is not JSON: half-written or damaged")
            return {}
        if isinstance(found, dict):
            return found
        self._warn(path, "is not a JSON object")
        return {}

    def _warn(self, path: Path, problem: str) -> None:
        if path == self.tokens_path:
            self._token_problem = problem
        version = _stamp(path)
        if path not in self._warned or self._warned[path] != version:
            self._warned[path] = version
            logger.warning("%s %s; it is left as it is", path.name, problem, extra={"fields": {"server": self.server}})

    # -- writing; the caller holds the lock --------------------------------------------------------------------------
    def write_tokens(self, tokens: Tokens) -> None:
        """Replace the tokens. A file that could not be understood is kept beside it as ``….damaged``."""
        make_private_directory(self.directory)
        self._sweep()
        if self.stamp() is not None and self.read_tokens() is None:
            with contextlib.suppress(OSError):
                self.tokens_path.replace(self._damaged_path)
        self._write(self.tokens_path, tokens.to_file())

    def write_client(self, client: Mapping[str, object]) -> None:
        """Replace the registration."""
        self._write(self.client_path, client)

    def write_meta(self, meta: Mapping[str, object]) -> None:
        """Replace the metadata."""
        self._write(self.meta_path, meta)

    def write_key(self, key: Mapping[str, object]) -> None:
        """Replace the key. It is written before tokens that are bound to it."""
        self._write(self.key_path, key)

    def retire_client(self) -> None:
        """The registration is no longer known to its server: keep it as ``.client.json.bak``, forget the metadata.

        The tokens stay: an access token may well outlive the registration.
        """
        with contextlib.suppress(FileNotFoundError):
            self.client_path.replace(self._retired_path)
        self.meta_path.unlink(missing_ok=True)

    def remove_tokens(self) -> bool:
        """Delete the tokens and keep who we are to the server; whether there were any."""
        found = _unlink(self.tokens_path, self._damaged_path)
        _unlink(self.key_path)
        self._sweep()
        return found

    def remove(self) -> bool:
        """Delete all that is stored, what was set aside too; whether there was anything. The lock file stays."""
        tokens = self.remove_tokens()
        return _unlink(self.client_path, self.meta_path, self._retired_path) or tokens

    def _sweep(self) -> None:
        """Delete what a writer who was killed has left; it may hold tokens."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.directory.iterdir():
                if self._unfinished.fullmatch(path.name):
                    _unlink(path)

    def _write(self, path: Path, value: object) -> None:
        make_private_directory(self.directory)
        write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

    # -- the lock between processes ----------------------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def lock(self, timeout_s: float = LOCK_TIMEOUT_S) -> AsyncIterator[None]:
        """Hold the server's lock file. Raises McpError(down) when another process keeps it for ``timeout_s``.

        Raises ConfigError for a lock file that is none, OSError.
        """
        held: FileLock | None = None
        with trio.move_on_after(timeout_s):
            held = await self._take()
        if held is None:
            raise McpError(
                f"another process has held the tokens of {self.server!r} for {timeout_s:g} s",
                kind="down",
                where=str(self._lock_path),
                next_step="see which `hermesctl mcp login` is still running",
            )
        with contextlib.closing(held):
            yield

    async def _take(self) -> FileLock:
        path = str(self._lock_path)
        while True:
            make_private_directory(self.directory)
            attempt = FileLock(open_lock(path, None, path))
            try:
                await trio.to_thread.run_sync(attempt.wait, abandon_on_cancel=True, limiter=self._lock_threads)
                if attempt.is_still(path):
                    return attempt
            except BaseException:  # a cancel above all: whoever comes last closes the file
                attempt.close()
                raise
            attempt.close()


def _unlink(*paths: Path) -> bool:
    """Delete files; whether there was any."""
    found = False
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            found = True
    return found


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
