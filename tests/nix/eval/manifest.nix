# definitions → paths → scope → the manifest, by pure builtins: what the modules do without their module system.
definitions: paths: scope:
let
  stand-in = import ../../../nix/lib/option-types.nix;
  manifest = import ../../../nix/lib/manifest.nix;
  cfg = stand-in.define (import ../../../nix/option-list.nix).trees.${scope} definitions;
  place = options: {
    envFiles = options.environmentFiles;
    authSource = options.authFile;
    settings = { };
  };
in
{
  activate = manifest.render {
    inherit cfg;
    paths = {
      package = "/usr";
      inherit (cfg) stateDir workingDirectory;
      home = "${cfg.stateDir}/.hermes";
    }
    // paths;
    managedBy = {
      name = "NixOS";
      rebuild = "sudo nixos-rebuild switch";
    };
    python = "/usr/bin/python3";
    at = place cfg // {
      profiles = builtins.mapAttrs (_: place) cfg.profiles;
    };
  };
  secrets = manifest.secretsInStore "/nix/store" cfg;
  clashes = manifest.clashes cfg.extraPlugins;
}
// (
  if cfg ? container then
    {
      container = manifest.container {
        inherit cfg;
        paths = {
          package = "/usr";
          inherit (cfg) stateDir;
          home = "${cfg.stateDir}/.hermes";
        }
        // removeAttrs paths [ "workingDirectory" ];
      };
    }
  else
    { }
)
