# A stand-in for nixpkgs: packages that are only their names and paths, so that whatever evaluates can be looked at
# without anything being built. `drv` makes real derivations of /bin/bash where a test asks for them.
{
  lib,
  system ? "x86_64-linux",
}:
let
  drv =
    name: more:
    derivation {
      inherit name system;
      builder = "/bin/bash";
      args = [
        "-c"
        "echo > $out"
      ];
    }
    // {
      pname = name;
      version = "0";
    }
    // more;

  # Its path depends on the text, as in nixpkgs.
  written =
    name: text:
    derivation {
      inherit name system text;
      builder = "/bin/bash";
      args = [
        "-c"
        "printf %s \"$text\" > $out"
      ];
    };

  python = drv "python3" {
    interpreter = "/usr/bin/python3";
    sitePackages = "lib/python3/site-packages";
    withPackages =
      choose:
      built "python3-env" {
        dependencies = choose python3Packages;
        src = "";
      };
  };

  # What a package is made of goes into its derivation, so that all of it is evaluated and changes its path.
  built =
    name: given:
    derivation {
      inherit name system;
      builder = "/bin/bash";
      args = [
        "-c"
        "mkdir $out"
      ];
      needs = map (each: "${each}") (given.dependencies or [ ] ++ given.build-system or [ ]);
      wrapper = given.makeWrapperArgs or [ ];
      patch = given.postPatch or "";
      install = given.postInstall or "";
      check = given.postFixup or "";
      src = given.src;
    };

  # Every name is a package: whatever is asked for is there.
  named = names: builtins.listToAttrs (map (name: { inherit name; value = drv name { }; }) names);

  python3Packages =
    named [
      "anyio"
      "apsw"
      "cronsim"
      "cryptography"
      "h11"
      "httptools"
      "hatchling"
      "hypercorn"
      "idna"
      "jeepney"
      "jsonschema"
      "mcp"
      "msgspec"
      "opentelemetry-api"
      "prompt-toolkit"
      "psutil"
      "pydantic"
      "pyjwt"
      "python-daemon"
      "python-dotenv"
      "python-multipart"
      "pyyaml"
      "redis"
      "rich"
      "ruamel-yaml"
      "sse-starlette"
      "starlette"
      "trio"
      "typing-extensions"
      "typing-inspection"
      "uvicorn"
    ]
    // {
      inherit python;
      toPythonModule = package: package;
      fetchPypi = given: drv "${given.pname}-wheel" { inherit (given) hash; };
      buildPythonPackage = given: built given.pname given // { inherit (given) pname version; };
      buildPythonApplication =
        given: built "${given.pname}-${given.version}" given // given.passthru // { inherit given; };
      makePythonPath = packages: builtins.concatStringsSep ":" (map (each: "${each}") packages);
    };

  callPackage =
    file: given:
    let
      function = if builtins.isFunction file then file else import file;
      wanted = builtins.intersectAttrs (builtins.functionArgs function) (self // { inherit lib; });
      made = function (wanted // given);
    in
    made // { override = more: callPackage file (given // more); };

  self =
    named [
      "bash"
      "docker"
      "foot"
      "git"
      "glibcLocales"
      "hyprland"
      "mkShell"
      "nix"
      "nixfmt"
      "nodejs"
      "openssh"
      "pandoc"
      "podman"
      "ripgrep"
      "ruff"
      "sway"
      "systemd"
      "uv"
      "xdg-desktop-portal-gtk"
      "xdg-desktop-portal-hyprland"
    ]
    // {
      inherit callPackage python3Packages lib;
      python3 = python;
      python311 = python;
      stdenv.hostPlatform = {
        inherit system;
        isLinux = true;
        isDarwin = false;
      };
      writeText = written;
      writeTextDir = path: written (baseNameOf path);
      mkShell = given: drv "shell" { inherit given; };
      runCommand =
        name: _: script:
        derivation {
          inherit name system script;
          builder = "/bin/bash";
          args = [
            "-c"
            script
          ];
        };
      testers.runNixOSTest = file: drv "vm-test" { inherit file; };
      textOf = each: each.text;
    };
in
self
