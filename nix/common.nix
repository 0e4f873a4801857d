# What both modules make of the options: paths, plugin packages, manifest, assertions.
{
  lib,
  pkgs,
  cfg,
  managedBy,
  envFile,
  authSource,
  # Settings that hold unless something else is declared.
  settings ? { },
}:
let
  manifestLib = import ./lib/manifest.nix;
  keys = import ./lib/keys.nix;

  home = "${cfg.stateDir}/.hermes";
  hasExtra = lib.isFunction cfg.extraPythonPackages || cfg.extraPythonPackages != [ ];

  agents = [ (agentOf "" cfg) ] ++ lib.mapAttrsToList agentOf cfg.profiles;
  agentOf = name: options: {
    inherit name options;
    at = if name == "" then "" else "profiles.${name}.";
  };

  place = name: options: {
    envFiles = lib.imap0 (
      number: path: if manifestLib.mayBeMissing path then path else envFile name number path
    ) options.environmentFiles;
    authSource = if options.authFile == null then null else authSource name (toString options.authFile);
    settings = lib.optionalAttrs (name == "") settings;
  };
in
rec {
  inherit home agents manifestLib;

  package = if hasExtra then cfg.package.override { inherit (cfg) extraPythonPackages; } else cfg.package;

  paths = {
    inherit package home;
    inherit (cfg) stateDir workingDirectory;
  };

  # Whose elements are text for `uv pip install`: they need uv, git and the network when hermesd starts.
  hasSidecar = manifestLib.specs cfg.extraPlugins != [ ];
  sidecarPackages = lib.optionals hasSidecar [
    pkgs.uv
    pkgs.git
  ];

  manifest = manifestLib.render {
    inherit cfg paths managedBy;
    python = lib.optionalString hasSidecar package.pythonInterpreter;
    at = place "" cfg // {
      profiles = lib.mapAttrs place cfg.profiles;
    };
  };

  # Its path stands in the unit: a changed declaration is another unit, which is restarted, and keeps all it names from
  # being collected.
  manifestFile = pkgs.writeText "hermes-agent.json" (builtins.toJSON manifest);

  # extraPythonPackages given as a list; those of a function are checked when the package is built.
  pythonClashes = lib.optionals (builtins.isList cfg.extraPythonPackages) (
    builtins.filter (name: builtins.elem name (cfg.package.coreNames or [ ])) (
      map (each: each.pname or "") cfg.extraPythonPackages
    )
  );

  assertions =
    let
      path = "services.hermes-agent";
      clashes = manifestLib.clashes cfg.extraPlugins;
    in
    lib.concatMap (
      {
        name,
        at,
        options,
      }:
      let
        open = manifestLib.secretsInStore builtins.storeDir options;
        wrong = keys.wrong options.settings;
        kinds = lib.filterAttrs (_: server: (server.command == null) == (server.url == null)) options.mcpServers;
        outside = builtins.filter (target: !manifestLib.staysBelow target) (
          builtins.attrNames options.documents ++ builtins.attrNames options.homeFiles
        );
      in
      [
        {
          assertion = open == [ ];
          message = ''
            ${path}.${at}{${lib.concatStringsSep ", " open}} would put a secret into the Nix store, which everybody on
            this machine can read. Put it into a file of sops-nix or agenix, name that in ${path}.${at}environmentFiles,
            and refer to it as "''${NAME}".'';
        }
        {
          assertion = wrong == [ ];
          message = "${path}.${at}settings: ${lib.concatStringsSep "; " wrong}.";
        }
        {
          assertion = options.configFile == null || (options.settings == { } && options.mcpServers == { });
          message = ''
            ${path}.${at}configFile takes the place of settings and mcpServers, and both are given. Move them into the
            file, or drop configFile.'';
        }
        {
          assertion = kinds == { };
          message = ''
            ${path}.${at}mcpServers.{${lib.concatStringsSep ", " (builtins.attrNames kinds)}}: give exactly one of
            command and url.'';
        }
        {
          assertion = outside == [ ];
          message = ''
            ${path}.${at}documents and homeFiles: ${lib.concatStringsSep ", " outside} would lie outside of their
            directory. Give a relative path without "..".'';
        }
        {
          assertion = !options.authFileForceOverwrite || options.authFile != null;
          message = "${path}.${at}authFileForceOverwrite needs authFile.";
        }
        {
          assertion = name == "" || builtins.match "[a-z0-9][a-z0-9_-]{0,63}" name != null;
          message = "${path}.profiles.${name}: a profile's name has lower-case letters, digits, - and _.";
        }
      ]
    ) agents
    ++ [
      {
        assertion = clashes == [ ];
        message = ''
          ${path}.extraPlugins: two plugins are called ${lib.concatStringsSep ", " clashes}. Give one of them a name of
          its own: { name = "other"; path = …; }.'';
      }
      {
        assertion = pythonClashes == [ ];
        message = ''
          ${path}.extraPythonPackages: ${lib.concatStringsSep ", " pythonClashes} is what hermesd itself depends on, and
          would be shadowed. Drop it; plugins see hermesd's own.'';
      }
      {
        assertion = !(cfg.profiles ? default);
        message = "${path}.profiles.default is the agent at the top: declare it there.";
      }
    ];
}
