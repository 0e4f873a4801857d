# A machine with the agent as its service: it starts, a member of the group talks to it, secrets are rotated by a
# restart, keys of the user stay, what is declared is guarded, and a reboot finds everything as it was.
{ nixosModule }:
{
  name = "hermesd-native";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ nixosModule ];
      virtualisation.memorySize = 1024;
      systemd.tmpfiles.rules = [ "f /run/hermes-secret 0400 root root - GREETING=first" ];
      users.users.ann = {
        isNormalUser = true;
        extraGroups = [ "hermes" ];
      };
      users.users.eve.isNormalUser = true;
      services.hermes-agent = {
        enable = true;
        addToSystemPackages = true;
        settings.agent.max_turns = 7;
        environmentFiles = [ "/run/hermes-secret" ];
        documents."USER.md" = "Prefers short answers.";
        extraPackages = [ pkgs.hello ];
      };
    };

  testScript = ''
    home = "/var/lib/hermes/.hermes"
    ctl = f"HERMES_HOME={home} runuser -u hermes -- hermesctl"

    machine.wait_for_unit("hermes-agent.service")
    machine.succeed(f"grep -q first {home}/.env")
    machine.succeed("test $(stat -c %a /var/lib/hermes/.hermes/.env) = 600")
    machine.succeed("test $(stat -c %U /var/lib/hermes) = root")
    machine.succeed("grep -q short /var/lib/hermes/workspace/USER.md")

    with subtest("the group talks to it, others do not"):
        machine.succeed("su - ann -c 'hermesctl status'")
        machine.fail("su - eve -c 'hermesctl status'")
        machine.fail("su - ann -c 'ls /var/lib/hermes/.hermes'")

    with subtest("what is declared is guarded, the rest is not"):
        status, said = machine.execute(f"{ctl} config set agent.max_turns 3 2>&1")
        assert status == 78, status
        assert "nixos-rebuild switch" in said, said
        machine.succeed(f"{ctl} config set timezone UTC")

    with subtest("a secret is rotated by a restart, and keys of the user stay"):
        machine.succeed("echo GREETING=second > /run/hermes-secret")
        machine.succeed("systemctl restart hermes-agent")
        machine.succeed(f"grep -q second {home}/.env")
        machine.fail(f"grep -q first {home}/.env")
        machine.succeed(f"grep -q UTC {home}/config.yaml")

    with subtest("the sandbox"):
        level = machine.succeed("systemd-analyze security hermes-agent | tail -1")
        assert float(level.split(":")[1].split()[0]) <= 1.5, level

    with subtest("what it names is kept"):
        machine.succeed("nix-store --gc --print-roots | grep hermes-agent.json")

    machine.shutdown()
    machine.start()
    machine.wait_for_unit("hermes-agent.service")
    machine.succeed(f"grep -q UTC {home}/config.yaml")
  '';
}
