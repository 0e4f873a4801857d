# `nix develop`: Python, uv and what the tests use. Python packages go into .venv on the first entry; a stamp of what
# declares them makes the next ones instant.
{ pkgs }:
pkgs.mkShell {
  packages = [
    pkgs.python311
    pkgs.uv
    pkgs.nodejs
    pkgs.git
    pkgs.openssh
    pkgs.ripgrep
  ];

  shellHook = builtins.readFile ./devshell.sh;
}
