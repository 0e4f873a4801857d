"""YAML under bounds: what is refused, where it says so, and what it costs."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hermesd.config.document import MAX_DEPTH, Mapping, Scalar, parse
from hermesd.config.load import examine_contents
from hermesd.config.settings import Secrets
from hermesd.errors import ConfigError
from hermesd.home import Profile
from tests.cost import Work, ratio

MIB = 1024 * 1024
TIMES_ORDINARY = 2
PROFILE = Profile("default", Path("/home/of/nobody"))


def examining(data: bytes) -> Work:
    secrets = Secrets({"A": "y" * 1000})
    return lambda: examine_contents(PROFILE, data, secrets)


LEVELS = "abcdefghijklmnopqrst"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise(LEVELS)
)
MERGE_BOMB = "b0: &b0 {x: 1}\n" + "".join(
    f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 300)
)
SHARED_ROUTES = (
    "platforms:\n  webhook:\n    routes:\n      a: &r {events: [" + ",".join("x" * 1000) + "]}\n"
) + "".join(f"      r{n}: *r\n" for n in range(900))

ATTACKS: dict[str, bytes] = {
    "alias bomb": (BOMB + "toolsets: *t\n").encode(),
    "merge bomb": MERGE_BOMB.encode(),
    "one large value under many names": SHARED_ROUTES.encode(),
    "1 MB scalar": b"model: " + b"x" * (MIB - 10),
    "10 MB scalar": b"model: " + b"x" * (10 * MIB),
    "escapes": b'model: "' + b"\\u0041" * 170_000 + b'"',
    "open brackets": b"[" * MIB,
    "open braces": b"{" * MIB,
    "dashes": b"- " * (MIB // 2),
    "question marks": b"? " * (MIB // 2),
    "nested blocks": b"\n".join(b" " * level + b"a:" for level in range(1400)),
    "nested flow with newlines": b"a: " + b"[\n" * 500_000,
    "many items": b"toolsets: [" + b"x," * 500_000 + b"]",
    "many keys": "".join(f"k{n}: v\n" for n in range(80_000)).encode(),
    "many misspelt keys": b"agent:\n" + "".join(f"  max_turnz{n}: v\n" for n in range(4000)).encode(),
    "many anchors": "".join(f"k{n}: &a{n} v\n" for n in range(60_000)).encode(),
    "many documents": b"---\n" * 260_000,
    "many commas": b"toolsets: '" + b"a," * 500_000 + b"'",
    "many references": b"model: '" + b"${A}" * 200_000 + b"'",
    "many digits": b"platforms: {telegram: {allowed_users: [" + b"9" * 500_000 + b"]}}",
    "comments": b"#\n" * (MIB // 2),
    "newlines": b"\n" * MIB,
    "block scalar": b"model: |\n" + b" x\n" * 300_000,
    "colons": b":" * MIB,
    "quotes": b'"' * MIB,
    "keys without values": b"[a]: b\n" * 100_000,
}


ORDINARY = (
    "platforms:\n  webhook:\n    enabled: true\n    routes:\n"
    + "".join(f"      r{n}: {{secret: s, prompt: 'about {{a.b}} {'x' * 1600}', deliver: local}}\n" for n in range(600))
).encode()


def test_the_largest_ordinary_document_is_taken() -> None:
    """What the hostile ones are compared with: nearly as many values and bytes as are allowed, and no problem."""
    found = examine_contents(PROFILE, ORDINARY, None)
    assert found.settings is not None
    assert len(ORDINARY) > 0.9 * MIB


@pytest.mark.parametrize("name", ATTACKS)
def test_no_input_costs_much_more_than_the_largest_ordinary_one(name: str) -> None:
    """Attack case 19: every hostile document is answered by Settings or ConfigError, and for no more work than that."""
    assert ratio(examining(ATTACKS[name]), examining(ORDINARY), enough=TIMES_ORDINARY) < TIMES_ORDINARY


REFUSED: dict[str, tuple[str, int, str]] = {
    "python tag": ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "tag"),
    "custom tag": ("a: 1\nb: !vault x\n", 2, "tag"),
    "binary tag": ("a: !!binary aGk=\n", 1, "tag"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", 3, "twice"),
    "duplicate nested key": ("a:\n  b: 1\n  b: 2\n", 3, "twice"),
    "list as key": ("? [a]\n: 1\n", 1, "key"),
    "second document": ("a: 1\n---\nb: 2\n", 2, "second document"),
    "not a mapping": ("- a\n", 1, "mapping"),
    "a word": ("hello\n", 1, "mapping"),
    "alias to nothing": ("a: 1\nb: *x\n", 2, "&x"),
    "alias to itself": ("a: &a\n  - *a\n", 2, "inside"),
    "merge of a word": ("a:\n  <<: x\n", 2, "<<"),
    "bad indentation": ("a: 1\n  b: 2\n", 2, "YAML"),
    "tab": ("a:\n\tb: 1\n", 2, "YAML"),
    "unclosed": ("a: [1,\n", 2, "YAML"),
    "control character": ("a: 1\nb: \x01\n", 2, "control"),
    "NUL": ("a: 1\nb: x\0y\n", 2, "control"),
    "deep": ("a: 1\nb: " + "[" * (MAX_DEPTH + 1), 2, "deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_document_is_refused_at_its_line(name: str) -> None:
    """Each refusal names file:line and the reason."""
    text, line, reason = REFUSED[name]
    with pytest.raises(ConfigError, match=r".") as caught:
        parse(text.encode(), "config.yaml")
    assert caught.value.where == f"config.yaml:{line}"
    assert reason in caught.value.what
    assert caught.value.next_step


def test_what_is_not_utf8_is_refused_at_its_line() -> None:
    """Latin-1 and UTF-16 are named as what they are not."""
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        parse(b"a: 1\nb: \xe4\n", "c")
    assert caught.value.where == "c:2"
    with pytest.raises(ConfigError, match="UTF-8"):
        parse("a: 1".encode("utf-16"), "c")


@pytest.mark.parametrize("data", [b"", b"\n", b"# only a comment\n", b"---\n", b"~\n", b"\xef\xbb\xbf"])
def test_an_empty_document_is_an_empty_mapping(data: bytes) -> None:
    """Nothing but comments, and a byte order mark, mean no keys."""
    assert parse(data, "c").values == {}


def test_words_of_yaml_1_1_stay_words() -> None:
    """Keys and values that YAML 1.1 takes for truth values, numbers and dates are the text of the file."""
    found = parse(b"no: off\non: 1.10\n2024-01-01: 0123\n~: 1:30\n", "c")
    assert {key: node.text for key, node in found.values.items() if isinstance(node, Scalar)} == {
        "no": "off",
        "on": "1.10",
        "2024-01-01": "0123",
        "~": "1:30",
    }


def test_merge_keys_fill_in_what_is_missing() -> None:
    """``<<`` adds keys, earlier sources first, and never replaces one."""
    found = parse(b"base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nuse:\n  <<: [*b, *m]\n  x: 0\n", "c").values["use"]
    assert isinstance(found, Mapping)
    assert {key: node.text for key, node in found.values.items() if isinstance(node, Scalar)} == {
        "x": "0",
        "y": "1",
        "z": "2",
    }
