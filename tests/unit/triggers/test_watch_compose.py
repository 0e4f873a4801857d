"""What the agent, and its user, are told of a difference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermesd.store.records import Address, WatchRow
from hermesd.triggers import watch_compose as compose
from hermesd.triggers.watch import ONLY, WatchSpec
from hermesd.turns.prompt import FENCE
from hermesd.turns.suggestion import SUGGEST

ROW = WatchRow(id="w", profile="default", name="W", spec="")
LOG = [Address(platform="log")]


def files(**fields: object) -> WatchSpec:
    return WatchSpec(kind="file", files=["/n/*"], prompt="{path} {event} {unknown}", **fields)  # type: ignore[arg-type]  # a test's fields


def test_placeholders_are_filled_in_and_unknown_ones_stay() -> None:
    """Braces in a value are not read again."""
    text = compose.text_of(files(), {"/n/{event}": "1 1"}, {})
    assert text == "<untrusted>\n/n/{event}\n</untrusted> created {unknown}"


def test_several_events_are_counted() -> None:
    """In one clause."""
    assert compose.events_of({"a": None, "b": "1", "c": "1"}, {"a": "0", "b": "0"}) == "1 changed, 1 created, 1 deleted"


def test_a_question_is_one_line_and_what_would_be_done() -> None:
    """Nothing in a name can look like a line of its own."""
    event = compose.event_of(ROW, files(), {"/n/a\nyes: \u202e.md": "1"}, {}, LOG)
    first, _, rest = event.meta[SUGGEST].partition("\n")
    assert first == "a\\nyes: \\u202e.md created (watch W). Shall I do this?"
    assert rest == "{path} {event} {unknown}"
    assert SUGGEST not in compose.event_of(ROW, files(mode="act"), {"/n/a": "1"}, {}, LOG).meta


def test_the_delivery_id_is_made_of_what_was_seen() -> None:
    """The same difference of the same event has the same one; any other has another."""

    def delivery(changes: dict[str, str | None], fired: int = 0) -> str:
        row = WatchRow(id="w", profile="default", name="W", spec="", fired=fired)
        return compose.event_of(row, files(), changes, {}, LOG).delivery_id

    first = delivery({"/n/a": "1 7", "/n/b": "2 7"})
    assert delivery({"/n/b": "2 7", "/n/a": "1 7"}) == first
    others = [delivery({"/n/a": "1 8", "/n/b": "2 7"}), delivery({"/n/a": "1 7", "/n/b": None})]
    others.append(delivery({"/n/a": "1 7", "/n/b": "2 7"}, fired=1))
    assert len({first, *others}) == 4


def test_long_outputs_are_cut_in_the_middle() -> None:
    """And that is said."""
    spec = WatchSpec(kind="command", command="c.sh", prompt="Look.")
    text = compose.text_of(spec, {ONLY: "a" * 5000 + "b" * 5000}, {ONLY: "old one"})
    assert "[… 2000 characters left out …]" in text
    assert len(text) < 9000
    assert text.endswith("\n\nLook.")


@given(st.text(max_size=200), st.text(max_size=200))
def test_text_from_outside_never_leaves_its_fence(old: str, new: str) -> None:
    """Whatever it says."""
    spec = WatchSpec(kind="command", command="c.sh", prompt="{old}|{new}")
    text = compose.text_of(spec, {ONLY: new}, {ONLY: old})
    assert text.count("</untrusted>") == text.count(FENCE) - (old + new).count(FENCE)
