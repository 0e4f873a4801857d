"""What the entry point does before the process begins."""

from __future__ import annotations

import gc

import pytest

from hermesd import __main__, collector, process


def test_garbage_is_collected_as_usual_once_everything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the imports are spared."""
    seen: list[tuple[int, int, int]] = []

    def serve(_options: object) -> int:
        seen.append(gc.get_threshold())
        return 7

    monkeypatch.setattr(process, "serve", serve)
    usual = gc.get_threshold()
    assert __main__.main([]) == 7
    assert seen == [usual]
    assert usual[0] < collector.IMPORTING
