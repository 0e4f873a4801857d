# A machine with the agent in a container, from an image that is made here: calls of the host lead into it, what was
# installed in it outlives a restart, another package does not replace it, other volumes do.
{ nixosModule }:
{
  name = "hermesd-container";

  nodes.machine =
    { pkgs, lib, ... }:
    let
      image = pkgs.dockerTools.buildImage {
        name = "base";
        tag = "1";
        copyToRoot = pkgs.buildEnv {
          name = "base";
          paths = [
            pkgs.bash
            pkgs.coreutils
            pkgs.util-linux
            pkgs.shadow
          ];
          pathsToLink = [ "/bin" ];
        };
      };
    in
    {
      imports = [ nixosModule ];
      virtualisation.memorySize = 2048;
      virtualisation.diskSize = 4096;
      users.users.ann = {
        isNormalUser = true;
        extraGroups = [ "docker" ];
      };
      services.hermes-agent = {
        enable = true;
        addToSystemPackages = true;
        container = {
          enable = true;
          image = "base:1";
          pull = "never";
          hostUsers = [ "ann" ];
        };
        settings.agent.max_turns = 7;
      };
      systemd.services.hermes-agent.serviceConfig.ExecStartPre = lib.mkBefore [
        "${pkgs.docker}/bin/docker load --input ${image}"
      ];
      specialisation.volumes.configuration.services.hermes-agent.container.extraVolumes = [ "/srv:/srv:ro" ];
      specialisation.settings.configuration.services.hermes-agent.settings.agent.max_turns = lib.mkForce 8;
    };

  testScript = ''
    system = machine.succeed("readlink -f /run/current-system").strip()
    identity = "docker inspect hermes-agent --format '{{.Id}}'"

    machine.wait_for_unit("hermes-agent.service")
    machine.wait_until_succeeds("su - ann -c 'hermesctl status'")
    machine.succeed("grep -q 'max_turns: 7' /var/lib/hermes/.hermes/config.yaml")
    first = machine.succeed(identity)
    machine.succeed("docker exec -u root hermes-agent touch /installed")

    with subtest("settings do not replace the container"):
        machine.succeed(f"{system}/specialisation/settings/bin/switch-to-configuration test")
        machine.wait_until_succeeds("grep -q 'max_turns: 8' /var/lib/hermes/.hermes/config.yaml")
        assert machine.succeed(identity) == first
        machine.succeed("docker exec hermes-agent test -e /installed")

    with subtest("volumes do"):
        machine.succeed(f"{system}/specialisation/volumes/bin/switch-to-configuration test")
        machine.wait_until_succeeds("docker exec hermes-agent test -d /srv")
        assert machine.succeed(identity) != first
        machine.fail("docker exec hermes-agent test -e /installed")
  '';
}
