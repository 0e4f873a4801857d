# The options of both modules as data, without nixpkgs: {nixos, home}, each a list of {name, type, default, …}.
let
  stand-in = import ./lib/option-types.nix;
  inherit (stand-in) lib;
  tree =
    scope: defaults:
    import ./options.nix {
      inherit lib scope;
      defaults = defaults // {
        package = null;
      };
    };
  trees = {
    nixos = tree "nixos" {
      stateDir = "/var/lib/hermes";
      stateDirText = ''"/var/lib/hermes"'';
      workingDirectory = "/var/lib/hermes/workspace";
      workingDirectoryText = ''"''${stateDir}/workspace"'';
    };
    home = tree "home" {
      stateDir = "/home/me";
      stateDirText = "config.home.homeDirectory";
      workingDirectory = "/home/me/.hermes/workspace";
      workingDirectoryText = ''"''${stateDir}/.hermes/workspace"'';
    };
  };
in
{
  inherit trees;
  nixos = stand-in.list trees.nixos;
  home = stand-in.list trees.home;
}
