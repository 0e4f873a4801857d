"""The plugins' own environment: packages by name, installed by uv beside hermesd and never into it.

``plugins/.sidecar/HASH`` is a virtual environment named by what it is made of, ``current`` a link to the one in force.
A new one is built under another name, looked at, renamed and only then linked to. So whatever goes wrong, also the
network, leaves the old one in force. uv (https://docs.astral.sh/uv/) resolves against the versions that hermesd itself
has, which stay the ones that are imported: the environment comes last on ``sys.path`` (``plugins.sidecar_path``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.activation.plugins import PLUGINS
from hermesd.deploy.container.files import link_target, make_directory, opened, replace_link
from hermesd.errors import ConfigError, HermesError
from hermesd.plugins.collisions import collisions, own_packages
from hermesd.plugins.sidecar_path import CURRENT, DIRECTORY, site_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_SPECS = 64
MAX_SPEC_CHARS = 1000
TIMEOUT_S = 240.0
"""For all of uv's work: a service whose start includes this has TimeoutStartSec=300, and is to start all the same."""
MAX_OUTPUT = 1500  # characters of uv's own words in a warning
ALLOWED = frozenset(
    """PATH HOME USER LANG LC_ALL TMPDIR XDG_CACHE_HOME XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_DATA_HOME SSL_CERT_FILE
    SSL_CERT_DIR HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy UV_CACHE_DIR
    UV_CONFIG_FILE UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_HTTP_TIMEOUT UV_INDEX UV_INDEX_URL UV_NO_INDEX
    UV_OFFLINE""".split()  # noqa: SIM905 - twenty-four names read better like this
)
"""Variables that uv gets: those it needs to reach an index. Secrets of the daemon's are not among them."""
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEFT = re.compile(r"\.build-[0-9a-f]{12}|\.current\.[0-9a-f]{12}", re.ASCII)
_USER = re.compile(r"(?<=://)[^/@\s]+@", re.ASCII)


class Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``specs`` as pip takes them: names with versions, ``git+https://…``, absolute paths. ``python`` '': this one."""

    specs: list[str] = []
    python: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. ``build`` is what a dry run would do; ``kept``: it could not be built, see ``warning``."""

    state: Literal["none", "current", "build", "built", "removed", "kept"]
    name: str = ""
    warning: str = ""


class _BuildError(HermesError):
    """uv, or what it has built, is of no use."""


def shown(spec: str) -> str:
    """A spec without what of it may be secret: name and password in a URL."""
    from hermesd.redact import REDACTOR

    return REDACTOR.redact(_USER.sub("", spec))


def check_sidecar(declared: Sidecar, where: str) -> None:
    """Raise ConfigError for what must not reach a command line; ``where`` names the manifest."""
    if len(declared.specs) > MAX_SPECS:
        raise ConfigError(f"sidecar: more than {MAX_SPECS} specs", where=where, next_step="declare fewer")
    for spec in declared.specs:
        what = f"sidecar: {shown(spec[:MAX_SPEC_CHARS])[:80]!r} is no package"
        if not spec or len(spec) > MAX_SPEC_CHARS or not spec.isprintable() or spec != spec.strip():
            raise ConfigError(what, where=where, next_step="write NAME or NAME==1.0")
        if spec.startswith(("-", ".")):
            step = "options are not taken, and paths are absolute"
            raise ConfigError(what, where=where, next_step=step)
    if declared.python and not Path(declared.python).is_absolute():
        what = f"sidecar: python {declared.python[:80]!r} is not an absolute path"
        raise ConfigError(what, where=where, next_step="write it out")


def build_sidecar(
    home: int,
    declared: Sidecar,
    where: str,
    *,
    dry_run: bool = False,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Have the declared environment in force, or none. ``home`` is the open directory of the home, ``where`` its path.

    What cannot be built is an outcome with a warning. Raises ConfigError (see ``check_sidecar``, or for a link in the
    way) and OSError.
    """
    check_sidecar(declared, where)
    name = _name(declared) if declared.specs else ""
    with _directory(home, where, make=bool(name) and not dry_run) as fd:
        if fd is None:
            return Outcome("build", name) if name else Outcome("none")
        if dry_run:
            return _would(fd, name)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not name:
            return _remove(fd)
        if link_target(CURRENT, below=fd) == name and _is_there(fd, name):
            _sweep(fd, keep=name)
            return Outcome("current", name)
        if not _is_there(fd, name):
            try:
                _build(fd, name, declared, where, environ=_environment(environ), timeout_s=timeout_s)
            except _BuildError as error:
                return Outcome("kept", link_target(CURRENT, below=fd) or "", _told(error, fd))
            finally:
                _sweep(fd, keep=None)
        replace_link(CURRENT, name, below=fd, where=f"{where}/{PLUGINS}/{DIRECTORY}/{CURRENT}")
        os.fsync(fd)
        _sweep(fd, keep=name)
        return Outcome("built", name)


def _name(declared: Sidecar) -> str:
    """Changes with the interpreter, the specs, and the versions that hermesd has."""
    parts = [os.path.realpath(declared.python or sys.executable), declared.specs, sorted(own_packages().items())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


@contextlib.contextmanager
def _directory(home: int, where: str, *, make: bool) -> Iterator[int | None]:
    """``plugins/.sidecar``, reached without following a link; None when it is not there."""
    with contextlib.ExitStack() as stack:
        fd, path = home, where
        for name in (PLUGINS, DIRECTORY):
            path = f"{path}/{name}"
            if make:
                make_directory(name, below=fd, mode=0o700)
            try:
                fd = stack.enter_context(opened(name, below=fd, where=path))
            except FileNotFoundError:
                yield None
                return
        yield fd


def _would(fd: int, name: str) -> Outcome:
    live = link_target(CURRENT, below=fd)
    if not name:
        return Outcome("removed" if live is not None else "none")
    return Outcome("current" if live == name and _is_there(fd, name) else "build", name)


def _remove(fd: int) -> Outcome:
    was_there = link_target(CURRENT, below=fd) is not None
    if was_there:
        os.unlink(CURRENT, dir_fd=fd)
        os.fsync(fd)
    _sweep(fd, keep="")
    return Outcome("removed" if was_there else "none")


def _is_there(fd: int, name: str) -> bool:
    """One is there under its name only when it is whole."""
    try:
        with opened(name, below=fd, where=name):
            return True
    except FileNotFoundError:
        return False


def _sweep(fd: int, *, keep: str | None) -> None:
    """Remove what a killed run left and, unless ``keep`` is None, every environment but that one."""
    with os.scandir(fd) as rows:
        found = [(row.name, row.is_dir(follow_symlinks=False)) for row in rows]
    for name, is_directory in found:
        if _LEFT.fullmatch(name) or (keep is not None and _HASH.fullmatch(name) and name != keep):
            if is_directory:
                shutil.rmtree(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)


# -- building ----------------------------------------------------------------------------------------------------------


def _build(fd: int, name: str, declared: Sidecar, where: str, *, environ: Mapping[str, str], timeout_s: float) -> None:
    """Build it under another name, look at it, and give it its own."""
    uv, deadline = _uv(environ), time.monotonic() + timeout_s
    building = f".build-{os.urandom(6).hex()}"
    place = _by_descriptor(fd, f"{where}/{PLUGINS}/{DIRECTORY}")
    python = declared.python or sys.executable
    with tempfile.NamedTemporaryFile("w", prefix="hermesd-constraints-", suffix=".txt") as constraints:
        constraints.writelines(f"{package}=={version}\n" for package, version in sorted(own_packages().items()))
        constraints.flush()
        made = [uv, "venv", "--quiet", "--no-project", "--relocatable", "--python", python, building]
        into = ["--python", f"{building}/bin/python", "--link-mode", "copy", "--constraints", constraints.name]
        _run(made, place, environ, deadline)
        _run([uv, "pip", "install", "--quiet", *into, "--", *declared.specs], place, environ, deadline)
    packages = site_packages(place / building)
    if not packages.is_dir():
        what = f"{python} is another Python than hermesd's {sys.version_info[0]}.{sys.version_info[1]}"
        raise _BuildError(what, next_step="leave sidecar.python out")
    if found := collisions([packages]):
        raise _BuildError("; ".join(found), next_step="leave them out, or ask for the version that hermesd has")
    os.sync()  # under its own name it is whole, also after a power cut
    os.rename(building, name, src_dir_fd=fd, dst_dir_fd=fd)
    os.fsync(fd)


def _uv(environ: Mapping[str, str]) -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv", path=environ.get("PATH"))
    if not found:
        raise _BuildError("there is no uv", next_step="install it (pip install uv), or put it on the service's PATH")
    return found


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    base = os.environ if environ is None else environ
    chosen = {name: value for name, value in base.items() if name in ALLOWED}
    return {**chosen, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def _by_descriptor(fd: int, path: str) -> Path:
    """The directory by its descriptor where the system has that, so that a link put in its place is not followed."""
    found = Path(f"/proc/self/fd/{fd}")
    return found if found.is_dir() else Path(path)


def _run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], deadline: float) -> None:
    """Raises _BuildError with the end of what it said, when it fails or takes too long."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _BuildError("uv took too long, and was ended", next_step="try again later") from None
        finally:
            if process.poll() is None:  # also when this run itself is interrupted
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0:
            raise _BuildError(f"uv failed: {_end_of(output.fileno())}", next_step="correct sidecar.specs, or try again")


def _end_of(output: int) -> str:
    from hermesd.mcp.sanitize import visible

    size = os.fstat(output).st_size
    text = os.pread(output, 4 * MAX_OUTPUT, max(0, size - 4 * MAX_OUTPUT)).decode(errors="replace")
    words = " ".join(visible(text).split())
    return shown(words)[-MAX_OUTPUT:] or "without a word"


def _told(error: HermesError, fd: int) -> str:
    kept = "the one before stays" if link_target(CURRENT, below=fd) else "there is none"
    return f"the packages for plugins could not be installed, {kept}: {error}"
