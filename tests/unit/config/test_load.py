"""From files to Settings: names, forms, references, and errors at their line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hermesd.config.load import Examination, examine_contents, load_settings, try_load
from hermesd.config.schema import Config
from hermesd.config.settings import Secrets, Settings
from hermesd.errors import ConfigError
from hermesd.home import Profile
from tests.cost import ratio

PROFILE = Profile("default", Path("/home/of/nobody"))


def examined(text: str, **secrets: str) -> Examination:
    return examine_contents(PROFILE, text.encode(), Secrets(secrets))


def config_of(text: str, **secrets: str) -> Config:
    found = examined(text, **secrets)
    assert found.settings is not None, [str(problem) for problem in found.problems]
    return found.settings.config


def refusal(text: str, **secrets: str) -> ConfigError:
    found = examined(text, **secrets)
    assert found.settings is None
    assert len(found.problems) == 1, [str(problem) for problem in found.problems]
    return found.problems[0]


def profile_at(root: Path, config: str = "", env: str = "") -> Profile:
    root.mkdir(mode=0o700, exist_ok=True)
    if config:
        (root / "config.yaml").write_text(config)
    if env:
        (root / ".env").touch(0o600)
        (root / ".env").write_text(env)
    return Profile("default", root)


def test_without_files_the_defaults_are_in_force(tmp_path: Path) -> None:
    """An empty profile loads, and has nothing to tell."""
    found = load_settings(profile_at(tmp_path))
    assert (found.config, dict(found.secrets), found.notices) == (Config(), {}, ())


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("\nmodle: x\n", 2, "model"),
        ("agent:\n  max_turns: 3\n  max_turn: 3\n", 3, "max_turns"),
        ("agent: {max_turnz: 3}\n", 1, "max_turns"),
        ("platforms:\n  telegramm: {}\n", 2, "telegram"),
        ("platforms:\n  telegram:\n    extra:\n      alowed_users: [1]\n", 4, "allowed_users"),
        ("platforms:\n  webhook:\n    routes:\n      a:\n        promt: x\n", 5, "prompt"),
        ("fallback_providers:\n- default: a\n- defualt: b\n", 3, "default"),
        ("compresion: {}\n", 1, "compression"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_name(text: str, line: int, near: str) -> None:
    """Wherever it stands, file:line and the next name are in the error."""
    error = refusal(text)
    assert error.where == f"{PROFILE.config_path}:{line}"
    assert error.what.startswith("unknown key")
    assert repr(near) in error.next_step


def test_several_errors_are_told_at_once(tmp_path: Path) -> None:
    """Every error has its line, in the order of the file; the first one is raised and counts the others."""
    text = "agent: {max_turns: many}\nmodle: x\npolicy: {unsafe: maybe}\n"
    found = examined(text)
    assert [problem.where.rpartition(":")[2] for problem in found.problems] == ["1", "2", "3"]
    with pytest.raises(ConfigError, match="and 2 more"):
        load_settings(profile_at(tmp_path, text))


HERMES_AGENT_CONFIG = """
_config_version: 22
model:
  default: anthropic/claude-opus-4.6
  base_url: https://openrouter.ai/api/v1
  context_length: 131072
  api_mode: chat_completions
toolsets: [hermes-cli]
max_turns: 100
database: {journal_mode: wal}
plugins:
  enabled: [a, b]
agent:
  max_turns: 60
  verbose: false
  reasoning_effort: medium
  reasoning_overrides: {}
terminal:
  backend: local
  cwd: "."
  timeout: 180
  home_mode: auto
  container_cpu: 1
  docker_image: nousresearch/hermes-sandbox:desktop
compression: {enabled: true, threshold: 0.85, summary_model: google/gemini-3-flash-preview}
memory: {memory_enabled: true, user_profile_enabled: true}
display: {compact: false, personality: kawaii, tool_progress: off}
quick_commands: {status: {type: exec, command: uptime}}
approvals: {mode: off}
hooks: {}
mcp_servers:
  github:
    command: npx
    args: ["-y", "@modelcontextprotocol/server-github"]
    env: {GITHUB_PERSONAL_ACCESS_TOKEN: "${GITHUB_TOKEN}"}
web: {backend: ""}
browser: {inactivity_timeout: 120}
stt: {enabled: true}
tts: {provider: edge}
delegation: {max_iterations: 250}
smart_model_routing: {enabled: false}
skills: {creation_nudge_interval: 15}
timezone: Europe/Berlin
platform_toolsets: {telegram: [hermes-telegram]}
group_sessions_per_user: true
max_concurrent_sessions: null
gateway:
platforms:
  telegram:
    enabled: true
    reply_to_mode: first
    extra:
      allowed_users: ["123", 456]
      rich_messages: true
      command_menu: {max_commands: 60}
  slack: {extra: {native_task_cards: false}}
  api_server: {enabled: true, extra: {key: x}}
  webhook:
    enabled: true
    extra:
      host: 127.0.0.1
      port: 8645
      secret: s3cret
      routes:
        deploy: {events: [push], prompt: "{ref} costs ${amount}", skills: [ops], deliver: telegram}
        picky: {filters: {all: []}, script: pick.py, prompt: x}
"""


def test_a_hermes_agent_configuration_opens_with_notices() -> None:
    """Keys of hermes-agent's that mean nothing here are accepted, each with a notice; what both know is in force."""
    found = examined(HERMES_AGENT_CONFIG, TELEGRAM_BOT_TOKEN="1:a", GITHUB_TOKEN="ghp_1")
    assert found.settings is not None, [str(problem) for problem in found.problems]
    config = found.settings.config
    assert config.model.base_url == "https://openrouter.ai/api/v1"
    assert config.mcp_servers["github"].env == {"GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_1"}
    assert config.agent.max_turns == 60
    assert config.timezone == "Europe/Berlin"
    assert config.terminal.cwd == ""
    assert config.platforms.telegram.allowed_users == ["123", 456]
    assert config.platforms.telegram.token == "1:a"
    assert config.platforms.webhook.port == 8645
    assert config.platforms.webhook.routes["deploy"].prompt == "{ref} costs ${amount}"
    said = "\n".join(found.notices)
    for key in ("compression", "terminal.docker_image", "platforms.slack.native_task_cards", "agent.verbose", "stt"):
        assert f"{key} has no effect here" in said
    assert "max_turns has no effect here; use agent.max_turns" in said
    assert all(notice.startswith(str(PROFILE.config_path)) for notice in found.notices)


def test_a_route_that_held_events_back_is_kept_disabled() -> None:
    """Without the script of hermes-agent, it would take more than its owner wants."""
    route = config_of(HERMES_AGENT_CONFIG, GITHUB_TOKEN="x").platforms.webhook.routes["picky"]
    assert not route.enabled


def test_filters_of_a_route_are_read_as_they_stand() -> None:
    """Numbers and truth values only where they are written so; one condition may stand without a list."""
    text = """
platforms:
  webhook:
    routes:
      x:
        filters:
          - {field: a, equals: 4}
          - {field: b, equals: '4'}
          - any: [{field: c, in: [yes, true, 1.5, 0x1, '${HOME}']}, {not: {field: d, missing: true}}]
        deliver_extra: {chat_id: -1001, thread_id: '{t}'}
      y:
        filters: {field: a, exists: false}
"""
    routes = config_of(text).platforms.webhook.routes
    assert routes["x"].filters == [
        {"field": "a", "equals": 4},
        {"field": "b", "equals": "4"},
        {
            "any": [
                {"field": "c", "in": ["yes", True, 1.5, "0x1", "${HOME}"]},
                {"not": {"field": "d", "missing": True}},
            ]
        },
    ]
    assert routes["x"].deliver_extra == {"chat_id": "-1001", "thread_id": "{t}"}
    assert routes["y"].filters == [{"field": "a", "exists": False}]


# -- forms -------------------------------------------------------------------------------------------------------------


def test_a_model_may_be_a_plain_name() -> None:
    """``model: NAME`` and ``model: {model: NAME}`` are the default."""
    assert config_of("model: openai/gpt-5").model.default == "openai/gpt-5"
    assert config_of("model: {model: gpt}").model.default == "gpt"
    assert config_of("fallback_providers: [a, {provider: openai, model: b}]").fallback_providers[1].default == "b"


def test_settings_stand_beside_enabled_or_under_extra_but_not_both() -> None:
    """Both places are read; the same key in both is refused at its line."""
    assert config_of("platforms: {telegram: {extra: {token: a}}}").platforms.telegram.token == "a"
    assert config_of("platforms: {telegram: {token: a, extra: }}").platforms.telegram.token == "a"
    error = refusal("platforms:\n  telegram:\n    token: a\n    extra:\n      token: b\n")
    assert error.where.endswith(":5")


def test_an_empty_value_means_the_default() -> None:
    """``key:``, ``~`` and ``null`` set nothing, for sections as for values."""
    assert config_of("agent:\nmodel: ~\npolicy: {unsafe: null}\ntoolsets:\nplatforms: {webhook: }") == Config()


def test_words_stay_text_where_text_is_expected() -> None:
    """YAML 1.1 truth values, numbers and dates as names, texts and map keys."""
    config = config_of("model: {default: off, reasoning_effort: no}\npolicy: {tools: {on: deny, 1.10: allow}}\n")
    assert (config.model.default, config.model.reasoning_effort) == ("off", "no")
    assert config.policy.tools == {"on": "deny", "1.10": "allow"}
    assert config_of("model: 2024-01-01").model.default == "2024-01-01"


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("on", True), ("True", True), ("off", False), ("NO", False), ('"true"', True)]
)
def test_truth_values_have_their_usual_words(word: str, value: bool) -> None:
    """Where a truth value is expected, the words of YAML 1.1 are ones."""
    assert config_of(f"rpc: {{audit: {word}}}").rpc.audit is value


@pytest.mark.parametrize("word", ["010", "1:30", "0x10", "1e3", "1.5", "ten", "true", "[1]", "{a: 1}", "9" * 30])
def test_what_is_no_whole_number_is_refused(word: str) -> None:
    """Octal, sexagesimal and other guesses are not made."""
    error = refusal(f"agent:\n  max_turns: {word}\n")
    assert error.where.endswith(":2")
    assert "agent.max_turns must be a whole number" in error.what


def test_lists_may_be_written_with_commas() -> None:
    """A comma-separated text is a list of words, with numbers as numbers."""
    assert config_of("platforms: {telegram: {allowed_users: '1, @bob,3'}}").platforms.telegram.allowed_users == [
        1,
        "@bob",
        3,
    ]


def test_a_wrong_word_is_answered_with_the_nearest_one() -> None:
    """Decision words and other choices are listed, and the nearest is proposed."""
    error = refusal("policy:\n  unsafe: alow\n")
    assert "one of allow, ask, deny" in error.what
    assert "'allow'" in error.next_step


def test_a_secret_is_never_in_an_error() -> None:
    """A secret of the wrong type is not shown, nor is what a reference stands for."""
    error = refusal("platforms: {webhook: {port: '${P}'}}", P="hunter2")
    assert "hunter2" not in str(error)
    error = refusal("model: {api_key: [hunter2]}")
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(examined("model: {default: '${P}'}", P="hunter2").settings.secrets)  # type: ignore[union-attr]  # it is valid


# -- references and .env -----------------------------------------------------------------------------------------------


def test_references_are_resolved_from_the_profile_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """``${VAR}`` and ``${env:VAR}`` come from .env; the environment of the process is not read."""
    monkeypatch.setenv("KEY", "of the process")
    config = config_of("model: {api_key: '${KEY}', default: 'a-${env:KEY}-$${KEY}'}", KEY="k")
    assert (config.model.api_key, config.model.default) == ("k", "a-k-${KEY}")
    assert config_of("platforms: {webhook: {port: '${PORT}'}}", PORT="81").platforms.webhook.port == 81


def test_an_unset_reference_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With file:line, also when the process environment has such a variable."""
    monkeypatch.setenv("NOT_THERE", "x")
    error = refusal("model:\n  default: a\n  api_key: ${NOT_THERE}\n")
    assert error.where.endswith(":3")
    assert "${NOT_THERE} is not set" in error.what
    assert "${" in refusal("model: 'a ${b'").what


def test_a_key_may_be_named_by_its_variable() -> None:
    """hermes-agent's ``key_env: NAME``."""
    assert config_of("fallback_providers: [{model: a, key_env: K}]", K="k").fallback_providers[0].api_key == "k"
    assert "${K} is not set" in refusal("model: {key_env: K}").what


def test_variables_stand_for_keys_that_are_not_set() -> None:
    """TELEGRAM_… and WEBHOOK_… of .env fill in what config.yaml leaves out, and only that."""
    env = {"TELEGRAM_BOT_TOKEN": "1:env", "TELEGRAM_ALLOWED_USERS": "1, @b", "WEBHOOK_ENABLED": "true"}
    config = config_of("platforms: {telegram: {enabled: true, token: ''}}", **env)
    assert config.platforms.telegram.token == "1:env"
    assert config.platforms.telegram.allowed_users == [1, "@b"]
    assert config.platforms.webhook.enabled
    assert config_of("platforms: {telegram: {token: '2:yaml'}}", **env).platforms.telegram.token == "2:yaml"
    assert "WEBHOOK_PORT" in refusal("model: a", WEBHOOK_PORT="many").what


def test_an_env_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """The next step says how to correct it."""
    profile = profile_at(tmp_path, env="A=1\n")
    for mode in (0o640, 0o604, 0o660):
        profile.env_path.chmod(mode)
        error = try_load(profile)
        assert isinstance(error, ConfigError)
        assert error.next_step == f"chmod 600 {profile.env_path}"
    profile.env_path.chmod(0o600)
    assert isinstance(try_load(profile), Settings)


def test_a_secret_in_a_config_that_others_may_read_is_noticed(tmp_path: Path) -> None:
    """config.yaml itself may be readable, as hermes-agent leaves it."""
    profile = profile_at(tmp_path, "model:\n  api_key: sk-literal\n")
    profile.config_path.chmod(0o644)
    assert "model.api_key is a secret" in load_settings(profile).notices[0]
    profile.config_path.chmod(0o600)
    assert load_settings(profile).notices == ()


@pytest.mark.parametrize("name", ["config.yaml", ".env"])
def test_links_directories_and_devices_are_not_read(tmp_path: Path, name: str) -> None:
    """What is no regular file is refused; a link to secrets is not followed."""
    profile = profile_at(tmp_path / "home")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("model: stolen\n")
    path = profile.root / name
    path.symlink_to(elsewhere)
    if name == ".env":  # people keep their configuration elsewhere and link it; secrets stay where they are
        assert "symbolic link" in str(try_load(profile))
    path.unlink()
    path.mkdir()
    assert isinstance(try_load(profile), ConfigError)
    path.rmdir()
    import os

    os.mkfifo(path, 0o600)
    assert "regular file" in str(try_load(profile))


def test_the_daemons_own_sections_are_noticed_in_other_profiles(tmp_path: Path) -> None:
    """rpc, store and shutdown of a second profile have no effect, and it says so."""
    profile = Profile("coder", profile_at(tmp_path, "shutdown: {drain_s: 3}\n").root)
    assert "only in the default profile" in load_settings(profile).notices[0]


# -- anything at all ---------------------------------------------------------------------------------------------------

VOCABULARY = """model agent platforms telegram webhook routes extra enabled policy unsafe tools toolsets max_turns
default api_key ${A} ${B} $${ & * !!str !x <<: - ? : , [ ] { } | > ' " # ~ null yes off 1 1.5 -0 .inf 1e999 --- ..."""
WORDS = st.sampled_from([*VOCABULARY.split(), "\n", "\n\t"])
YAMLISH = st.lists(st.one_of(WORDS, st.sampled_from(["\n", "\n  ", "\n    ", ": ", " "])), max_size=60).map("".join)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.one_of(YAMLISH, st.text(max_size=300)))
@example(text="? a\n: b")
@example(text="a: &a {<<: *a}")
@example(text="\ud7ff: \U0010ffff")
def test_any_text_is_settings_or_config_error(text: str) -> None:
    """No text raises anything else, and every problem has a file and a next step."""
    found = examined(text, A="1")
    assert (found.settings is None) == bool(found.problems)
    for problem in found.problems:
        assert problem.where.startswith(str(PROFILE.root))
        assert problem.next_step


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_settings_or_config_error(data: bytes) -> None:
    """The same for files that are no text."""
    found = examine_contents(PROFILE, data, data)
    assert (found.settings is None) == bool(found.problems)


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(st.text(max_size=8), below, max_size=4)),
    max_leaves=12,
)
KEYS = st.sampled_from(Config.__struct_fields__)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.dictionaries(KEYS, PLAIN, max_size=4))
def test_any_structure_under_known_keys_is_settings_or_config_error(data: dict[str, object]) -> None:
    """Values of the wrong kind anywhere never escape as another exception."""
    import yaml

    found = examine_contents(PROFILE, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"), None)
    assert (found.settings is None) == bool(found.problems)


def test_what_is_in_force_can_be_written_down_and_read_again() -> None:
    """A Config dumped as YAML is the same Config."""
    import yaml

    config = config_of(HERMES_AGENT_CONFIG, GITHUB_TOKEN="x")
    assert config_of(yaml.safe_dump(msgspec.to_builtins(config))) == config


# -- cost --------------------------------------------------------------------------------------------------------------


def test_profiles_are_read_for_a_few_times_the_cost_of_bare_yaml(tmp_path: Path) -> None:
    """An ordinary config.yaml with a .env, beside libyaml's reading of the same files: about 1 ms beside 0.4."""
    import yaml

    text = "model: {default: gpt, provider: openai}\nagent: {max_turns: 30}\ntoolsets: [files, todo]\n"
    text += "platforms:\n  telegram: {enabled: true, allowed_users: [1, 2]}\n  webhook:\n    enabled: true\n"
    text += "    routes:\n" + "".join(f"      r{n}: {{secret: '${{S}}', prompt: 'about {{a.b}}'}}\n" for n in range(3))
    profiles = [profile_at(tmp_path / f"p{n}", text, "TELEGRAM_BOT_TOKEN=1:a\nS=x\n") for n in range(100)]

    def loading() -> None:
        assert all(isinstance(try_load(profile), Settings) for profile in profiles)

    def parsing() -> None:
        for profile in profiles:
            yaml.load((profile.root / "config.yaml").read_bytes(), Loader=yaml.CSafeLoader)
            (profile.root / ".env").read_bytes()

    assert ratio(loading, parsing, enough=8) < 8
