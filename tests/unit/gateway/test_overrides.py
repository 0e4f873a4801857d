"""What an event wants differently, in the configuration of its turn."""

from __future__ import annotations

from hermesd.config.schema import Config
from hermesd.gateway.overrides import changed
from hermesd.triggers import compose
from hermesd.triggers.job import JobSpec
from hermesd.triggers.schedule import parse


def test_what_a_job_wants_arrives_in_the_configuration_of_its_turn() -> None:
    """Every bound that a job may set; the rest stays as it is."""
    schedule = parse("every 1h", zone_name="UTC", now=0.0)
    spec = JobSpec(schedule=schedule, model="m", provider="p", workdir="/w", timeout_s=7.5, max_turns=3, budget=1000)
    meta = compose.overrides(spec)
    config = changed(Config(), {name.removeprefix("use_"): value for name, value in meta.items()})
    assert (config.model.default, config.model.provider, config.terminal.cwd) == ("m", "p", "/w")
    assert (config.agent.turn_timeout_s, config.agent.max_turns, config.agent.token_budget) == (7.5, 3, 1000)
    assert config.toolsets == Config().toolsets
    assert changed(Config(), {}) == Config()
