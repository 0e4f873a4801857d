"""A whole NixOS with the service: needs a checkout of nixpkgs (HERMES_NIXPKGS), and a Nix that is new enough for it."""

from __future__ import annotations

import pytest

from tests.nix.evaluation import NEEDS_NIX, NIX, Nix, checkout
from tests.nix.test_units import sections

pytestmark = NEEDS_NIX
MACHINE = """{
  boot.loader.grub.enable = false;
  fileSystems."/" = { device = "none"; fsType = "tmpfs"; };
  system.stateVersion = "26.05";
  users.users.me = { isNormalUser = true; };
}"""
MODES = {
    "native": '{ environmentFiles = [ "/run/secrets/a" ]; addToSystemPackages = true; }',
    "docker": "{ container.enable = true; }",
    "podman": '{ container = { enable = true; backend = "podman"; }; }',
    "host users": '{ container = { enable = true; hostUsers = [ "me" ]; }; addToSystemPackages = true; }',
    "desktop": '{ desktop = { enable = true; names = [ "org.freedesktop.UPower" ]; }; }',
}


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_machine_evaluates(nix: Nix, mode: str) -> None:
    """Its own assertions hold, the text of the unit is NixOS's, and so is the system that would be built."""
    nixpkgs = checkout("HERMES_NIXPKGS")
    found = nix.evaluate(
        f"""let
          module = import {NIX}/nixos.nix {{ defaultPackage = pkgs: pkgs.callPackage {NIX}/package.nix {{ }}; }};
          machine = import {nixpkgs}/nixos/lib/eval-config.nix {{
            system = "x86_64-linux";
            modules = [ module {MACHINE} {{ services.hermes-agent = {{ enable = true; }} // {MODES[mode]}; }} ];
          }};
          inherit (machine) config;
        in {{
          failed = map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions);
          text = config.systemd.units."hermes-agent.service".text;
          toplevel = config.system.build.toplevel.drvPath;
        }}"""
    )
    assert found["failed"] == []
    assert found["toplevel"].endswith(".drv")
    service = sections(found["text"])["Service"]
    if mode in ("native", "desktop"):
        assert service["Type"] == ["notify"]
        assert "activate" in service["ExecStartPre"][0]
    else:
        assert '"container" "start" "--attach"' in service["ExecStart"][0]
