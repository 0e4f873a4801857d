# services.hermes-agent evaluated by the module system of nixpkgs.lib, over stand-ins for the options of NixOS that it
# sets. They have the types of NixOS where those can refuse something.
#
# nixpkgsLib: a checkout of nixpkgs.lib. modules: definitions. → {units, manifest, container, failed, config}
{
  nixpkgsLib,
  modules,
}:
let
  lib = import (nixpkgsLib + "/lib");
  inherit (lib) mkOption types;
  pkgs = import ./pkgs.nix { inherit lib; };
  unitLib = import ../../../nix/lib/unit.nix;

  primitive = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
    types.package
  ];
  section = mkOption {
    type = types.attrsOf (types.either primitive (types.listOf primitive));
    default = { };
  };
  words = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  unitOf =
    kind:
    types.submodule {
      options = {
        description = mkOption { type = types.singleLineStr; };
        wantedBy = words;
        requires = words;
        wants = words;
        after = words;
        unitConfig = section;
        stopIfChanged = mkOption {
          type = types.bool;
          default = true;
        };
        restartTriggers = mkOption {
          type = types.listOf types.unspecified;
          default = [ ];
        };
        path = mkOption {
          type = types.listOf (types.oneOf [ types.package types.str ]);
          default = [ ];
        };
        ${kind} = section;
      };
    };
  anything = mkOption {
    type = types.lazyAttrsOf types.raw;
    default = { };
  };
  flag = mkOption {
    type = types.bool;
    default = false;
  };
  packageOption = name: mkOption {
    type = types.package;
    default = pkgs.${name};
  };

  machine = {
    options = {
      assertions = mkOption {
        type = types.listOf types.unspecified;
        default = [ ];
      };
      systemd.services = mkOption {
        type = types.attrsOf (unitOf "serviceConfig");
        default = { };
      };
      systemd.sockets = mkOption {
        type = types.attrsOf (unitOf "socketConfig");
        default = { };
      };
      systemd.tmpfiles.rules = words;
      users.users = mkOption {
        default = { };
        type = types.attrsOf (
          types.submodule {
            options = {
              isSystemUser = flag;
              isNormalUser = flag;
              group = mkOption {
                type = types.str;
                default = "";
              };
              home = mkOption {
                type = types.path;
                default = "/var/empty";
              };
              extraGroups = words;
              packages = mkOption {
                type = types.listOf types.package;
                default = [ ];
              };
              uid = mkOption {
                type = types.nullOr types.int;
                default = null;
              };
            };
          }
        );
      };
      users.groups = mkOption {
        default = { };
        type = types.attrsOf (
          types.submodule {
            options.gid = mkOption {
              type = types.nullOr types.int;
              default = null;
            };
          }
        );
      };
      environment.systemPackages = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      environment.variables = mkOption {
        type = types.attrsOf types.str;
        default = { };
      };
      virtualisation.docker = {
        enable = flag;
        package = packageOption "docker";
      };
      virtualisation.podman = {
        enable = flag;
        package = packageOption "podman";
      };
      nix.package = packageOption "nix";
      hardware.uinput.enable = flag;
      xdg.portal.enable = flag;
      xdg.portal.extraPortals = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      services.dbus.enable = flag;
      services.dbus.packages = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      security.sudo = anything;
    };
  };

  evaluated = lib.evalModules {
    specialArgs = { inherit pkgs; };
    modules = [
      machine
      (import ../../../nix/nixos.nix { defaultPackage = pkgs: pkgs.callPackage ../../../nix/package.nix { }; })
    ]
    ++ modules;
  };
  inherit (evaluated) config;

  render =
    kind: key: unit:
    unitLib.text {
      Unit = {
        Description = unit.description;
        Requires = unit.requires;
        Wants = unit.wants;
        After = unit.after;
      }
      // unit.unitConfig;
      ${kind} = unit.${key};
      Install.WantedBy = unit.wantedBy;
    };
in
{
  inherit config;
  failed = map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions);
  services = lib.mapAttrs (_: render "Service" "serviceConfig") config.systemd.services;
  sockets = lib.mapAttrs (_: render "Socket" "socketConfig") config.systemd.sockets;
  options = lib.optionAttrSetToDocList evaluated.options.services.hermes-agent;
  inherit (config.services.hermes-agent) manifests;
}
