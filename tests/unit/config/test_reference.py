"""The documentation and the JSON Schema say what the schema does, and nothing heavy is imported without need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermesd.config import docs
from hermesd.config.convert import Reading
from hermesd.config.document import parse
from hermesd.config.environment_keys import VARIABLES
from hermesd.config.foreign import ALIASES, KNOWN, RENAMED
from hermesd.config.reference import DESCRIPTIONS, json_schema
from hermesd.config.schema import Config
from hermesd.config.shape import leaves, shape_of
from hermesd.config.validate import RANGES

KEYS = dict(leaves(shape_of(Config)))


def test_every_key_is_described_and_nothing_else_is() -> None:
    """A new setting fails here until it has its sentence."""
    assert DESCRIPTIONS.keys() == KEYS.keys()
    assert all(text.endswith(".") for text in DESCRIPTIONS.values())


def test_every_number_has_its_range() -> None:
    """A new number fails here until its bounds are decided."""
    numbers = {key for key, shape in KEYS.items() if shape.scalars & {int, float} and not shape.scalars & {str}}
    assert {key for key in numbers if not key.startswith("fallback_providers")} == RANGES.keys()
    assert set(VARIABLES.values()) <= KEYS.keys()


def test_the_page_is_not_stale() -> None:
    """docs/configuration.md is what `python -m hermesd.config.docs` makes of it."""
    page = docs.PAGE.read_text()
    assert docs.page_with_table(page) == page


def test_the_tables_of_foreign_keys_hold_no_key_of_ours() -> None:
    """Otherwise a notice would say that a working key has no effect."""
    for struct, names in KNOWN.items():
        assert not names & shape_of(struct).fields.keys()
    for struct, aliases in ALIASES.items():
        assert set(aliases.values()) <= shape_of(struct).fields.keys()
        assert not aliases.keys() & KNOWN[struct]
    sections = {key.rpartition(".")[0] for key in KEYS} | {"policy", "fallback_providers", "platforms.telegram"}
    for (struct, name), instead in RENAMED.items():
        assert name in KNOWN[struct]
        assert instead in KEYS or instead in sections


def test_the_json_schema_knows_every_key() -> None:
    """With description and range, as valid JSON."""
    schema = json.loads(json.dumps(json_schema()))
    agent = schema["$defs"]["AgentConfig"]["properties"]["max_turns"]
    assert agent["description"] == DESCRIPTIONS["agent.max_turns"]
    assert (agent["minimum"], agent["maximum"]) == RANGES["agent.max_turns"]
    assert schema["$defs"]["ModelConfig"]["properties"]["read_timeout_s"]["exclusiveMinimum"] == 0
    assert schema["$defs"]["WebhookRoute"]["properties"]["secret"]["description"]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_can_be_set_to_its_default(key: str) -> None:
    """The reader takes each key of the schema at its place."""
    path = key.replace("<name>", "n").split(".")
    text = "\n".join(f"{'  ' * depth}{name.removesuffix('[]')}:" for depth, name in enumerate(path))
    if "[]" in key:
        text = f"fallback_providers:\n- {path[-1]}:"
    reading = Reading("c", {})
    reading.read(parse(text.encode(), "c"))
    assert (reading.problems, reading.notices) == ([], [])


PROBE = """
import sys
from pathlib import Path
from hermesd.home import Profile
from hermesd.config.load import load_settings
load_settings(Profile("default", Path(sys.argv[1])))
print(*sorted(name for name in ("yaml", "dotenv", "ruamel", "ctypes", "inotify_simple", "hermesd.config.convert",
    "hermesd.config.reference") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("files", "loaded"),
    [
        ({}, ""),
        ({"config.yaml": "model: a\n"}, "hermesd.config.convert yaml"),
        ({".env": "A=1\n"}, "dotenv hermesd.config.convert"),
    ],
)
def test_a_parser_is_imported_only_for_a_file_that_is_there(tmp_path: Path, files: dict[str, str], loaded: str) -> None:
    """A daemon without config.yaml and .env carries neither yaml nor dotenv."""
    for name, text in files.items():
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == loaded
