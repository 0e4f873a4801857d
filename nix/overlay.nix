# `nixpkgs.overlays = [ hermes-agent.overlays.default ];`, then pkgs.hermesd and pkgs.hermesd.override { … }.
final: _: {
  hermesd = final.callPackage ./package.nix { };
  # The name that configurations of hermes-agent have for it.
  hermes-agent = final.hermesd;
}
