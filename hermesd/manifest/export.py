"""What is there as a manifest that plans to nothing; secrets that stand in config.yaml itself are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.errors import HermesError
from hermesd.home import DEFAULT_PROFILE
from hermesd.manifest import secrets
from hermesd.manifest.config_entries import nested
from hermesd.manifest.document import MAX_NAME, NOT_IN_NAMES, PROFILES, VERSION
from hermesd.manifest.kinds import KINDS

if TYPE_CHECKING:
    from hermesd.manifest.entry import Key
    from hermesd.manifest.merge import Fields
    from hermesd.rpc.context import Daemon


async def export(daemon: Daemon, *, profile: str = "") -> str:
    """YAML of one profile, or of all. Raises NotFoundError, StoreError."""
    if profile:
        daemon.home.profile(profile)
    document: Fields = {"version": int(VERSION)}
    left_out: list[str] = []
    for kind_of in KINDS:
        kind = kind_of(daemon, {})
        live = await kind.live()
        for key in sorted(live):
            if profile and key.profile != profile:
                continue
            try:
                fields = kind.unfold(key, live[key])
            except HermesError as error:
                left_out.append(f"{key}: {error.what}")
                continue
            _add(document, key, fields, left_out)
    return _text(document, left_out)


def _add(document: Fields, key: Key, fields: Fields, left_out: list[str]) -> None:
    if len(key.name) > MAX_NAME or key.name != key.name.strip() or NOT_IN_NAMES.search(key.name):
        left_out.append(f"{key}: the name cannot stand in a file")
        return
    shown: Fields = {}
    for name, value in fields.items():
        if secrets.holds_secret(name, value):
            left_out.append(f"{key}: {name} is a secret in config.yaml; move it into .env and refer to it as ${{NAME}}")
        else:
            shown[name] = value
    if key.section == PROFILES:
        if key.name != DEFAULT_PROFILE or shown:
            _below(document, PROFILES, key.name).update(shown)
        return
    place = document if key.profile == DEFAULT_PROFILE else _below(document, PROFILES, key.profile)
    _below(place, key.section, key.name).update(nested(shown))


def _below(document: Fields, *names: str) -> Fields:
    place = document
    for name in names:
        place = place.setdefault(name, {})
    return place


def _text(document: Fields, left_out: list[str]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Texts of several lines are written as such."""

    def text(dumper: Dumper, value: str) -> Any:  # noqa: ANN401 - a node of PyYAML
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    body = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    notes = "".join(f"# left out: {_one_line(line)}\n" for line in left_out)
    return f"{notes}{body}".rstrip("\n")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
