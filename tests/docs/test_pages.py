"""What the pages claim about the code: tests, files, links, rooms and dependencies that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.unit.test_import_contract import LAYERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_test_that_durability_names_exists() -> None:
    """By file and name."""
    named = TEST.findall((DOCS / "durability.md").read_text())
    missing = [f"{path}::{name}" for path, name in named if not _defines(ROOT / path, name)]
    assert named
    assert not missing


def _defines(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"^(?:async )?def {name}\(", path.read_text(), re.MULTILINE) is not None


def test_every_promise_names_a_test() -> None:
    """A promise is a test that fails without it."""
    promises = (DOCS / "durability.md").read_text().split("\n### ")[1:]
    assert len(promises) == 7
    assert all(TEST.search(promise) for promise in promises)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    """Relative to the page."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_layers_of_the_architecture_are_those_that_are_checked() -> None:
    """The page shows them from the top."""
    text = (DOCS / "architecture.md").read_text()
    shown = re.search(r"^```\n(__main__\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert shown
    assert [set(line.split(", ")) for line in shown[1].splitlines()] == LAYERS


def test_every_room_is_in_the_architecture() -> None:
    """Directories and modules of hermesd itself."""
    text = (DOCS / "architecture.md").read_text()
    rooms = [path for path in (ROOT / "hermesd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = [path.name if path.suffix else f"{path.name}/" for path in rooms if path.name != "__init__.py"]
    assert not [name for name in names if f" {name}" not in text]


def test_every_dependency_has_its_reason() -> None:
    """The table names those of pyproject, and no others."""
    text = (DOCS / "architecture.md").read_text()
    table = text.partition("| need | choice | why |")[2].partition("\n\n")[0]
    choices = {word for row in table.splitlines()[2:] for word in re.findall(r"[a-z][\w.-]+", row.split("|")[2])}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[>=<\[ ]", line)[0] for line in project["dependencies"]}
    assert choices - {"to", "read", "write"} == needed


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("*.md")), ids=lambda page: page.stem)
def test_a_decision_is_kept_to_ten_lines(page: Path) -> None:
    """The title, a blank, and the reason."""
    assert len(page.read_text().splitlines()) <= 10
