"""What an activation refuses: each refusal says what is wrong, where, and the next step, and changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hermesd.activation.manifest import parse
from hermesd.activation.plugins import link_plugins
from hermesd.activation.run import Report, activate
from hermesd.errors import ConfigError


def run(home: Path, *, dry_run: bool = False, **manifest: Any) -> Report:
    """Activate what is given, by the manifest's own names."""
    text = json.dumps({"schema": 1, "home": str(home), **manifest})
    return activate(parse(text.encode(), "m.json"), "m.json", dry_run=dry_run)


def refusal(home: Path, **manifest: Any) -> ConfigError:
    """What an activation is refused with, which says everything."""
    with pytest.raises(ConfigError) as caught:
        run(home, **manifest)
    error = caught.value
    assert error.what
    assert error.where
    assert error.next_step
    return error


# -- what is no regular file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["SOUL.md", "config.yaml", ".env", "auth.json", ".managed", ".activation/applied.json"]
)
def test_a_directory_in_the_place_of_a_file_is_refused_by_its_name(tmp_path: Path, target: str) -> None:
    """With its path, and not with the number of a descriptor."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / target).mkdir(parents=True, mode=0o700)
    source = tmp_path / "auth.json"
    source.write_text("{}")
    error = refusal(
        home,
        config={"value": {"agent": {"max_turns": 3}}},
        env={"values": {"A": "b"}},
        files=[{"target": "SOUL.md", "text": "a"}],
        auth={"source": str(source)},
    )
    assert (error.what, error.where) == ("is not a regular file", str(home / target))


@pytest.mark.parametrize(
    "declared",
    [
        lambda path: {"files": [{"target": "SOUL.md", "source": path}]},
        lambda path: {"env": {"files": [path]}},
        lambda path: {"auth": {"source": path}},
        lambda path: {"config": {"source": path}},
    ],
)
def test_a_directory_as_a_source_is_refused_by_its_name(tmp_path: Path, declared: Any) -> None:
    """Whatever it was to be read for."""
    source = tmp_path / "source"
    source.mkdir()
    error = refusal(tmp_path / "home", **declared(str(source)))
    assert (error.what, error.where) == ("is not a regular file", str(source))


# -- the ledger of links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ledger",
    ['{"schema":1,"links":{"../../kept":["/nowhere"]}}', '{"schema":2,"links":{}}', "[]", "{"],
    ids=["outside", "schema", "list", "cut"],
)
def test_a_ledger_of_links_that_was_not_written_here_is_refused(tmp_path: Path, ledger: str) -> None:
    """Whoever has the home can write it: a name in it must not lead to a link elsewhere."""
    home = tmp_path / "home"
    (home / "plugins").mkdir(parents=True, mode=0o700)
    kept = tmp_path / "kept"
    kept.symlink_to("/nowhere")
    (home / "plugins/.managed.json").write_text(ledger)
    fd = os.open(home, os.O_RDONLY)
    try:
        with pytest.raises(ConfigError, match="is not what hermesctl wrote") as caught:
            link_plugins(fd, {}, str(home))
    finally:
        os.close(fd)
    assert kept.is_symlink()
    assert caught.value.where == str(home / "plugins/.managed.json")
