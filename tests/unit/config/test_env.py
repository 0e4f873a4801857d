"""The .env file: read as python-dotenv reads it, and changed one variable at a time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.config import MAX_ENV_BYTES
from hermesd.config.env import load_env, parse_env
from hermesd.config.env_file import with_variable
from hermesd.errors import ConfigError, UsageError


def parsed(text: str) -> dict[str, str]:
    return parse_env(text.encode(), ".env", [])


def test_the_usual_forms_are_read() -> None:
    """``export``, quotes, escapes, comments, a byte order mark and references to earlier lines."""
    text = '\ufeff# head\nexport A=1\nB="two\\nlines" # why\nC=\'$ a\'\nD=x # y\nE=\nF="${A}2"\nG=${NOT_SET}.\r\n'
    assert parsed(text) == {"A": "1", "B": "two\nlines", "C": "$ a", "D": "x", "E": "", "F": "12", "G": "."}


def test_the_process_environment_is_neither_read_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-dotenv would resolve references from it."""
    import os

    monkeypatch.setenv("OUTSIDE", "secret")
    before = dict(os.environ)
    assert parsed("A=${OUTSIDE}\nB=1\n") == {"A": "", "B": "1"}
    assert dict(os.environ) == before


LINES = st.lists(
    st.text(st.sampled_from("AB_=#'\"\\ \t xé${}-"), max_size=12).map(lambda text: text.replace("${", "$")), max_size=8
)


@settings(deadline=None, max_examples=300)
@given(lines=LINES)
def test_what_is_read_is_what_python_dotenv_reads(lines: list[str]) -> None:
    """For every text, less keys that no shell could have."""
    from dotenv import dotenv_values

    text = "\n".join(lines)
    expected = dotenv_values(stream=io.StringIO(text), interpolate=False)
    found = parsed(text)
    assert found == {name: value for name, value in expected.items() if value is not None and name in found}
    left_out = (name for name in expected.keys() - found.keys() if expected[name] is not None)
    assert not any(name.isidentifier() and name.isascii() for name in left_out)


def test_a_line_that_is_no_assignment_is_noticed_with_its_number() -> None:
    """Its contents are not repeated, since they may be a secret; too many of them are refused."""
    notices: list[str] = []
    assert parse_env(b"A=1\n\nhunter 2\nB=2\n", ".env", notices) == {"A": "1", "B": "2"}
    assert notices == [".env:3: is no KEY=VALUE and is passed over"]
    with pytest.raises(ConfigError, match="too many"):
        parsed("what is this\n" * 50)


def test_what_is_too_large_or_no_utf8_is_refused(tmp_path: Path) -> None:
    """With the line, when it is about one."""
    with pytest.raises(ConfigError, match="larger"):
        parse_env(b"A=" + b"x" * MAX_ENV_BYTES, ".env", [])
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        parse_env(b"A=1\nB=\xff\n", ".env", [])
    assert caught.value.where == ".env:2"
    path = tmp_path / ".env"
    path.touch(0o600)
    path.write_bytes(b"A=" + b"x" * MAX_ENV_BYTES)
    with pytest.raises(ConfigError, match="larger"):
        load_env(path, [])


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40).filter(
    lambda text: "${" not in text
)


@settings(deadline=None, max_examples=300)
@given(value=VALUES, other=VALUES)
def test_a_value_that_was_set_is_read_back(value: str, other: str) -> None:
    """Any text survives, and so does the variable beside it."""
    data = with_variable(with_variable(b"# mine\nKEEP=1", "A", value), "B", other)
    data = with_variable(data, "A", value)
    assert parse_env(data, ".env", []) == {"KEEP": "1", "A": value, "B": other}
    assert parse_env(with_variable(data, "A", None), ".env", []) == {"KEEP": "1", "B": other}


def test_everything_else_in_the_file_stays_as_it_was() -> None:
    """Comments, order, quoting; of several lines for the same name the last one counts and stays."""
    before = b"# keys\nexport A='1' # one\n\nB=2\nA=3\n# end\n"
    assert with_variable(before, "A", "4") == b"# keys\n\nB=2\nA=4\n# end\n"
    assert with_variable(before, "C", "x y") == before + b"C='x y'\n"


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("A=B", "x"), ("", "x"), ("A", "${B}"), ("A", "\x00")])
def test_what_a_dotenv_cannot_hold_is_refused(name: str, value: str) -> None:
    """Rather than written as something else."""
    with pytest.raises(UsageError):
        with_variable(b"", name, value)
