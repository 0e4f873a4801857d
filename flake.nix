{
  description = "hermesd runs every AI agent you own as one supervised process that loses nothing when it is killed";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # For the checks alone: the modules take what the machine that imports them has.
    home-manager = {
      url = "github:nix-community/home-manager/release-26.05";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      home-manager,
    }:
    let
      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      darwin = [
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach =
        systems: make:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = make system nixpkgs.legacyPackages.${system};
          }) systems
        );
      everywhere = forEach (linux ++ darwin);
      package = pkgs: pkgs.callPackage ./nix/package.nix { };
    in
    {
      packages = everywhere (
        _: pkgs: {
          default = package pkgs;
          hermesd = package pkgs;
          # Every key that `settings` can have, with its type.
          configKeys = pkgs.writeText "config-keys.json" (builtins.readFile ./nix/config-keys.json);
        }
      );

      apps = everywhere (
        system: _:
        let
          program = name: {
            type = "app";
            program = "${self.packages.${system}.default}/bin/${name}";
          };
        in
        {
          default = program "hermesctl";
          hermesctl = program "hermesctl";
          hermesd = program "hermesd";
        }
      );

      overlays.default = import ./nix/overlay.nix;

      nixosModules.default = import ./nix/nixos.nix { defaultPackage = package; };
      homeModules.default = import ./nix/home.nix { defaultPackage = package; };

      checks = forEach linux (
        system: pkgs:
        import ./nix/checks.nix {
          inherit pkgs system;
          hermesd = self.packages.${system}.default;
          source = self;
          nixosModule = self.nixosModules.default;
          homeModule = self.homeModules.default;
          homeManager = home-manager;
        }
      );

      devShells = everywhere (_: pkgs: { default = import ./nix/devshell.nix { inherit pkgs; }; });

      formatter = everywhere (_: pkgs: pkgs.nixfmt);

      # Manifest and units without any nixpkgs: pure builtins.
      lib = {
        manifest = import ./nix/lib/manifest.nix;
        unit = import ./nix/lib/unit.nix;
        keys = import ./nix/lib/keys.nix;
      };
    };
}
