"""Secrets do not come through, whole or in chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.redact import MARK, Redactor, StreamRedactor

SECRETS = [
    "ghp_0123456789abcdefghij",
    "github_pat_11AAAA_bbbbbbbbbbbb",
    "sk-ant-api03-abcdefghijkl",
    "xoxb-123456-abcdefgh",
    "AKIAABCDEFGHIJKLMNOP",
    "AIzaSyA0123456789abcdefghijk",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    "hf_abcdefghijklmnop",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
]
KNOWN = ["correct horse battery", 'quo"te\\back', "overlapping-overlap", "overlap-more", "пароль-пароль"]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_token_of_a_known_form_is_redacted(secret: str) -> None:
    """What looks like a published token format is replaced wherever it stands."""
    assert Redactor().redact(f"it was {secret}, sorry") == f"it was {MARK}, sorry"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /?token=abc&x=1", f"GET /?token={MARK}&x=1"),
        ("password=hunter2 next", f"password={MARK} next"),
        ('{"client_secret": "a b\\"c", "n": 1}', f'{{"client_secret": {MARK}, "n": 1}}'),
        ("Authorization: Bearer abcdef123", f"Authorization: Bearer {MARK}"),
        ("sent bearer abcdef123.", f"sent bearer {MARK}"),
        ("api_key = 'x y z' ok", f"api_key = {MARK} ok"),
        ("key=abc", f"key={MARK}"),
        ("https://api.example/bot123456:AAabcdefghi/getMe", f"https://api.example/bot123456:{MARK}/getMe"),
        ("postgres://user:s3cret@host/db", f"postgres://user:{MARK}@host/db"),
        ("-----BEGIN RSA PRIVATE KEY-----\nQUJD\n-----END RSA PRIVATE KEY----- rest", f"{MARK} rest"),
    ],
)
def test_a_value_after_a_telling_name_is_redacted(text: str, shown: str) -> None:
    """The name stays readable, its value does not."""
    assert Redactor().redact(text) == shown


@pytest.mark.parametrize("text", ["risk-assessment-done", "session key: telegram:12", "512 tokens used", "a@b.example"])
def test_ordinary_words_are_left_alone(text: str) -> None:
    """Words that only resemble a secret stay."""
    assert Redactor().redact(text) == text


@pytest.mark.parametrize("form", ["correct horse battery", "correct%20horse%20battery"])
def test_a_known_value_is_redacted_as_it_is_and_percent_encoded(form: str) -> None:
    """A value from .env is found in a URL too."""
    redactor = Redactor()
    redactor.add(KNOWN)
    assert redactor.redact(f"<{form}>") == f"<{MARK}>"


def test_a_known_value_is_redacted_inside_json() -> None:
    """Escaping does not hide a value."""
    redactor = Redactor()
    redactor.add(KNOWN)
    assert redactor.redact(r'{"x": "quo\"te\\back"}') == f'{{"x": "{MARK}"}}'


def test_a_value_too_short_to_be_a_secret_is_not_registered() -> None:
    """DEBUG=true does not blank out every true."""
    redactor = Redactor()
    redactor.add(["true", "", "  "])
    assert redactor.redact("this is true") == "this is true"


def test_overlapping_known_values_leave_nothing_of_either() -> None:
    """The union of overlapping values is replaced."""
    redactor = Redactor()
    redactor.add(KNOWN)
    assert redactor.redact("overlapping-overlap-more") == MARK


PIECES = st.one_of(
    st.sampled_from([*SECRETS, *KNOWN]),
    st.sampled_from(
        ["token=", "Bearer ", '"password": "', "://u:", "bot123456:", "-----BEGIN PRIVATE KEY-----", "risk-"]
    ),
    st.text(alphabet="aks-_=:\"'\\ \n/@.é", max_size=12),
    st.integers(1, 300).map(lambda n: "word " * n),
)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text with secrets in it, and one way to cut it."""
    text = "".join(draw(st.lists(PIECES, max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *cuts, len(text)]
    return text, [text[a:b] for a, b in pairwise(edges)]


@given(chunked())
def test_a_stream_is_redacted_as_its_whole_text_however_it_is_cut(case: tuple[str, list[str]]) -> None:
    """The place of the cuts makes no difference to what comes out."""
    text, chunks = case
    redactor = Redactor()
    redactor.add(KNOWN)
    stream = StreamRedactor(redactor)
    shown = "".join([*map(stream.feed, chunks), stream.flush()])
    assert shown == redactor.redact(text)


@given(st.sampled_from([*SECRETS, *KNOWN]), st.text(alphabet="ab \n", max_size=400), st.data())
def test_a_secret_split_over_chunks_never_comes_out(secret: str, around: str, data: st.DataObject) -> None:
    """No output, and no two outputs together, contain the secret."""
    redactor = Redactor()
    redactor.add(KNOWN)
    text = f"{around} {secret} {around}"
    cut = data.draw(st.integers(0, len(text)))
    stream = StreamRedactor(redactor)
    assert secret not in stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush()


def test_a_long_stream_is_not_kept_in_memory() -> None:
    """Only the window is held back, whatever went through."""
    stream = StreamRedactor(Redactor())
    out = sum(len(stream.feed("plain words " * 50)) for _ in range(100))
    assert out > 100 * 600 - 1000
