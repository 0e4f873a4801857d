"""The modules as their module systems evaluate them: needs checkouts of nixpkgs.lib and of Home Manager.

HERMES_NIXPKGS_LIB and HERMES_HOME_MANAGER name them; docs/nix.md says with which revisions this was run.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from hermesd.deploy.container.manifest import parse_manifest
from tests.nix.evaluation import NEEDS_NIX, NIX, Nix, as_nix, home, nixos
from tests.nix.test_units import exposure, sections, verify

pytestmark = NEEDS_NIX
ENABLED = "{ services.hermes-agent.enable = true; }"


def look(nix: Nix, modules: str) -> dict[str, Any]:
    """What a NixOS with these modules has of the service."""
    expression = f"""
      let machine = {nixos(modules)}; inherit (machine) config; in {{
        inherit (machine) failed services sockets manifests;
        tmpfiles = config.systemd.tmpfiles.rules;
        users = builtins.mapAttrs
          (_: user: {{ inherit (user) group extraGroups uid; packages = map (each: each.name) user.packages; }})
          config.users.users;
        gid = config.users.groups.hermes.gid or null;
        docker = config.virtualisation.docker.enable;
        podman = config.virtualisation.podman.enable;
        uinput = config.hardware.uinput.enable;
        portal = config.xdg.portal.enable && config.xdg.portal.extraPortals != [ ];
        dbus = map (each: each.text) config.services.dbus.packages;
        paths = builtins.mapAttrs (_: unit: map (each: each.name) unit.path) config.systemd.services;
        inherit (config.environment) variables;
        packages = map (each: each.name) config.environment.systemPackages;
      }}"""
    found = nix.evaluate(expression)
    assert isinstance(found, dict)
    return found


def agent(**options: Any) -> str:
    """A module with these options."""
    return f"{{ services.hermes-agent = {as_nix({'enable': True, **options})}; }}"


def failed(nix: Nix, modules: str) -> list[str]:
    """What the assertions say."""
    found = nix.evaluate(f"({nixos(modules)}).failed")
    assert isinstance(found, list)
    return found


def test_the_minimal_configuration_of_the_manual(nix: Nix) -> None:
    """A model, a secrets file, hermesctl for everybody in the group: no directory is shared."""
    found = look(
        nix,
        agent(
            settings={"model": {"default": "anthropic/claude-sonnet-4"}},
            environmentFiles=["/run/secrets/hermes-env"],
            addToSystemPackages=True,
        ),
    )
    assert found["failed"] == []
    service = sections(found["services"]["hermes-agent"])["Service"]
    assert service["LoadCredential"] == ["env-0:/run/secrets/hermes-env"]
    assert service["User"] == ["hermes"]
    assert '"HERMES_MANAGED=true"' in service["Environment"]
    manifest = found["manifests"]["hermes-agent"]
    assert manifest["env"]["files"] == ["credential:env-0"]
    assert manifest["config"]["value"] == {
        "model": {"default": "anthropic/claude-sonnet-4"},
        "terminal": {"cwd": "/var/lib/hermes/workspace"},
        "rpc": {"group": "hermes", "roles": ["read", "chat"]},
    }
    socket = sections(found["sockets"]["hermes-agent"])["Socket"]
    assert (socket["SocketMode"], socket["SocketGroup"]) == (["0660"], ["hermes"])
    assert found["variables"] == {"HERMES_HOME": "/run/hermesd"}
    assert found["packages"] == ["hermesd-0.1.0"]
    assert [rule for rule in found["tmpfiles"] if "0777" in rule or "0770" in rule or "1777" in rule] == []
    assert any(rule.startswith("L+ /nix/var/nix/gcroots/hermes-agent ") for rule in found["tmpfiles"])


def test_without_it_the_socket_is_the_agents_alone(nix: Nix) -> None:
    """And nothing is put on anybody's PATH."""
    found = look(nix, ENABLED)
    assert sections(found["sockets"]["hermes-agent"])["Socket"]["SocketMode"] == ["0600"]
    assert (found["variables"], found["packages"]) == ({}, [])
    assert "rpc" not in found["manifests"]["hermes-agent"]["config"]["value"]


def test_a_changed_declaration_is_another_unit(nix: Nix) -> None:
    """So `nixos-rebuild switch` restarts the service: the path of the manifest stands in it."""
    units = [look(nix, agent(settings={"agent": {"max_turns": n}}))["services"]["hermes-agent"] for n in (1, 2)]
    assert units[0] != units[1]


def test_two_modules_are_merged_and_the_stronger_wins(nix: Nix) -> None:
    """Deeply, with mkForce and mkDefault; two definitions alike conflict."""
    first = '{ services.hermes-agent.settings = { model.default = "a"; agent.max_turns = 1; }; }'
    second = """({ lib, ... }: { services.hermes-agent.settings = {
        model.default = lib.mkForce "b"; agent.max_turns = lib.mkDefault 9; toolsets = [ "files" ]; terminal.cwd = "/w";
      }; })"""
    value = look(nix, f"{ENABLED} {first} {second}")["manifests"]["hermes-agent"]["config"]["value"]
    assert value == {
        "model": {"default": "b"},
        "agent": {"max_turns": 1},
        "toolsets": ["files"],
        "terminal": {"cwd": "/w"},
    }
    other = '{ services.hermes-agent.settings.model.default = "c"; }'
    said = nix.refused(f"({nixos(f'{ENABLED} {first} {other}')}).services")
    assert "has conflicting definition values" in said


WRONG = {
    "settings": "[ ]",
    "environmentFiles": "[ 1 ]",
    "environment": "{ A = 1; }",
    "documents": "[ ]",
    "restartSec": '"5"',
    "extraArgs": '"--verbose"',
    "container.backend": '"lxc"',
    "container.hostUsers": '"me"',
    "mcpServers": '{ a.timeout = "1"; }',
    "mcpServers.a.auth": '"basic"',
    "mcpServers.a.tools.include": '"x"',
    "extraPackages": "[ 1 ]",
    "authFile": "1",
    "hardening.namespaces": '"yes"',
    "profiles.a.settings": "1",
    "stateDirectory": '"/x"',
}


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_type_is_refused(nix: Nix, option: str) -> None:
    """By the module system, with the option's name; so is an option that nobody knows."""
    wrong = f"{{ services.hermes-agent.{option} = {WRONG[option]}; }}"
    all_of_it = "[ m.failed m.services m.manifests cfg.container (map toString cfg.extraPackages) ]"
    machine = nixos(f"{ENABLED} {wrong}")
    said = nix.refused(f"let m = {machine}; cfg = m.config.services.hermes-agent; in {all_of_it}")
    assert f"services.hermes-agent.{option.split('.', maxsplit=1)[0]}" in said
    assert re.search(r"is not of type|does not exist", said)


ASSERTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "secret": ({"settings": {"model": {"api_key": "sk-1"}}}, "settings.model.api_key} would put a secret into the Nix"),
    "secret of a profile": (
        {"profiles": {"a": {"environment": {"X_TOKEN": "t"}}}},
        "profiles.a.{environment.X_TOKEN} would put a secret",
    ),
    "both": ({"configFile": "/c.yaml", "settings": {"model": {}}}, "configFile takes the place of settings"),
    "neither": ({"mcpServers": {"a": {}}}, "give exactly one of"),
    "two transports": ({"mcpServers": {"a": {"command": "x", "url": "http://y"}}}, "give exactly one of"),
    "outside": ({"documents": {"../../etc/passwd": "x"}}, "would lie outside of their"),
    "absolute": ({"homeFiles": {"/etc/passwd": "x"}}, "would lie outside of their"),
    "plugins": ({"extraPlugins": ["/a/x", "/b/x"]}, "two plugins are called x"),
    "setting": ({"settings": {"agent": {"max_turns": "x"}}}, "agent.max_turns must be a whole number"),
    "auth": ({"authFileForceOverwrite": True}, "authFileForceOverwrite needs authFile"),
    "profile": ({"profiles": {"Bad Name": {}}}, "a profile's name has lower-case letters"),
    "default": ({"profiles": {"default": {}}}, "profiles.default is the agent at the top"),
    "host users": ({"container": {"hostUsers": ["me"]}}, "hostUsers needs container.enable"),
    "relative": ({"stateDir": "var"}, "must be absolute paths"),
    "reachable": (
        {"container": {"enable": True}, "environmentFiles": ["/var/lib/hermes/env"]},
        "the agent could put a link to any file",
    ),
    "user": ({"createUser": False}, "users.users.hermes is not declared"),
}


@pytest.mark.parametrize("case", ASSERTIONS)
def test_what_makes_no_sense_is_told_with_the_next_step(nix: Nix, case: str) -> None:
    """One message, that names the option."""
    options, said = ASSERTIONS[case]
    [message] = failed(nix, agent(**options))
    assert said in message
    assert message.startswith("services.hermes-agent")


def test_python_packages_are_a_function_or_a_list_and_shadow_nothing(nix: Nix) -> None:
    """A list is checked at once; both change the package."""
    function = "{ services.hermes-agent.extraPythonPackages = ps: [ ps.redis ]; }"
    given = "({ pkgs, ... }: { services.hermes-agent.extraPythonPackages = [ pkgs.python3Packages.redis ]; })"
    plain, one, two = (look(nix, f"{ENABLED} {more}")["services"]["hermes-agent"] for more in ("", function, given))
    assert plain != one == two
    core = "({ pkgs, ... }: { services.hermes-agent.extraPythonPackages = [ pkgs.python3Packages.trio ]; })"
    [message] = failed(nix, f"{ENABLED} {core}")
    assert "trio is what hermesd itself depends on" in message


def test_plugins_are_packages_paths_and_text(nix: Nix) -> None:
    """Text is for the sidecar, which needs uv and the network before the service."""
    plugins = """({ pkgs, ... }: { services.hermes-agent = { enable = true; extraPackages = [ pkgs.pandoc ];
      extraPlugins = [ pkgs.redis-plugin "/srv/other" "hermes-lcm" "git+https://example.org/x" ]; }; })"""
    found = look(nix, plugins.replace("pkgs.redis-plugin", "pkgs.ripgrep"))
    manifest = found["manifests"]["hermes-agent"]
    assert [each["name"] for each in manifest["plugins"]] == ["ripgrep", "other"]
    assert manifest["sidecar"] == {
        "python": "/usr/bin/python3",
        "specs": ["hermes-lcm", "git+https://example.org/x"],
    }
    assert found["paths"]["hermes-agent"] == ["hermesd-0.1.0", "pandoc", "uv", "git"]
    assert found["users"]["hermes"]["packages"] == ["pandoc"]
    assert "network-online.target" in sections(found["services"]["hermes-agent"])["Unit"]["After"]


def test_a_machine_may_add_to_what_runs_before_the_start(nix: Nix) -> None:
    """As systemd of NixOS allows it for lists; and a restart leaves the socket alone."""
    more = """{ systemd.services.hermes-agent.serviceConfig.ExecStartPre = [ "/bin/before" ]; }"""
    before = sections(look(nix, f"{ENABLED} {more}")["services"]["hermes-agent"])["Service"]["ExecStartPre"]
    assert len(before) == 2
    assert not nix.evaluate(f"({nixos(ENABLED)}).config.systemd.services.hermes-agent.stopIfChanged")


def test_profiles_have_their_own_secrets(nix: Nix) -> None:
    """Each file is a credential of its own."""
    found = look(
        nix,
        agent(
            environmentFiles=["/run/secrets/a", "-/run/secrets/b"],
            profiles={"research": {"environmentFiles": ["/run/secrets/r"], "authFile": "/run/secrets/auth"}},
        ),
    )
    manifest = found["manifests"]["hermes-agent"]
    assert manifest["env"]["files"] == ["credential:env-0", "-/run/secrets/b"]
    research = manifest["profiles"]["research"]
    assert research["env"]["files"] == ["credential:env-research-0"]
    assert research["auth"]["source"] == "credential:auth-research"
    assert sections(found["services"]["hermes-agent"])["Service"]["LoadCredential"] == [
        "auth-research:/run/secrets/auth",
        "env-0:/run/secrets/a",
        "env-research-0:/run/secrets/r",
    ]


@pytest.mark.parametrize("backend", ["docker", "podman"])
def test_a_container_is_kept_by_root_and_its_home_declared_by_the_agent(nix: Nix, backend: str) -> None:
    """Two manifests: root's has no secret and no setting in it."""
    found = look(
        nix,
        agent(
            container={"enable": True, "backend": backend, "hostUsers": ["me"], "extraVolumes": ["/srv:/srv"]},
            environmentFiles=["/run/secrets/a"],
            addToSystemPackages=True,
        ),
    )
    assert found["failed"] == []
    assert (found["docker"], found["podman"]) == (backend == "docker", backend == "podman")
    keeper = sections(found["services"]["hermes-agent"])
    assert keeper["Unit"]["Requires"][0] == "hermes-agent-activate.service"
    assert "User" not in keeper["Service"]
    assert "LoadCredential" not in keeper["Service"]
    activation = sections(found["services"]["hermes-agent-activate"])["Service"]
    assert activation["LoadCredential"] == ["env-0:/run/secrets/a"]
    assert activation["User"] == ["hermes"]
    assert found["paths"]["hermes-agent"] == [backend, "nix"]
    assert found["sockets"] == {}
    assert found["users"]["hermes"]["uid"] == found["gid"] == 10000
    assert found["users"]["me"]["extraGroups"] == ["hermes"]
    assert found["variables"] == {"HERMES_HOME": "/var/lib/hermes/.hermes"}
    declared = parse_manifest(json.dumps(found["manifests"]["hermes-agent-container"]).encode(), "container")
    assert (declared.container.backend, declared.container.host_users) == (backend, ["me"])
    assert found["manifests"]["hermes-agent"]["config"]["value"]["terminal"]["cwd"] == "/data/workspace"


def test_another_number_of_the_user_is_told(nix: Nix) -> None:
    """Files would belong to a stranger inside."""
    [message] = failed(nix, f"{agent(container={'enable': True})} {{ users.users.hermes.uid = 500; }}")
    assert "container.uid is 10000" in message
    off = "{ virtualisation.docker.enable = false; }"
    [message] = failed(nix, f"{agent(container={'enable': True})} {off}")
    assert 'container.backend is "docker"' in message


def test_a_desktop_agent_gets_what_it_needs_and_no_more(nix: Nix) -> None:
    """The device, the portals, the names on the bus; for people without the service, too."""
    found = look(nix, agent(desktop={"enable": True, "names": ["org.freedesktop.UPower"], "users": ["me"]}))
    assert found["failed"] == []
    assert found["uinput"]
    assert found["portal"]
    assert found["users"]["hermes"]["extraGroups"] == found["users"]["me"]["extraGroups"] == ["uinput"]
    service = sections(found["services"]["hermes-agent"])["Service"]
    assert (service["PrivateDevices"], service["DeviceAllow"]) == (["no"], ["/dev/uinput rw"])
    [rules] = found["dbus"]
    assert rules.count('<allow send_destination="org.freedesktop.UPower"/>') == 2
    assert "own=" not in rules
    alone = look(nix, '{ services.hermes-agent.desktop = { enable = true; users = [ "me" ]; }; }')
    assert (alone["failed"], alone["services"], alone["dbus"]) == ([], {}, [])
    assert failed(nix, "{ services.hermes-agent.desktop.enable = true; }")
    assert failed(nix, agent(desktop={"enable": True, "names": ['x"/><allow own="*']}))


def test_the_example_of_a_server_evaluates(nix: Nix) -> None:
    """nix/examples/server.nix."""
    found = look(nix, f"{NIX}/examples/server.nix")
    assert found["failed"] == []
    assert [each["name"] for each in found["manifests"]["hermes-agent"]["cron"]] == ["digest"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_what_the_module_makes(nix: Nix, tmp_path: Path) -> None:
    """Native and in a container; only programs and users that are not on this machine are put in."""
    native = look(nix, f"{NIX}/examples/server.nix")
    contained = look(nix, agent(container={"enable": True, "backend": "podman"}, environmentFiles=["/run/secrets/a"]))
    for name, found in (("native", native), ("contained", contained)):
        texts = {f"{unit}.service": text for unit, text in found["services"].items()}
        texts |= {f"{unit}.socket": text for unit, text in found["sockets"].items()}
        here = {
            unit: re.sub(r'"/[^"]*/bin/hermes(d|ctl)"', '"/usr/bin/true"', text).replace("=hermes\n", "=games\n")
            for unit, text in texts.items()
        }
        assert verify(tmp_path / name, here) == []
    assert exposure(tmp_path / "native" / "hermes-agent.service") <= 1.3


# -- Home Manager -----------------------------------------------------------------------------------------------------


def test_home_manager_renders_the_same_service(nix: Nix, tmp_path: Path) -> None:
    """Its own text of service and socket, from nix/examples/home.nix; and the keys that open the chat."""
    found = nix.evaluate(
        f"""let it = {home(f"{NIX}/examples/home.nix")}; inherit (it) config; in {{
          inherit (it) failed service socket manifest;
          session = config.home.sessionVariables.HERMES_HOME;
          hyprland = config.wayland.windowManager.hyprland.settings.bind;
          sway = config.wayland.windowManager.sway.config.keybindings."Mod4+space";
        }}"""
    )
    assert found["failed"] == []
    service = sections(found["service"])
    assert service["Service"]["Type"] == ["notify"]
    assert service["Service"]["NoNewPrivileges"] == ["true"]
    assert service["Install"]["WantedBy"] == ["default.target"]
    assert any("HERMES_MANAGED=home-manager" in each for each in service["Service"]["Environment"])
    assert "LoadCredential" not in service["Service"]
    assert sections(found["socket"])["Socket"]["ListenStream"] == ["/home/me/.hermes/hermesd.sock"]
    assert found["manifest"]["managedBy"] == {"name": "home-manager", "rebuild": "home-manager switch"}
    assert found["manifest"]["env"]["files"] == ["/run/user/1000/secrets/hermes-env"]
    assert [each["name"] for each in found["manifest"]["watches"]] == ["notes"]
    assert found["hyprland"][0].endswith("--title hermes hermesctl chat")
    assert found["sway"].startswith("exec ")
    assert found["session"] == "/home/me/.hermes"
    if shutil.which("systemd-analyze"):
        texts = {"hermes-agent.service": found["service"], "hermes-agent.socket": found["socket"]}
        here = {name: re.sub(r'"/[^"]*/bin/hermes(d|ctl)"', '"/usr/bin/true"', text) for name, text in texts.items()}
        assert verify(tmp_path / "user", here) == []


def test_home_manager_asserts_and_refuses_as_nixos_does(nix: Nix) -> None:
    """The same options, the same messages."""
    for case in ("secret", "both", "outside", "plugins", "setting"):
        options, said = ASSERTIONS[case]
        [message] = nix.evaluate(f"({home(agent(**options))}).failed")
        assert said in message
    assert "is not of type" in nix.refused(f"({home(agent(restartSec='5'))}).service")
    assert "does not exist" in nix.refused(f"({home(agent(container={'enable': True}))}).service")


def test_both_modules_have_the_same_options(nix: Nix) -> None:
    """As the module systems see them; what only NixOS has is a user, a container, other people and a desktop."""
    listed = "map (each: each.name) (builtins.filter (each: each.visible && !each.internal) machine.options)"
    on_nixos = nix.evaluate(f"let machine = {nixos(ENABLED)}; in {listed}")
    at_home = nix.evaluate(f"let machine = {home(ENABLED)}; in {listed}")
    alone = {name.removeprefix("services.hermes-agent.").split(".")[0] for name in set(on_nixos) - set(at_home)}
    assert set(at_home) <= set(on_nixos)
    assert alone == {"user", "group", "createUser", "addToSystemPackages", "container", "desktop"}
