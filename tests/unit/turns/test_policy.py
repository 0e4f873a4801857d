"""The approval policy: the call is judged, deny wins, and danger is always a person's decision."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.config.schema import Decision, PolicyConfig
from hermesd.store.records import Effect
from hermesd.turns.policy import SessionApprovals, Verdict, call_key, decide, describe_call

DECISIONS: list[Decision] = ["allow", "ask", "deny"]
EFFECTS: list[Effect] = ["read_only", "idempotent", "unsafe"]
BAD = {"command": "rm -rf /"}
FINE = {"command": "make test"}


def judge(
    arguments: dict[str, object] = FINE,
    effect: Effect = "unsafe",
    *,
    attended: bool = True,
    untrusted: bool = False,
    approvals: SessionApprovals | None = None,
    **policy: Any,
) -> Verdict:
    config = PolicyConfig(**policy)
    return decide(
        "terminal",
        arguments,
        effect,
        config,
        attended=attended,
        untrusted_in_window=untrusted,
        approvals=approvals,
    )


@pytest.mark.parametrize(("effect", "expected"), [("read_only", "allow"), ("idempotent", "allow"), ("unsafe", "ask")])
def test_by_default_only_unsafe_calls_are_asked_about(effect: Effect, expected: Decision) -> None:
    """Reading and repeatable work go on by themselves."""
    assert judge(effect=effect).decision == expected


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("decision", DECISIONS)
def test_each_effect_class_has_its_own_decision(effect: Effect, decision: Decision) -> None:
    """The configuration is what happens."""
    assert judge(effect=effect, **{effect: decision}).decision == decision


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_tools_own_entry_beats_its_effect_class(decision: Decision) -> None:
    """policy.tools is more exact than policy.unsafe."""
    assert judge(unsafe="deny", tools={"terminal": decision}).decision == decision


@pytest.mark.parametrize("attended", [True, False])
@pytest.mark.parametrize("untrusted", [True, False])
def test_deny_always_wins(attended: bool, untrusted: bool) -> None:
    """Neither an approval nor unattended: allow opens what is denied."""
    given_before = SessionApprovals()
    given_before.remember("terminal", FINE, scope="call")
    given_before.remember("terminal", FINE, scope="tool")
    for policy in ({"unsafe": "deny"}, {"unsafe": "allow", "tools": {"terminal": "deny"}}):
        verdict = judge(attended=attended, untrusted=untrusted, approvals=given_before, unattended="allow", **policy)
        assert verdict.decision == "deny"


@pytest.mark.parametrize("policy", [{"unsafe": "allow"}, {"tools": {"terminal": "allow"}}])
def test_danger_is_asked_about_even_where_the_tool_is_allowed(policy: dict[str, Any]) -> None:
    """The owner allowed the tool, not the end of the disk."""
    verdict = judge(BAD, **policy)
    assert verdict == Verdict("ask", "the command removes a whole tree", dangerous=True)


def test_danger_with_nobody_to_ask_is_denied_whatever_unattended_says() -> None:
    """unattended: allow is meant for ordinary questions."""
    assert judge(BAD, attended=False, unattended="allow", unsafe="allow").decision == "deny"


def test_a_safe_prefix_does_not_make_a_command_safe() -> None:
    """`git log; rm -rf ~` is not `git log`."""
    assert judge({"command": "git log; rm -rf ~"}, unsafe="allow").decision == "ask"


def test_untrusted_text_in_the_window_makes_an_allowed_unsafe_call_asked_about() -> None:
    """A web page cannot use a permission that was meant for the user's own words."""
    assert judge(untrusted=True, unsafe="allow").decision == "ask"
    assert judge(untrusted=False, unsafe="allow").decision == "allow"


@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
def test_untrusted_text_does_not_stop_reading(effect: Effect) -> None:
    """Every file and every page is untrusted; only calls that can do harm are held up."""
    assert judge(effect=effect, untrusted=True).decision == "allow"


def test_a_tool_that_is_allowed_by_name_stays_allowed_with_untrusted_text() -> None:
    """The owner's word about this very tool; a webhook's agent could not work otherwise."""
    assert judge(untrusted=True, tools={"terminal": "allow"}).decision == "allow"


@pytest.mark.parametrize("decision", DECISIONS)
def test_unattended_stands_in_place_of_ask(decision: Decision) -> None:
    """Where nobody can be asked the configuration has answered beforehand."""
    assert judge(attended=False, unattended=decision).decision == decision


def test_what_is_allowed_is_allowed_unattended_too() -> None:
    """unattended replaces ask, not allow."""
    assert judge(effect="read_only", attended=False, unattended="deny").decision == "allow"


def test_an_approved_call_is_not_asked_about_again() -> None:
    """The same tool with the same arguments, in whatever order, and no other."""
    approvals = SessionApprovals()
    approvals.remember("terminal", {"command": "make", "timeout": 5}, scope="call")
    assert judge({"timeout": 5, "command": "make"}, approvals=approvals).decision == "allow"
    assert judge({"timeout": 6, "command": "make"}, approvals=approvals).decision == "ask"
    assert judge({"command": "make; ls"}, approvals=approvals).decision == "ask"


def test_an_approved_tool_is_not_asked_about_again_except_for_danger() -> None:
    """A wholesale yes was not given to rm -rf /."""
    approvals = SessionApprovals()
    approvals.remember("terminal", FINE, scope="tool")
    assert judge({"command": "anything at all"}, approvals=approvals, untrusted=True).decision == "allow"
    assert judge(BAD, approvals=approvals).decision == "ask"


def test_an_exactly_approved_dangerous_call_is_allowed() -> None:
    """Somebody read exactly this and said yes for the session."""
    approvals = SessionApprovals()
    approvals.remember("terminal", BAD, scope="call")
    assert judge(BAD, approvals=approvals).decision == "allow"
    assert judge({"command": "rm -rf /home"}, approvals=approvals).decision == "ask"


def test_approvals_survive_being_kept_with_the_session() -> None:
    """They are plain data."""
    approvals = SessionApprovals()
    approvals.remember("terminal", BAD, scope="call")
    approvals.remember("web", {}, scope="tool")
    assert msgspec.json.decode(msgspec.json.encode(approvals), type=SessionApprovals) == approvals


def test_calls_of_different_tools_have_different_keys() -> None:
    """An approval does not move from one tool to another."""
    assert call_key("a", FINE) != call_key("b", FINE)


@given(
    st.sampled_from(EFFECTS),
    st.fixed_dictionaries({key: st.sampled_from(DECISIONS) for key in (*EFFECTS, "unattended")}),
    st.booleans(),
    st.booleans(),
    st.sampled_from([FINE, BAD]),
)
def test_an_unsafe_call_runs_unasked_only_where_configuration_says_so(
    effect: Effect, policy: dict[str, Any], attended: bool, untrusted: bool, arguments: dict[str, object]
) -> None:
    """Whatever the combination: never past a deny, never danger unasked, never untrusted unless it was configured."""
    verdict = judge(arguments, effect, attended=attended, untrusted=untrusted, **policy)
    if policy[effect] == "deny":
        assert verdict.decision == "deny"
    if effect == "unsafe" and arguments == BAD:
        assert verdict.decision != "allow"
    if effect == "unsafe" and untrusted and verdict.decision == "allow":
        assert not attended
        assert policy["unattended"] == "allow"


def test_nothing_hides_in_what_a_person_is_shown() -> None:
    """Escape sequences and direction marks are spelled out, and a cut is said to be one."""
    shown = describe_call("terminal", {"command": "ls\x1b[2K\r\u202etxt", "n": 1, "long": "a" * 4000 + "rm"})
    assert "\x1b" not in shown
    assert "\\x1b[2K\\r\\u202etxt" in shown
    assert "characters not shown" in shown
    assert shown.endswith("rm")
