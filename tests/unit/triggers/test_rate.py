"""The token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermesd.triggers.rate import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_a_steady_rate() -> None:
    """As many at once as a minute has, then one each period; the wait that is told is right."""
    clock = Clock()
    bucket = TokenBucket(30, clock=clock)
    assert [bucket.take() for _ in range(30)] == [0.0] * 30
    wait = bucket.take()
    assert wait > 1.9
    clock.now += wait + 1e-9
    assert bucket.take() == 0.0
    assert bucket.take() > 0


def test_zero_is_without_bound() -> None:
    """A rate of 0 switches the limit off."""
    bucket = TokenBucket(0, clock=Clock())
    assert not any(bucket.take() for _ in range(1000))


@given(st.integers(1, 100), st.lists(st.floats(0, 10), max_size=200))
def test_no_minute_gives_more_than_a_burst_and_the_rate(per_minute: int, pauses: list[float]) -> None:
    """Over any time, at most the burst and what has flowed in."""
    clock = Clock()
    bucket = TokenBucket(per_minute, clock=clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += bucket.take() == 0.0
    assert taken <= per_minute + clock.now * per_minute / 60 + 1e-6
