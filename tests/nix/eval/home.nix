# services.hermes-agent evaluated by Home Manager itself, with stand-ins for packages alone.
#
# nixpkgsLib, homeManager: checkouts. modules: definitions. → {service, socket, failed, config, …}
{
  nixpkgsLib,
  homeManager,
  modules,
}:
let
  lib = import (homeManager + "/modules/lib/stdlib-extended.nix") (import (nixpkgsLib + "/lib"));
  packages = import ./pkgs.nix { inherit lib; };
  pkgs = packages // {
    path = ./nixpkgs;
    # Home Manager takes the path of a text it has written; here that path is the text.
    writeTextFile = { text, ... }: { outPath = "/${text}"; };
    formats.ini = _: { type = lib.types.raw; };
    inherit lib;
  };

  all = import (homeManager + "/modules/modules.nix") {
    inherit lib pkgs;
    check = true;
    minimal = true;
    useNixpkgsModule = false;
  };
  evaluated = lib.evalModules {
    class = "homeManager";
    specialArgs.modulesPath = toString (homeManager + "/modules");
    modules = [
      {
        home = {
          username = "me";
          homeDirectory = "/home/me";
          stateVersion = "26.05";
        };
      }
      (homeManager + "/modules/services/window-managers/hyprland")
      # Home Manager's smallest set of modules mentions this one without bringing it.
      {
        disabledModules = [ (homeManager + "/modules/services-modular") ];
        options.programs.fish = lib.mkOption {
          type = lib.types.lazyAttrsOf lib.types.raw;
          default = { };
        };
      }
      (import ../../../nix/home.nix { defaultPackage = pkgs: pkgs.callPackage ../../../nix/package.nix { }; })
    ]
    ++ modules
    ++ all;
  };
  inherit (evaluated) config;

  textAt =
    name:
    lib.removePrefix "/" (
      lib.removeSuffix "/${name}" (toString config.xdg.configFile."systemd/user/${name}".source)
    );
in
{
  inherit config;
  failed = map (each: each.message) (
    builtins.filter (each: !each.assertion && lib.hasPrefix "services.hermes-agent" each.message) config.assertions
  );
  service = textAt "hermes-agent.service";
  socket = textAt "hermes-agent.socket";
  manifest = config.services.hermes-agent.manifests.hermes-agent;
  options = lib.optionAttrSetToDocList evaluated.options.services.hermes-agent;
}
