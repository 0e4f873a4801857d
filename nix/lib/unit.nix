# The service as systemd units: attribute sets of sections, and their text. Pure builtins, so that any Nix evaluates it.
#
# hermesd/deploy/units.py renders the same service for machines without Nix; tests/nix compares the two line by line.
# https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html says what each line means.
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    filter
    hasAttr
    isAttrs
    isBool
    isList
    isString
    map
    replaceStrings
    substring
    stringLength
    toString
    ;

  startsWith = prefix: text: substring 0 (stringLength prefix) text == prefix;
  endsWith =
    suffix: text:
    let
      size = stringLength text - stringLength suffix;
    in
    size >= 0 && substring size (stringLength suffix) text == suffix;

  value = given: if isBool given then (if given then "yes" else "no") else toString given;

  # What several of these names are worth together, null for the ones that are to go.
  without = names: set: removeAttrs set (filter (name: hasAttr name set) names);
  compact = set: removeAttrs set (filter (name: set.${name} == null) (attrNames set));

  # `%` begins a specifier in every value.
  escape = replaceStrings [ "%" ] [ "%%" ];

  # One word of a setting that systemd splits at blanks.
  quote = word: "\"${replaceStrings [ "\\" "\"" "\n" "%" ] [ "\\\\" "\\\"" "\\n" "%%" ] (toString word)}\"";

  # One word of a command line, in which `$` would be a variable, too.
  quoteWord = word: replaceStrings [ "$" ] [ "$$" ] (quote word);
  command = words: concatStringsSep " " (map quoteWord words);
  environment = values: map (name: quote "${name}=${toString values.${name}}") (attrNames values);

  inHomes =
    path:
    builtins.any (place: path == place || startsWith "${place}/" path) [
      "/home"
      "/root"
      "/run/user"
    ];
in
rec {
  inherit
    command
    environment
    escape
    quote
    quoteWord
    startsWith
    endsWith
    ;

  socketPath = "/run/hermesd/hermesd.sock";

  # What an unprivileged manager can enforce.
  userHardening = {
    NoNewPrivileges = true;
    LockPersonality = true;
    ProtectClock = true;
    ProtectKernelModules = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6 AF_NETLINK";
    SystemCallArchitectures = "native";
    SystemCallFilter = [ "@system-service" ];
    SystemCallErrorNumber = "EPERM";
  };

  # Everything is read-only but what is the agent's. Not MemoryDenyWriteExecute: MCP servers in JavaScript compile at
  # run time. Not PrivateUsers: the kernel would tell hermesd that every client is nobody, and roles go by who they are.
  systemHardening = userHardening // {
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    PrivateDevices = true;
    # The service has mounts of its own by what stands around this; said, it is also what systemd-analyze sees.
    PrivateMounts = true;
    PrivateTmp = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
  };

  # Sandboxes of tools, bubblewrap say: namespaces of users, mounts and processes, and the calls that
  # set up such a one. The kernel allows those calls only inside it: the service has no capability outside.
  ownNamespaces = shipped: {
    RestrictNamespaces = "user mnt pid";
    SystemCallFilter = shipped.SystemCallFilter ++ [ "@mount capset chroot pivot_root" ];
  };

  # The one device of a desktop agent.
  inputDevice = {
    PrivateDevices = false;
    DevicePolicy = "closed";
    DeviceAllow = [ "/dev/uinput rw" ];
  };

  # Other people's homes are not even there; of what is declared to be the agent's, what lies in one is bound in.
  hiddenHomes =
    writable:
    let
      inside = filter inHomes writable;
    in
    if inside == [ ] then
      { ProtectHome = true; }
    else
      {
        ProtectHome = "tmpfs";
        BindPaths = map quote inside;
      };

  # `hardening` of the options over what is shipped: a directive of null goes.
  harden =
    {
      system,
      writable ? [ ],
      namespaces ? false,
      directives ? { },
    }:
    let
      shipped = if system then systemHardening else userHardening;
    in
    compact (
      shipped
      // (if system then hiddenHomes writable else { })
      // (if system && writable != [ ] then { ReadWritePaths = map quote writable; } else { })
      // (if namespaces then ownNamespaces shipped else { })
      // directives
    );

  # Of every service of hermesd.
  base = {
    Type = "notify";
    NotifyAccess = "main";
    # A wrong configuration is not mended by another start.
    RestartPreventExitStatus = 78;
    # The loop and the store give the sign of life; a wedged process is ended with its stack in the journal.
    WatchdogSec = 30;
    TimeoutStartSec = 300;
    TimeoutStopSec = 60;
    # The shells that agents start are theirs to stop; what is left goes with the unit.
    KillMode = "mixed";
    # A tool that the kernel ended for want of memory is the business of the agent that ran it.
    OOMPolicy = "continue";
    # Connections that wait while hermesd is restarted.
    FileDescriptorStoreMax = 512;
    LimitNOFILE = 65536;
    UMask = "0077";
  };

  # Ten starts in five minutes are a crash loop.
  limits = {
    StartLimitIntervalSec = 300;
    StartLimitBurst = 10;
  };

  # hermesd itself with `activate` before it. `credentials`: name → file that the manager reads for it.
  #
  # {scope, name, owner, package, manifest, home, variables, credentials, args, restart, restartSec, hardening, …}
  service =
    {
      scope,
      name,
      owner,
      package,
      manifest,
      home,
      user ? "",
      group ? "",
      variables ? { },
      searchPath ? "",
      credentials ? { },
      args ? [ ],
      restart ? "always",
      restartSec ? 5,
      writable ? [ ],
      needsNetwork ? false,
      hardening ? { },
    }:
    let
      system = scope == "system";
      after = [
        "${name}.socket"
      ]
      ++ (if system then [ "network.target" ] else [ ])
      ++ (if system && needsNetwork then [ "network-online.target" ] else [ ]);
    in
    {
      Unit = {
        Description = "hermesd, the agents of ${escape owner}";
        Requires = [ "${name}.socket" ];
        After = after;
      }
      // (if system && needsNetwork then { Wants = [ "network-online.target" ]; } else { })
      // limits;
      Service =
        base
        // (
          if system then
            {
              User = escape user;
              Group = escape group;
            }
          else
            { }
        )
        // {
          Environment =
            environment (
              variables
              // {
                HERMES_HOME = home;
              }
            )
            ++ (if searchPath == "" then [ ] else environment { PATH = searchPath; });
          # A list, to which a machine may add.
          ExecStartPre = [
            (command [
              "${package}/bin/hermesctl"
              "activate"
              "--manifest"
              manifest
            ])
          ];
          ExecStart = command ([ "${package}/bin/hermesd" ] ++ args);
          # Its own daemon is meant, also where a .container-mode takes calls for this home into a container.
          ExecReload = command [
            "/usr/bin/env"
            "HERMES_DEV=1"
            "${package}/bin/hermesctl"
            "reload"
          ];
          Restart = restart;
          RestartSec = restartSec;
        }
        // (
          if credentials == { } then
            { }
          else
            { LoadCredential = map (id: "${id}:${escape credentials.${id}}") (attrNames credentials); }
        )
        // harden (
          {
            inherit system writable;
          }
          // hardening
        );
      Install.WantedBy = [ (if system then "multi-user.target" else "default.target") ];
    };

  # The activation alone, as the agent's user: before a container, whose service is root's.
  activation =
    args:
    let
      whole = service args;
    in
    {
      Unit = whole.Unit // {
        Description = "the declared home of ${escape args.owner}";
        Requires = [ ];
        After = filter (unit: unit != "${args.name}.socket") whole.Unit.After;
      };
      Service =
        without (attrNames base ++ [
          "ExecStartPre"
          "ExecReload"
          "Restart"
          "RestartSec"
        ]) whole.Service
        // {
          Type = "oneshot";
          ExecStart = builtins.head whole.Service.ExecStartPre;
          inherit (base) UMask TimeoutStartSec;
        };
    };

  # hermesctl keeps the container, as root, beside the backend.
  containerService =
    {
      name,
      owner,
      package,
      manifest,
      backend,
      searchPath ? "",
      restart ? "always",
      restartSec ? 5,
    }:
    let
      engine = if backend == "docker" then [ "docker.service" ] else [ ];
      ctl =
        verb:
        command (
          [
            "${package}/bin/hermesctl"
            "container"
          ]
          ++ verb
          ++ [
            "--manifest"
            manifest
          ]
        );
    in
    {
      Unit = {
        Description = "the container of ${escape owner}";
        Requires = [ "${name}-activate.service" ] ++ engine;
        Wants = [ "network-online.target" ];
        After = [
          "${name}-activate.service"
          "network-online.target"
        ]
        ++ engine;
      }
      // limits;
      Service = {
        Type = "exec";
        ExecStartPre = [ (ctl [ "ensure" ]) ];
        ExecStart = ctl [
          "start"
          "--attach"
        ];
        ExecReload = "/bin/sh -c 'kill -HUP $MAINPID'";
        Restart = restart;
        RestartSec = restartSec;
        RestartPreventExitStatus = 78;
        # The image may have to be pulled first.
        TimeoutStartSec = 900;
        TimeoutStopSec = 60;
      }
      // (if searchPath == "" then { } else { Environment = environment { PATH = searchPath; }; });
      Install.WantedBy = [ "multi-user.target" ];
    };

  # The system's socket lies in a directory of root's, with a link to it in the home: root must not change owners below
  # a directory that somebody else can rearrange. `shared` lets the group in; what they may do is decided by their roles.
  socket =
    {
      scope,
      owner,
      path,
      link ? "",
      user ? "",
      group ? "",
      shared ? false,
    }:
    {
      Unit.Description = "The socket of hermesd, the agents of ${escape owner}";
      Socket = {
        ListenStream = escape path;
        SocketMode = if shared then "0660" else "0600";
        Backlog = 4096;
        RemoveOnStop = true;
        # Clients that come during a crash loop must not close the socket for good.
        TriggerLimitIntervalSec = 0;
      }
      // (
        if scope == "system" then
          {
            SocketUser = escape user;
            SocketGroup = escape group;
            DirectoryMode = "0755";
          }
        else
          # The home, where it is not there yet.
          { DirectoryMode = "0700"; }
      )
      // (if link == "" then { } else { Symlinks = quote link; });
      Install.WantedBy = [ "sockets.target" ];
    };

  # {Section = {Key = value or list of values;};} → the text of a unit. An empty list gives no line.
  text =
    sections:
    let
      line =
        key: given:
        if isAttrs given then
          throw "unit.nix: ${key} is a set of attributes"
        else if isList given then
          map (each: "${key}=${value each}") given
        else if isString given || given != null then
          [ "${key}=${value given}" ]
        else
          [ ];
      section = name: [ "[${name}]" ] ++ concatLists (map (key: line key sections.${name}.${key}) (attrNames sections.${name}));
      inOrder = filter (name: hasAttr name sections) [
        "Unit"
        "Service"
        "Socket"
        "Install"
      ];
    in
    concatStringsSep "\n" (concatLists (map section inOrder)) + "\n";
}
