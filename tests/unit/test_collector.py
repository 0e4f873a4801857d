"""The settings of the garbage collector."""

from __future__ import annotations

import ast
import gc
import threading
from pathlib import Path

import pytest

from hermesd import collector

ROOT = Path(__file__).parents[2]


def test_the_last_import_to_end_brings_back_what_was_before() -> None:
    """Two threads that import at a time do not take each other's setting for the usual one."""
    usual = gc.get_threshold()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector.importing():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with collector.importing():
        thread.start()
        assert inside.wait(60)
    assert gc.get_threshold()[0] == collector.IMPORTING
    leave.set()
    thread.join()
    assert gc.get_threshold() == usual


def test_an_import_that_fails_brings_it_back_too() -> None:
    """An exception passes through."""
    usual = gc.get_threshold()
    with pytest.raises(ImportError), collector.importing():
        raise ImportError
    assert gc.get_threshold() == usual


def test_no_other_module_touches_the_collector() -> None:
    """Its settings are the process's."""
    touching = [
        path.name
        for path in (ROOT / "hermesd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(alias.name == "gc" for alias in node.names)
    ]
    assert touching == ["collector.py"]
