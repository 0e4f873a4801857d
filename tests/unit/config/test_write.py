"""Changing one key: comments stay, secrets go to .env, and nothing is written that would not load."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.config import write
from hermesd.config.edit import Draft
from hermesd.config.load import load_settings
from hermesd.config.managed import manager_of
from hermesd.config.show import to_plain, value_of
from hermesd.config.write import set_value, unset_value, write_config
from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError, UsageError
from hermesd.home import Home, Profile

COMMENTED = """# head

model: gpt   # the model
# about agents
agent:
  max_turns: 5   # few

# tools
toolsets:
  - files   # first
  - todo

# the last section
store:
  retain_days: 7
# tail
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    return Profile("default", root)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_change_touches_nothing_but_its_line(profile: Profile) -> None:
    """Comments, blank lines, order and the indentation of lists stay."""
    profile.config_path.write_text(COMMENTED)
    set_value(profile, "agent.max_turns", "7")
    assert profile.config_path.read_text() == COMMENTED.replace("max_turns: 5", "max_turns: 7")


def test_a_new_key_stands_before_the_comments_of_the_next_section(profile: Profile) -> None:
    """What is about the next section stays in front of it."""
    profile.config_path.write_text(COMMENTED)
    set_value(profile, "model.provider", "openai")
    set_value(profile, "agent.busy", "queue")
    set_value(profile, "rpc.audit", "no")
    assert profile.config_path.read_text() == COMMENTED.replace(
        "model: gpt   # the model\n", "model:\n  default: gpt # the model\n  provider: openai\n"
    ).replace("# few\n", "# few\n  busy: queue\n").replace("# tail\n", "rpc:\n  audit: false\n# tail\n")


SERVERS = """# head
mcp_servers:   # servers
  # the first
  one:
    args: [a, b]   # flow
    tools: {include: [x]}   # filter
  # the second
  two: {command: x}   # its own
# about agents
agent:
  max_turns: 5
"""


def test_what_is_added_changed_or_removed_leaves_the_comments_around_it(profile: Profile) -> None:
    """Also where the value before them is written as ``{…}`` or ``[…]``, and when a section goes with its last key."""
    profile.config_path.write_text(SERVERS)
    set_value(profile, "mcp_servers.one.command", "x")
    set_value(profile, "mcp_servers.one.args", "[c]")
    assert profile.config_path.read_text() == SERVERS.replace(
        "    args: [a, b]   # flow\n", "    args: [c]      # flow\n"
    ).replace("# filter\n", "# filter\n    command: x\n")
    unset_value(profile, "mcp_servers.two")
    assert "    command: x\n  # the second\n# about agents\nagent:\n" in profile.config_path.read_text()
    unset_value(profile, "mcp_servers.one")
    assert profile.config_path.read_text() == "# head\n# the second\n# about agents\nagent:\n  max_turns: 5\n"
    unset_value(profile, "agent.max_turns")
    assert profile.config_path.read_text().startswith("# head\n")


def test_a_file_of_comments_keeps_them(profile: Profile) -> None:
    """A template that is all comments is not lost by the first setting."""
    profile.config_path.write_text("# Everything is commented out.\n# model: x\n")
    set_value(profile, "agent.max_turns", "7")
    assert profile.config_path.read_text().startswith("# Everything is commented out.\n# model: x\n")
    assert load_settings(profile).config.agent.max_turns == 7


def test_files_are_made_private(profile: Profile) -> None:
    """0600, whatever the umask, and readable by the loader."""
    set_value(profile, "agent.max_turns", "7")
    set_value(profile, "platforms.telegram.token", "1:a")
    assert (mode_of(profile.config_path), mode_of(profile.env_path)) == (0o600, 0o600)
    assert load_settings(profile).config.platforms.telegram.token == "1:a"


@pytest.mark.parametrize(
    ("key", "variable", "in_config"),
    [
        ("platforms.telegram.token", "TELEGRAM_BOT_TOKEN", ""),
        ("platforms.webhook.secret", "WEBHOOK_SECRET", ""),
        (
            "platforms.webhook.routes.my-hook.secret",
            "WEBHOOK_ROUTES_MY_HOOK_SECRET",
            "${WEBHOOK_ROUTES_MY_HOOK_SECRET}",
        ),
        ("model.api_key", "OPENAI_API_KEY", "${OPENAI_API_KEY}"),
    ],
)
def test_a_secret_goes_to_env(profile: Profile, key: str, variable: str, in_config: str) -> None:
    """config.yaml gets a reference, or nothing where the variable is read by itself; both are removed again."""
    profile.config_path.write_text("agent: {max_turns: 3}\n")
    assert set_value(profile, key, "hunter2'x'").variable == variable
    text = profile.config_path.read_text()
    assert "hunter2" not in text
    assert in_config in text
    found = load_settings(profile)
    assert found.secrets[variable] == "hunter2'x'"
    unset_value(profile, key)
    assert variable not in load_settings(profile).secrets
    assert "${" not in profile.config_path.read_text()


def test_an_env_that_is_no_text_is_told_with_its_line_and_left_alone(profile: Profile) -> None:
    """A change would have to guess what its bytes mean."""
    data = b"A=1\nB=\xff\xfe\n"
    profile.env_path.write_bytes(data)
    profile.env_path.chmod(0o600)
    for change in (lambda: set_value(profile, "A_KEY", "x"), lambda: unset_value(profile, "A")):
        with pytest.raises(ConfigError, match="is not UTF-8") as caught:
            change()
        assert caught.value.where == f"{profile.env_path}:2"
    assert profile.env_path.read_bytes() == data


def test_a_provider_that_is_known_is_given_its_own_variable(profile: Profile) -> None:
    """The caller names it, and config.yaml needs no reference."""
    set_value(profile, "model.api_key", "k", variable="ANTHROPIC_API_KEY")
    assert dict(load_settings(profile).secrets) == {"ANTHROPIC_API_KEY": "k"}
    assert not profile.config_path.exists() or profile.config_path.read_text() == ""


def test_a_variables_name_is_set_in_env(profile: Profile) -> None:
    """As hermes-agent does; removing it again leaves the rest."""
    set_value(profile, "GROQ_API_KEY", "k")
    set_value(profile, "OTHER", "1")
    unset_value(profile, "GROQ_API_KEY")
    assert dict(load_settings(profile).secrets) == {"OTHER": "1"}
    with pytest.raises(NotFoundError):
        unset_value(profile, "GROQ_API_KEY")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("toolsets", "files, todo", ["files", "todo"]),
        ("toolsets", "[files, todo]", ["files", "todo"]),
        ("platforms.telegram.allowed_users", "1,@bob", [1, "@bob"]),
        ("policy.tools", "{shell: deny}", {"shell": "deny"}),
        ("policy.tools.off", "allow", {"off": "allow"}),
        ("platforms.webhook.routes.r.events", "push,no", ["push", "no"]),
        ("agent.system_prompt", "Cost: ${x} # [a]", "Cost: ${x} # [a]"),
        ("model", "no", "no"),
        ("model", "1e5", "1e5"),
        ("rpc.audit", "off", False),
        ("terminal.timeout", "2.5", 2.5),
    ],
)
def test_a_value_is_read_by_its_type(profile: Profile, key: str, text: str, value: object) -> None:
    """What was set is what is in force."""
    if key == "model":
        key = "model.default"
    set_value(profile, key, text)
    shown = value_of(load_settings(profile).config, key if key != "policy.tools.off" else "policy.tools")
    assert shown == value


REFUSED: list[tuple[str, str, type[HermesError]]] = [
    ("agent.max_turns", "0", ConfigError),
    ("agent.max_turns", "many", ConfigError),
    ("agent.max_turnz", "1", UsageError),
    ("modle", "x", UsageError),
    ("agent", "x", UsageError),
    ("agent.max_turns.more", "1", UsageError),
    ("fallback_providers[0]", "x", UsageError),
    ("policy.unsafe", "maybe", ConfigError),
    ("policy.tools", "{shell: maybe}", ConfigError),
    ("policy.tools", "{shell: deny", ConfigError),
    ("model.base_url", "${NOT_SET}", ConfigError),
    ("platforms.telegram.token", "${NOT SET}", UsageError),
    ("platforms.webhook.routes.a/b.prompt", "x", ConfigError),
    ("", "x", UsageError),
]


@pytest.mark.parametrize(("key", "text", "error"), REFUSED)
def test_what_would_not_load_is_not_written(profile: Profile, key: str, text: str, error: type[HermesError]) -> None:
    """Both files stay as they were, and the error has a next step."""
    profile.config_path.write_text(COMMENTED)
    with pytest.raises(error) as caught:
        set_value(profile, key, text)
    assert caught.value.next_step
    assert profile.config_path.read_text() == COMMENTED
    assert not profile.env_path.exists()


def test_an_error_that_was_there_does_not_forbid_another_change(profile: Profile) -> None:
    """So a wrong file can be put right key by key; one that is no YAML is for the editor."""
    profile.config_path.write_text("agent: {max_turns: 0}\npolicy: {unsafe: maybe}\n")
    set_value(profile, "agent.max_turns", "3")
    set_value(profile, "policy.unsafe", "ask")
    assert load_settings(profile).config.agent.max_turns == 3
    profile.config_path.write_text("agent: [\n")
    with pytest.raises(ConfigError, match="YAML"):
        set_value(profile, "agent.max_turns", "3")


def test_unset_goes_back_to_the_default(profile: Profile) -> None:
    """Emptied sections go too; what is not set is not found."""
    profile.config_path.write_text("platforms:\n  telegram:\n    extra:\n      stream: no\nmodel: a\n")
    unset_value(profile, "platforms.telegram.stream")
    assert profile.config_path.read_text() == "model: a\n"
    with pytest.raises(NotFoundError):
        unset_value(profile, "agent.max_turns")
    unset_value(profile, "model")
    assert load_settings(profile).config.model.default == "offline"


def test_a_setting_under_extra_is_changed_there(profile: Profile) -> None:
    """Otherwise it would be set twice."""
    profile.config_path.write_text("platforms:\n  webhook:\n    extra:\n      port: 1\n")
    set_value(profile, "platforms.webhook.port", "2")
    assert profile.config_path.read_text() == "platforms:\n  webhook:\n    extra:\n      port: 2\n"


def test_links_at_the_targets_are_refused(profile: Profile, tmp_path: Path) -> None:
    """Case 2: neither config.yaml nor .env is written through a symbolic link."""
    victim = tmp_path / "victim"
    victim.write_text("agent: {max_turns: 3}\n")
    for path, key in ((profile.config_path, "agent.max_turns"), (profile.env_path, "A_KEY")):
        path.symlink_to(victim)
        with pytest.raises(HermesError):
            set_value(profile, key, "4")
        path.unlink()
    assert victim.read_text() == "agent: {max_turns: 3}\n"


def test_a_hard_link_at_the_target_is_replaced_not_written(profile: Profile, tmp_path: Path) -> None:
    """The other name keeps its contents."""
    victim = tmp_path / "victim"
    victim.write_text("model: a\n")
    profile.config_path.hardlink_to(victim)
    set_value(profile, "agent.max_turns", "4")
    assert victim.read_text() == "model: a\n"


def test_a_directory_that_others_may_write_is_refused(profile: Profile) -> None:
    """With chmod as the next step."""
    profile.root.chmod(0o770)
    with pytest.raises(ConfigError, match="others may write") as caught:
        set_value(profile, "agent.max_turns", "4")
    assert caught.value.next_step.startswith("chmod go-w")


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60)


@settings(deadline=None, max_examples=150)
@given(prompt=TEXT, name=TEXT.filter(lambda text: "${" not in text))
def test_any_text_that_is_set_is_in_force(prompt: str, name: str) -> None:
    """Quoting is right for every text, beside what is there."""
    with tempfile.TemporaryDirectory() as root:
        profile = Profile("default", Path(root))
        profile.config_path.write_text(COMMENTED)
        set_value(profile, "agent.system_prompt", prompt)
        set_value(profile, "model.reasoning_effort", name)
        config = load_settings(profile).config
    assert (config.agent.system_prompt, config.model.reasoning_effort, config.agent.max_turns) == (prompt, name, 5)


def test_a_whole_file_is_replaced_only_if_it_loads(profile: Profile) -> None:
    """The draft of `config edit` is checked strictly; a change by someone else meanwhile is not overwritten."""
    profile.config_path.write_text("agent: {max_turns: 3}\n")
    with Draft(profile) as draft:
        assert mode_of(draft.path) == 0o600
        assert not draft.is_changed()
        draft.path.write_text("agent: {max_turns: 0}\n")
        with pytest.raises(ConfigError) as caught:
            draft.put_in_place()
        assert caught.value.where == f"{draft.path}:1"
        draft.path.write_text("agent: {max_turns: 9}\n")
        draft.put_in_place()
    assert not draft.path.exists()
    assert load_settings(profile).config.agent.max_turns == 9
    with Draft(profile) as draft:
        write_config(profile, b"agent: {max_turns: 10}\n")
        draft.path.write_text("agent: {max_turns: 11}\n")
        with pytest.raises(ConflictError):
            draft.put_in_place()
    assert draft.path.read_text() == "agent: {max_turns: 11}\n"


def test_secrets_are_not_shown(profile: Profile) -> None:
    """Everywhere they may stand, also in lists and maps; what is not set is shown as empty."""
    profile.config_path.write_text(
        "model: {api_key: hunter2}\nfallback_providers: [{model: a, api_key: hunter2}]\n"
        "platforms: {telegram: {token: hunter2}, webhook: {routes: {token: {secret: hunter2, prompt: x}}}}\n"
    )
    config = load_settings(profile).config
    plain = to_plain(config)
    assert "hunter2" not in repr(plain)
    assert plain["model"]["api_key"] == "***"
    assert plain["platforms"]["webhook"]["secret"] == ""
    assert value_of(config, "platforms.webhook.routes.token.prompt") == "x"
    assert value_of(config, "fallback_providers[0].default") == "a"
    with pytest.raises(NotFoundError) as caught:
        value_of(config, "agent.max_turnz")
    assert "max_turns" in caught.value.next_step


@pytest.mark.parametrize(
    ("environment", "content", "name"),
    [
        ({"HERMES_MANAGED": "true"}, None, "NixOS"),
        ({"HERMES_MANAGED": "1"}, None, "NixOS"),
        ({"HERMES_MANAGED": "brew"}, None, "Homebrew"),
        ({"HERMES_MANAGED": "ansible"}, None, "ansible"),
        ({"HERMES_MANAGED": "0"}, None, ""),
        ({}, "", "NixOS"),
        ({}, "nixos\n", "NixOS"),
        ({}, "# by activation\nhome-manager\n", "home-manager"),
        ({}, None, ""),
    ],
)
def test_the_manager_is_named(tmp_path: Path, environment: dict[str, str], content: str | None, name: str) -> None:
    """By HERMES_MANAGED or by .managed, in hermes-agent's words."""
    if content is not None:
        (tmp_path / ".managed").write_text(content)
    manager = manager_of(Home(tmp_path), environment)
    assert (manager.name if manager else "") == name
    if manager:
        refusal = manager.refusal("set agent.max_turns")
        assert f"managed by {name}" in refusal.what
        assert refusal.exit_status == 78
        assert refusal.next_step
        assert manager.declares("agent.max_turns")


def test_a_manager_may_declare_only_some_keys(tmp_path: Path) -> None:
    """Those, what is below them, and the sections that hold them."""
    (tmp_path / ".managed").write_text("nixos\nrebuild = sudo deploy\nkeys=agent.max_turns, platforms.telegram\n")
    manager = manager_of(Home(tmp_path), {})
    assert manager is not None
    declared = {
        key
        for key in ("agent", "agent.max_turns", "agent.busy", "platforms.telegram.token", "")
        if manager.declares(key)
    }
    assert declared == {"agent", "agent.max_turns", "platforms.telegram.token", ""}
    assert "sudo deploy" in manager.refusal("edit").next_step


def test_a_home_in_a_directory_called_profiles_has_its_own_manager(tmp_path: Path) -> None:
    """It looks like a profile that is a home of its own, whose manager is that of the home around it."""
    (tmp_path / "profiles/alice").mkdir(parents=True, mode=0o700)
    (tmp_path / "profiles/bob").mkdir(mode=0o700)
    (tmp_path / "profiles/alice/.managed").write_text("home-manager\ndeclared=listed\nkey=default agent.max_turns\n")
    alice = manager_of(Home(tmp_path / "profiles/alice"), {})
    assert alice is not None
    assert alice.declares("agent.max_turns")
    assert not alice.declares("model.default")
    assert manager_of(Home(tmp_path / "profiles/bob"), {}) is None
    (tmp_path / ".managed").write_text("NixOS\ndeclared=listed\nkey=bob model.default\n")
    bob = manager_of(Home(tmp_path / "profiles/bob"), {})
    assert bob is not None
    assert bob.declares("model.default")


def test_a_manager_may_declare_many_thousand_keys(tmp_path: Path) -> None:
    """Two hundred profiles have so many."""
    keys = "".join(f"key=profile-{number // 100} some.key.of.a.profile.{number}\n" for number in range(25_000))
    (tmp_path / ".managed").write_text(f"NixOS\ndeclared=listed\n{keys}")
    assert (tmp_path / ".managed").stat().st_size > 1024 * 1024
    manager = manager_of(Home(tmp_path), {})
    assert manager is not None
    assert manager.declares("some.key.of.a.profile.24999", "profile-249")


def test_several_edits_are_one_change_of_a_file_that_is_as_it_was(profile: Profile) -> None:
    """Comments stay, upper sections are kept when asked; a file that has changed meanwhile is left alone."""
    before = b"# top\nmcp_servers:\n  a: {command: x, timeout: 5}  # ours\n  b: {command: y}\n"
    profile.config_path.write_bytes(before)
    edits = [
        write.Edit(("mcp_servers", "a", "timeout"), None, keep=2),
        write.Edit(("mcp_servers", "b"), None),
        write.Edit(("mcp_servers", "c"), {"command": "no", "env": {"TOKEN": "${T}"}}),
    ]
    with pytest.raises(ConfigError, match="T} is not set"):
        write.rehearse(profile, profile, edits, {})
    with pytest.raises(ConflictError, match="changed meanwhile"):
        write.change(profile, b"other", edits, {"T": "t0ken"})
    assert profile.config_path.read_bytes() == before
    assert not profile.env_path.exists()
    write.change(profile, before, edits, {"T": "t0ken"})
    servers = load_settings(profile).config.mcp_servers
    assert (sorted(servers), servers["c"].command, servers["c"].env) == (["a", "c"], "no", {"TOKEN": "t0ken"})
    assert "# ours" in profile.config_path.read_text()


@pytest.mark.parametrize("how", ["set", "unset", "unset a secret", "change"])
def test_a_kill_between_the_files_leaves_a_configuration_that_loads(profile: Profile, how: str) -> None:
    """New variables are there before something refers to them, old ones until nothing does."""
    set_value(profile, "mcp_servers.n", "{command: x, env: {N_KEY: one}}")
    set_value(profile, "model.api_key", "two")
    code = (
        "from pathlib import Path\nfrom hermesd.home import Profile\n"
        "from hermesd.config.write import Edit, change, set_value, unset_value\n"
        f"profile = Profile('default', Path({str(profile.root)!r}))\n"
    )
    code += {
        "set": "set_value(profile, 'mcp_servers.n.url', 'https://127.0.0.1:9/?three')",
        "unset": "unset_value(profile, 'mcp_servers.n')",
        "unset a secret": "unset_value(profile, 'model.api_key')",
        "change": "change(profile, None, [Edit(('mcp_servers',), None), Edit(('model', 'api_key'), '${A}')],"
        " {'A': '1', 'N_KEY': None, 'OPENAI_API_KEY': None})",
    }[how]
    before = profile.config_path.read_bytes(), profile.env_path.read_bytes()
    environment = {**os.environ, "HERMESD_FAILPOINT": "home.after_rename"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (profile.config_path.read_bytes(), profile.env_path.read_bytes()) != before
    load_settings(profile)


def test_a_setting_that_needs_no_variable_can_be_made_whatever_is_wrong_with_env(profile: Profile) -> None:
    """One that does cannot: which names are free is not known."""
    profile.env_path.write_text("no variable\n" * 40)
    profile.env_path.chmod(0o600)
    profile.config_path.write_text("mcp_servers: {n: {command: x}}\n")
    set_value(profile, "mcp_servers.n.enabled", "false")
    assert "enabled: false" in profile.config_path.read_text()
    with pytest.raises(ConfigError, match="too many lines"):
        set_value(profile, "mcp_servers.n.env.KEY", "geheim")


def test_what_env_holds_is_shown_in_no_setting_of_a_server(profile: Profile) -> None:
    """Wherever config.yaml refers to it, and however the word looks that it makes there."""
    profile.env_path.write_text("PLAIN=geheim-1\nUSER_URL=https://geheim-2.example/mcp\n")
    profile.env_path.chmod(0o600)
    profile.config_path.write_text(
        "mcp_servers:\n  a: {command: x, args: [--header, 'X: ${PLAIN}'], cwd: '/${PLAIN}'}\n"
        "  b: {url: '${USER_URL}'}\n"
    )
    settings_now = load_settings(profile)
    shown = to_plain(settings_now.config, settings_now.secrets)["mcp_servers"]
    assert "geheim" not in repr(shown)
    assert shown["a"]["args"] == ["--header", "X: ***"]
