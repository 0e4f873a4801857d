"""The three-way merge: declared keys hold, nobody else's are touched, and a second time there is nothing to do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermesd.manifest.merge import CHANGING, Applied, Fields, Step, intent, merge, outcome

DEFAULTS: Fields = {"a": 0, "b": 0}  # c and d have none
NAMES = st.sampled_from("abcd")
FIELDS = st.dictionaries(NAMES, st.integers(0, 2))
MAYBE = st.none() | FIELDS
APPLIED = st.none() | st.builds(Applied, FIELDS, made=st.booleans(), pending=st.booleans(), before=FIELDS)


def value(fields: Fields, name: str) -> object:
    return fields.get(name, DEFAULTS.get(name))


def made(step: Step, live: Fields | None, wanted: Fields | None) -> Fields | None:
    """What is there once the step has been made, as the kinds make it."""
    if step.action == "delete":
        return None
    if step.action == "create":
        return dict(wanted or {})
    if step.action != "update" or live is None:
        return live
    changed = {field.name: field.after for field in step.fields}
    return {name: value for name, value in {**live, **changed}.items() if value is not None}


@given(APPLIED, MAYBE, MAYBE)
def test_declared_keys_hold_and_the_second_time_is_empty(
    last: Applied | None, live: Fields | None, wanted: Fields | None
) -> None:
    """For any history; what is remembered then is what was wanted."""
    step = merge(last, live, wanted, DEFAULTS)
    after, remembered = made(step, live, wanted), outcome(last, step, wanted)
    if wanted is not None:
        assert after is not None
        assert all(value(after, name) == value(wanted, name) for name in wanted)
    again = merge(remembered, after, wanted, DEFAULTS)
    assert again.action in ("keep", "unmanaged")
    assert not again.to_note
    assert not again.fields


@given(APPLIED, FIELDS, MAYBE)
def test_keys_of_others_are_never_touched(last: Applied | None, live: Fields, wanted: Fields | None) -> None:
    """Neither in the file nor applied before: as it was. What no apply has made is not deleted."""
    step = merge(last, live, wanted, DEFAULTS)
    after = made(step, live, wanted)
    ours = (wanted or {}).keys() | (last.fields.keys() | last.before.keys() if last else set())
    if after is None:
        assert last is not None
        assert last.made
    else:
        assert {name: live[name] for name in live.keys() - ours} == {name: after[name] for name in after.keys() - ours}


@given(FIELDS, FIELDS, FIELDS)
def test_only_what_both_sides_have_changed_is_a_conflict(base: Fields, live: Fields, wanted: Fields) -> None:
    """By field, against what was applied last."""
    step = merge(Applied(base, made=True), live, wanted, DEFAULTS)
    for name in "abcd":
        ours = name in wanted or name in base
        by_hand = value(live, name) != value(base, name)
        in_file = value(wanted, name) != value(base, name)
        differs = value(live, name) != value(wanted, name)
        [field] = [each for each in step.fields if each.name == name] or [None]
        assert (field is not None) == (ours and differs)
        if field:
            assert (field.by_hand, field.conflict) == (by_hand, by_hand and in_file)


@given(APPLIED, MAYBE, MAYBE, st.booleans())
def test_an_apply_that_was_cut_short_goes_on_without_a_conflict(
    last: Applied | None, live: Fields | None, wanted: Fields | None, came_about: bool
) -> None:
    """Whether or not its change had been made: the same files are applied without force, and end the same."""
    step = merge(last, live, wanted, DEFAULTS)
    noted = intent(last, step, wanted)
    there = made(step, live, wanted) if came_about else live
    again = merge(noted, there, wanted, DEFAULTS)
    if came_about:
        assert again.action not in CHANGING
    elif not step.conflicts:
        assert not again.conflicts
        assert again.action == step.action
    end = made(again, there, wanted)
    assert end == made(step, live, wanted)
    assert merge(outcome(noted, again, wanted), end, wanted, DEFAULTS).action in ("keep", "unmanaged")


def test_the_words_of_each_case() -> None:
    """As a person reads them."""
    ours, taken = Applied({"a": 1}, made=True), Applied({"a": 1})
    cases = [
        (merge(None, {"a": 1}, None, DEFAULTS), "unmanaged", ""),
        (merge(None, {"a": 1}, {"a": 1}, DEFAULTS), "keep", "is taken over as it is"),
        (merge(None, {"a": 1}, {"a": 2}, DEFAULTS), "update", "was made by hand"),
        (merge(ours, None, {"a": 1}, DEFAULTS), "create", "was removed by hand"),
        (merge(ours, {"a": 1}, None, DEFAULTS), "delete", ""),
        (merge(taken, {"a": 1}, None, DEFAULTS), "forget", "was not made by an apply, so it stays"),
        (merge(ours, None, None, DEFAULTS), "forget", "is gone already"),
    ]
    assert [(step.action, step.note) for step, _, _ in cases] == [(action, note) for _, action, note in cases]
    assert merge(ours, {"a": 2}, None, DEFAULTS).conflicts, "deleting what somebody has changed"
    assert merge(None, {"a": 1}, {"a": 2}, DEFAULTS).conflicts, "taking over what is otherwise"
