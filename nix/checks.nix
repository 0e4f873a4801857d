# `nix flake check`: the scripts of nix/checks/ over the built package, the modules evaluated, and two machines.
# Every script also runs without Nix, from tests/nix.
{
  pkgs,
  system,
  hermesd,
  source,
  nixosModule,
  homeModule,
  homeManager,
}:
let
  script =
    name: arguments:
    pkgs.runCommand "hermesd-${name}" { nativeBuildInputs = [ pkgs.python3 ]; } ''
      export HOME=$TMPDIR
      python3 ${source}/nix/checks/${builtins.replaceStrings [ "-" ] [ "_" ] name}.py ${arguments}
      touch $out
    '';
  machine = file: pkgs.testers.runNixOSTest (import file { inherit nixosModule; });

  # The interpreter that has hermesd and what it depends on.
  interpreter = "${hermesd.python.withPackages (ps: [ (ps.toPythonModule hermesd) ])}/bin/python3";

  # A whole home of Home Manager, with assertions: its files are built.
  home = homeManager.lib.homeManagerConfiguration {
    inherit pkgs;
    modules = [
      homeModule
      ./examples/home.nix
      {
        home = {
          username = "me";
          homeDirectory = "/home/me";
          stateVersion = "26.05";
        };
      }
    ];
  };
in
{
  package-contents = script "package-contents" "--package ${hermesd}";
  entry-points-sync = script "entry-points-sync" "--package ${hermesd} --source ${source}";
  cli-commands = script "cli-commands" "--package ${hermesd}";
  managed-guard = script "managed-guard" "--package ${hermesd}";
  bundled-skills = script "bundled-skills" "--package ${hermesd} --source ${source}";
  config-roundtrip = script "config-roundtrip" "--package ${hermesd}";
  lock-sync = script "lock-sync" "--source ${source}";
  config-keys = pkgs.runCommand "hermesd-config-keys" { } ''
    ${interpreter} ${source}/nix/config_keys.py --check
    touch $out
  '';
  home-module = home.activationPackage;
}
// (
  if system == "x86_64-linux" then
    {
      vm-native = machine ./tests/native.nix;
      vm-container = machine ./tests/container.nix;
    }
  else
    { }
)
