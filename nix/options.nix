# One set of options for NixOS and Home Manager.
#
# Only `lib.mkOption`, `lib.literalExpression` and `lib.types` are used of `lib`, so that nix/lib/option-types.nix can
# stand in for it where there is no nixpkgs: docs/nix-options.md and the check of parity are made that way.
#
# scope: "nixos" or "home". defaults: {package, stateDir} as the scope has them.
{
  lib,
  scope,
  defaults,
}:
let
  agent = import ./options/agent.nix { inherit lib; };
  service = import ./options/service.nix { inherit lib defaults; };
  system = import ./options/system.nix { inherit lib; };
in
service
// agent.options
// {
  profiles = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options = agent.options // {
          description = lib.mkOption {
            type = lib.types.str;
            default = "";
            description = "What the profile is for, in a line.";
          };
        };
      }
    );
    default = { };
    example = lib.literalExpression ''{ research.settings.model.default = "google/gemini-3-flash"; }'';
    description = "Further agents of the same daemon, each a whole one, in `profiles/<name>` of the home.";
  };
}
// (if scope == "nixos" then system else { })
// {
  manifests = lib.mkOption {
    type = lib.types.attrsOf lib.types.raw;
    internal = true;
    visible = false;
    readOnly = true;
    description = "What the units are given, by the name of the file.";
  };
}
