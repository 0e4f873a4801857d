# What only a whole NixOS machine has: a user of its own, containers, other people, a desktop.
{ lib }:
let
  inherit (lib) mkOption literalExpression types;

  flag =
    description:
    mkOption {
      type = types.bool;
      default = false;
      inherit description;
    };
  words =
    example: description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit example description;
    };
in
{
  user = mkOption {
    type = types.str;
    default = "hermes";
    description = "The user that the agent is.";
  };

  group = mkOption {
    type = types.str;
    default = "hermes";
    description = "Its group; who else is in it may use the agent, with `addToSystemPackages`.";
  };

  createUser = mkOption {
    type = types.bool;
    default = true;
    description = "Whether user and group are made here.";
  };

  addToSystemPackages = flag ''
    Put hermesctl on everybody's PATH and let the members of `group` use the agent through its socket. They share no
    directory with it: `HERMES_HOME` is that of the socket. Natively their roles are `settings.rpc.roles`.
  '';

  container = {
    enable = flag "Run the agent in a persistent container, where it may install what it likes.";
    backend = mkOption {
      type = types.enum [
        "docker"
        "podman"
      ];
      default = "docker";
      description = "What runs the container.";
    };
    image = mkOption {
      type = types.str;
      default = "ubuntu:24.04";
      description = "The image, which is pulled when the container is made.";
    };
    pull = mkOption {
      type = types.enum [
        "always"
        "missing"
        "never"
      ];
      default = "always";
      description = "When the image is pulled for a container that is made.";
    };
    uid = mkOption {
      type = types.ints.positive;
      default = 10000;
      description = "The user's number on both sides.";
    };
    gid = mkOption {
      type = types.ints.positive;
      default = 10000;
      description = "The group's number on both sides.";
    };
    extraVolumes = words [ "/data:/data:rw" ] "Further mounts: `host:container:mode`.";
    extraOptions = words [ "--gpus" "all" ] "Further arguments of `docker create`.";
    entrypoint = mkOption {
      type = types.lines;
      default = "";
      description = "A shell script in place of the entrypoint that is shipped (docs/containers.md).";
    };
    hostUsers = words [ "me" ] "People whose `~/.hermes` becomes a link to the home; they join the group.";
  };

  desktop = {
    enable = flag ''
      Give the agent's user and `users` what a desktop agent needs, and no more: the group of /dev/uinput, the portals
      that take screenshots, and the right to talk to `names` on the system bus.
    '';
    users = words [ "me" ] "People whose own hermesd (Home Manager) is a desktop agent.";
    names = words [ "org.freedesktop.UPower" ] "Names on the system bus that the agent may send to.";
    portals = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.xdg-desktop-portal-hyprland ]";
      description = "Backends of xdg-desktop-portal for your desktop; GTK's where none is declared anywhere.";
    };
  };
}
