"""``webhook.*``: routes and what became of their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc import webhook as queries
from hermesd.rpc.routes import slow
from hermesd.rpc.wire import ProfileParams
from hermesd.rpc.wire_webhook import WebhookParams, WebhooksResult, WebhookView

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller


@slow("webhook.list")
async def list_routes(caller: Caller, params: ProfileParams) -> WebhooksResult:
    """In the order of their names."""
    return await queries.listing(caller.daemon, params.profile)


@slow("webhook.show")
async def show(caller: Caller, params: WebhookParams) -> WebhookView:
    """One route."""
    return await queries.one(caller.daemon, params.name, params.profile)
