"""uv, installed on first use and always in the same version, and small plugin packages that are built for real.

From a shell: ``python -m tests.servers.uv_program`` prints the directory that holds it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import unittest
import zipfile
from pathlib import Path

UV = "uv==0.13.9"
INSTALL_S = 300

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
description = "A plugin of the tests"
dependencies = [{dependencies}]

[project.entry-points."hermes_agent.plugins"]
{plugin} = "{module}"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""


def uv_directory() -> Path:
    """Where the program ``uv`` is, for PATH. Raises SkipTest when it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermesd-tests" / "uv"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = cache / UV.replace("==", "-")
        if not place.exists():
            building = place.with_suffix(".part")
            shutil.rmtree(building, ignore_errors=True)
            _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(building), UV])
            building.rename(place)
    return place / "bin"


def build_wheel(place: Path, plugin: str, code: str, *, name: str = "", version: str = "1.0", needs: str = "") -> Path:
    """A wheel of a package with an entry point, built by hatchling through ``uv build``. Raises SkipTest without it."""
    module = plugin.replace("-", "_")
    project = place / f"{plugin}-{version}"
    (project / module).mkdir(parents=True)
    (project / module / "__init__.py").write_text(code)
    dependencies = f'"{needs}"' if needs else ""
    text = PROJECT.format(name=name or plugin, version=version, plugin=plugin, module=module, dependencies=dependencies)
    (project / "pyproject.toml").write_text(text)
    _run([str(uv_directory() / "uv"), "build", "--quiet", "--wheel", "--out-dir", str(project), str(project)])
    [wheel] = project.glob("*.whl")
    return wheel


def written_wheel(place: Path, name: str, version: str, files: dict[str, str], *, points: str = "") -> Path:
    """A wheel written by hand, which needs no builder (Binary distribution format, PEP 427)."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if points:
        contents[f"{info}/entry_points.txt"] = points
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    wheel = place / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"{Path(command[0]).name} did not end within {INSTALL_S} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        raise unittest.SkipTest(f"{Path(command[0]).name} has no packages here: {' '.join(said)[:200]}") from None


if __name__ == "__main__":
    print(uv_directory())
