"""What work costs beside other work of the same run.

A bound in seconds holds on the machine it was measured on, and only while nothing else runs there. What a test wants to
know is nearly always a comparison: with the same work at another size, or with other work at the same size. Both sides
of it are measured here in turn, in CPU seconds of the calling thread, and the least of several tries counts: a shared
machine adds and never takes away. Figures in seconds are for bench/.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Awaitable, Callable

Work = Callable[[], object]

TRIES = 3
PATIENCE_S = 10.0  # of CPU, for tries after these
LINEAR = 2.5  # times the factor of the sizes: what grows by less is linear


def seconds(work: Work) -> float:
    """CPU seconds of one call, in this thread: other threads and other programs are not counted."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def least_seconds(work: Work, *, tries: int = TRIES) -> float:
    """CPU seconds of the cheapest of ``tries`` calls."""
    return min(seconds(work) for _ in range(tries))


def ratio(work: Work, reference: Work, *, enough: float = 0.0) -> float:
    """How many times the cost of ``reference`` one call of ``work`` costs.

    The two take turns, so that a machine that is slow for a while is slow for both: three times, and longer while the
    ratio is not yet under ``enough``. Work of less than about a millisecond is to be repeated inside ``work``.
    """
    cost = base = math.inf
    began = time.thread_time()
    for tried in itertools.count(1):
        cost, base = min(cost, seconds(work)), min(base, seconds(reference))
        patient = cost >= enough * base and time.thread_time() - began < PATIENCE_S
        if tried >= TRIES and not (enough and patient):
            break
    return cost / base


def growth(make: Callable[[int], Work], size: int, *, factor: int = 8) -> float:
    """How the cost grows from ``size`` to ``factor * size``, as a multiple of ``factor``: about 1 if it is linear.

    ``make`` prepares the work of a size, which is not counted. A cost that is there at every size makes the growth
    less than 1; what is quadratic grows by ``factor``. ``LINEAR`` is as far from the one as from the other with a
    factor of 8.
    """
    return ratio(make(factor * size), make(size), enough=LINEAR * factor) / factor


async def growth_async(cost: Callable[[int], Awaitable[float]], size: int, *, factor: int = 8) -> float:
    """As ``growth``, of what a loop does: ``cost`` gives the CPU seconds of this thread that work of a size took."""
    large = small = math.inf
    began = time.thread_time()
    for tried in itertools.count(1):
        large, small = min(large, await cost(factor * size)), min(small, await cost(size))
        if tried >= TRIES and (large < LINEAR * factor * small or time.thread_time() - began > PATIENCE_S):
            break
    return large / small / factor
