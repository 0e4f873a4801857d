"""Comparing what work costs: linear, quadratic and constant work are told apart."""

from __future__ import annotations

import threading

import pytest

from tests import cost
from tests.cost import LINEAR, Work, growth, least_seconds, ratio


def linear(size: int) -> Work:
    """Looks at every item once."""
    items = list(range(size))
    return lambda: sum(item * item for item in items)


def quadratic(size: int) -> Work:
    """Looks at every item once for every item."""
    items = list(range(size))
    return lambda: sum(left * right for left in items for right in items)


def test_quadratic_work_is_told_from_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound that tests use stands between the two."""
    assert growth(linear, 20_000) < LINEAR
    monkeypatch.setattr(cost, "PATIENCE_S", 0.5)  # for it would be tried for long
    assert growth(quadratic, 50) > LINEAR


def test_constant_work_does_not_grow() -> None:
    """What costs the same at every size is far below the bound, also when making it takes long."""

    def constant(size: int) -> Work:
        quadratic(size)()
        return linear(20_000)

    assert growth(constant, 50) < LINEAR / 4


def test_work_is_compared_with_a_reference_of_the_same_run() -> None:
    """Thirty times the work is about thirty times the cost."""
    assert 10 < ratio(linear(300_000), linear(10_000)) < 90


def test_trying_goes_on_while_the_machine_is_slow() -> None:
    """A try that was disturbed is not the last one, if without it the ratio might be small enough."""
    work = linear(20_000)
    disturbances = iter([quadratic(400)] * 5)

    def disturbed() -> None:
        next(disturbances, work)()

    assert ratio(disturbed, work, enough=3) < 3


def test_waiting_costs_nothing() -> None:
    """CPU of this thread is counted: neither its sleep, nor what another thread works meanwhile."""
    other = threading.Thread(target=linear(1_000_000))
    other.start()
    waited = least_seconds(other.join, tries=1)
    assert waited < least_seconds(linear(1_000_000)) / 4
