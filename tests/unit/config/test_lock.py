"""Two writers of one profile's config.yaml and .env, in whatever processes: each keeps what the other has written."""

from __future__ import annotations

import argparse
import json
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from hermesctl.webhook_change import remove, rotate, subscribe
from hermesd.activation.manifest import parse
from hermesd.activation.run import activate
from hermesd.config import lock
from hermesd.config.edit import Draft
from hermesd.config.lock import LOCK_NAME, changing, locked
from hermesd.config.write import Edit, change, set_section, set_value, unset_value, write_config
from hermesd.deploy.container.manifest import Container, Env, Manifest
from hermesd.deploy.container.state_dir import state_dir
from hermesd.errors import ConfigError, ConflictError, HermesError
from hermesd.file_lock import WAITER
from hermesd.home import Home, Profile, open_directory
from hermesd.plugins.switch import switch
from hermesd.profiles import ProfileStore
from tests.servers.lock_holder import held, running
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 30.0
WRITER = """\
import sys
from pathlib import Path
from hermesd.config.write import set_value
from hermesd.home import Profile
profile, name = Profile("default", Path(sys.argv[1])), sys.argv[2]
print(flush=True)
sys.stdin.readline()
for number in range(12):
    set_value(profile, f"{name}_{number}", "x")
    set_value(profile, f"quick_commands.{name.lower()}{number}", "{type: exec, command: ls}")
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    return Profile("default", root)


def test_two_processes_lose_nothing_of_each_others_changes(profile: Profile) -> None:
    """Every variable and every key of both is there in the end, though both write the same two files all the time."""
    with running(WRITER, profile.root, "A") as one, running(WRITER, profile.root, "B") as other:
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert (one.wait(DEADLINE_S), other.wait(DEADLINE_S)) == (0, 0)
    env, config = profile.env_path.read_text(), profile.config_path.read_text()
    for name in ("A", "B"):
        assert [n for n in range(12) if f"{name}_{n}=" not in env or f"{name.lower()}{n}:" not in config] == []


def edited(profile: Profile) -> None:
    """Like `hermesctl config edit`."""
    with Draft(profile) as draft:
        draft.path.write_text("agent: {max_turns: 7}\n")
        draft.put_in_place()


WRITES: dict[str, Callable[[Profile], object]] = {
    "set a key": lambda profile: set_value(profile, "agent.max_turns", "7"),
    "set a secret": lambda profile: set_value(profile, "platforms.webhook.secret", "7"),
    "set a variable": lambda profile: set_value(profile, "NEW_ONE", "7"),
    "set a section": lambda profile: set_section(profile, "agent", {"max_turns": 7}),
    "unset a key": lambda profile: unset_value(profile, "store.retain_days"),
    "unset a variable": lambda profile: unset_value(profile, "OLD_ONE"),
    "change": lambda profile: change(profile, None, [Edit(("agent", "max_turns"), 7)], {"NEW_ONE": "7"}),
    "write": lambda profile: write_config(profile, b"agent: {max_turns: 7}\n"),
    "edit": edited,
    "switch a plugin": lambda profile: switch(Home(profile.root), profile, "new", on=True),
    "make a webhook": lambda profile: subscribe(webhook("new"), profile),
    "rotate a webhook": lambda profile: rotate(webhook("old"), profile),
    "remove a webhook": lambda profile: remove(webhook("old"), profile),
}


def webhook(name: str) -> argparse.Namespace:
    """The arguments of `hermesctl webhook subscribe NAME --prompt x`."""
    empty = dict.fromkeys(("deliver", "header", "algorithm", "model", "provider", "description"), "")
    lists = dict.fromkeys(("events", "skills", "toolsets"), "") | {"filter": [], "deliver_extra": []}
    rest = {"scheme": "auto", "deliver_only": False, "deliver_chat_id": "", "secret": ""}
    return argparse.Namespace(name=name, prompt="x", **empty, **lists, **rest)


def furnish(profile: Profile) -> None:
    """Something to change."""
    set_value(profile, "OLD_ONE", "1")
    set_value(profile, "store.retain_days", "5")
    subscribe(webhook("old"), profile)


@pytest.mark.parametrize("name", WRITES)
def test_every_way_to_change_the_files_waits_for_who_is_changing_them(
    profile: Profile, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writer reads nothing before the first has written; once it lets go, the second does its work."""
    furnish(profile)
    before = profile.config_path.read_bytes(), profile.env_path.read_bytes()
    with held(profile.root / LOCK_NAME):
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        with pytest.raises(ConflictError):
            WRITES[name](profile)
        assert (profile.config_path.read_bytes(), profile.env_path.read_bytes()) == before
    monkeypatch.setattr(lock, "WAIT_S", DEADLINE_S)
    WRITES[name](profile)
    assert (profile.config_path.read_bytes(), profile.env_path.read_bytes()) != before


def test_an_activation_waits_for_who_is_changing_a_file_that_it_writes(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before its first step; one that has nothing to write there is in nobody's way."""
    text = {"schema": 1, "home": str(profile.root), "config": {"value": {"agent": {"max_turns": 7}}}}
    manifest = parse(json.dumps(text).encode(), "m.json")
    with held(profile.root / LOCK_NAME):
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        with pytest.raises(ConflictError):
            activate(manifest, "m.json")
        assert [path.name for path in profile.root.iterdir()] == [LOCK_NAME]
    assert activate(manifest, "m.json").steps
    with held(profile.root / LOCK_NAME):
        assert activate(manifest, "m.json").steps == []


def test_a_writer_goes_on_when_the_one_before_it_is_done(profile: Profile) -> None:
    """It waits for the lock, and finds what was written meanwhile."""
    waiting = threading.Thread(target=set_value, args=(profile, "agent.max_turns", "7"))
    with changing(profile):
        waiting.start()
        wait_until(lambda: any(each.name == WAITER for each in threading.enumerate()) or not waiting.is_alive())
        assert waiting.is_alive(), "it did not wait"
        set_value(profile, "store.retain_days", "5")
    waiting.join(DEADLINE_S)
    assert profile.config_path.read_text() == "store:\n  retain_days: 5.0\nagent:\n  max_turns: 7\n"


def test_who_holds_the_lock_is_named(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says which process it is, where, and how to look at it."""
    with held(profile.root / LOCK_NAME) as holder:
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        with pytest.raises(ConflictError) as caught:
            set_value(profile, "agent.max_turns", "7")
        assert caught.value.what.startswith(f"the configuration is being changed by process {holder.pid}, which")
        assert caught.value.where == str(profile.root / LOCK_NAME)
        assert f"ps -p {holder.pid}" in caught.value.next_step


def test_a_holder_that_is_killed_is_in_nobodys_way(profile: Profile) -> None:
    """The kernel lets go for it; the file that it leaves is no lock."""
    with held(profile.root / LOCK_NAME) as holder:
        holder.kill()
        holder.wait()
        set_value(profile, "agent.max_turns", "7")
    assert (profile.root / LOCK_NAME).exists()


def test_a_text_that_could_not_be_put_in_place_is_kept(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has typed into the editor is not lost because another process was writing."""
    with held(profile.root / LOCK_NAME), Draft(profile) as draft:
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        draft.path.write_text("agent: {max_turns: 7}\n")
        with pytest.raises(ConflictError) as caught:
            draft.put_in_place()
        assert str(draft.path) in caught.value.next_step
    assert draft.path.read_text() == "agent: {max_turns: 7}\n"


def test_the_lock_is_private_and_follows_no_link(profile: Profile, tmp_path: Path) -> None:
    """0600 whatever the umask; a link in its place is refused with how to be rid of it, and where it leads is left."""
    path = profile.root / LOCK_NAME
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            set_value(profile, "agent.max_turns", "7")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
    for put in (lambda: path.symlink_to(tmp_path / "elsewhere"), path.mkdir, lambda: os.mkfifo(path)):
        put()
        with pytest.raises(ConfigError) as caught:
            set_value(profile, "agent.max_turns", "8")
        assert (caught.value.where, caught.value.next_step) == (str(path), f"remove it: rm {path}")
        (path.rmdir if path.is_dir() else path.unlink)()
    assert not (tmp_path / "elsewhere").exists()


def test_a_refused_first_change_leaves_no_home_behind(tmp_path: Path) -> None:
    """The directory is made for the lock, and goes with it when nothing was written."""
    profile = Profile("default", tmp_path / "home")
    with pytest.raises(HermesError):
        unset_value(profile, "agent.max_turns")
    assert list(tmp_path.iterdir()) == []
    set_value(profile, "agent.max_turns", "7")
    assert profile.config_path.exists()


def test_a_lock_that_was_removed_while_somebody_waited_for_it_counts_no_more(profile: Profile) -> None:
    """Who gets a lock whose file has lost its name takes the one that has it now."""
    path = profile.root / LOCK_NAME
    with open_directory(profile.root) as directory, held(path):
        path.unlink()
        with locked(directory, str(profile.root), wait_s=0):
            assert path.exists()
    with held(path) as old:
        path.unlink()
        with held(path), open_directory(profile.root) as directory:
            old.kill()
            with pytest.raises(ConflictError), locked(directory, str(profile.root), wait_s=0.05):
                raise AssertionError("the file that has the name is held")


def test_a_clone_waits_for_who_is_changing_what_it_copies(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has config.yaml and .env of one moment; one that is refused leaves nothing."""
    furnish(profile)
    store = ProfileStore(Home(profile.root))
    with held(profile.root / LOCK_NAME):
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        with pytest.raises(ConflictError):
            store.create("clone", clone_from="default")
        assert list((profile.root / "profiles").iterdir()) == []
        assert store.create("empty").workspace.is_dir()
    clone = store.create("clone", clone_from="default")
    assert clone.env_path.read_bytes() == profile.env_path.read_bytes()
    assert not (clone.root / LOCK_NAME).exists()


def test_a_containers_env_waits_for_who_is_changing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written before; one that is right already waits for nobody, and a dry run neither."""
    user = (10000, 10000) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    declared = Manifest(
        schema=1,
        package=f"{tmp_path}/package",
        container=Container(image="x", uid=user[0], gid=user[1]),
        state_dir=f"{tmp_path}/state",
        home=f"{tmp_path}/state/.hermes",
        env=Env(values={"A": "1"}),
    )

    def ensure(*, dry_run: bool = False) -> list[str]:
        with state_dir(declared, make=True, dry_run=dry_run) as found:
            found.prepare()
            return found.changes

    home = tmp_path / "state/.hermes"
    ensure()
    assert (home / LOCK_NAME).stat().st_uid == user[0]  # the agent's, who changes its configuration too
    (home / ".env").write_text("OWN=1\n")
    with held(home / LOCK_NAME):
        monkeypatch.setattr(lock, "WAIT_S", 0.05)
        with pytest.raises(ConflictError):
            ensure()
        assert (home / ".env").read_text() == "OWN=1\n"
        assert not (home / ".env.before-container").exists()
        assert len(ensure(dry_run=True)) == 2
    assert len(ensure()) == 2
    with held(home / LOCK_NAME):
        assert ensure() == []
