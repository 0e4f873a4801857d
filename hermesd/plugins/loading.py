"""Running a plugin's code for the first time: import, then ``register(ctx)``. Everything here is for a thread."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from typing import TYPE_CHECKING

from hermesd.home import DEFAULT_PROFILE
from hermesd.plugins.errors import PluginError, said

if TYPE_CHECKING:
    from pathlib import Path

    from hermesd.plugins.context import PluginContext
    from hermesd.plugins.discovery import Candidate

_OTHER = re.compile(r"[^A-Za-z0-9]", re.ASCII)


def load(candidate: Candidate, context: PluginContext, *, told_as: str = "") -> None:
    """Import the plugin anew and let it register. Raises PluginError, whatever the plugin's code raises.

    ``told_as``: what people call the profile after ``hermesctl -p``; '' is its name.
    """
    name = candidate.name
    if candidate.problem:
        raise PluginError(name, candidate.problem, next_step=candidate.next_step)
    if missing := [each for each in candidate.requires_env if not context.env.get(each)]:
        profile = told_as or context.profile_name
        option = "" if profile == DEFAULT_PROFILE else f"-p {profile} "
        step = f"run `hermesctl {option}config set {missing[0]} -` and type its value"
        raise PluginError(name, f"needs {', '.join(missing)}, which is not set", next_step=step)
    try:
        found = _imported(candidate, context.profile_name)
    except PluginError:
        raise
    except BaseException as error:  # somebody else's code may raise anything, and this is a thread
        step = "see the daemon's log, mend the plugin, then enable it again"
        raise PluginError(name, f"cannot be imported: {said(error)}", next_step=step) from error
    register = found if candidate.entry_point and not inspect.ismodule(found) else getattr(found, "register", None)
    if not callable(register):
        raise PluginError(name, "has no register(ctx)", next_step="define it in its __init__.py")
    try:
        given = register(context)
    except PluginError:
        raise
    except BaseException as error:  # see above
        step = "see the daemon's log, mend the plugin, then enable it again"
        raise PluginError(name, f"its register(ctx) failed: {said(error)}", next_step=step) from error
    if inspect.iscoroutine(given):
        given.close()
        raise PluginError(name, "its register(ctx) is async", next_step="make it a plain function")


def _imported(candidate: Candidate, profile: str) -> object:
    if candidate.entry_point is not None:
        return candidate.entry_point.load()
    assert candidate.directory is not None
    directory = candidate.directory
    name = _module_name(candidate.name, directory, profile)
    _forget(name)
    spec = importlib.util.spec_from_file_location(
        name, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    if spec is None or spec.loader is None:
        raise PluginError(candidate.name, f"{directory} is no package", next_step="give it an __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(name)
        raise
    return module


def _module_name(plugin: str, directory: Path, profile: str) -> str:
    """A top-level name of its own for each profile, so that no profile shares a plugin's globals with another."""
    digest = hashlib.sha256(f"{profile}\0{directory}".encode(errors="surrogateescape")).hexdigest()[:12]
    return f"hermes_plugin_{_OTHER.sub('_', plugin)}_{digest}"


def _forget(module: str) -> None:
    for name in list(sys.modules):  # a copy: other threads import meanwhile
        if name == module or name.startswith(f"{module}."):
            sys.modules.pop(name, None)
