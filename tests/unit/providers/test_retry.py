"""How often is tried again, and after how long, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hermesd.providers.base import (
    Delta,
    Message,
    ModelReply,
    ModelRequest,
    ProviderError,
    ProviderErrorKind,
    Restarted,
    TextDelta,
)
from hermesd.providers.failures import AttemptError
from hermesd.providers.fallback import Fallback
from hermesd.providers.retry import MOST_ATTEMPTS, Backoff, Retrying

REQUEST = ModelRequest(model="m", system="", messages=[Message(role="user", text="hi")])
OTHER = ModelRequest(model="m", system="", messages=[Message(role="user", text="else")])


class Attempts:
    """The provider under the retries: fails as scripted, then answers with its model's name."""

    name = "scripted"

    def __init__(self, *failures: ProviderError) -> None:
        self.failures = list(failures)
        self.at: list[float] = []
        self.closed = 0

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        on_delta(TextDelta("half"))
        if self.failures:
            raise self.failures.pop(0)
        return ModelReply(text=request.model)

    async def aclose(self) -> None:
        self.closed += 1


def failed(kind: ProviderErrorKind = "unavailable", *, retry: bool = True, after_s: float = 0.0) -> AttemptError:
    return AttemptError("it broke", kind=kind, retry=retry, where="host", next_step="Wait", retry_after_s=after_s)


async def ask(provider: Retrying | Fallback, request: ModelRequest = REQUEST) -> list[Delta]:
    deltas: list[Delta] = []
    await provider.complete(request, on_delta=deltas.append)
    return deltas


@given(st.floats(0.01, 10), st.randoms(use_true_random=False))
def test_waits_grow_and_are_never_alike(base_s: float, rng: object) -> None:
    """Each is at least twice the one before and below its ceiling, whatever is drawn."""
    backoff = Backoff(base_s, rng.uniform)  # type: ignore[attr-defined]  # random.Random
    waits = [backoff.next_s() for _ in range(MOST_ATTEMPTS - 1)]
    assert waits[0] >= base_s / 4
    for number, wait in enumerate(waits):
        assert wait <= base_s * 2**number * 1.0000001
    for earlier, later in itertools.pairwise(waits):
        assert later >= 2 * earlier


async def test_failures_are_retried_after_growing_waits(autojump_clock: MockClock) -> None:
    """The first wait is at most the base, and each delta tells the wait that follows it."""
    inner = Attempts(failed(), failed(), failed())
    deltas = await ask(Retrying(inner, max_attempts=4, backoff_s=1.0))
    waits = [delta.delay_s for delta in deltas if isinstance(delta, Restarted)]
    assert [later - earlier for earlier, later in zip(inner.at, inner.at[1:], strict=False)] == pytest.approx(waits)
    assert 0.25 <= waits[0] <= 1 < waits[2] <= 4


async def test_the_endpoint_is_not_asked_before_its_retry_after(autojump_clock: MockClock) -> None:
    """And not at that very instant either, where everybody else comes back."""
    inner = Attempts(failed("rate_limited", after_s=59.0))
    await ask(Retrying(inner))
    assert 59.1 <= inner.at[1] - inner.at[0] <= 59.5


async def test_a_wait_of_more_than_a_minute_is_an_error_at_once(autojump_clock: MockClock) -> None:
    """The turn is put aside for as long as the endpoint wishes."""
    inner = Attempts(failed(after_s=61.0))
    with pytest.raises(ProviderError, match="61 s") as caught:
        await ask(Retrying(inner))
    assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limited", 61.0)
    assert trio.current_time() == inner.at[0]


async def test_what_cannot_succeed_is_not_tried_again(autojump_clock: MockClock) -> None:
    """One attempt, no wait."""
    inner = Attempts(failed("auth", retry=False))
    with pytest.raises(ProviderError):
        await ask(Retrying(inner))
    assert len(inner.at) == 1


@pytest.mark.parametrize(("configured", "made"), [(0, 1), (1, 1), (3, 3), (50, MOST_ATTEMPTS)])
async def test_attempts_are_bounded(autojump_clock: MockClock, configured: int, made: int) -> None:
    """By configuration, and by eight whatever the configuration says."""
    inner = Attempts(*[failed() for _ in range(60)])
    with pytest.raises(ProviderError, match="it broke") as caught:
        await ask(Retrying(inner, max_attempts=configured))
    assert len(inner.at) == made
    assert caught.value.temporary


async def test_a_request_whose_attempts_are_spent_gets_one_when_asked_again(autojump_clock: MockClock) -> None:
    """Until it succeeds; other requests have all of theirs."""
    inner = Attempts(*[failed() for _ in range(4 + 1 + 3)])
    provider = Retrying(inner)
    for _ in range(2):
        with pytest.raises(ProviderError):
            await ask(provider)
    assert len(inner.at) == 4 + 1
    await ask(provider, OTHER)
    assert len(inner.at) == 4 + 1 + 4
    await ask(provider)
    inner.failures = [failed()]
    await ask(provider)
    assert len(inner.at) == 9 + 1 + 2


async def test_a_cancelled_wait_ends_at_once(autojump_clock: MockClock) -> None:
    """An interrupted turn does not sit out its backoff."""
    inner = Attempts(failed(after_s=50.0))
    with trio.move_on_after(1) as scope:
        await ask(Retrying(inner))
    assert scope.cancelled_caught
    assert trio.current_time() - inner.at[0] == pytest.approx(1)


async def test_the_next_model_answers_under_its_own_name(autojump_clock: MockClock) -> None:
    """The request's model is the first provider's business only."""
    first, second = Attempts(failed("auth", retry=False)), Attempts()
    chain = Fallback([(first, "one"), (second, "two")])
    reply = await chain.complete(REQUEST, on_delta=lambda _: None)
    assert reply.text == "two"
    reply = await chain.complete(REQUEST, on_delta=lambda _: None)
    assert reply.text == "m"


async def test_what_the_first_model_streamed_is_declared_void(autojump_clock: MockClock) -> None:
    """A Restarted stands between the two answers."""
    deltas = await ask(Fallback([(Attempts(failed("refused")), "one"), (Attempts(), "two")]))
    assert [type(delta) for delta in deltas] == [TextDelta, Restarted, TextDelta]


async def test_an_overflow_is_not_passed_down_the_chain(autojump_clock: MockClock) -> None:
    """The turn shortens the conversation first."""
    second = Attempts()
    with pytest.raises(ProviderError) as caught:
        await ask(Fallback([(Attempts(failed("overflow", retry=False)), "one"), (second, "two")]))
    assert caught.value.kind == "overflow"
    assert second.at == []


async def test_a_request_for_exactly_one_model_is_not_passed_down_the_chain(autojump_clock: MockClock) -> None:
    """Whoever is restricted to some models must not be answered by another."""
    second = Attempts()
    wanted = msgspec.structs.replace(REQUEST, exact=True)
    with pytest.raises(ProviderError):
        await ask(Fallback([(Attempts(failed(retry=False)), "one"), (second, "two")]), wanted)
    assert second.at == []


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (["auth", "unavailable"], "unavailable"),
        (["rate_limited", "auth"], "rate_limited"),
        (["auth", "refused"], "auth"),
    ],
)
async def test_a_failed_chain_is_temporary_if_one_of_it_is(
    autojump_clock: MockClock, kinds: list[ProviderErrorKind], kind: str
) -> None:
    """Then the message waits; the soonest wish of the chain counts."""
    links = [(Attempts(failed(each, after_s=90.0 if each == "rate_limited" else 0.0)), each) for each in kinds]
    with pytest.raises(ProviderError) as caught:
        await ask(Fallback(links))
    assert caught.value.kind == kind
    assert caught.value.retry_after_s == (90.0 if "rate_limited" in kinds else 0.0)


async def test_closing_the_chain_closes_all_of_it() -> None:
    """Retries and fallbacks pass it on."""
    first, second = Attempts(), Attempts()
    await Fallback([(Retrying(first), ""), (second, "")]).aclose()
    assert (first.closed, second.closed) == (1, 1)
