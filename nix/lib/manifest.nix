# Options → the manifest that `hermesctl activate` and `hermesctl container` read. Pure builtins.
#
# docs/nix.md has an example; hermesd/activation and hermesd/deploy/container read it.
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    hasAttr
    isAttrs
    isPath
    isString
    listToAttrs
    map
    match
    toJSON
    ;

  schema = 1;

  # Deep merge of sets; what is not a set on both sides is taken from the right.
  merge =
    left: right:
    left
    // listToAttrs (
      map (name: {
        inherit name;
        value =
          if hasAttr name left && isAttrs left.${name} && isAttrs right.${name} then
            merge left.${name} right.${name}
          else
            right.${name};
      }) (attrNames right)
    );

  # Keys of null are not said at all: the program's own default holds.
  said =
    value:
    if isAttrs value && !(hasAttr "outPath" value) then
      listToAttrs (
        map (name: {
          inherit name;
          value = said value.${name};
        }) (filter (name: value.${name} != null) (attrNames value))
      )
    else if builtins.isList value then
      map said value
    else
      value;

  # A list or set option that is not set at all says nothing.
  notEmpty = set: removeAttrs set (filter (name: set.${name} == [ ] || set.${name} == { }) (attrNames set));

  mcpServer =
    server:
    let
      given = notEmpty (said server);
    in
    given // (if given ? tools then { tools = notEmpty given.tools; } else { });

  # Path, or text that was written out as one.
  isSource = value: isPath value || (isAttrs value && value ? outPath);

  file =
    {
      target,
      value,
      mode ? "0600",
    }:
    {
      inherit target mode;
    }
    // (if isSource value then { source = "${value}"; } else { text = value; });

  # Targets are relative: documents to the working directory, files to the home.
  filesIn =
    files:
    map (
      name:
      file {
        target = name;
        value = files.${name};
      }
    ) (attrNames files);

  named = set: map (name: { inherit name; } // said set.${name}) (attrNames set);

  # A store path's name, without its hash.
  baseName =
    path:
    let
      last = builtins.baseNameOf "${path}";
      plain = match "[0-9a-z]{32}-(.+)" last;
    in
    builtins.unsafeDiscardStringContext (if plain == null then last else builtins.head plain);

  # {name, path} of an element of extraPlugins that is a directory. Sources of a forge are all called "source": those go
  # by their repository.
  plugin =
    given:
    if isAttrs given && given ? path then
      {
        inherit (given) name;
        path = "${given.path}";
      }
    else
      {
        name =
          if isAttrs given && given ? pname then
            given.pname
          else if isAttrs given && given ? repo && (given.name or "source") == "source" then
            given.repo
          else
            baseName given;
        path = "${given}";
      };

  # Text that is no path is for the sidecar: what `uv pip install` takes.
  isSpec = given: isString given && match "/.*" given == null;
in
rec {
  inherit
    merge
    plugin
    isSpec
    schema
    ;

  plugins = given: map plugin (filter (each: !(isSpec each)) given);
  specs = given: filter isSpec given;

  config =
    cfg: weaker:
    if cfg.configFile or null != null then
      {
        mode = "replace";
        source = "${cfg.configFile}";
      }
    else
      {
        mode = "merge";
        value = merge (merge weaker (said cfg.settings)) (
          if cfg.mcpServers == { } then
            { }
          else
            { mcp_servers = builtins.mapAttrs (_: mcpServer) cfg.mcpServers; }
        );
      };

  # What one agent has: the top of the manifest, and each of its profiles.
  #
  # cfg: the options. at: {envFiles, authSource, settings} as the scope has them; settings there are weaker ones.
  agent =
    cfg: at:
    {
      config = config cfg at.settings;
      env = {
        values = cfg.environment;
        files = at.envFiles;
      };
    }
    // notEmpty {
      files = filesIn cfg.homeFiles;
      documents = filesIn cfg.documents;
      cron = named cfg.cron;
      webhooks = named cfg.webhooks;
      watches = named cfg.watches;
    }
    // (
      if at.authSource == null then
        { }
      else
        {
          auth = {
            source = at.authSource;
            force = cfg.authFileForceOverwrite;
          };
        }
    );

  # The whole.
  #
  # paths: {package, stateDir, home, workingDirectory}; managedBy: {name, rebuild};
  # at: {envFiles, authSource, settings} and `profiles.<name>` of the same.
  render =
    {
      cfg,
      paths,
      managedBy,
      at,
      python ? "",
    }:
    {
      inherit schema managedBy;
      package = "${paths.package}";
      inherit (paths) stateDir home workingDirectory;
    }
    // notEmpty {
      plugins = plugins cfg.extraPlugins;
      profiles = builtins.mapAttrs (
        name: profile:
        agent profile at.profiles.${name}
        // (if profile.description == "" then { } else { inherit (profile) description; })
      ) cfg.profiles;
    }
    // agent cfg at
    // (
      if specs cfg.extraPlugins == [ ] then
        { }
      else
        {
          sidecar = {
            inherit python;
            specs = specs cfg.extraPlugins;
          };
        }
    );

  # For `hermesctl container`, which is root's and so is told nothing of secrets, settings or documents: `activate` has
  # written them as the agent's user before.
  container =
    {
      cfg,
      paths,
    }:
    {
      inherit schema;
      package = "${paths.package}";
      inherit (paths) stateDir home;
      container = {
        inherit (cfg.container)
          backend
          image
          pull
          uid
          gid
          hostUsers
          ;
        volumes = cfg.container.extraVolumes;
        options = cfg.container.extraOptions;
        args = cfg.extraArgs;
        user = cfg.user;
      }
      // (if cfg.container.entrypoint == "" then { } else { entrypointText = cfg.container.entrypoint; });
    };

  # Names that two plugins share.
  clashes =
    given:
    let
      names = map (each: each.name) (plugins given);
      again = name: builtins.length (filter (other: other == name) names) > 1;
    in
    attrNames (
      listToAttrs (
        map (name: {
          inherit name;
          value = true;
        }) (filter again names)
      )
    );

  # Settings and variables that hold a secret in clear, by their names; as hermesd/config/secret_keys.py.
  isSecretName =
    name:
    match "(.*_)?(token|secret|password|passphrase|api_key|private_key)" name != null
    || match "(.*_)?(TOKEN|SECRET|PASSWORD|PASSPHRASE|KEY)" name != null;
  isReference = value: match ".*[$][{].*" value != null;

  literalSecrets =
    value: path:
    if isAttrs value then
      concatMap (
        name:
        let
          at = if path == "" then name else "${path}.${name}";
          below = value.${name};
        in
        if isString below then
          if isSecretName name && below != "" && !(isReference below) then [ at ] else [ ]
        else
          literalSecrets below at
      ) (attrNames value)
    else if builtins.isList value then
      concatMap (each: literalSecrets each "${path}[]") value
    else
      [ ];

  # Headers that carry who we are.
  literalHeaders =
    servers:
    concatMap (
      server:
      concatMap (
        header:
        if
          match "([Aa]uthorization|[Pp]roxy-[Aa]uthorization|[Cc]ookie|.*-([Tt]oken|[Kk]ey|[Ss]ecret))" header != null
          && !(isReference servers.${server}.headers.${header})
        then
          [ "mcpServers.${server}.headers.${header}" ]
        else
          [ ]
      ) (attrNames (servers.${server}.headers or { }))
    ) (attrNames servers);

  # Every place of an agent's options where a secret would lie in the store, which everybody can read.
  secretsInStore =
    storeDir: cfg:
    let
      inStore = value: isPath value || match "${storeDir}/.*" (builtins.unsafeDiscardStringContext "${value}") != null;
      files = filter (path: inStore (withoutDash path)) cfg.environmentFiles;
    in
    map (at: "settings.${at}") (literalSecrets cfg.settings "")
    ++ map (at: "environment.${at}") (literalSecrets cfg.environment "")
    ++ map (at: "mcpServers.${at}") (
      concatMap (name: literalSecrets { ${name}.env = cfg.mcpServers.${name}.env; } "") (attrNames cfg.mcpServers)
    )
    ++ literalHeaders cfg.mcpServers
    ++ map (path: "environmentFiles: ${path}") files
    ++ (if cfg.authFile != null && inStore cfg.authFile then [ "authFile" ] else [ ]);

  withoutDash =
    path:
    let
      rest = match "-(.*)" path;
    in
    if rest == null then path else builtins.head rest;
  # A target stays in its directory.
  staysBelow =
    target:
    target != "" && match "/.*" target == null && match "(.*/)?[.][.](/.*)?" target == null && match ".*\n.*" target == null;

  mayBeMissing = path: match "-.*" path != null;

  text = manifest: toJSON manifest;
}
