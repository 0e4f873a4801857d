# services.hermes-agent on NixOS: a user, directories, the units, and nothing that runs as root in a directory of the
# agent's. hermesd is the service itself; with container.enable it runs in a container that hermesctl keeps.
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
      name = "NixOS";
      rebuild = "sudo nixos-rebuild switch";
    };
    envFile = profile: number: _: "credential:${credentialName "env" profile}-${toString number}";
    authSource = profile: _: "credential:${credentialName "auth" profile}";
    settings = {
      terminal.cwd = seen cfg.workingDirectory;
    }
    // lib.optionalAttrs cfg.addToSystemPackages {
      rpc = {
        inherit (cfg) group;
        roles = [
          "read"
          "chat"
        ];
      };
    };
  };
  inherit (common) package home manifestLib;

  # A path as the agent sees it: in its container the state directory is /data.
  seen =
    path:
    if cfg.container.enable && (path == cfg.stateDir || lib.hasPrefix "${cfg.stateDir}/" path) then
      "/data${lib.removePrefix cfg.stateDir path}"
    else
      path;

  # systemd reads these files as root and hands them to the service alone, in memory.
  credentialName = kind: profile: if profile == "" then kind else "${kind}-${profile}";
  credentials = lib.mergeAttrsList (
    map (
      { name, options, ... }:
      lib.listToAttrs (
        lib.concatLists (
          lib.imap0 (
            number: path:
            lib.optional (!manifestLib.mayBeMissing path) (
              lib.nameValuePair "${credentialName "env" name}-${toString number}" path
            )
          ) options.environmentFiles
        )
      )
      // lib.optionalAttrs (options.authFile != null) {
        ${credentialName "auth" name} = toString options.authFile;
      }
    ) common.agents
  );

  variables = {
    HOME = "${cfg.stateDir}/home";
    # What the service starts knows it, too; which keys are meant stands in .managed.
    HERMES_MANAGED = "true";
  };

  writable = lib.unique (
    [
      home
      "${cfg.stateDir}/home"
      cfg.workingDirectory
    ]
    ++ cfg.hardening.readWritePaths
  );

  arguments = {
    scope = "system";
    inherit name home variables credentials writable;
    inherit (cfg)
      user
      group
      restart
      restartSec
      ;
    owner = cfg.user;
    package = "${package}";
    manifest = "${common.manifestFile}";
    args = cfg.extraArgs;
    needsNetwork = common.hasSidecar;
    hardening = {
      inherit (cfg.hardening) namespaces;
      directives = lib.optionalAttrs cfg.desktop.enable unit.inputDevice // cfg.hardening.directives;
    };
  };

  containerManifest = manifestLib.container {
    inherit cfg;
    inherit (common) paths;
  };
  containerManifestFile = pkgs.writeText "hermes-agent-container.json" (builtins.toJSON containerManifest);

  # Sections of nix/lib/unit.nix → an element of systemd.services or systemd.sockets.
  toModule =
    kind: sections:
    {
      description = sections.Unit.Description;
      wantedBy = sections.Install.WantedBy or [ ];
      unitConfig = removeAttrs sections.Unit [
        "Description"
        "Requires"
        "Wants"
        "After"
      ];
      requires = sections.Unit.Requires or [ ];
      wants = sections.Unit.Wants or [ ];
      after = sections.Unit.After or [ ];
      "${lib.toLower kind}Config" = sections.${kind};
    };

  search = [ package ] ++ cfg.extraPackages ++ common.sidecarPackages;

  native = {
    systemd.services.${name} = toModule "Service" (unit.service arguments) // {
      path = search;
      # Restarted in one step, the socket stays and refuses nobody.
      stopIfChanged = false;
    };
    systemd.sockets.${name} = toModule "Socket" (
      unit.socket {
        scope = "system";
        owner = cfg.user;
        path = unit.socketPath;
        link = "${home}/hermesd.sock";
        shared = cfg.addToSystemPackages;
        inherit (cfg) user group;
      }
    );
    # hermesctl of other people finds the socket here, and who declares the configuration; there is nothing else.
    systemd.tmpfiles.rules = lib.optionals cfg.addToSystemPackages [
      "d /run/hermesd 0755 root root -"
      "L+ /run/hermesd/.managed - - - - ${pkgs.writeText "hermes-agent-managed" "nixos\nrebuild=sudo nixos-rebuild switch\n"}"
    ];
  };

  backendPackage =
    if cfg.container.backend == "docker" then
      config.virtualisation.docker.package
    else
      config.virtualisation.podman.package;

  contained = {
    systemd.services."${name}-activate" = toModule "Service" (unit.activation arguments) // {
      path = search;
    };
    systemd.services.${name} =
      toModule "Service" (
        unit.containerService {
          inherit name;
          owner = cfg.user;
          package = "${package}";
          manifest = "${containerManifestFile}";
          inherit (cfg.container) backend;
          inherit (cfg) restart restartSec;
        }
      )
      // {
        path = [
          backendPackage
          config.nix.package
        ];
        # The activation's own manifest: what it declares is taken up by a restart.
        restartTriggers = [ common.manifestFile ];
      };
    virtualisation = {
      docker.enable = lib.mkIf (cfg.container.backend == "docker") (lib.mkDefault true);
      podman.enable = lib.mkIf (cfg.container.backend == "podman") (lib.mkDefault true);
    };
    users.users = lib.genAttrs cfg.container.hostUsers (_: {
      extraGroups = [ cfg.group ];
    });
  };

  user = {
    users.users.${cfg.user} = {
      isSystemUser = true;
      inherit (cfg) group;
      home = "${cfg.stateDir}/home";
      packages = cfg.extraPackages;
    }
    // lib.optionalAttrs cfg.container.enable { uid = lib.mkDefault cfg.container.uid; };
    users.groups.${cfg.group} = lib.optionalAttrs cfg.container.enable { gid = lib.mkDefault cfg.container.gid; };
  };

  # The state directory is root's, so that nobody can put a link where root or systemd will look; what is in it is the
  # agent's.
  directories = {
    systemd.tmpfiles.rules = [
      "d ${unit.quote cfg.stateDir} 0750 root ${cfg.group} -"
      "d ${unit.quote home} 0750 ${cfg.user} ${cfg.group} -"
      "d ${unit.quote "${cfg.stateDir}/home"} 0750 ${cfg.user} ${cfg.group} -"
      # Keeps the package and all else that the manifest names, also while no generation does.
      "L+ /nix/var/nix/gcroots/hermes-agent - - - - ${common.manifestFile}"
    ]
    ++ lib.optional (lib.hasPrefix "${cfg.stateDir}/" cfg.workingDirectory) "d ${unit.quote cfg.workingDirectory} 0750 ${cfg.user} ${cfg.group} -";
  };

  everybody = {
    environment.systemPackages = [ package ];
    environment.variables.HERMES_HOME = if cfg.container.enable then home else "/run/hermesd";
  };

  assertions = [
    {
      assertion = cfg.container.hostUsers == [ ] || cfg.container.enable;
      message = ''
        services.hermes-agent.container.hostUsers needs container.enable. Natively, addToSystemPackages lets the members
        of the group "${cfg.group}" in: users.users.NAME.extraGroups = [ "${cfg.group}" ].'';
    }
    {
      assertion = !(cfg.container.enable && cfg.container.backend == "docker") || config.virtualisation.docker.enable;
      message = ''
        services.hermes-agent.container.backend is "docker", and virtualisation.docker.enable is false. Use
        container.backend = "podman", or enable docker.'';
    }
    {
      assertion = !(cfg.container.enable && cfg.container.backend == "podman") || config.virtualisation.podman.enable;
      message = ''
        services.hermes-agent.container.backend is "podman", and virtualisation.podman.enable is false: enable it, or
        use container.backend = "docker".'';
    }
    {
      assertion = builtins.substring 0 1 cfg.stateDir == "/" && builtins.substring 0 1 cfg.workingDirectory == "/";
      message = "services.hermes-agent: stateDir and workingDirectory must be absolute paths.";
    }
    {
      assertion = !cfg.container.enable || lib.all (path: !(lib.hasPrefix "${cfg.stateDir}/" path)) (builtins.attrValues credentials);
      message = ''
        services.hermes-agent: in a container the agent could put a link to any file of root's in the place of an
        environment file below ${cfg.stateDir}. Keep it elsewhere, /run/secrets say.'';
    }
    {
      assertion = cfg.createUser || config.users.users ? ${cfg.user};
      message = "services.hermes-agent.createUser is false, and users.users.${cfg.user} is not declared.";
    }
  ]
  ++ lib.optional (cfg.container.enable && config.users.users ? ${cfg.user}) {
    assertion = config.users.users.${cfg.user}.uid == cfg.container.uid;
    message = ''
      services.hermes-agent.container.uid is ${toString cfg.container.uid}, and users.users.${cfg.user}.uid is another.
      Files would belong to a stranger inside: give both the same.'';
  };
in
{
  imports = [ (import ./desktop.nix) ];

  options.services.hermes-agent = import ./options.nix {
    inherit lib;
    scope = "nixos";
    defaults = {
      package = defaultPackage pkgs;
      stateDir = "/var/lib/hermes";
      stateDirText = ''"/var/lib/hermes"'';
      workingDirectory = "${cfg.stateDir}/workspace";
      workingDirectoryText = ''"''${stateDir}/workspace"'';
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        assertions = common.assertions ++ assertions;
        services.hermes-agent.manifests = {
          hermes-agent = common.manifest;
        }
        // lib.optionalAttrs cfg.container.enable { hermes-agent-container = containerManifest; };
      }
      directories
      (lib.mkIf (!cfg.container.enable) native)
      (lib.mkIf cfg.container.enable contained)
      (lib.mkIf cfg.createUser user)
      (lib.mkIf cfg.addToSystemPackages everybody)
    ]
  );
}
