# Whatever JSON and YAML can say.
{ lib }:
let
  inherit (lib) types;
  value =
    types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        types.path
        (types.attrsOf value)
        (types.listOf value)
      ]
    )
    // {
      description = "value";
    };
in
value
