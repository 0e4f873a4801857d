"""Asking before anything is done: a turn that a watch begins in suggest mode starts with a question to its user.

    event ──► "notes.md changed. Shall I …?" ──► yes ──► the turn
                                             ├─► always ──► the watch asks no more, the turn
                                             └─► no, or no answer in time ──► dropped, and recorded

The question is put where the answer is delivered. Who is there to say yes is there for the turn's own requests for
approval too: such a turn is attended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError
from hermesd.turns.persist import persist
from hermesd.turns.questions import means_always, means_no, means_yes

if TYPE_CHECKING:
    from hermesd.store.protocol import Store
    from hermesd.store.records import InboxRow, QuestionRow
    from hermesd.turns.scope import TurnScope

SUGGEST = "suggest"
"""In an event's ``meta``: what its user is asked first."""
WATCH = "watch"
"""In an event's ``meta``: the id of the watch it came of."""

KEY = "suggest"
OPTIONS = ["yes", "no", "always"]
MAX_ANSWER = 40
NOT_WANTED = "not wanted"
NO_ANSWER = "nobody answered in time"


def begins_with_question(event: InboxRow) -> bool:
    """Whether its user is asked first, and so can be asked."""
    return SUGGEST in event.meta


async def refusal(scope: TurnScope) -> str:
    """Ask, if that is wanted; why the turn must not go on, or ''. Asked once, also over a restart."""
    if not begins_with_question(scope.event):
        return ""
    answer = await scope.put_question("approve", KEY, scope.event.meta[SUGGEST], OPTIONS)
    if answer is None:
        return NO_ANSWER
    if not means_yes(answer):
        return NOT_WANTED
    if means_always(answer):
        watch_id = scope.event.meta.get(WATCH, "")
        await persist(lambda: scope.bench.store.watches.act_always(watch_id))
    return ""


async def asked_here(store: Store, row: InboxRow, *, text: str) -> QuestionRow | None:
    """The newest open question of such a turn in the chat of a message, if the message clearly answers it.

    Anything else that is written in that chat is a message like any other: it must not be taken for a no.
    """
    if not 0 < len(text.strip()) <= MAX_ANSWER:
        return None
    for question in reversed(await persist(lambda: store.open_questions(profile=row.profile))):
        if _answers(question, text) and await _is_here(store, question, row):
            return question
    return None


def _answers(question: QuestionRow, text: str) -> bool:
    if question.kind == "approve":
        return means_yes(text) or means_no(text)
    return text.strip().casefold() in [option.casefold() for option in question.options]


async def _is_here(store: Store, question: QuestionRow, row: InboxRow) -> bool:
    try:
        turn = await persist(lambda: store.turn(question.turn_id))
        event = await persist(lambda: store.inbox_row(turn.inbox_id))
    except NotFoundError:
        return False
    there, here = event.address, row.address
    same = (there.platform, there.chat, there.thread) == (here.platform, here.chat, here.thread)
    return same and begins_with_question(event)
