# hermesd and hermesctl. `callPackage`-able; what plugins need beside them is an argument:
#
#   pkgs.hermesd.override { extraPythonPackages = ps: [ ps.redis ]; extraRuntimeDeps = [ pkgs.ffmpeg ]; }
{
  lib,
  python3Packages,
  bash,
  git,
  openssh,
  ripgrep,
  extraPythonPackages ? (_: [ ]),
  extraRuntimeDeps ? [ ],
}:
let
  ps = python3Packages;
  project = (builtins.fromTOML (builtins.readFile ../pyproject.toml)).project;
  beside = import ./python/beside.nix { inherit lib ps; };

  # A requirement of pyproject.toml → its package: nixpkgs', or the one beside this file.
  nameOf = line: builtins.head (builtins.match "([A-Za-z0-9._-]+).*" line);
  names = map nameOf project.dependencies;
  attributes = {
    "ruamel.yaml" = "ruamel-yaml";
  };
  core = [ ps.cryptography ] ++ map (
    name:
    let
      attribute = attributes.${name} or name;
    in
    beside.${attribute} or ps.${attribute}
  ) names;

  extra = if lib.isFunction extraPythonPackages then extraPythonPackages ps else extraPythonPackages;

  kept = [
    "hermesd"
    "hermesctl"
    "scripts"
  ];
  source = builtins.path {
    name = "hermesd-source";
    path = ../.;
    filter =
      path: _:
      let
        relative = lib.removePrefix "${toString ../.}/" (toString path);
        top = builtins.head (builtins.split "/" relative);
      in
      (
        builtins.elem top kept
        || builtins.elem relative [
          "pyproject.toml"
          "README.md"
          "LICENSE"
        ]
      )
      && builtins.baseNameOf path != "__pycache__";
  };
in
ps.buildPythonApplication {
  pname = "hermesd";
  inherit (project) version;
  pyproject = true;
  src = source;

  build-system = [ ps.hatchling ];
  dependencies = core;
  # The ranges of pyproject.toml are those that are tested there; nixpkgs has one version of each.
  pythonRelaxDeps = true;

  # Commands of agents are for bash, which NixOS has in no usual place.
  postPatch = ''
    substituteInPlace hermesd/tools/terminal/local.py --replace-fail '"/bin/bash"' '"${bash}/bin/bash"'
  '';

  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath (
      [
        bash
        git
        openssh
        ripgrep
      ]
      ++ extraRuntimeDeps
    ))
  ]
  ++ lib.optionals (extra != [ ]) [
    "--suffix"
    "PYTHONPATH"
    ":"
    (ps.makePythonPath extra)
  ]
  ++ [
    "--set-default"
    "HERMES_BUNDLED_SKILLS"
    "${placeholder "out"}/share/hermesd/skills"
  ];

  postInstall = ''
    mkdir -p $out/share/hermesd
    ln -s $out/${ps.python.sitePackages}/hermesd/skills/bundled $out/share/hermesd/skills
  '';

  # A package of a plugin must not stand in for one of hermesd's own. Here, since nixpkgs has no install check without
  # tests, and the tests need more than a build has.
  doCheck = false;
  postFixup = ''
    ${ps.python.interpreter} ${./checks}/collisions.py --core "${ps.makePythonPath core}" --extra "${ps.makePythonPath extra}"
    $out/bin/hermesctl --version
  '';

  pythonImportsCheck = [
    "hermesd"
    "hermesctl"
  ];

  passthru = {
    inherit (ps) python;
    pythonPackages = ps;
    pythonInterpreter = ps.python.interpreter;
    coreNames = [ "hermesd" ] ++ names;
  };

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    mainProgram = "hermesctl";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
