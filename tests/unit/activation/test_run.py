"""A whole activation, in this process: what it writes, keeps and takes away."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.activation.config_file import digest
from hermesd.activation.manifest import parse
from hermesd.activation.run import Report, activate
from hermesd.config.env import parse_env
from hermesd.config.managed import manager_of
from hermesd.config.plain import leaves, tree_of
from hermesd.errors import ConfigError, DeniedError
from hermesd.gateway.state import read_state
from hermesd.home import Home

ROOT = os.geteuid() == 0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *, dry_run: bool = False, **manifest: Any) -> Report:
    """Activate what is given, by the manifest's own names."""
    text = json.dumps({"schema": 1, "home": str(home), **manifest})
    return activate(parse(text.encode(), "m.json"), "m.json", dry_run=dry_run)


def everything(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every path with its mode, its time of change and its contents (or where a link points)."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, data)
    return found


FULL: dict[str, Any] = {
    "managedBy": {"name": "NixOS", "rebuild": "sudo nixos-rebuild switch"},
    "config": {"value": {"model": {"default": "gpt-x"}, "agent": {"max_turns": 60}}},
    "env": {"values": {"LOG_LEVEL": "info"}},
    "files": [{"target": "SOUL.md", "text": "You are.\n"}],
    "documents": [{"target": "notes/USER.md", "text": "me\n", "mode": "0640"}],
    "cron": [{"name": "Nightly", "schedule": "every day at 02:00", "prompt": "fix"}],
    "profiles": {
        "coder": {
            "description": "Codes",
            "config": {"value": {"model": "gpt-y"}},
            "documents": [{"target": "USER.md", "text": "me\n", "mode": "0640"}],
        }
    },
}


def test_a_home_is_made_as_declared_and_a_second_run_writes_nothing(home: Path) -> None:
    """Not even a time of change differs."""
    assert run(home, **FULL).steps
    assert tree_of((home / "config.yaml").read_bytes(), "") == FULL["config"]["value"]
    assert (home / "workspace/notes/USER.md").read_text() == "me\n"
    assert stat.S_IMODE((home / "workspace/notes/USER.md").stat().st_mode) == 0o640
    assert tree_of((home / "profiles/coder/config.yaml").read_bytes(), "") == {"model": {"default": "gpt-y"}}
    assert (home / "profiles/coder/profile.yaml").read_text() == 'description: "Codes"\n'
    before = everything(home)
    assert run(home, **FULL).steps == []
    assert everything(home) == before


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_files_and_directories_are_private_whatever_the_umask(home: Path, umask: int) -> None:
    """0600 and 0700, but for what the manifest gives another mode."""
    old = os.umask(umask)
    try:
        run(home, **FULL)
    finally:
        os.umask(old)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file() and path.name != "USER.md"} == {0o600}


def test_a_dry_run_changes_nothing_and_tells_everything(home: Path) -> None:
    """The same steps as the run itself."""
    said = [(step.action, step.path) for step in run(home, dry_run=True, **FULL).steps]
    assert not home.exists()
    assert [(step.action, step.path) for step in run(home, **FULL).steps] == said
    before = everything(home)
    assert run(home, dry_run=True, config={"value": {"agent": {"max_turns": 1}}}).steps
    assert everything(home) == before


def test_what_is_no_longer_declared_goes_and_the_users_own_stays(home: Path) -> None:
    """Keys, variables, files, documents and jobs."""
    run(home, **FULL)
    with (home / "config.yaml").open("a") as file:
        file.write("# mine\nstore:\n  retain_days: 3\n")
    with (home / ".env").open("a") as file:
        file.write("MINE=1\n")
    run(home, managedBy="NixOS")
    assert (home / "config.yaml").read_text() == "# mine\nstore:\n  retain_days: 3\n"
    assert (home / ".env").read_text() == "MINE=1\n"
    assert not (home / "SOUL.md").exists()
    assert not (home / "workspace/notes/USER.md").exists()
    assert not (home / ".activation/routines.yaml").exists()


def test_a_dropped_profile_loses_what_was_declared_and_keeps_what_it_has(home: Path) -> None:
    """Its sessions and memories are its user's; who wants it gone is told how."""
    run(home, **FULL)
    (home / "profiles/coder/MEMORY.md").write_text("x")
    report = run(home, **{**FULL, "profiles": {}})
    assert (home / "profiles/coder/config.yaml").read_bytes() == b""
    assert not (home / "profiles/coder/profile.yaml").exists()
    assert (home / "profiles/coder/MEMORY.md").read_text() == "x"
    assert "hermesctl profile delete coder" in report.notices[0]
    assert run(home, **{**FULL, "profiles": {}}).notices == []


def test_a_document_that_somebody_changed_is_kept_beside(home: Path) -> None:
    """As .bak; and one that is not declared any more is left to whoever changed it."""
    run(home, documents=[{"target": "USER.md", "text": "one\n"}])
    document = home / "workspace/USER.md"
    document.write_text("mine\n")
    run(home, documents=[{"target": "USER.md", "text": "two\n"}])
    assert document.read_text() == "two\n"
    assert document.with_name("USER.md.bak").read_text() == "mine\n"
    document.write_text("mine again\n")
    run(home, documents=[{"target": "USER.md", "text": "three\n"}])
    assert document.with_name("USER.md.bak.2").read_text() == "mine again\n"
    document.write_text("for ever mine\n")
    run(home)
    assert document.read_text() == "for ever mine\n"


def test_a_document_that_was_there_before_is_kept_beside(home: Path) -> None:
    """It was somebody's."""
    (home / "workspace").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "workspace/USER.md").write_text("old\n")
    run(home, documents=[{"target": "USER.md", "text": "new\n"}])
    assert (home / "workspace/USER.md.bak").read_text() == "old\n"


def test_the_working_directory_holds_the_documents_and_is_where_commands_start(home: Path, tmp_path: Path) -> None:
    """Also elsewhere; and documents follow it."""
    first, second = tmp_path / "first", tmp_path / "second"
    documents = [{"target": "USER.md", "text": "me\n"}]
    run(home, workingDirectory=str(first), documents=documents)
    assert (first / "USER.md").read_text() == "me\n"
    assert tree_of((home / "config.yaml").read_bytes(), "") == {"terminal": {"cwd": str(first)}}
    run(home, workingDirectory=str(second), documents=documents)
    assert not (first / "USER.md").exists()
    assert (second / "USER.md").read_text() == "me\n"


# -- .env --------------------------------------------------------------------------------------------------------------


def test_secrets_are_rotated_and_removed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From files and credentials; later wins, and what is not there any more goes."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secrets, more = tmp_path / "secrets", tmp_path / "more"
    secrets.write_text("A_TOKEN='one'\nB_TOKEN=x\n")
    more.write_text("export B_TOKEN=later\n")
    env = {"values": {"A_TOKEN": "value", "C": "d e"}, "files": ["credential:secrets", str(more), "-/nowhere"]}
    run(home, env=env)
    assert variables(home) == {"A_TOKEN": "one", "B_TOKEN": "later", "C": "d e"}
    secrets.write_text("A_TOKEN=two\n")
    run(home, env=env)
    assert variables(home)["A_TOKEN"] == "two"
    run(home, env={"values": {"C": "d e"}})
    assert variables(home) == {"C": "d e"}
    assert "two" not in "".join(path.read_text() for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize("named", ["/nowhere/at/all", "credential:nothing"])
def test_a_missing_file_of_secrets_is_an_error_unless_it_may_be_missing(
    home: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is changed."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError) as caught:
        run(home, config={"value": {"agent": {"max_turns": 5}}}, env={"files": [named]})
    assert caught.value.where == named
    assert "put - before it" in caught.value.next_step
    assert not (home / "config.yaml").exists()
    run(home, env={"files": [f"-{named}"]})
    assert not (home / ".env").exists()


def test_a_variable_that_its_user_has_stored_stays(home: Path) -> None:
    """`hermesctl setup` and `mcp add` put secrets there; one that is declared wins while it is."""
    home.mkdir(mode=0o700)
    (home / ".env").write_text("# mine\nMINE=1\nSHARED=mine\n")
    (home / ".env").chmod(0o644)
    run(home, env={"values": {"SHARED": "declared"}})
    assert (home / ".env").read_text() == "# mine\nMINE=1\nSHARED=declared\n"
    assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600
    (home / ".env").write_text("MINE=1\nSHARED=changed\n")
    run(home)
    assert variables(home) == {"MINE": "1", "SHARED": "changed"}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), st.text(st.characters(codec="utf-8", exclude_characters="\x00"))))
def test_any_value_is_read_back_as_it_was_declared(values: dict[str, str]) -> None:
    """Quotes, line ends and ${…} too."""
    from hermesd.activation.environment import contents

    assert parse_env(contents(None, dict(values)), ".env", []) == values


def variables(home: Path) -> dict[str, str]:
    return parse_env((home / ".env").read_bytes(), ".env", [])


# -- config.yaml -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "just words\n"])
def test_a_config_that_is_no_mapping_is_left_as_it_is(home: Path, text: str) -> None:
    """The refusal says where, and nothing else is changed either."""
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        run(home, **FULL)
    assert str(home / "config.yaml") in caught.value.where
    assert [path.name for path in home.iterdir()] == ["config.yaml"]
    assert (home / "config.yaml").read_text() == text


def test_a_config_that_would_not_load_is_refused(home: Path) -> None:
    """By the manifest's name; a mistake that was there before is its user's, and does not stand in the way."""
    with pytest.raises(ConfigError, match="max_turns") as caught:
        run(home, config={"value": {"agent": {"max_turns": "many"}}})
    assert caught.value.where == "m.json"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text("agent: {max_turns: many}\n")
    run(home, config={"value": {"toolsets": ["files"]}})
    assert "files" in (home / "config.yaml").read_text()


def test_replace_takes_the_whole_file_and_keeps_what_was_changed(home: Path, tmp_path: Path) -> None:
    """Beside it; by a value or by a file that is copied as it is."""
    run(home, config={"mode": "replace", "value": {"agent": {"max_turns": 5}}})
    with (home / "config.yaml").open("a") as file:
        file.write("toolsets: [files]\n")
    run(home, config={"mode": "replace", "value": {"agent": {"max_turns": 6}}})
    assert (home / "config.yaml").read_text() == "agent:\n  max_turns: 6\n"
    assert "toolsets" in (home / "config.yaml.bak").read_text()
    source = tmp_path / "own.yaml"
    source.write_text("# as it is\nagent: {max_turns: 7}\n")
    run(home, config={"source": str(source)})
    assert (home / "config.yaml").read_text() == source.read_text()
    assert not (home / "config.yaml.bak.2").exists()
    assert run(home, config={"source": str(source)}).steps == []


def test_a_source_can_be_merged(home: Path, tmp_path: Path) -> None:
    """As a value would be."""
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text("toolsets: [files]\n")
    source = tmp_path / "own.yaml"
    source.write_text("agent: {max_turns: 7}\n")
    run(home, config={"mode": "merge", "source": str(source)})
    expected = {"toolsets": ["files"], "agent": {"max_turns": 7}}
    assert tree_of((home / "config.yaml").read_bytes(), "") == expected


# -- auth.json and .managed --------------------------------------------------------------------------------------------


def test_auth_is_seeded_once_or_every_time(home: Path, tmp_path: Path) -> None:
    """Tokens that were refreshed here stay, unless the manifest insists."""
    source = tmp_path / "auth.json"
    source.write_text('{"a": 1}')
    run(home, auth={"source": str(source)})
    (home / "auth.json").write_text('{"refreshed": 1}')
    assert run(home, auth={"source": str(source)}).steps == []
    run(home, auth={"source": str(source), "force": True})
    assert (home / "auth.json").read_text() == '{"a": 1}'
    assert run(home, auth={"source": str(source), "force": True}).steps == []
    source.write_text("[]")
    with pytest.raises(ConfigError, match="not a JSON object"):
        run(home, auth={"source": str(source), "force": True})


def test_the_marker_names_the_manager_and_what_it_declares(home: Path) -> None:
    """By profile; the rest is the user's."""
    run(home, **FULL)
    manager = manager_of(Home(home), {"HERMES_MANAGED": "true"})
    assert manager is not None
    assert (manager.name, manager.rebuild) == ("NixOS", "sudo nixos-rebuild switch")
    assert manager.declares("agent.max_turns")
    assert manager.declares("agent")
    assert manager.declares("LOG_LEVEL")
    assert not manager.declares("agent.max_turns", "coder")
    assert not manager.declares("store.retain_days")
    assert manager.declares("model.default", "coder")
    assert manager.has("job", "Nightly")
    assert manager.has("profile", "coder", "coder")
    inside = manager_of(Home(home / "profiles/coder"), {})
    assert inside is not None
    assert inside.declares("model.default")
    assert not inside.declares("agent.max_turns")


def test_an_agent_that_is_a_process_of_its_own_has_its_own_routines(home: Path) -> None:
    """Its daemon applies them; and they move with it."""
    cron = [{"name": "Own", "schedule": "every 1h", "prompt": "x"}]
    own, common = home / "profiles/coder/.activation/routines.yaml", home / ".activation/routines.yaml"
    run(home, profiles={"coder": {"config": {"value": {"isolation": "process"}}, "cron": cron}})
    assert tree_of(own.read_bytes(), "")["jobs"]["Own"]["prompt"] == "x"
    assert not common.exists()
    run(home, profiles={"coder": {"cron": cron}})
    assert not own.exists()
    assert tree_of(common.read_bytes(), "")["profiles"]["coder"]["jobs"]["Own"]["prompt"] == "x"


# -- gateways ----------------------------------------------------------------------------------------------------------


def desired(home: Path, profile: str = "") -> str:
    """As the daemon reads it."""
    return read_state(Home(home).profile(profile or "default")).desired_state


def test_the_gateway_of_each_declared_agent_is_to_run(home: Path) -> None:
    """Of one that is not declared, nothing is said; and a dry run tells it."""
    (home / "profiles/mine").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    said = {step.path: step.details for step in run(home, dry_run=True, **FULL).steps}
    assert [each.text for each in said[str(home / "gateway_state.json")]] == ["desired_state: running"]
    run(home, **FULL)
    assert (desired(home), desired(home, "coder")) == ("running", "running")
    assert not (home / "profiles/mine/gateway_state.json").exists()


@pytest.mark.parametrize("state", ['{"desired_state": "stopped", "theirs": 1}', '{"gateway_state": "stopped"}', "{"])
def test_a_gateway_that_somebody_has_stopped_stays_stopped(home: Path, state: str) -> None:
    """And its file as it is, whatever it says; also when the agent is declared anew."""
    for place in (home, home / "profiles/coder"):
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        (place / "gateway_state.json").write_text(state)
    home.chmod(0o700)
    run(home, **FULL)
    run(home, **{**FULL, "profiles": {}})
    run(home, **FULL)
    for place in (home, home / "profiles/coder"):
        assert (place / "gateway_state.json").read_text() == state


# -- links -------------------------------------------------------------------------------------------------------------

TARGETS = [
    "config.yaml", ".env", ".managed", "SOUL.md", "auth.json", "workspace/notes/USER.md", ".activation/routines.yaml",
    ".activation/applied.json", "profiles/coder/config.yaml", "profiles/coder/profile.yaml",
    "gateway_state.json", "profiles/coder/gateway_state.json",
]  # fmt: skip
DIRECTORIES = ["workspace", "workspace/notes", ".activation", "profiles", "profiles/coder", "profiles/coder/workspace"]


def with_auth(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "auth-source.json").write_text("{}")
    return {**FULL, "auth": {"source": str(tmp_path / "auth-source.json"), "force": True}}


@pytest.mark.parametrize("kind", ["file", "directory", "nothing"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("is_new", [True, False], ids=["fresh", "again"])
def test_a_link_in_the_place_of_a_target_is_refused(
    home: Path, tmp_path: Path, target: str, kind: str, *, is_new: bool
) -> None:
    """What it points to is untouched, and the refusal names the place; nothing else is changed."""
    manifest = with_auth(tmp_path)
    if not is_new:
        run(home, **manifest)
    place = home / target
    for each in [home, *reversed(place.relative_to(home).parents)]:
        (home / each).mkdir(mode=0o700, exist_ok=True)
    place.unlink(missing_ok=True)
    victim = tmp_path / "victim"
    if kind == "file":
        victim.write_text("precious")
    elif kind == "directory":
        victim.mkdir()
    place.symlink_to(victim)
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match="is a symbolic link") as caught:
        run(home, **{**manifest, "config": {"value": {"agent": {"max_turns": 2}}}})
    assert caught.value.where == str(place)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("directory", ["", *DIRECTORIES])
@pytest.mark.parametrize("is_new", [True, False], ids=["fresh", "again"])
def test_a_link_in_the_place_of_a_directory_is_refused(
    home: Path, tmp_path: Path, directory: str, *, is_new: bool
) -> None:
    """At every level."""
    manifest = with_auth(tmp_path)
    if not is_new:
        run(home, **manifest)
    place = home / directory
    for each in [home, *reversed(place.relative_to(home).parents)] if directory else []:
        (home / each).mkdir(mode=0o700, exist_ok=True)
    victim = tmp_path / "victim"
    if place.exists():
        place.rename(tmp_path / "moved")
    victim.mkdir()
    place.symlink_to(victim)
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match="is a symbolic link") as caught:
        run(home, **manifest)
    assert caught.value.where == str(place)
    assert everything(tmp_path) == before


def test_a_link_in_the_place_of_the_working_directory_is_refused(home: Path, tmp_path: Path) -> None:
    """Also where that is not in the home."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match="is a symbolic link") as caught:
        run(home, workingDirectory=str(tmp_path / "work"), documents=[{"target": "USER.md", "text": "x"}])
    assert caught.value.where == str(tmp_path / "work")
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="only root can plant another user's link")
def test_a_link_of_the_agents_on_the_way_to_a_place_is_refused_and_one_of_roots_is_followed(tmp_path: Path) -> None:
    """A distribution may have /home elsewhere."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    run(link / "home", **FULL)
    assert (tmp_path / "real/home/config.yaml").exists()
    os.chown(link, 1234, 1234, follow_symlinks=False)
    with pytest.raises(ConfigError, match="is a symbolic link") as caught:
        run(link / "home", **FULL)
    assert caught.value.where == str(link)


def test_a_link_of_the_users_where_nothing_is_declared_is_left_alone(home: Path, tmp_path: Path) -> None:
    """A workspace or plugins that are kept elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (home / "profiles/coder").mkdir(parents=True, mode=0o700)
    for name in ("plugins", "workspace", "profiles/coder/workspace", "profiles/coder/plugins"):
        (home / name).symlink_to(tmp_path / "elsewhere")
    home.chmod(0o700)
    run(home, profiles={"coder": {"config": {"value": {"model": "x"}}}})
    assert run(home, profiles={"coder": {"config": {"value": {"model": "x"}}}}).changes == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_no_regular_file_is_refused(home: Path) -> None:
    """A FIFO would never end."""
    home.mkdir(mode=0o700)
    os.mkfifo(home / "config.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        run(home, **FULL)


def test_a_home_that_others_may_write_to_is_refused(home: Path) -> None:
    """Names in it could be changed between two looks."""
    home.mkdir()
    home.chmod(0o770)
    with pytest.raises(ConfigError, match="others may write to it"):
        run(home, **FULL)


@pytest.mark.skipif(not ROOT, reason="only root can have a home of somebody else's to act on")
def test_root_does_not_act_in_a_home_of_somebody_else(home: Path) -> None:
    """The service's user does it."""
    home.mkdir(mode=0o700)
    os.chown(home, 1234, 1234)
    with pytest.raises(DeniedError, match="belongs to uid 1234"):
        run(home, **FULL)
    with pytest.raises(DeniedError, match="belongs to uid 1234"):
        run(home / "below", **FULL)


# -- what was applied --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2}', '{"applied": 1}', '{"applied": [{"profiles": {"x": 1}}]}']
)
def test_an_unreadable_ledger_counts_as_none_and_is_told(home: Path, text: str) -> None:
    """What is not declared stays then: nothing is taken away on a guess."""
    run(home, **FULL)
    (home / ".activation/applied.json").write_text(text)
    report = run(home, config={"value": {"toolsets": ["files"]}})
    assert "cannot be read" in report.notices[0]
    assert "max_turns" in (home / "config.yaml").read_text()
    assert run(home, config={"value": {"toolsets": ["files"]}}).notices == []


@pytest.mark.parametrize(
    "applied",
    [
        {"default": {"files": {"../victim": "DIGEST"}}},
        {"default": {"documents": {"/": {"../victim": "DIGEST"}}}},
        {"default": {"documents": {"VICTIM/..": {"victim": "DIGEST"}}}},
        {"..": {"files": {"victim": "DIGEST"}}},
        {"coder/../..": {"files": {"victim": "DIGEST"}}},
    ],
)
def test_a_ledger_that_leads_outside_counts_as_unreadable(home: Path, tmp_path: Path, applied: Any) -> None:
    """Whoever has the home can write it."""
    run(home, **FULL)
    victim = tmp_path / "victim"
    victim.write_text("x")
    text = json.dumps({"schema": 1, "applied": [{"profiles": applied}]})
    text = text.replace("DIGEST", digest(b"x")).replace("VICTIM", str(victim))
    (home / ".activation/applied.json").write_text(text)
    assert "cannot be read" in run(home).notices[0]
    assert victim.read_text() == "x"


# -- any of them -------------------------------------------------------------------------------------------------------

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Hundreds of files are written and fsynced."""
NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "1", "yes", "x: y", "two\nlines\n", "${A}", "'"])
TREES = st.dictionaries(
    st.sampled_from(["skills", "memory", "display"]),  # hermes-agent's, in which anything may stand
    st.dictionaries(NAMES, TEXTS | st.integers(0, 3) | st.lists(TEXTS, max_size=2), min_size=1, max_size=3),
)
MANIFESTS = st.builds(
    lambda tree, env, documents: {
        "config": {"value": tree},
        "env": {"values": env},
        "documents": [{"target": name, "text": text} for name, text in documents.items()],
    },
    TREES,
    st.dictionaries(NAMES, TEXTS, max_size=3),
    st.dictionaries(NAMES, TEXTS, max_size=3),
)


@settings(max_examples=20, deadline=None)
@given(MANIFESTS, MANIFESTS, MANIFESTS)
def test_for_any_live_last_and_new_home_the_users_stays_and_a_second_run_writes_nothing(
    live: dict[str, Any], last: dict[str, Any], new: dict[str, Any]
) -> None:
    """Files as a user may have them, two manifests one after the other, and the second one again."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        home = Path(directory) / "home"
        run(home, **live)
        for left in (home / ".activation").iterdir():
            left.unlink()  # from now on it is all the user's
        run(home, **last)
        run(home, **new)
        before = everything(home)
        assert run(home, **new).changes == []
        assert everything(home) == before
        config = tree_of((home / "config.yaml").read_bytes(), "") if (home / "config.yaml").exists() else {}
        mine, theirs, now = (dict(leaves(each["config"]["value"])) for each in (live, last, new))
        values = dict(leaves(config))
        expected = {path: value for path, value in mine.items() if path not in theirs} | now
        assert values == expected
        env = variables(home) if (home / ".env").exists() else {}
        mine, theirs, now = (each["env"]["values"] for each in (live, last, new))
        assert env == {name: value for name, value in mine.items() if name not in theirs} | now
        texts = [{each["target"]: each["text"] for each in found["documents"]} for found in (live, last, new)]
        for name, text in texts[0].items():  # under its name, or beside it
            if texts[1].get(name) != text:  # else it was the manifest's as well, and may have gone with it
                assert text.encode() in {path.read_bytes() for path in (home / "workspace").glob(f"{name}*")}
        for name, text in texts[2].items():
            assert (home / "workspace" / name).read_text() == text


@pytest.fixture(autouse=True)
def _private_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)
