"""The read-only verbs of jobs, watches and webhooks; loaded when the first of them is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc import cron, watch, webhook
from hermesd.rpc.console_answer import answering, limit_of
from hermesd.rpc.render import cron as render_cron
from hermesd.rpc.render import watch as render_watch
from hermesd.rpc.render import webhook as render_webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.console_answer import Answer
    from hermesd.rpc.console_arguments import Call
    from hermesd.rpc.context import Daemon

RUNS = 20


def _is_everywhere(call: Call) -> bool:
    return "all" in call.values


def _reference(call: Call) -> str:
    """The one that is meant; '' for all."""
    return call.words[0] if call.words else ""


ROUTINE_VERBS: dict[str, Callable[[Call, Daemon], Awaitable[Answer]]] = {
    "cron list": answering(
        lambda call, daemon: cron.listing(daemon, call.profile, everywhere=_is_everywhere(call)),
        render_cron.render_list,
    ),
    "cron show": answering(
        lambda call, daemon: cron.one(daemon, _reference(call), call.profile), render_cron.render_one
    ),
    "cron runs": answering(
        lambda call, daemon: cron.runs(daemon, _reference(call), call.profile, limit_of(call, RUNS)),
        render_cron.render_runs,
    ),
    "watch list": answering(
        lambda call, daemon: watch.listing(daemon, call.profile, everywhere=_is_everywhere(call)),
        render_watch.render_list,
    ),
    "watch show": answering(
        lambda call, daemon: watch.one(daemon, _reference(call), call.profile), render_watch.render_one
    ),
    "watch runs": answering(
        lambda call, daemon: watch.runs(daemon, _reference(call), call.profile, limit_of(call, RUNS)),
        render_watch.render_runs,
    ),
    "webhook list": answering(lambda call, daemon: webhook.listing(daemon, call.profile), render_webhook.render_list),
    "webhook show": answering(
        lambda call, daemon: webhook.one(daemon, _reference(call), call.profile), render_webhook.render_one
    ),
}
