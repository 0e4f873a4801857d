"""``webhooks:``, with the fields of ``platforms.webhook.routes``. Without ``secret`` one is made, in .env."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.config.raw import is_set
from hermesd.config.schema import WebhookRoute
from hermesd.config.secret_keys import variable_for
from hermesd.config.write import Edit
from hermesd.errors import ConflictError, UsageError
from hermesd.manifest.config_entries import ConfigEntries, nested
from hermesd.manifest.document import entry_shape
from hermesd.manifest.entry import profile_at
from hermesd.triggers.webhook_check import check_route
from hermesd.triggers.webhook_route import check_name, new_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.config.schema import Config
    from hermesd.manifest.entry import Batch, Change, Entry, Key
    from hermesd.manifest.merge import Fields

_ENABLED = ("platforms", "webhook", "enabled")


class Webhooks(ConfigEntries):
    """See ``entry.Kind``."""

    section = "webhooks"
    noun = "webhook"
    shape = entry_shape(WebhookRoute, secret_env=str)
    path = ("platforms", "webhook", "routes")
    blank = WebhookRoute()

    def sections(self, config: Config) -> Mapping[str, WebhookRoute]:
        """The routes."""
        return config.platforms.webhook.routes

    def defaults(self, key: Key) -> Fields:
        """The secret is the variable that is named after the route."""
        return {**super().defaults(key), "secret": _reference(key)}

    def expect(self, entries: Iterable[Entry]) -> None:
        """Routes whose variables have one name cannot both have theirs made (a-b and a_b)."""
        names: dict[tuple[str, str], str] = {}
        for key in [*(entry.key for entry in entries if not entry.fields.keys() & {"secret", "secret_env"})]:
            place = (key.profile, _reference(key))
            if names.setdefault(place, key.name) != key.name:
                raise ConflictError(
                    f"webhooks {names[place]!r} and {key.name!r} would have one secret", next_step="rename one of them"
                )

    def check(self, entry: Entry) -> Fields:
        """As ``webhook subscribe``: targets that exist, filters that can be used."""
        check_name(entry.key.name)
        fields = super().check(entry)
        if fields.get("scheme", "hmac") != "hmac" and fields.keys() & {"header", "algorithm"}:
            raise UsageError("header and algorithm are for `scheme: hmac`", next_step="leave them out")
        route = msgspec.convert(nested(fields), WebhookRoute)
        profile = profile_at(self._daemon.home, entry.key.profile)
        check_route(route, self.configs[entry.key.profile], profile=profile, where="")
        return fields

    def enact(self, change: Change, batch: Batch) -> None:
        """The section, its secret, and the platform itself where nobody has said whether it is on."""
        super().enact(change, batch)
        key, reference = change.key, _reference(change.key)
        variable = reference[2:-1]
        edits = batch.of(key.profile)
        if change.step.action == "delete":
            if self.files[key.profile].decode("utf-8", "replace").count(reference) == 1:
                edits.variables[variable] = None
            return
        assert change.fields is not None
        is_new = change.step.action == "create"
        if "secret" not in change.fields and (is_new or any(field.name == "secret" for field in change.step.fields)):
            edits.config.append(Edit((*self.path, key.name, "secret"), reference))
            if variable not in self.variables(key.profile):
                edits.variables[variable] = new_secret(change.fields.get("scheme", "auto"))
        if is_new and not is_set(self.files[key.profile], "config.yaml", _ENABLED):
            edits.config.append(Edit(_ENABLED, value=True))


def _reference(key: Key) -> str:
    return f"${{{variable_for(f'platforms.webhook.routes.{key.name}.secret')}}}"
