"""What a job and a watch say alike of the turns they begin."""

from __future__ import annotations

import msgspec


class TurnSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a turn, as its owner set it. Durations in seconds; 0, '' or [] means unset, and then the profile's counts."""

    prompt: str = ""
    deliver: str = "local"
    model: str = ""
    provider: str = ""
    toolsets: list[str] = msgspec.field(default_factory=list)
    skills: list[str] = msgspec.field(default_factory=list)
    workdir: str = ""
    timeout_s: float = 0.0
    max_turns: int = 0
    budget: int = 0


def overrides(spec: TurnSpec) -> dict[str, str]:
    """What of the profile's settings is otherwise for this turn; see ``gateway.overrides``."""
    wanted = {
        "model": spec.model,
        "provider": spec.provider,
        "toolsets": ",".join(spec.toolsets),
        "workdir": spec.workdir,
        "timeout_s": f"{spec.timeout_s:g}" if spec.timeout_s else "",
        "max_turns": str(spec.max_turns or ""),
        "budget": str(spec.budget or ""),
    }
    return {f"use_{name}": value for name, value in wanted.items() if value}
