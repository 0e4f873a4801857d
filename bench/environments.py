"""Environments of their own, made on demand below bench/.peers: one for the wheel of this tree, one for each peer."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import REAL_PYTHON

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench/.peers"
REQUIREMENTS = {"supervisor": "supervisor", "circus": "circus", "hermes-agent": "hermes-agent[messaging,mcp]"}
PIP = ["-m", "pip", "--disable-pip-version-check", "-q"]


class NotAvailableError(Exception):
    """A peer cannot be had or run here; the text says why."""


def peer(name: str) -> Path:
    """The bin directory of a peer's environment, installed if it is not there yet. Raises NotAvailableError."""
    return _environment(PEERS / name, REQUIREMENTS[name], [REQUIREMENTS[name]])


def build_wheel() -> None:
    """Put this tree's wheel into an environment of its own, as a user has it: anew when a file has changed.

    An editable installation would measure its import hooks instead.
    """
    target, digest = PEERS / "hermesd", _source_digest()
    if _is_made(target, digest):
        return
    wheels = PEERS / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run([sys.executable, *PIP, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    _environment(target, digest, [str(next(wheels.glob("hermesd-*.whl")))])


def installed_wheel() -> Path:
    """The bin directory that ``build_wheel`` has filled: the same for all parts, even if the tree changes."""
    return PEERS / "hermesd/bin"


def _environment(target: Path, stamp: str, packages: list[str]) -> Path:
    if not _is_made(target, stamp):
        print(f"making {target.relative_to(ROOT)}", file=sys.stderr)
        shutil.rmtree(target, ignore_errors=True)
        PEERS.mkdir(exist_ok=True)
        (PEERS / ".gitignore").write_text("*\n")
        subprocess.run([REAL_PYTHON, "-m", "venv", str(target)], check=True)
        install = [str(target / "bin/python"), *PIP, "install", *packages]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotAvailableError(f"pip could not install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
        (target / ".stamp").write_text(stamp)
    return target / "bin"


def _is_made(target: Path, stamp: str) -> bool:
    try:
        return (target / ".stamp").read_text() == stamp
    except FileNotFoundError:
        return False


def _source_digest() -> str:
    digest = hashlib.sha256()
    files = [ROOT / "pyproject.toml", *(ROOT / "scripts").iterdir()]
    files += [path for name in ("hermesd", "hermesctl") for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()
