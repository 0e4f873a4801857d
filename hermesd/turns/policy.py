"""Who decides about a tool call: the call is judged, not the words that led to it.

In this order, the first that applies being final:

1. The base is the tool's own entry in ``policy.tools``, or else the entry for the call's effect class.
   **deny always wins**: nothing below turns it into anything else, no approval either.
2. A dangerous command (``turns.danger``) in the arguments of an unsafe call is asked about, even where the base is
   allow. Only a person's approval of exactly this call covers it; ``unattended: allow`` does not.
3. Text from an untrusted source in the window makes an unsafe call asked about, unless the tool itself is set to
   allow: that entry is the owner's word about this one tool, and the only way for a webhook's agent to use it.
4. Where nobody can be asked, ``policy.unattended`` stands in place of ask (rule 2 then denies).
5. What a person has approved for the rest of the session is not asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.turns.danger import dangerous_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import Decision, PolicyConfig
    from hermesd.store.records import Effect

Scope = Literal["call", "tool"]
MAX_SHOWN = 1500


class Verdict(msgspec.Struct, frozen=True):
    """The decision and its reason, a clause for people. ``dangerous``: only this exact call may be approved."""

    decision: Decision
    reason: str
    dangerous: bool = False


class SessionApprovals(msgspec.Struct):
    """What a person approved for the rest of one session; plain data, so it can be kept with the session.

    ``calls`` holds ``call_key`` values, ``tools`` names. A tool's approval never covers a dangerous call.
    """

    calls: set[str] = msgspec.field(default_factory=set)
    tools: set[str] = msgspec.field(default_factory=set)

    def remember(self, name: str, arguments: Mapping[str, object], *, scope: Scope) -> None:
        """Approve this exact call, or this tool."""
        if scope == "tool":
            self.tools.add(name)
        else:
            self.calls.add(call_key(name, arguments))

    def cover(self, name: str, arguments: Mapping[str, object], *, dangerous: bool) -> bool:
        """Whether the call has been approved before."""
        return call_key(name, arguments) in self.calls or (name in self.tools and not dangerous)


def call_key(name: str, arguments: Mapping[str, object]) -> str:
    """The identity of a call: its tool and its exact arguments, whatever their order."""
    import hashlib

    body = msgspec.json.encode([name, dict(arguments)], order="deterministic")
    return hashlib.sha256(body).hexdigest()


def decide(
    name: str,
    arguments: Mapping[str, object],
    effect: Effect,
    policy: PolicyConfig,
    *,
    attended: bool,
    untrusted_in_window: bool,
    approvals: SessionApprovals | None = None,
) -> Verdict:
    """Judge one call by the rules above; pure, so the same call in the same place always gets the same verdict."""
    override = policy.tools.get(name)
    base = override or _by_effect(policy, effect)
    where = f"policy.tools.{name}" if override else f"policy.{effect}"
    if base == "deny":
        return Verdict("deny", f"{where} is deny")
    danger = dangerous_arguments(arguments) if effect == "unsafe" else None
    if danger:
        verdict = Verdict("ask", f"the command {danger}", dangerous=True)
    elif base == "ask":
        verdict = Verdict("ask", f"{where} is ask")
    elif untrusted_in_window and effect == "unsafe" and override != "allow":
        verdict = Verdict("ask", "text from outside is in the conversation, and this call can change things")
    else:
        return Verdict("allow", f"{where} is allow")
    if approvals and approvals.cover(name, arguments, dangerous=verdict.dangerous):
        return Verdict("allow", "approved for this session")
    return verdict if attended else _unattended(verdict, policy)


def _by_effect(policy: PolicyConfig, effect: Effect) -> Decision:
    match effect:
        case "read_only":
            return policy.read_only
        case "idempotent":
            return policy.idempotent
        case "unsafe":
            return policy.unsafe


def _unattended(verdict: Verdict, policy: PolicyConfig) -> Verdict:
    """The verdict where nobody can be asked."""
    if policy.unattended == "allow" and not verdict.dangerous:
        return Verdict("allow", f"{verdict.reason}; policy.unattended is allow")
    if policy.unattended == "ask":
        return verdict
    return Verdict("deny", f"{verdict.reason}, and nobody can be asked here", dangerous=verdict.dangerous)


def describe_call(name: str, arguments: Mapping[str, object]) -> str:
    """The call as a person is shown it before approving: one argument a line, nothing able to hide in it.

    Control characters and text-direction marks are escaped; of a long value the middle is left out, and that is said.
    """
    lines = [name]
    for key, value in arguments.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        lines.append(f"  {_visible(key)}: {_cut(_visible(text))}")
    return "\n".join(lines)


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str) -> str:
    if len(text) <= MAX_SHOWN:
        return text
    half = MAX_SHOWN // 2
    return f"{text[:half]} [… {len(text) - 2 * half} characters not shown …] {text[-half:]}"
