# The few functions of nixpkgs' `lib` that the package itself uses, for evaluating the flake without any nixpkgs.
{
  isFunction = value: builtins.isFunction value || value ? __functor;
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalString = condition: text: if condition then text else "";
  versionAtLeast = version: least: builtins.compareVersions version least >= 0;
  makeBinPath = packages: builtins.concatStringsSep ":" (map (each: "${each}/bin") packages);
  removePrefix =
    prefix: text:
    let
      size = builtins.stringLength prefix;
    in
    if builtins.substring 0 size text == prefix then builtins.substring size (-1) text else text;
  licenses.mit = "MIT";
  platforms = {
    linux = [ "x86_64-linux" ];
    darwin = [ "aarch64-darwin" ];
  };
}
