# The daemon as a service, in either scope.
{ lib, defaults }:
let
  inherit (lib) mkOption literalExpression types;

  plugin = types.submodule {
    options = {
      name = mkOption {
        type = types.str;
        description = "Its directory in `plugins/` of the home.";
      };
      path = mkOption {
        type = types.either types.package types.path;
        description = "The directory with plugin.yaml.";
      };
    };
  };
in
{
  enable = mkOption {
    type = types.bool;
    default = false;
    description = "Whether hermesd runs as a service.";
  };

  package = mkOption {
    type = types.package;
    default = defaults.package;
    defaultText = literalExpression "pkgs.hermesd";
    description = "The hermesd to run.";
  };

  stateDir = mkOption {
    type = types.str;
    default = defaults.stateDir;
    defaultText = literalExpression defaults.stateDirText;
    description = "The directory above the home: `HERMES_HOME` is `.hermes` in it.";
  };

  workingDirectory = mkOption {
    type = types.str;
    default = defaults.workingDirectory;
    defaultText = literalExpression defaults.workingDirectoryText;
    description = "Where the agent's tools work (`terminal.cwd`).";
  };

  extraArgs = mkOption {
    type = types.listOf types.str;
    default = [ ];
    description = "Further arguments of hermesd.";
  };

  extraPackages = mkOption {
    type = types.listOf types.package;
    default = [ ];
    example = literalExpression "[ pkgs.pandoc pkgs.imagemagick ]";
    description = "Programs for the agent: its commands, skills and jobs find them, and so does a shell of its user.";
  };

  extraPlugins = mkOption {
    type = types.listOf (
      types.oneOf [
        types.package
        types.path
        types.str
        plugin
      ]
    );
    default = [ ];
    example = literalExpression ''[ pkgs.some-plugin { name = "mine"; path = ./mine; } "hermes-lcm==0.7.0" ]'';
    description = ''
      Plugins. A package or a path with plugin.yaml is linked into `plugins/` of the home. Any other text is what
      `uv pip install` takes, put into an environment of its own at the next start, which needs the network then.
    '';
  };

  extraPythonPackages = mkOption {
    type = types.either (types.functionTo (types.listOf types.package)) (types.listOf types.package);
    default = [ ];
    example = literalExpression "ps: [ ps.redis ]";
    description = ''
      Python packages beside hermesd's own, for plugins and as plugins by their entry points. A function is given the
      package set of hermesd's interpreter. One that hermesd depends on is refused.
    '';
  };

  restart = mkOption {
    type = types.str;
    default = "always";
    description = "`Restart=` of the service. hermesd that ended with 78, a wrong configuration, is not started again.";
  };

  restartSec = mkOption {
    type = types.int;
    default = 5;
    description = "`RestartSec=` of the service, in seconds.";
  };

  hardening = {
    namespaces = mkOption {
      type = types.bool;
      default = false;
      description = "Let tools make sandboxes of their own by namespaces of users, mounts and processes, as bubblewrap does.";
    };
    readWritePaths = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/srv/notes" ];
      description = "What the agent may write to beside `stateDir` and `workingDirectory`.";
    };
    directives = mkOption {
      type = types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.bool
            types.int
            types.str
            (types.listOf types.str)
          ]
        )
      );
      default = { };
      example = literalExpression ''{ PrivateDevices = null; MemoryMax = "4G"; }'';
      description = "Directives of the service over those that are shipped; `null` takes one away.";
    };
  };
}
