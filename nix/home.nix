# services.hermes-agent with Home Manager: hermesd as your own service, in your own ~/.hermes.
{ defaultPackage }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hermes-agent;
  name = "hermes-agent";
  unit = import ./lib/unit.nix;

  common = import ./common.nix {
    inherit lib pkgs cfg;
    managedBy = {
      name = "home-manager";
      rebuild = "home-manager switch";
    };
    # You can read them yourself: nothing has to hand them over.
    envFile =
      _: _: path:
      path;
    authSource = _: path: path;
    settings.terminal.cwd = cfg.workingDirectory;
  };
  inherit (common) package home;

  search = lib.makeBinPath ([ package ] ++ cfg.extraPackages ++ common.sidecarPackages);
  owner = config.home.username;
in
{
  options.services.hermes-agent = import ./options.nix {
    inherit lib;
    scope = "home";
    defaults = {
      package = defaultPackage pkgs;
      stateDir = config.home.homeDirectory;
      stateDirText = "config.home.homeDirectory";
      workingDirectory = "${cfg.stateDir}/.hermes/workspace";
      workingDirectoryText = ''"''${stateDir}/.hermes/workspace"'';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = common.assertions ++ [
      {
        assertion = pkgs.stdenv.hostPlatform.isLinux;
        message = "services.hermes-agent is a systemd service. On macOS install the package and run: hermesctl service install";
      }
    ];

    services.hermes-agent.manifests.hermes-agent = common.manifest;

    home.packages = [ package ] ++ cfg.extraPackages;
    # Also where NixOS names the home of everybody's agent.
    home.sessionVariables.HERMES_HOME = home;

    systemd.user.services.${name} = unit.service {
      scope = "user";
      inherit name home owner;
      inherit (cfg) restart restartSec;
      package = "${package}";
      manifest = "${common.manifestFile}";
      variables.HERMES_MANAGED = "home-manager";
      # What you have installed is what the agent finds, after what is declared for it.
      searchPath = "${search}:${config.home.profileDirectory}/bin:/run/current-system/sw/bin:/usr/local/bin:/usr/bin:/bin";
      args = cfg.extraArgs;
      hardening = {
        inherit (cfg.hardening) namespaces directives;
      };
    };

    systemd.user.sockets.${name} = unit.socket {
      scope = "user";
      inherit owner;
      path = "${home}/hermesd.sock";
    };
  };
}
