"""A plugin's name in config.yaml: put there and taken out, where that is its user's to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermesd.config.plain import tree_of
from hermesd.errors import ConfigError, NotFoundError
from hermesd.home import Home
from hermesd.plugins.switch import switch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With a second profile."""
    (tmp_path / "profiles/coder").mkdir(parents=True, mode=0o700)
    return Home(tmp_path)


def configured(home: Home, profile: str) -> object:
    """What config.yaml says of plugins."""
    path = home.profile(profile).config_path
    return tree_of(path.read_bytes(), str(path)).get("plugins") if path.exists() else None


@pytest.mark.parametrize(("declared", "other"), [("coder", "default"), ("default", "coder")])
def test_only_the_profile_whose_plugins_are_declared_is_refused(home: Home, declared: str, other: str) -> None:
    """What is declared of one says nothing of another."""
    (home.root / ".managed").write_text(f"NixOS\ndeclared=listed\nkey={declared} plugins.enabled\n")
    with pytest.raises(ConfigError, match="cannot enable the plugin greeter: this installation is managed by NixOS"):
        switch(home, home.profile(declared), "greeter", on=True)
    assert configured(home, declared) is None
    assert switch(home, home.profile(other), "greeter", on=True)
    assert configured(home, other) == {"enabled": ["greeter"]}


def test_a_declared_list_of_disabled_plugins_refuses_only_what_would_change_it(home: Home) -> None:
    """An enabling that leaves it alone is the user's."""
    profile = home.default_profile
    profile.config_path.write_text("plugins:\n  disabled: [shut]\n")
    profile.config_path.chmod(0o600)
    (home.root / ".managed").write_text("NixOS\ndeclared=listed\nkey=default plugins.disabled\n")
    assert switch(home, profile, "greeter", on=True)
    with pytest.raises(ConfigError, match="cannot enable the plugin shut"):
        switch(home, profile, "shut", on=True)
    assert configured(home, "default") == {"disabled": ["shut"], "enabled": ["greeter"]}


def test_what_is_so_already_changes_nothing_and_is_refused_to_nobody(home: Home) -> None:
    """Enabling again only loads anew; disabling what is not enabled is an error."""
    profile = home.default_profile
    assert switch(home, profile, "greeter", on=True)
    before = profile.config_path.read_bytes()
    (home.root / ".managed").write_text("NixOS\n")
    assert not switch(home, profile, "greeter", on=True)
    assert profile.config_path.read_bytes() == before
    with pytest.raises(NotFoundError, match="is not enabled") as caught:
        switch(home, profile, "greter", on=False)
    assert caught.value.next_step == "enabled: greeter"
