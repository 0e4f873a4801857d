"""Running a plugin's code for the first time."""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path

import pytest

from hermesd.home import Profile
from hermesd.plugins.context import PluginContext
from hermesd.plugins.discovery import discover
from hermesd.plugins.errors import PluginError
from hermesd.plugins.loading import load
from tests.servers.plugin_home import write_plugin


def loaded(home: Path, name: str, *, profile: str = "default") -> PluginContext:
    """After ``register``."""
    context = PluginContext(name, profile=profile, env={}, timeout_s=5.0, taken=())
    load(discover(Profile(profile, home), home)[name], context)
    return context


def test_a_secret_in_what_a_plugin_raises_is_not_repeated(tmp_path: Path) -> None:
    """It would stand in the list, in the events and in the log."""
    write_plugin(tmp_path, "leaky", "raise ValueError('no luck with sk-ant-api03-abcdefghijklmnopqrstuvwxyz')")
    with pytest.raises(PluginError, match="no luck with") as caught:
        loaded(tmp_path, "leaky")
    assert "abcdefghij" not in str(caught.value)


@pytest.mark.parametrize(("profile", "option"), [("default", ""), ("coder", "-p coder ")])
def test_a_variable_that_is_missing_is_asked_for_without_its_value_in_the_arguments(
    tmp_path: Path, profile: str, option: str
) -> None:
    """Arguments are seen by everybody on a machine; and the command is that of the right profile."""
    write_plugin(tmp_path, "needy", manifest="name: needy\nrequires_env: [A_KEY]\n")
    with pytest.raises(PluginError, match="needs A_KEY") as caught:
        loaded(tmp_path, "needy", profile=profile)
    assert caught.value.next_step == f"run `hermesctl {option}config set A_KEY -` and type its value"


def test_a_plugin_is_loaded_while_other_threads_import(tmp_path: Path) -> None:
    """The table of modules changes meanwhile."""
    write_plugin(tmp_path, "greeter")
    is_over = threading.Event()

    def importing() -> None:
        number = 0
        while not is_over.is_set():
            name = f"hermesd_test_module_{number % 5000}"
            if sys.modules.pop(name, None) is None:
                sys.modules[name] = types.ModuleType(name)
            number += 1

    other = threading.Thread(target=importing)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    other.start()
    try:
        for _ in range(30):
            assert loaded(tmp_path, "greeter").close()[0]
    finally:
        is_over.set()
        other.join()
        sys.setswitchinterval(interval)
        for name in [name for name in list(sys.modules) if name.startswith("hermesd_test_module_")]:
            del sys.modules[name]
